//! Who is at the desk, and whether a form is really theirs.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{COOKIE, ORIGIN};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use aftercare::ids::{ClinicId, StaffSessionId};
use aftercare::store::Staff;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use super::Refused;
use crate::fields::{Form, form, read_form};
use crate::problem::{Code, Problem};
use crate::state::Api;

/// Somebody who is signed in.
pub(super) struct StaffAuth {
    pub(super) clinic: ClinicId,
    pub(super) staff: Staff,
    pub(super) session: StaffSessionId,
    /// What their forms carry.
    pub(super) csrf: String,
}

/// A form that somebody who is signed in sent from a page of ours.
pub(super) struct Posted {
    pub(super) auth: StaffAuth,
    pub(super) form: Pairs,
}

/// A form from a page of ours, of nobody yet.
pub(super) struct Offered {
    pub(super) form: Pairs,
}

/// The values of a form or of a query string.
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Those of the query string.
    pub(super) fn of_query(request: &HttpRequest) -> Result<Self, Problem> {
        let Form(pairs) = read_form(request.query_string().as_bytes())?;
        Ok(Self(pairs))
    }

    /// The first value of that name, without spaces around it; empty when there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default().trim()
    }

    /// A value as it was typed.
    pub(super) fn secret(&self, name: &str) -> SecretString {
        self.all(name).next().unwrap_or_default().into()
    }

    pub(super) fn all<'p>(&'p self, name: &str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, Refused>>>>;

impl FromRequest for StaffAuth {
    type Error = Refused;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { authenticate(&request).await })
    }
}

impl FromRequest for Posted {
    type Error = Refused;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            demand_our_own(&request)?;
            let auth = authenticate(&request).await.map_err(Refused::or_lost)?;
            let Form(pairs) = form(&request, payload).await?;
            let form = Pairs(pairs);
            let shown = form.get("csrf").as_bytes();
            verify_slices_are_equal(shown, auth.csrf.as_bytes()).map_err(|_| foreign())?;
            Ok(Self { auth, form })
        })
    }
}

impl FromRequest for Offered {
    type Error = Refused;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            demand_our_own(&request)?;
            let Form(pairs) = form(&request, payload).await?;
            Ok(Self { form: Pairs(pairs) })
        })
    }
}

fn api(request: &HttpRequest) -> Result<Data<Api>, Refused> {
    request.app_data::<Data<Api>>().cloned().ok_or(Refused::SignIn)
}

async fn authenticate(request: &HttpRequest) -> Result<StaffAuth, Refused> {
    let api = api(request)?;
    let token = cookie(request, is_secure(&api)).ok_or(Refused::SignIn)?;
    let shown = token.clone();
    let found = api.store.read(move |tx| tx.staff_session(&shown)).await;
    let Some((session, staff)) = found.map_err(super::failed)? else {
        api.limiter.bad_bearer(api.client(request))?;
        return Err(Refused::SignIn);
    };
    api.limiter.credential(staff.id.0)?;
    tracing::Span::current().record("clinic", tracing::field::display(staff.clinic_id));
    let id = session.id;
    if session.is_stale(api.env().now()) {
        api.store.write(move |tx| tx.use_staff_session(id)).await.map_err(super::failed)?;
    }
    Ok(StaffAuth { clinic: staff.clinic_id, staff, session: id, csrf: csrf(&token) })
}

/// Knowing it takes the cookie, which scripts and other sites cannot read.
fn csrf(token: &SecretString) -> String {
    let bytes = ["desk-form:", token.expose_secret()].concat();
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes.as_bytes()))
}

/// Whether browsers reach the server over TLS.
fn is_secure(api: &Api) -> bool {
    api.public_url.starts_with("https://")
}

/// With TLS no other host, and no page that came without it, can set a cookie of this name.
const fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-desk" } else { "desk" }
}

fn cookie(request: &HttpRequest, secure: bool) -> Option<SecretString> {
    let headers = request.headers().get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let mut pairs =
        headers.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, token) = pairs.find(|(name, _)| name.trim() == cookie_name(secure))?;
    Some(token.trim().into())
}

/// The `Set-Cookie` of a sign-in. The browser forgets it when it is closed; the server before that.
pub(super) fn set_cookie(api: &Api, token: &SecretString) -> String {
    cookie_line(is_secure(api), token.expose_secret())
}

fn cookie_line(secure: bool, token: &str) -> String {
    let flags = if secure { "; Secure" } else { "" };
    let name = cookie_name(secure);
    format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict{flags}")
}

/// The `Set-Cookie` that takes it back.
pub(super) fn clear_cookie(api: &Api) -> String {
    set_cookie(api, &"".into()) + "; Max-Age=0"
}

/// A form counts only from a page of this server, as the browser says.
fn demand_our_own(request: &HttpRequest) -> Result<(), Refused> {
    let api = api(request)?;
    let origin = request.headers().get(ORIGIN).and_then(|value| value.to_str().ok());
    if origin == Some(origin_of(&api.public_url)) { Ok(()) } else { Err(foreign().into()) }
}

/// Scheme, host and port.
fn origin_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let path = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
    url.get(..path).unwrap_or(url)
}

fn foreign() -> Problem {
    let detail = "The form did not come from a page of this server, or from an earlier sign-in; go back to \
        the desk and try again. The desk works under the server's public address only";
    Problem::new(Code::ForeignForm, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_tls_the_cookie_goes_nowhere_without_it() {
        let line = cookie_line(true, "acd_x");
        assert_eq!(line, "__Host-desk=acd_x; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(cookie_line(false, "acd_x"), "desk=acd_x; Path=/; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn an_origin_is_what_browsers_say_of_a_page() {
        for (url, origin) in [
            ("https://care.example", "https://care.example"),
            ("https://care.example:8443/aftercare/", "https://care.example:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(origin_of(url), origin);
        }
    }
}
