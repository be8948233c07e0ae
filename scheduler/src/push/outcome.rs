//! What FCM's answer to one message means for the reminder and for the device.
//!
//! The rules follow Google's table of error codes. A body may be anything: Google's error JSON,
//! an HTML page of a proxy, half a document, nothing. Whatever cannot be understood is judged by
//! its status alone, and never in a way that drops a device.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;

/// What to do after one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// FCM took the message.
    Sent {
        /// FCM's name of it, `projects/…/messages/…`.
        name: String,
    },
    /// The app was uninstalled or its registration lapsed: delete the address.
    AddressGone,
    /// The address is malformed or belongs to another project: disable the device, no retry.
    AddressRefused,
    /// Try again later.
    RetryAfter {
        /// How long the server asked to wait (elapsed time), when it did.
        delay: Option<Duration>,
        /// Why; decides how long to wait when the server did not say.
        cause: RetryCause,
    },
    /// Our message or our project's set-up is wrong. Retrying cannot help; the device is kept and
    /// somebody must look.
    Rejected,
    /// FCM does not accept our access token, or our account may not send.
    CredentialsRefused,
}

/// Why a message is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryCause {
    /// 429: too many messages.
    Throttled,
    /// FCM is down, answered nonsense, or could not be reached.
    Unavailable,
}

/// FCM's answer to one message: the verdict and the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The verdict.
    pub outcome: Outcome,
    /// The HTTP status; `None` when no answer arrived.
    pub status: Option<u16>,
    /// FCM's `errorCode`, else the `status` of its error, else a word of our own in kebab-case.
    pub code: Option<String>,
    /// What FCM said, shortened; the address is cut out of it.
    pub detail: Option<String>,
}

/// The longest `detail` that is kept, in characters.
const DETAIL_MAX: usize = 300;

impl Answer {
    /// No answer arrived: to be tried again, because a repeat replaces itself on the phone.
    #[must_use]
    pub fn unanswered(code: &str, detail: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::RetryAfter { delay: None, cause: RetryCause::Unavailable },
            status: None,
            code: Some(code.to_owned()),
            detail: Some(detail.into()),
        }
    }

    /// We know without asking that the message cannot be sent.
    #[must_use]
    pub fn rejected(code: &str, detail: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Rejected,
            status: None,
            code: Some(code.to_owned()),
            detail: Some(detail.into()),
        }
    }

    /// Removes `address` from the evidence, in case a server quotes what it refuses.
    #[must_use]
    pub fn without(mut self, address: &str) -> Self {
        if !address.is_empty() {
            self.detail = self.detail.map(|detail| detail.replace(address, "…"));
        }
        self
    }
}

/// Judges an HTTP answer. `now` is the wall clock that a `Retry-After` date is read against.
#[must_use]
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Answer {
    if status.is_success() {
        return accepted(status, body);
    }
    let error = serde_json::from_slice::<ErrorBody>(body).ok().map(|body| body.error);
    let error = error.unwrap_or_default();
    let outcome = match (status.as_u16(), error.code()) {
        (400, Some("INVALID_ARGUMENT")) if error.blames_the_address() => Outcome::AddressRefused,
        (401, Some("THIRD_PARTY_AUTH_ERROR")) => Outcome::Rejected,
        // Without FCM's own code, PERMISSION_DENIED is about the account: nothing it sends will
        // pass, so reminders wait for it to be repaired instead of failing one by one.
        (401, _) | (403, Some("PERMISSION_DENIED")) => Outcome::CredentialsRefused,
        (403, Some("SENDER_ID_MISMATCH")) => Outcome::AddressRefused,
        (404, Some("UNREGISTERED")) => Outcome::AddressGone,
        (429, _) => retry(headers, RetryCause::Throttled, now),
        // FCM redirects nobody: something on the way does, for a while.
        (300..=399 | 408 | 500..=599, _) => retry(headers, RetryCause::Unavailable, now),
        _ => Outcome::Rejected,
    };
    Answer {
        outcome,
        status: Some(status.as_u16()),
        code: error.code().map(|code| code.chars().take(64).collect()),
        detail: error.message.map(|text| text.chars().take(DETAIL_MAX).collect()),
    }
}

