//! Signed messages, as Standard Webhooks has them: HMAC-SHA256 of `id.timestamp.body`.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use aftercare::clock::Env;
use aftercare::ids::ClinicId;
use aftercare::store::SigningSecret;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use crate::problem::{Code, Problem};
use crate::state::Api;

/// How far a message's clock may be from ours.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// The bytes of a secret.
const SECRET_BYTES: usize = 32;
/// How secrets are written.
const PREFIX: &str = "whsec_";
/// The longest id that is kept.
const LONGEST_ID: usize = 256;
/// Signatures that are looked at: a sender that rotates its secret sends two.
const SIGNATURES: usize = 8;

/// The headers of a signed message.
#[derive(Debug)]
pub(crate) struct SignedMessage {
    id: String,
    timestamp: String,
    signatures: String,
}

impl SignedMessage {
    /// The signature that a request came with; `None` when it came with none.
    pub(crate) fn of(request: &HttpRequest) -> Option<Self> {
        let header = |name: &str| {
            let lines: Vec<_> = request.headers().get_all(name).collect();
            let text = |value: &&HeaderValue| value.to_str().unwrap_or_default().to_owned();
            (!lines.is_empty()).then(|| lines.iter().map(text).collect::<Vec<_>>().join(" "))
        };
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header);
        if headers.iter().all(Option::is_none) {
            return None;
        }
        let [id, timestamp, signatures] = headers.map(Option::unwrap_or_default);
        Some(Self { id, timestamp, signatures })
    }

    /// The message's id: the same id is the same message.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Checks that the message comes from this clinic, and now. Without a clinic it comes from nobody.
    ///
    /// # Errors
    /// 401 when it does not, 422 when its id cannot be kept; 429 when the clinic, or whoever pretends to be
    /// one, asks too often.
    pub(crate) async fn verify(
        &self,
        api: &Api,
        request: &HttpRequest,
        clinic: Option<ClinicId>,
        body: &[u8],
    ) -> Result<ClinicId, Problem> {
        let secrets = match clinic {
            Some(clinic) => api.store.read(move |tx| tx.signing_secrets(clinic)).await,
            None => Ok(Vec::new()),
        };
        let signed = self.is_of(&secrets.map_err(Problem::from)?, body);
        let Some(clinic) = clinic.filter(|_| signed) else {
            api.limiter.bad_bearer(api.client(request))?;
            return Err(Problem::new(
                Code::InvalidSignature,
                "The signature is not that of ?clinic= for this id, timestamp and body",
            ));
        };
        api.limiter.credential(clinic.0)?;
        // Only whoever has the secret learns what else is wrong.
        if !self.is_fresh(api.env().now()) {
            return Err(Problem::new(
                Code::InvalidSignature,
                "The webhook-timestamp must be the seconds since 1970, at most 5 minutes off",
            ));
        }
        if !(1..=LONGEST_ID).contains(&self.id.len()) {
            let detail = format!("The webhook-id must have 1 to {LONGEST_ID} characters");
            return Err(Problem::new(Code::InvalidFields, detail));
        }
        tracing::Span::current().record("clinic", tracing::field::display(clinic));
        Ok(clinic)
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        let sent = self.timestamp.parse().ok().and_then(|at| Timestamp::from_second(at).ok());
        sent.is_some_and(|sent| now.duration_since(sent).abs() <= TOLERANCE)
    }

    fn is_of(&self, secrets: &[SigningSecret], body: &[u8]) -> bool {
        let signed = [self.id.as_bytes(), b".", self.timestamp.as_bytes(), b".", body].concat();
        let signatures = self.signatures.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        let mut good = false;
        for signature in signatures.take(SIGNATURES).filter_map(|one| STANDARD.decode(one).ok()) {
            for secret in secrets {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.secret.expose_secret());
                good |= hmac::verify(&key, &signed, &signature).is_ok();
            }
        }
        good
    }
}

/// A fresh secret.
pub(crate) fn new_signing_secret(env: &Env) -> SecretSlice<u8> {
    let bytes: [u8; SECRET_BYTES] = env.random();
    SecretSlice::from(bytes.to_vec())
}

/// A secret as Standard Webhooks libraries take it.
pub(crate) fn written(secret: &SecretSlice<u8>) -> SecretString {
    format!("{PREFIX}{}", STANDARD.encode(secret.expose_secret())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    fn message() -> (SignedMessage, SigningSecret, &'static [u8], Timestamp) {
        let message = SignedMessage {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
            timestamp: "1614265330".to_owned(),
            signatures: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned(),
        };
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let sent = Timestamp::from_second(1_614_265_330).unwrap();
        let secret = SigningSecret {
            id: uuid::Uuid::nil().into(),
            secret: SecretSlice::from(secret),
            created_at: sent,
        };
        (message, secret, b"{\"test\": 2432232314}", sent)
    }

    fn with(signatures: &str) -> SignedMessage {
        SignedMessage { signatures: signatures.to_owned(), ..message().0 }
    }

    #[test]
    fn a_message_is_taken_from_whoever_has_the_secret() {
        let (message, secret, body, _) = message();
        let other = SigningSecret { secret: SecretSlice::from(vec![7; 32]), ..secret.clone() };
        assert!(message.is_of(&[other.clone(), secret.clone()], body));
        assert!(!message.is_of(&[other], body));
        assert!(!message.is_of(&[], body));
        assert!(!message.is_of(std::slice::from_ref(&secret), b"{\"test\": 2432232315}"));
        for id in ["", "msg_other"] {
            let renamed = SignedMessage { id: id.to_owned(), ..with(&message.signatures) };
            assert!(!renamed.is_of(std::slice::from_ref(&secret), body), "{id}");
        }
    }

    #[test]
    fn one_good_signature_among_several_is_enough() {
        let (message, secret, body, _) = message();
        let good = &message.signatures;
        let judged = |signatures: &str| with(signatures).is_of(std::slice::from_ref(&secret), body);
        for signatures in [format!("v1,AAAA {good}"), format!("v1a,AAAA v2,AAAA {good} v1,?")] {
            assert!(judged(&signatures), "{signatures}");
        }
        let asymmetric = good.replace("v1,", "v1a,");
        let flood = format!("{}{good}", "v1,AAAA ".repeat(SIGNATURES));
        for signatures in ["", "v1,", "v1", &good.replace("v1,", ""), &asymmetric, &flood] {
            assert!(!judged(signatures), "{signatures}");
        }
    }

    #[test]
    fn a_message_is_five_minutes_off_at_most() {
        let (message, _, _, sent) = message();
        let second = SignedDuration::from_secs(1);
        for (now, good) in [
            (sent + TOLERANCE, true),
            (sent - TOLERANCE, true),
            (sent + TOLERANCE + second, false),
            (sent - TOLERANCE - second, false),
        ] {
            assert_eq!(message.is_fresh(now), good);
        }
        for timestamp in ["", "now", "1614265330.0", "99999999999999999"] {
            let odd = SignedMessage { timestamp: timestamp.to_owned(), ..with("v1,AAAA") };
            assert!(!odd.is_fresh(sent), "{timestamp}");
        }
    }
}
