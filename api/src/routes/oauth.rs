//! Tokens: RFC 6749 for asking, RFC 7009 for giving back, RFC 7517 for checking elsewhere.
//!
//! These endpoints answer errors as those RFCs have them, not as problem+json: their callers are
//! OAuth libraries.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse, get, post};
use aftercare::care::ACCESS_LIFETIME;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::auth::{self, Grant, Refresh, Role, Signer};
use crate::dto::{JwkSet, RevokeRequest, TokenAnswer, TokenError, TokenRequest};
use crate::fields::{Form, form, read_form};
use crate::problem::Problem;
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(create_token).service(revoke_token).service(get_jwks);
}

/// An error of the token endpoint.
#[derive(Debug)]
pub(crate) enum Refused {
    /// One of RFC 6749's own.
    OAuth { status: StatusCode, error: &'static str, description: &'static str },
    /// Anything else: too many requests, a database that does not answer.
    Other(Problem),
}

impl Refused {
    const fn bad(error: &'static str, description: &'static str) -> Self {
        Self::OAuth { status: StatusCode::BAD_REQUEST, error, description }
    }

    const fn client() -> Self {
        Self::OAuth {
            status: StatusCode::UNAUTHORIZED,
            error: "invalid_client",
            description: "The client or its secret is not known",
        }
    }

    const fn grant() -> Self {
        Self::bad(
            "invalid_grant",
            "The refresh token is not valid, has expired, was used or revoked",
        )
    }

    fn is_guess(&self) -> bool {
        matches!(self, Self::OAuth { error: "invalid_client" | "invalid_grant", .. })
    }

    fn answer(self) -> HttpResponse {
        match self {
            Self::Other(problem) => other(&problem),
            Self::OAuth { status, error, description } => {
                let mut response = uncached(status);
                if status == StatusCode::UNAUTHORIZED {
                    response.insert_header((WWW_AUTHENTICATE, "Basic realm=\"aftercare\""));
                }
                response.json(TokenError { error, error_description: description })
            }
        }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Other(problem)
    }
}

/// A problem in RFC 6749's clothes, its status and `Retry-After` kept.
fn other(problem: &Problem) -> HttpResponse {
    let (error, error_description) = match problem.code().status().as_u16() {
        429 => ("temporarily_unavailable", "Too many attempts; Retry-After says when to come back"),
        503 => ("temporarily_unavailable", "The server cannot serve this now; try again"),
        500 => ("server_error", "The server could not do this"),
        413 => ("invalid_request", "The form is too large"),
        415 => ("invalid_request", "The form must be application/x-www-form-urlencoded"),
        _ => ("invalid_request", "The form cannot be read"),
    };
    let mut response = uncached(problem.code().status());
    if let Some(seconds) = problem.retry_after() {
        response.insert_header((RETRY_AFTER, seconds));
    }
    response.json(TokenError { error, error_description })
}

fn uncached(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
    response
}

/// What every operation that takes a form may answer besides its own: see [`other`].
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it only describes")]
enum FormRefused {
    /// `invalid_request`
    #[response(status = 408)]
    Slow(TokenError),
    /// `invalid_request`
    #[response(status = 413)]
    Large(TokenError),
    /// `invalid_request`
    #[response(status = 415)]
    NoForm(TokenError),
    /// `temporarily_unavailable`: too many failures from this address
    #[response(status = 429)]
    TooMany(TokenError),
    /// `server_error`
    #[response(status = 500)]
    Failed(TokenError),
    /// `temporarily_unavailable`
    #[response(status = 503)]
    Unavailable(TokenError),
}

/// A form read with the errors of RFC 6749.
pub(crate) struct OAuthForm(Result<Form, Problem>);

impl FromRequest for OAuthForm {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { Ok(Self(form(&request, payload).await)) })
    }
}

/// The parameters of a form, each at most once (RFC 6749, section 3.2), empty ones left out.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn new(Form(pairs): Form) -> Result<Self, Refused> {
        let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(Refused::bad("invalid_request", "A parameter must come once"));
        }
        Ok(Self(pairs))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Get an access token.
