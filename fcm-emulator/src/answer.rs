//! Answers: JSON, text, and errors in the shape that Google's front end gives them.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::schema::Violation;

/// The body of every answer: a whole document or a live stream.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An answer.
pub(crate) type Answer = Response<Body>;

const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// An answer of one content type.
pub(crate) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &Value) -> Answer {
    answer(status, "application/json; charset=UTF-8", body.to_string())
}

/// A JSON answer with status 200.
pub(crate) fn ok(body: impl serde::Serialize) -> Answer {
    match serde_json::to_vec(&body) {
        Ok(body) => answer(StatusCode::OK, "application/json; charset=UTF-8", body),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An answer without a body.
pub(crate) fn empty() -> Answer {
    let mut answer = Response::new(Full::default().boxed_unsync());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// A plain text answer with status 200.
pub(crate) fn text(body: impl Into<Bytes>) -> Answer {
    answer(StatusCode::OK, "text/plain; charset=utf-8", body)
}

/// An error of the emulator's own endpoints, in Google's outer shape.
pub(crate) fn refuse(status: StatusCode, message: &str) -> Answer {
    let error =
        Refusal { status, name: rpc_name(status), message: message.into(), details: vec![] };
    error.into_answer()
}

/// An error as Google's APIs say it (`google.rpc.Status` in JSON).
pub(crate) struct Refusal {
    /// The HTTP status, repeated in the body as `code`.
    pub(crate) status: StatusCode,
    /// The canonical code's name, `INVALID_ARGUMENT`.
    pub(crate) name: &'static str,
    /// The message for developers.
    pub(crate) message: String,
    /// The typed details.
    pub(crate) details: Vec<Value>,
}

impl Refusal {
    /// A body that the JSON front end could not read by the schema: no `FcmError`, as FCM itself
    /// never saw the request.
    pub(crate) fn unreadable(violations: &[Violation]) -> Self {
        let described: Vec<&str> = violations.iter().map(|v| v.description.as_str()).collect();
        Self {
            status: StatusCode::BAD_REQUEST,
            name: "INVALID_ARGUMENT",
            message: described.join("\n"),
            details: vec![bad_request(violations)],
        }
    }

    /// A message that FCM refuses.
    pub(crate) fn invalid_argument(violations: &[Violation]) -> Self {
        let mut refusal = Self::unreadable(violations);
        refusal.details.insert(0, fcm_error("INVALID_ARGUMENT"));
        refusal
    }

    /// The answer.
    pub(crate) fn into_answer(self) -> Answer {
        let mut error = json!({
            "code": self.status.as_u16(), "message": self.message, "status": self.name,
        });
        if let (false, Some(error)) = (self.details.is_empty(), error.as_object_mut()) {
            error.insert("details".into(), Value::Array(self.details));
        }
        json(self.status, &json!({ "error": error }))
    }
}

/// The detail that names FCM's own error code.
pub(crate) fn fcm_error(code: &str) -> Value {
    json!({ "@type": FCM_ERROR, "errorCode": code })
}

fn bad_request(violations: &[Violation]) -> Value {
    let listed: Vec<Value> = violations
        .iter()
        .map(|violation| match violation.field.as_str() {
            "" => json!({ "description": violation.description }),
            field => json!({ "field": field, "description": violation.description }),
        })
        .collect();
    json!({ "@type": BAD_REQUEST, "fieldViolations": listed })
}

/// An answer with one more header; a value that no header can carry is left out.
pub(crate) fn with_header(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn rpc_name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 413 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        405 => "UNIMPLEMENTED",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}
