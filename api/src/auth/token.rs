//! Access tokens: short-lived JSON Web Tokens, signed with Ed25519.
//!
//! Verification trusts nothing that the token says of itself: the algorithm is pinned, the type must
//! be `at+jwt` (so that no other kind of our tokens passes for one), every claim must be there, and
//! `exp` and `nbf` are read against our own clock with no leeway. `jsonwebtoken` accepts a token that
//! has no `aud` or `iss` at all unless they are *required*, and reads the system's clock unless told
//! not to: both are seen to here.

use std::fmt;

use aftercare::care::ACCESS_LIFETIME;
use aftercare::clock::Env;
use aftercare::ids::SessionId;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How long before it was issued a token is good already, so that two servers whose clocks differ by
/// a little accept each other's. Elapsed time.
const NOT_BEFORE_SLACK: SignedDuration = SignedDuration::from_secs(5);

/// The media type of our tokens (RFC 9068), as their header's `typ` has it.
const TOKEN_TYPE: &str = "at+jwt";

/// Longer tokens are refused unread; ours have about 500 bytes.
const LONGEST: usize = 4096;

/// Who a token was issued to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A clinic's own software.
    Clinic,
    /// A patient's app.
    Patient,
}

impl Role {
    /// The role's text, which is also the token's `scope`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clinic => "clinic",
            Self::Patient => "patient",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a token says; times are seconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The key that signed it.
    #[serde(skip)]
    pub(crate) kid: String,
    iss: String,
    aud: String,
    pub(crate) sub: Uuid,
    pub(crate) sid: SessionId,
    pub(crate) role: Role,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: Uuid,
}

/// A token that is not accepted. Why is for the log, never for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("not a token of ours")]
    Malformed,
    #[error("signed with a key that is not ours")]
    UnknownKey,
    #[error("the signature or a claim is wrong")]
    Refused,
    #[error("not valid yet")]
    TooEarly,
    #[error("expired")]
    Expired,
}

/// Makes a token for one session.
///
/// # Errors
/// When the key cannot sign.
pub(crate) fn mint(
    env: &Env,
    issuer: &str,
    (kid, key): (&str, &EncodingKey),
    (role, subject, session): (Role, Uuid, SessionId),
) -> Result<String, jsonwebtoken::errors::Error> {
    let now = env.now();
    let iat = now.as_second();
    let claims = Claims {
        kid: String::new(),
        iss: issuer.to_owned(),
        aud: issuer.to_owned(),
        sub: subject,
        sid: session,
        role,
        exp: iat + ACCESS_LIFETIME.as_secs(),
        nbf: iat - NOT_BEFORE_SLACK.as_secs(),
        iat,
        jti: env.uuid(),
    };
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TOKEN_TYPE.to_owned());
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, &claims, key)
}

/// The id of the key that a token claims to be signed with, once its header is that of our tokens.
///
/// # Errors
/// Whatever else the token is.
pub(crate) fn key_id(token: &str) -> Result<String, TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Malformed);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed);
    };
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
    let header: OurHeader = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
    if header.alg == "EdDSA" && header.typ == TOKEN_TYPE {
        Ok(header.kid)
    } else {
        Err(TokenError::Malformed)
    }
}

/// The header that our tokens have, and nothing else: no member that could point to another key or ask
/// for an extension.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OurHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// Checks a token's signature, which is to be that of the key `kid`, and every claim.
///
/// # Errors
/// Whatever is not a token of this issuer that holds at `now`.
pub(crate) fn verify(
    token: &str,
    (kid, key): (&str, &DecodingKey),
    issuer: &str,
    now: Timestamp,
) -> Result<Claims, TokenError> {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[issuer]);
    validation.leeway = 0;
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
        .map_err(|_| TokenError::Refused)?
        .claims;
    let now = now.as_second();
    if claims.exp <= now {
        return Err(TokenError::Expired);
    }
    if claims.nbf > now || claims.iat > now.saturating_add(NOT_BEFORE_SLACK.as_secs()) {
        return Err(TokenError::TooEarly);
    }
    Ok(Claims { kid: kid.to_owned(), ..claims })
}

