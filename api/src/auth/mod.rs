//! Who is calling.
//!
//! A handler takes [`ClinicAuth`], [`PatientAuth`] or [`AnyAuth`] and so can only be reached by who
//! may. The token is checked by itself first (which costs no query) and then its session and its key are
//! looked up: a session that is revoked ends at once, however long its tokens would still live, and so
//! does every token of a key that is destroyed. Only then is the
//! caller's rate counted, so that a token which was revoked spends its address's budget and not its
//! clinic's.

mod clients;
mod grants;
mod keys;
mod secrets;
mod signatures;
mod staff;
mod token;

pub use clients::{
    NewClinic, NewClinicError, NewSecret, SecretError, add_client_secret, client_secrets,
    create_clinic, revoke_client_secret,
};
pub(crate) use grants::{
    Grant, NewEnrolment, Refresh, enrol, open_clinic_session, redeem, refresh, revoke_session,
};
pub(crate) use keys::{KeyRing, Signer};
pub use secrets::HashError;
pub(crate) use secrets::{Hasher, feed_token};
pub(crate) use signatures::{SignedMessage, new_signing_secret, written};
pub(crate) use staff::sign_in_staff;
pub use staff::{NewStaff, StaffError, add_staff, remove_staff, staff};
pub use token::{Role, token_holds};

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use aftercare::ids::{ClinicId, PatientId};
use aftercare::store::Session;
use uuid::Uuid;

use crate::problem::{Code, Problem};
use crate::state::Api;

/// A clinic's own software.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClinicAuth {
    /// The clinic.
    pub(crate) clinic: ClinicId,
}

/// A patient's app.
#[derive(Debug, Clone)]
pub(crate) struct PatientAuth {
    /// The patient.
    pub(crate) patient: PatientId,
    /// The session, which is bound to one installation.
    pub(crate) session: Session,
}

/// Either.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnyAuth {
    /// The clinic that the caller is or belongs to.
    pub(crate) clinic: ClinicId,
}

type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

impl FromRequest for ClinicAuth {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        admit(request, |session| match session.patient_id {
            None => Ok(Self { clinic: session.clinic_id }),
            Some(_) => Err(wrong_role(Role::Clinic)),
        })
    }
}

impl FromRequest for PatientAuth {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        admit(request, |session| match session.patient_id {
            Some(patient) => Ok(Self { patient, session }),
            None => Err(wrong_role(Role::Patient)),
        })
    }
}

impl FromRequest for AnyAuth {
    type Error = Problem;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        admit(request, |session| Ok(Self { clinic: session.clinic_id }))
    }
}

/// Authenticates a request, and makes of its session what the handler asks for.
fn admit<T: 'static>(
    request: &HttpRequest,
    role: fn(Session) -> Result<T, Problem>,
) -> Extracted<T> {
    let request = request.clone();
    Box::pin(async move { role(authenticate(&request).await?) })
}

fn wrong_role(wanted: Role) -> Problem {
    Problem::new(Code::WrongRole, format!("This needs the access token of a {wanted}"))
}

fn invalid() -> Problem {
    Problem::new(Code::InvalidToken, "The access token is not valid, has expired or was revoked")
}

/// The open session behind the request's bearer.
async fn authenticate(request: &HttpRequest) -> Result<Session, Problem> {
    let Some(api) = request.app_data::<web::Data<Api>>().cloned() else { return Err(invalid()) };
    let Some(token) = bearer(request)? else {
        let detail = "This needs a header Authorization: Bearer and an access token";
        return Err(Problem::new(Code::MissingToken, detail));
    };
    let claims = match api.keys.verify(&api.public_url, &token).await? {
        Ok(claims) => claims,
        Err(error) => {
            tracing::debug!(%error, "a bearer was refused");
            api.limiter.bad_bearer(api.client(request))?;
            return Err(invalid());
        }
    };
    let (role, sid, kid) = (claims.role, claims.sid, claims.kid);
    let session = api.store.look(move |tx| tx.session_under_key(sid, &kid)).await;
    let session = session.map_err(Problem::from)?;
    let now = api.env().now();
    let session =
        session.filter(|session| session.is_live(now) && subject(session) == (role, claims.sub));
    let Some(session) = session else {
        api.limiter.bad_bearer(api.client(request))?;
        return Err(invalid());
    };
    api.limiter.credential(match role {
        Role::Clinic => claims.sub,
        Role::Patient => sid.0,
    })?;
    let span = tracing::Span::current();
    span.record("clinic", tracing::field::display(session.clinic_id));
    if let Some(patient) = session.patient_id {
        span.record("patient", tracing::field::display(patient));
    }
    Ok(session)
}

/// Whom a session's tokens are about.
fn subject(session: &Session) -> (Role, Uuid) {
    match session.patient_id {
        Some(patient) => (Role::Patient, patient.0),
        None => (Role::Clinic, session.clinic_id.0),
    }
}

/// The bearer of a request. Two `Authorization` headers are one too many: which of them counts would
/// depend on who reads them.
fn bearer(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut values = request.headers().get_all(AUTHORIZATION);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid());
    }
    let text = value.to_str().map_err(|_| invalid())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(token.trim_start_matches(' ').to_owned()))
        }
        _ => Ok(None),
    }
}