///
/// A clinic's software sends `grant_type=client_credentials` with its client id and secret, by HTTP
/// Basic or in the form. A patient's app sends `grant_type=refresh_token`; each refresh token is good
/// once, but the last one spent works again for 60 seconds while its successor is unused, so that a
/// lost answer strands nobody. A refresh token used again after that ends its whole session; one that
/// was spent more than a month ago may be forgotten, and then is refused like any that is unknown.
#[utoipa::path(
    operation_id = "createToken",
    tag = "auth",
    security((), ("client" = [])),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Tokens", body = TokenAnswer),
        (status = 400, description = "`invalid_request`, `invalid_grant`, `unsupported_grant_type` or `invalid_scope`", body = TokenError),
        (status = 401, description = "`invalid_client`", body = TokenError),
        FormRefused
    )
)]
#[post("/v1/oauth/token")]
async fn create_token(api: Data<Api>, request: HttpRequest, form: OAuthForm) -> HttpResponse {
    match grant(&api, &request, form).await {
        Ok(tokens) => uncached(StatusCode::OK).json(tokens),
        Err(refused) => refused.answer(),
    }
}

async fn grant(api: &Api, request: &HttpRequest, form: OAuthForm) -> Result<TokenAnswer, Refused> {
    let parameters = Parameters::new(form.0?)?;
    let address = api.client(request);
    api.limiter.may_try(address)?;
    let granted = match parameters.get("grant_type") {
        Some("client_credentials") => client_credentials(api, request, &parameters).await,
        Some("refresh_token") => refresh_token(api, &parameters).await,
        Some(_) => Err(Refused::bad(
            "unsupported_grant_type",
            "The grant types here are client_credentials and refresh_token",
        )),
        None => Err(Refused::bad("invalid_request", "grant_type is missing")),
    };
    if granted.as_ref().is_err_and(Refused::is_guess) {
        api.limiter.failed(address)?;
    }
    granted
}

async fn client_credentials(
    api: &Api,
    request: &HttpRequest,
    parameters: &Parameters,
) -> Result<TokenAnswer, Refused> {
    let (client_id, secret) = credentials(request, parameters)?;
    let known = api.store.read(move |tx| tx.clinic_by_client_id(&client_id)).await;
    let (clinic, secrets) = known.map_err(Problem::from)?.unzip();
    let secrets = secrets.unwrap_or_default();
    let hashes = secrets.iter().map(|known| known.hash.clone()).collect();
    let address = api.client(request);
    let turn = api.hasher.turn(address).await.ok_or_else(Problem::unavailable)?;
    // Those who waited before this one may have spent the address's failures.
    api.limiter.may_try(address)?;
    let shown =
        api.hasher.matches(turn, secret, hashes).await.map_err(|e| Problem::internal(&e))?;
    let shown = shown.and_then(|place| secrets.get(place)).map(|known| known.id);
    let Some((clinic, shown)) = clinic.map(|clinic| clinic.id).zip(shown) else {
        return Err(Refused::client());
    };
    if parameters.get("scope").is_some_and(|scope| scope != Role::Clinic.as_str()) {
        return Err(Refused::bad("invalid_scope", "The scope of a clinic's client is clinic"));
    }
    // Only now: whoever knows no more than the client id must not spend what the clinic may ask for.
    api.limiter.token(clinic.0)?;
    let signer = api.keys.signer().await?;
    let opened = api.store.write(move |tx| auth::open_clinic_session(tx, clinic, shown)).await;
    let Some(session) = opened.map_err(Problem::from)? else { return Err(Refused::client()) };
    let grant = Grant { session, role: Role::Clinic, subject: clinic.0, refresh_token: None };
    Ok(answer(api, &signer, grant)?)
}

/// The client's id and secret: from HTTP Basic or from the form, never both (RFC 6749, section 2.3).
fn credentials(
    request: &HttpRequest,
    parameters: &Parameters,
) -> Result<(String, SecretString), Refused> {
    let in_form = (parameters.get("client_id"), parameters.get("client_secret"));
    let Some(header) = request.headers().get(AUTHORIZATION) else {
        return match in_form {
            (Some(id), Some(secret)) => Ok((id.to_owned(), secret.into())),
            _ => Err(Refused::client()),
        };
    };
    if in_form.1.is_some() {
        let description = "Give the secret by HTTP Basic or in the form, not both";
        return Err(Refused::bad("invalid_request", description));
    }
    let (id, secret) = header.to_str().ok().and_then(basic).ok_or_else(Refused::client)?;
    if in_form.0.is_some_and(|other| other != id) {
        return Err(Refused::bad("invalid_request", "The two client ids are not the same"));
    }
    Ok((id, secret))
}