/// Whether an access token is one of this issuer's that holds at `now`, signed with the Ed25519 key `kid`.
/// Its session is not looked at.
#[must_use]
pub fn token_holds(token: &str, kid: &str, public: &[u8], issuer: &str, now: Timestamp) -> bool {
    let key = DecodingKey::from_ed_der(public);
    key_id(token).is_ok_and(|named| named == kid) && verify(token, (kid, &key), issuer, now).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aftercare::clock::ManualClock;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://aftercare.test";

    struct Bench {
        env: Env,
        clock: Arc<ManualClock>,
        encoding: EncodingKey,
        decoding: DecodingKey,
    }

    fn bench() -> Bench {
        let clock = Arc::new(ManualClock::new("2026-11-22T15:40:00Z".parse().unwrap()));
        let pair = Ed25519KeyPair::generate().unwrap();
        Bench {
            env: Env::with_clock(clock.clone()),
            clock,
            encoding: EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref()),
            decoding: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        }
    }

    impl Bench {
        fn token(&self) -> String {
            let who = (Role::Clinic, Uuid::from_u128(7), SessionId(Uuid::from_u128(9)));
            mint(&self.env, ISSUER, ("k1", &self.encoding), who).unwrap()
        }

        fn check(&self, token: &str) -> Result<Claims, TokenError> {
            assert_eq!(key_id(token)?, "k1");
            verify(token, ("k1", &self.decoding), ISSUER, self.env.now())
        }

        /// A token whose header and claims were tampered with before it was signed with our key.
        fn forged(
            &self,
            header: impl FnOnce(&mut Value),
            claims: impl FnOnce(&mut Value),
        ) -> String {
            let token = self.token();
            let mut parts = token.split('.').map(|part| {
                let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
                serde_json::from_slice::<Value>(&bytes).unwrap_or_default()
            });
            let (mut head, mut body) = (parts.next().unwrap(), parts.next().unwrap());
            header(&mut head);
            claims(&mut body);
            let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", encode(&head), encode(&body));
            let signature =
                jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, Algorithm::EdDSA);
            format!("{message}.{}", signature.unwrap())
        }
    }

    #[test]
    fn holds_from_issue_until_the_last_second_of_its_life() {
        let bench = bench();
        let token = bench.token();
        assert_eq!(bench.check(&token).unwrap().sub, Uuid::from_u128(7));
        bench.clock.advance(ACCESS_LIFETIME - SignedDuration::from_secs(1));
        bench.check(&token).unwrap();
        bench.clock.advance(SignedDuration::from_secs(1));
        assert_eq!(bench.check(&token).unwrap_err(), TokenError::Expired);
        bench.clock.set("2026-11-22T15:39:54Z".parse().unwrap());
        assert_eq!(bench.check(&token).unwrap_err(), TokenError::TooEarly);
    }

    #[test]
    fn every_claim_is_required() {
        let bench = bench();
        bench.check(&bench.forged(|_| (), |_| ())).unwrap();
        for claim in ["iss", "aud", "sub", "sid", "role", "exp", "nbf", "iat", "jti"] {
            let without = bench.forged(
                |_| (),
                |claims| {
                    claims.as_object_mut().unwrap().remove(claim);
                },
            );
            assert_eq!(bench.check(&without).unwrap_err(), TokenError::Refused, "{claim}");
        }
    }

    #[test]
    fn claims_of_others_and_odd_types_are_refused() {
        let bench = bench();
        for (claim, value) in [
            ("iss", json!("https://elsewhere.test")),
            ("iss", json!([ISSUER])),
            ("aud", json!("https://elsewhere.test")),
            ("aud", json!([ISSUER, "x"])),
            ("role", json!("admin")),
            ("sid", json!("x")),
            ("sub", json!(7)),
            ("exp", json!("4000000000")),
            ("exp", json!(1e300)),
        ] {
            let forged = bench.forged(|_| (), |claims| claims[claim] = value.clone());
            assert!(bench.check(&forged).is_err(), "{claim}: {value}");
        }
    }

    #[test]
    fn headers_that_are_not_ours_are_refused_before_any_key_is_looked_at() {
        let bench = bench();
        for (name, value) in [
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("RS256")),
            ("typ", json!("JWT")),
            ("typ", Value::Null),
            ("kid", Value::Null),
            ("crit", json!(["exp"])),
        ] {
            let forged = bench.forged(|header| header[name] = value.clone(), |_| ());
            assert_eq!(key_id(&forged).unwrap_err(), TokenError::Malformed, "{name}: {value}");
        }
        for text in ["", ".", "..", "a.b.c", &"x".repeat(5000)] {
            assert_eq!(key_id(text).unwrap_err(), TokenError::Malformed);
        }
    }

    #[test]
    fn a_changed_or_cut_token_is_refused() {
        let bench = bench();
        let token = bench.token();
        let (message, signature) = token.rsplit_once('.').unwrap();
        for broken in [format!("{message}."), format!("{message}.{}", &signature[1..])] {
            assert_eq!(bench.check(&broken).unwrap_err(), TokenError::Refused);
        }
        let other = super::tests::bench();
        assert_eq!(other.check(&token).unwrap_err(), TokenError::Refused);
    }
}
