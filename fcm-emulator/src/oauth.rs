//! The OAuth side: a service account of its own, the token endpoint, and bearer tokens.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aftercare::clock::Env;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::StartError;
use crate::answer::{self, Answer};

/// Any one of these scopes lets a token send (Google's reference of `messages.send`).
const SENDING_SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/firebase.messaging",
    "https://www.googleapis.com/auth/cloud-platform",
];

/// Audiences of an assertion that SDKs have hard-coded, beside the emulator's own token URI.
const KNOWN_AUDIENCES: [&str; 3] = [
    "https://oauth2.googleapis.com/token",
    "https://accounts.google.com/o/oauth2/token",
    "https://www.googleapis.com/oauth2/v4/token",
];

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long an access token lives: Google answers one second less than the hour.
const TOKEN_SECONDS: i64 = 3_599;
/// The longest `exp - iat` Google takes, in seconds.
const MAX_ASSERTION_SECONDS: i64 = 3_600;
/// How far `iat` may lie ahead of the emulator's clock, in seconds.
const MAX_SKEW_SECONDS: i64 = 300;

/// One service account and the access tokens given to it.
pub(crate) struct Oauth {
    account: Account,
    public_key: UnparsedPublicKey<Vec<u8>>,
    tokens: Mutex<HashMap<String, Token>>,
    env: Env,
}

/// What the service-account file says, less the key itself.
struct Account {
    project_id: String,
    client_email: String,
    client_id: String,
    key_id: String,
    private_key: String,
    token_uri: String,
}

#[derive(Clone, Copy)]
struct Token {
    expires_at: Timestamp,
    may_send: bool,
}

/// What a bearer token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// It may send.
    Accepted,
    /// It is genuine, but of other scopes.
    OtherScopes,
    /// It is unknown or past its hour.
    Refused,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<String>,
    scope: Option<String>,
    iat: Option<i64>,
    exp: Option<i64>,
}

