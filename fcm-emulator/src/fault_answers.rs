//! What Google answers when something goes wrong, by the kind of fault.

use aftercare::clock::Env;
use http::StatusCode;
use http::header::RETRY_AFTER;
use jiff::SignedDuration;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::json;

use crate::answer::{self, Answer, Refusal, fcm_error};
use crate::bearer::{BearerFault, unauthenticated};
use crate::faults::{Endpoint, Fault, FaultKind, RetryAfter};
use crate::schema::Violation;

impl Fault {
    /// The faulty answer; `None` for the kinds that answer as usual or not at all.
    pub(crate) fn answer(&self, env: &Env) -> Option<Answer> {
        let answer = match (self.kind, self.endpoint) {
            (FaultKind::Html503, _) => html_503(),
            (
                FaultKind::DropBefore
                | FaultKind::DropAfter
                | FaultKind::Delay
                | FaultKind::DelayAnswer,
                _,
            ) => return None,
            (kind, Endpoint::Send) => self.refuse_send(kind),
            (kind, Endpoint::Token) => refuse_token(kind),
        };
        Some(match self.retry_after.and_then(|retry| retry.header(env)) {
            Some(value) => answer::with_header(answer, RETRY_AFTER, &value),
            None => answer,
        })
    }

    fn refuse_send(&self, kind: FaultKind) -> Answer {
        let refusal = |status, name, message: &str, code: &str| Refusal {
            status,
            name,
            message: message.to_owned(),
            details: vec![fcm_error(code)],
        };
        let refused = match kind {
            FaultKind::InvalidArgument => {
                let field = self.field.clone().unwrap_or_else(|| "message.token".to_owned());
                let description = match field.as_str() {
                    "message.token" => MALFORMED_TOKEN.to_owned(),
                    field => format!("Invalid value at '{field}'"),
                };
                Refusal::invalid_argument(&[Violation { field, description }])
            }
            FaultKind::Unauthenticated => return unauthenticated(BearerFault::Invalid),
            FaultKind::ThirdPartyAuthError => refusal(
                StatusCode::UNAUTHORIZED,
                "UNAUTHENTICATED",
                "Auth error from APNS or Web Push Service",
                "THIRD_PARTY_AUTH_ERROR",
            ),
            FaultKind::SenderIdMismatch => refusal(
                StatusCode::FORBIDDEN,
                "PERMISSION_DENIED",
                "SenderId mismatch",
                "SENDER_ID_MISMATCH",
            ),
            FaultKind::Unregistered => unregistered(),
            FaultKind::QuotaExceeded => refusal(
                StatusCode::TOO_MANY_REQUESTS,
                "RESOURCE_EXHAUSTED",
                "Resource has been exhausted (e.g. check quota).",
                "QUOTA_EXCEEDED",
            ),
            FaultKind::Internal => refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL",
                "Internal error encountered.",
                "INTERNAL",
            ),
            _ => refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "UNAVAILABLE",
                "The service is currently unavailable.",
                "UNAVAILABLE",
            ),
        };
        refused.into_answer()
    }
}

impl RetryAfter {
    fn header(self, env: &Env) -> Option<String> {
        match self {
            Self::Seconds(seconds) => Some(seconds.to_string()),
            Self::HttpDateIn(seconds) => {
                let ahead = SignedDuration::from_secs(i64::from(seconds));
                let at = env.now().checked_add(ahead).ok()?;
                DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
            }
        }
    }
}

/// What Google says of a token that no app could have been given.
pub(crate) const MALFORMED_TOKEN: &str =
    "The registration token is not a valid FCM registration token";

/// The answer for an address whose app is gone.
pub(crate) fn unregistered() -> Refusal {
    Refusal {
        status: StatusCode::NOT_FOUND,
        name: "NOT_FOUND",
        message: "Requested entity was not found.".to_owned(),
        details: vec![fcm_error("UNREGISTERED")],
    }
}

fn refuse_token(kind: FaultKind) -> Answer {
    let (status, code, description) = match kind {
        FaultKind::QuotaExceeded => {
            (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "Rate limit exceeded")
        }
        FaultKind::Internal => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal_failure", "Backend Error")
        }
        FaultKind::Unavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "internal_failure", "Backend Error")
        }
        _ => (StatusCode::BAD_REQUEST, "invalid_grant", "Invalid grant: account not found"),
    };
    answer::json(status, &json!({ "error": code, "error_description": description }))
}

fn html_503() -> Answer {
    let page = "<!DOCTYPE html>\n<html lang=en>\n<title>Error 503 (Service Unavailable)!!1</title>\n\
                <p><b>503.</b> <ins>That’s an error.</ins>\n\
                <p>The service you requested is not available at this time.\n";
    answer::answer(StatusCode::SERVICE_UNAVAILABLE, "text/html; charset=UTF-8", page)
}
