//! Access tokens for FCM: an RS256 assertion of the service account, exchanged at its token URI
//! (RFC 7523).
//!
//! Tokens are kept in memory and refreshed five minutes early. However many sends ask at once,
//! one request goes out, and none before the endpoint's `Retry-After`. All times are wall-clock times of the
//! injected clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aftercare::clock::Env;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::connection::{RequestError, Response};
use super::credentials::ServiceAccount;
use super::outcome::retry_after;
use super::pool::Pool;
use crate::pause::Pause;

/// `urn:ietf:params:oauth:grant-type:jwt-bearer`, as a form spells it.
const GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// Google's longest life of an assertion.
const ASSERTION_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// A token is replaced this long before it ends.
const EARLY: SignedDuration = SignedDuration::from_mins(5);
/// A life that no token endpoint means seriously is cut to a day.
const LIFE_MAX: i64 = 86_400;
/// A `Retry-After` is cut to this: reminders are of no use for much longer.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Why there is no access token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token endpoint refused the service account: a deleted key, a wrong clock, a disabled
    /// account. Somebody must look.
    #[error("the token endpoint refused the service account ({status}, {code})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// OAuth's error code, `invalid_grant` for most.
        code: String,
    },
    /// The token endpoint could not be reached or answered nonsense; it may pass.
    #[error("no access token: {0}")]
    Unavailable(String),
    /// The assertion could not be signed.
    #[error("the service account's key cannot sign")]
    Signing,
}

/// An access token, ready for an `Authorization` header.
pub(crate) struct AccessToken {
    bearer: HeaderValue,
    refresh_at: Timestamp,
    ends_at: Timestamp,
}

impl AccessToken {
    /// The value of the `Authorization` header, marked sensitive.
    pub(crate) fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }
}

/// See the module's words.
pub(crate) struct TokenProvider {
    account: ServiceAccount,
    env: Env,
    pool: Pool,
    uri: Uri,
    current: RwLock<Option<Arc<AccessToken>>>,
    /// Counts fetches, so that whoever waited for one takes its result.
    fetches: AtomicU64,
    /// Held while fetching.
    flight: Mutex<Flight>,
}

/// What the last fetch left.
#[derive(Default)]
struct Flight {
    /// Its failure, for those who waited.
    failed: Option<TokenError>,
    /// How long the endpoint wants to be left alone.
    hold: Option<Pause>,
}

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: i64,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

impl TokenProvider {
    /// `pool` leads to the account's token URI.
    pub(crate) fn new(account: ServiceAccount, env: Env, pool: Pool) -> Result<Self, http::Error> {
        let uri = account.token_uri().join("")?;
        let (current, flight) = (RwLock::default(), Mutex::default());
        Ok(Self { account, env, pool, uri, current, fetches: AtomicU64::new(0), flight })
    }