/// An OAuth error: the code and the description of RFC 6749, in Google's wording.
struct GrantError(&'static str, String);

impl Oauth {
    /// Makes a service account with a fresh RSA-2048 key; takes some tenths of a second.
    pub(crate) fn generate(
        project_id: &str,
        token_uri: String,
        env: Env,
    ) -> Result<Self, StartError> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| StartError::Key)?;
        let pkcs8: Pkcs8V1Der<'_> = key.as_der().map_err(|_| StartError::Key)?;
        let digits = env.random::<8>().map(u64::from);
        let account = Account {
            project_id: project_id.to_owned(),
            client_email: format!("aftercare-emulator@{project_id}.iam.gserviceaccount.com"),
            client_id: format!("1{:020}", digits.iter().fold(0, |sum, byte| sum * 256 + byte)),
            key_id: hex::encode(env.random::<20>()),
            private_key: pem("PRIVATE KEY", pkcs8.as_ref()),
            token_uri,
        };
        let public = key.public_key().as_ref().to_vec();
        let public_key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
        Ok(Self { account, public_key, tokens: Mutex::default(), env })
    }

    /// The service-account file, in the form the Google Cloud console hands out.
    pub(crate) fn credentials(&self) -> Value {
        let account = &self.account;
        json!({
            "type": "service_account",
            "project_id": account.project_id,
            "private_key_id": account.key_id,
            "private_key": account.private_key,
            "client_email": account.client_email,
            "client_id": account.client_id,
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": account.token_uri,
            "universe_domain": "googleapis.com",
        })
    }

    /// Answers a token request: a form body with `grant_type` and `assertion`.
    pub(crate) fn token(&self, form: &[u8]) -> Answer {
        match self.grant(form) {
            Ok(access_token) => answer::ok(json!({
                "access_token": access_token,
                "expires_in": TOKEN_SECONDS,
                "token_type": "Bearer",
            })),
            Err(GrantError(code, description)) => answer::json(
                StatusCode::BAD_REQUEST,
                &json!({ "error": code, "error_description": description }),
            ),
        }
    }

    /// What the token of an `Authorization: Bearer` header is worth now.
    pub(crate) fn check(&self, token: &str) -> Bearer {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        match tokens.get(token) {
            Some(known) if known.expires_at <= self.env.now() => Bearer::Refused,
            Some(known) if known.may_send => Bearer::Accepted,
            Some(_) => Bearer::OtherScopes,
            None => Bearer::Refused,
        }
    }

    /// Forgets every access token, as if all had expired.
    pub(crate) fn revoke_all(&self) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn grant(&self, form: &[u8]) -> Result<String, GrantError> {
        let fields: HashMap<_, _> = form_urlencoded::parse(form).collect();
        match fields.get("grant_type").map(AsRef::as_ref) {
            Some(GRANT_TYPE) => {}
            Some(other) => {
                let description = format!("Invalid grant_type: {other}");
                return Err(GrantError("unsupported_grant_type", description));
            }
            None => return Err(missing("grant_type")),
        }
        let assertion = fields.get("assertion").ok_or_else(|| missing("assertion"))?;
        let claims = self.verify(assertion)?;
        self.check_claims(&claims)?;
        let may_send = check_scope(claims.scope.as_deref().unwrap_or_default())?;
        Ok(self.issue(may_send))
    }

    fn verify(&self, assertion: &str) -> Result<Claims, GrantError> {
        let malformed = || invalid_grant("Bad Request");
        let (signed, signature) = assertion.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| malformed())?;
        if claims.iss.as_deref() != Some(self.account.client_email.as_str()) {
            return Err(invalid_grant("Invalid grant: account not found"));
        }
        let genuine = self.public_key.verify(signed.as_bytes(), &decode(signature)?).is_ok();
        if header.alg != "RS256" || !genuine {
            return Err(invalid_grant("Invalid JWT Signature."));
        }
        Ok(claims)
    }

    fn check_claims(&self, claims: &Claims) -> Result<(), GrantError> {
        let audience = claims.aud.as_deref().unwrap_or_default();
        if audience != self.account.token_uri && !KNOWN_AUDIENCES.contains(&audience) {
            return Err(invalid_grant(&format!(
                "Invalid JWT: Failed audience check. The right audience is {}",
                self.account.token_uri
            )));
        }
        if claims.sub.as_ref().is_some_and(|sub| *sub != self.account.client_email) {
            return Err(GrantError(
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client \
                 not authorized for any of the scopes requested."
                    .into(),
            ));
        }
        let now = self.env.now().as_second();
        let timely = claims.iat.zip(claims.exp).is_some_and(|(iat, exp)| {
            exp > now
                && exp > iat
                && exp.saturating_sub(iat) <= MAX_ASSERTION_SECONDS
                && iat <= now.saturating_add(MAX_SKEW_SECONDS)
        });
        if timely {
            return Ok(());
        }
        Err(invalid_grant(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
             timeframe. Check your iat and exp values in the JWT claim.",
        ))
    }

    fn issue(&self, may_send: bool) -> String {
        let now = self.env.now();
        let lifetime = SignedDuration::from_secs(TOKEN_SECONDS);
        let expires_at = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
        let token = format!("ya29.emulator.{}", URL_SAFE_NO_PAD.encode(self.env.random::<32>()));
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, known| known.expires_at > now);
        tokens.insert(token.clone(), Token { expires_at, may_send });
        token
    }
}

/// Whether the scopes asked for let a token send; an error when one is no Google scope at all.
fn check_scope(scope: &str) -> Result<bool, GrantError> {
    let mut scopes = scope.split_whitespace().peekable();
    let known = |scope: &str| scope.starts_with("https://www.googleapis.com/auth/");
    if scopes.peek().is_none() || !scopes.all(known) {
        return Err(GrantError(
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.".into(),
        ));
    }
    Ok(scope.split_whitespace().any(|scope| SENDING_SCOPES.contains(&scope)))
}

fn missing(parameter: &str) -> GrantError {
    GrantError("invalid_request", format!("Missing required parameter: {parameter}"))
}

fn invalid_grant(description: &str) -> GrantError {
    GrantError("invalid_grant", description.to_owned())
}

/// A PEM block with lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (index, letter) in encoded.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem + "\n-----END " + label + "-----\n"
}