/// HTTP Basic, its two halves form-encoded as RFC 6749 wants.
fn basic(header: &str) -> Option<(String, SecretString)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded =
        SecretString::from(String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?);
    let (id, secret) = decoded.expose_secret().split_once(':')?;
    let Form(pairs) = read_form(format!("{id}={secret}").as_bytes()).ok()?;
    let (id, secret) = pairs.into_iter().next()?;
    Some((id, secret.into()))
}

async fn refresh_token(api: &Api, parameters: &Parameters) -> Result<TokenAnswer, Refused> {
    let Some(token) = parameters.get("refresh_token") else {
        return Err(Refused::bad("invalid_request", "refresh_token is missing"));
    };
    if parameters.get("scope").is_some_and(|scope| scope != Role::Patient.as_str()) {
        return Err(Refused::bad("invalid_scope", "The scope of a patient's app is patient"));
    }
    let token = SecretString::from(token);
    let shown = token.clone();
    let session = api.store.read(move |tx| tx.session_of_refresh_token(&shown)).await;
    if let Some(session) = session.map_err(Problem::from)? {
        api.limiter.token(session.id.0)?;
    }
    let signer = api.keys.signer().await?;
    match api.store.write(move |tx| auth::refresh(tx, &token)).await.map_err(Problem::from)? {
        Refresh::Granted(grant) => Ok(answer(api, &signer, grant)?),
        Refresh::Refused => Err(Refused::grant()),
        Refresh::Reused => {
            tracing::warn!("a spent refresh token was used again; its session was revoked");
            api.wake();
            Err(Refused::grant())
        }
    }
}

/// Tokens for a session that was just opened or carried on.
pub(super) fn answer(api: &Api, signer: &Signer, grant: Grant) -> Result<TokenAnswer, Problem> {
    let who = (grant.role, grant.subject, grant.session);
    Ok(TokenAnswer {
        access_token: signer.sign(&api.public_url, who)?,
        token_type: "Bearer",
        expires_in: ACCESS_LIFETIME.as_secs(),
        scope: grant.role.as_str(),
        refresh_token: grant.refresh_token.map(|token| token.expose_secret().to_owned()),
    })
}

/// End a session: logout.
///
/// Takes an access token or a refresh token and ends its session: every token of it, at once. A token
/// that is not known is answered alike.
#[utoipa::path(
    operation_id = "revokeToken",
    tag = "auth",
    security(()),
    request_body(content = RevokeRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token is good for nothing any more"),
        (status = 400, description = "`invalid_request`", body = TokenError),
        FormRefused
    )
)]
#[post("/v1/oauth/revoke")]
async fn revoke_token(api: Data<Api>, request: HttpRequest, form: OAuthForm) -> HttpResponse {
    match end_session(&api, &request, form).await {
        Ok(()) => uncached(StatusCode::OK).finish(),
        Err(refused) => refused.answer(),
    }
}

/// Looks the session up before anything is written: a token that is none costs a read and counts as a
/// failure of its address.
async fn end_session(api: &Api, request: &HttpRequest, form: OAuthForm) -> Result<(), Refused> {
    let parameters = Parameters::new(form.0?)?;
    let Some(token) = parameters.get("token") else {
        return Err(Refused::bad("invalid_request", "token is missing"));
    };
    let address = api.client(request);
    api.limiter.may_try(address)?;
    let claims = api.keys.verify(&api.public_url, token).await?;
    let token = SecretString::from(token);
    let known = match claims {
        Ok(claims) => api.store.look(move |tx| tx.session_under_key(claims.sid, &claims.kid)).await,
        Err(_) => api.store.read(move |tx| tx.session_of_refresh_token(&token)).await,
    };
    let Some(session) = known.map_err(Problem::from)? else {
        return Ok(api.limiter.failed(address)?);
    };
    if session.revoked_at.is_some() {
        return Ok(());
    }
    let ended = api.store.write(move |tx| auth::revoke_session(tx, session.id)).await;
    if ended.map_err(Problem::from)? {
        api.wake();
    }
    Ok(())
}

/// The public keys of access tokens.
#[utoipa::path(
    operation_id = "getJwks",
    tag = "auth",
    security(()),
    responses((status = 200, description = "A JSON Web Key Set", body = JwkSet))
)]
#[get("/.well-known/jwks.json")]
async fn get_jwks(api: Data<Api>) -> Result<HttpResponse, Problem> {
    let keys: JwkSet = api.keys.public().await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "public, max-age=60")).json(keys))
}