fn accepted(status: StatusCode, body: &[u8]) -> Answer {
    #[derive(Deserialize)]
    struct Sent {
        name: String,
    }
    match serde_json::from_slice::<Sent>(body) {
        Ok(Sent { name }) => Answer {
            outcome: Outcome::Sent { name },
            status: Some(status.as_u16()),
            code: None,
            detail: None,
        },
        // Not FCM's words: a proxy's page, or half an answer. A repeat replaces itself.
        Err(_) => Answer {
            status: Some(status.as_u16()),
            ..Answer::unanswered("unreadable-success", "a success without a message name")
        },
    }
}

fn retry(headers: &HeaderMap, cause: RetryCause, now: Timestamp) -> Outcome {
    Outcome::RetryAfter { delay: retry_after(headers, now), cause }
}

/// `Retry-After` in seconds or as an HTTP date (RFC 9110 §10.2.3); a date in the past is zero.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorStatus,
}

/// `google.rpc.Status` as JSON.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorStatus {
    message: Option<String>,
    status: Option<String>,
    details: Vec<Detail>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Detail {
    #[serde(rename = "@type")]
    kind: String,
    #[serde(rename = "errorCode")]
    error_code: Option<String>,
    #[serde(rename = "fieldViolations")]
    field_violations: Vec<Violation>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Violation {
    field: String,
}

impl ErrorStatus {
    fn code(&self) -> Option<&str> {
        let of_fcm = self.details.iter().find(|detail| detail.kind.ends_with("FcmError"));
        of_fcm.and_then(|detail| detail.error_code.as_deref()).or(self.status.as_deref())
    }

    /// An invalid argument is the address unless Google points at another field, or at the API
    /// call as a whole (`ErrorInfo`).
    fn blames_the_address(&self) -> bool {
        let elsewhere = |violation: &Violation| {
            !matches!(violation.field.as_str(), "message.token" | "message.fid")
        };
        !self.details.iter().any(|detail| {
            detail.kind.ends_with("ErrorInfo") || detail.field_violations.iter().any(elsewhere)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-11-22T15:40:00Z";

    fn judge(status: u16, headers: &[(header::HeaderName, &str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name, value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        classify(status, &map, body.as_bytes(), NOW.parse().unwrap())
    }

    fn google(status: &str, code: Option<&str>, extra: Option<Value>) -> String {
        let fcm = code.map(|code| {
            json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
        });
        let details: Vec<Value> = fcm.into_iter().chain(extra).collect();
        json!({"error": {"code": 400, "message": "why", "status": status, "details": details}})
            .to_string()
    }

    fn bad_request(fields: &[&str]) -> Value {
        let violations: Vec<Value> =
            fields.iter().map(|field| json!({"field": field, "description": "no"})).collect();
        let kind = "type.googleapis.com/google.rpc.BadRequest";
        json!({"@type": kind, "fieldViolations": violations})
    }

    fn waits(delay: Option<u64>, cause: RetryCause) -> Outcome {
        Outcome::RetryAfter { delay: delay.map(Duration::from_secs), cause }
    }

    #[test]
    fn a_name_is_a_success() {
        let answer = judge(200, &[], r#"{"name": "projects/p/messages/1"}"#);
        assert_eq!(answer.outcome, Outcome::Sent { name: "projects/p/messages/1".into() });
        assert_eq!(answer.status, Some(200));
    }

    #[test]
    fn a_success_that_cannot_be_read_is_tried_again() {
        for body in ["", "<html>welcome to the wifi</html>", "{}", r#"{"name": 3}"#, "{\"na"] {
            assert_eq!(judge(200, &[], body).outcome, waits(None, RetryCause::Unavailable));
        }
    }

    #[test]
    fn invalid_argument_is_the_address_unless_another_field_is_named() {
        let code = Some("INVALID_ARGUMENT");
        let outcome = |extra| judge(400, &[], &google("INVALID_ARGUMENT", code, extra)).outcome;
        assert_eq!(outcome(None), Outcome::AddressRefused);
        assert_eq!(outcome(Some(bad_request(&["message.token"]))), Outcome::AddressRefused);
        assert_eq!(outcome(Some(bad_request(&["message.android.ttl"]))), Outcome::Rejected);
        assert_eq!(
            outcome(Some(bad_request(&["message.token", "message.data"]))),
            Outcome::Rejected
        );
        let info = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "X"});
        assert_eq!(outcome(Some(info)), Outcome::Rejected);
    }

    #[test]
    fn an_unexplained_400_keeps_the_device() {
        for body in ["", "<html>bad request</html>", "[]", r#"{"error": "no"}"#] {
            assert_eq!(judge(400, &[], body).outcome, Outcome::Rejected, "{body}");
        }
    }

    #[test]
    fn a_401_is_ours_unless_a_third_party_refused() {
        let third = google("UNAUTHENTICATED", Some("THIRD_PARTY_AUTH_ERROR"), None);
        assert_eq!(judge(401, &[], &third).outcome, Outcome::Rejected);
        let plain = google("UNAUTHENTICATED", None, None);
        assert_eq!(judge(401, &[], &plain).outcome, Outcome::CredentialsRefused);
        assert_eq!(judge(401, &[], "").outcome, Outcome::CredentialsRefused);
    }

    #[test]
    fn a_403_is_a_foreign_address_an_account_without_permission_or_a_proxy() {
        let mismatch = google("PERMISSION_DENIED", Some("SENDER_ID_MISMATCH"), None);
        let answer = judge(403, &[], &mismatch);
        assert_eq!(answer.outcome, Outcome::AddressRefused);
        assert_eq!(answer.code.as_deref(), Some("SENDER_ID_MISMATCH"));
        let denied = google("PERMISSION_DENIED", None, None);
        assert_eq!(judge(403, &[], &denied).outcome, Outcome::CredentialsRefused);
        assert_eq!(judge(403, &[], "<html>blocked</html>").outcome, Outcome::Rejected);
    }

    #[test]
    fn only_unregistered_deletes_an_address() {
        let gone = google("NOT_FOUND", Some("UNREGISTERED"), None);
        assert_eq!(judge(404, &[], &gone).outcome, Outcome::AddressGone);
        assert_eq!(judge(404, &[], &google("NOT_FOUND", None, None)).outcome, Outcome::Rejected);
        assert_eq!(judge(404, &[], "<html>").outcome, Outcome::Rejected);
    }

    #[test]
    fn throttling_and_outages_are_tried_again() {
        let quota = google("RESOURCE_EXHAUSTED", Some("QUOTA_EXCEEDED"), None);
        let after = [(header::RETRY_AFTER, "17")];
        assert_eq!(judge(429, &after, &quota).outcome, waits(Some(17), RetryCause::Throttled));
        assert_eq!(judge(429, &[], "").outcome, waits(None, RetryCause::Throttled));
        for status in [500, 502, 503, 504, 408, 302, 304] {
            let answer = judge(status, &[], "<html>sorry</html>");
            assert_eq!(answer.outcome, waits(None, RetryCause::Unavailable), "{status}");
        }
        let internal = judge(500, &[], &google("INTERNAL", Some("INTERNAL"), None));
        assert_eq!(internal.code.as_deref(), Some("INTERNAL"));
    }

    #[test]
    fn retry_after_may_be_a_date_or_nonsense() {
        let delay = |text| match judge(503, &[(header::RETRY_AFTER, text)], "").outcome {
            Outcome::RetryAfter { delay, .. } => delay.map(|delay| delay.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(delay("Sun, 22 Nov 2026 15:41:30 GMT"), Some(90));
        assert_eq!(delay("Sun, 22 Nov 2026 15:00:00 GMT"), Some(0));
        assert_eq!(delay("0"), Some(0));
        assert_eq!(delay("18446744073709551615"), Some(u64::MAX));
        for nonsense in ["-5", "soon", "", "1e9", "99999999999999999999999"] {
            assert_eq!(delay(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn unknown_statuses_and_codes_are_rejected_and_keep_the_device() {
        for status in [405, 413, 418, 499] {
            assert_eq!(judge(status, &[], "").outcome, Outcome::Rejected, "{status}");
        }
        let novel = google("INVALID_ARGUMENT", Some("A_NEW_CODE"), None);
        assert_eq!(judge(400, &[], &novel).outcome, Outcome::Rejected);
    }

    #[test]
    fn evidence_is_short_and_names_no_address() {
        let long = "é".repeat(5_000);
        let body = json!({"error": {"message": long, "status": "INTERNAL"}}).to_string();
        let answer = judge(500, &[], &body);
        assert_eq!(answer.detail.map(|text| text.chars().count()), Some(DETAIL_MAX));
        let answer = Answer::rejected("x", "token abc is bad").without("abc");
        assert_eq!(answer.detail.as_deref(), Some("token … is bad"));
    }
}