    /// A token that is good for at least the next request.
    ///
    /// # Errors
    /// Everyone who waited for the same failed fetch gets its error; the next caller tries again.
    pub(crate) async fn token(&self) -> Result<Arc<AccessToken>, TokenError> {
        let now = self.env.now();
        let current = self.current();
        if let Some(token) = &current {
            let being_fetched = || now < token.ends_at && self.flight.try_lock().is_err();
            if now < token.refresh_at || being_fetched() {
                return Ok(Arc::clone(token));
            }
        }
        let seen = self.fetches.load(Ordering::Acquire);
        let mut flight = self.flight.lock().await;
        if let Some(token) = self.current().filter(|token| now < token.refresh_at) {
            return Ok(token);
        }
        let current = current.filter(|token| now < token.ends_at);
        let held = flight.hold.is_some_and(|pause| !pause.is_over(&self.env));
        if let Some(error) = &flight.failed
            && (held || self.fetches.load(Ordering::Acquire) != seen)
        {
            return current.ok_or_else(|| error.clone());
        }
        flight.hold = None;
        let fetched = self.fetch(&mut flight.hold).await;
        self.fetches.fetch_add(1, Ordering::AcqRel);
        flight.failed = fetched.as_ref().err().cloned();
        match (fetched, current) {
            (Ok(token), _) => {
                let held = Some(Arc::clone(&token));
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = held;
                Ok(token)
            }
            (Err(error), Some(token)) => {
                tracing::warn!(%error, "the access token could not be refreshed; it still works");
                Ok(token)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Forgets `token` when it is still the current one, so that the next caller fetches anew.
    pub(crate) fn invalidate(&self, token: &Arc<AccessToken>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|held| Arc::ptr_eq(held, token)) {
            *current = None;
        }
    }

    fn current(&self) -> Option<Arc<AccessToken>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetch(&self, hold: &mut Option<Pause>) -> Result<Arc<AccessToken>, TokenError> {
        let now = self.env.now();
        let form = Bytes::from(format!("grant_type={GRANT}&assertion={}", self.assertion(now)?));
        let response = self.post(form).await?;
        if response.status == StatusCode::OK {
            return granted(&response.body, now);
        }
        let wait = retry_after(&response.headers, self.env.now());
        *hold = wait.map(|wait| Pause::new(&self.env, wait.min(WAIT_MAX)));
        let status = response.status.as_u16();
        match serde_json::from_slice::<Denied>(&response.body) {
            Ok(denied) if matches!(status, 400 | 401 | 403) => {
                Err(TokenError::Refused { status, code: denied.error.chars().take(64).collect() })
            }
            _ => Err(TokenError::Unavailable(format!("the token endpoint answered {status}"))),
        }
    }

    fn assertion(&self, now: Timestamp) -> Result<String, TokenError> {
        let header = Header {
            kid: self.account.private_key_id().map(str::to_owned),
            ..Header::new(Algorithm::RS256)
        };
        let claims = Assertion {
            iss: self.account.client_email(),
            scope: SCOPE,
            aud: self.account.audience(),
            iat: now.as_second(),
            exp: now.as_second().saturating_add(ASSERTION_LIFE.as_secs()),
        };
        jsonwebtoken::encode(&header, &claims, self.account.key()).map_err(|_| TokenError::Signing)
    }

    /// Posts the form; once more when the first connection was on its way out.
    async fn post(&self, form: Bytes) -> Result<Response, TokenError> {
        let unavailable = |error: String| TokenError::Unavailable(error);
        let mut retried = false;
        loop {
            let stream = self.pool.stream().await.map_err(|e| unavailable(e.to_string()))?;
            let request = Request::builder()
                .method(Method::POST)
                .uri(self.uri.clone())
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::CONTENT_LENGTH, form.len())
                .body(())
                .map_err(|error| unavailable(error.to_string()))?;
            match stream.connection().request(request, form.clone()).await {
                Ok(response) => return Ok(response),
                Err(RequestError::NotProcessed) if !retried => retried = true,
                Err(error) => return Err(unavailable(error.to_string())),
            }
        }
    }
}

fn granted(body: &[u8], now: Timestamp) -> Result<Arc<AccessToken>, TokenError> {
    let unreadable = || TokenError::Unavailable("the token endpoint's answer is no token".into());
    let granted: Granted = serde_json::from_slice(body).map_err(|_| unreadable())?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", granted.access_token))
        .map_err(|_| unreadable())?;
    bearer.set_sensitive(true);
    let life = SignedDuration::from_secs(granted.expires_in.clamp(0, LIFE_MAX));
    let early = EARLY.min(life / 2);
    let ends_at = now.checked_add(life).unwrap_or(Timestamp::MAX);
    let refresh_at = ends_at.checked_sub(early).unwrap_or(now);
    Ok(Arc::new(AccessToken { bearer, refresh_at, ends_at }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_is_refreshed_five_minutes_early() {
        let now = at("2026-11-22T15:00:00Z");
        let token = granted(br#"{"access_token": "abc", "expires_in": 3599}"#, now).unwrap();
        assert_eq!(token.refresh_at, at("2026-11-22T15:54:59Z"));
        assert_eq!(token.ends_at, at("2026-11-22T15:59:59Z"));
        assert!(token.bearer().is_sensitive());
        let short = granted(br#"{"access_token": "abc", "expires_in": 60}"#, now).unwrap();
        assert_eq!(short.refresh_at, at("2026-11-22T15:00:30Z"));
    }

    #[test]
    fn nonsense_is_no_token() {
        let now = at("2026-11-22T15:00:00Z");
        for body in ["", "<html>", "{}", r#"{"access_token": "a\nb", "expires_in": 9}"#] {
            assert!(granted(body.as_bytes(), now).is_err(), "{body}");
        }
    }
}
