//! What a caller is told when a request cannot be served: RFC 9457 `application/problem+json`.
//!
//! A problem carries a stable [`Code`], a sentence for a person, and for bad input every bad field
//! at once. It never carries internals: what went wrong inside is logged under an id, and the id is
//! all the caller sees. Every error of the domain becomes a problem in one exhaustive match, so a new
//! error does not compile until somebody has decided what callers are told.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::{HttpResponse, ResponseError};
use aftercare::store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// Seconds a caller should wait before asking a server again whose database does not answer.
const UNAVAILABLE_RETRY_SECONDS: u64 = 5;

/// The media type of every problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $title:literal;)+) => {
        /// What kind of problem it is. The kebab-case text of a code is part of the contract: callers
        /// branch on it, so it is never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)+
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The stable text of the code.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The HTTP status that goes with the code.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// The problem's title: the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or names one member twice.
    MalformedJson = "malformed-json", BAD_REQUEST, "The body is not valid JSON";
    /// The request is broken below the level of JSON: a body cut short, an undecodable path.
    MalformedRequest = "malformed-request", BAD_REQUEST, "The request cannot be read";
    /// No bearer token came with a request that needs one.
    MissingToken = "missing-token", UNAUTHORIZED, "An access token is needed";
    /// The bearer token is not ours, has expired, or its session was revoked.
    InvalidToken = "invalid-token", UNAUTHORIZED, "The access token is not accepted";
    /// A message is not signed with a secret of the clinic, or not now.
    InvalidSignature = "invalid-signature", UNAUTHORIZED, "The signature is not accepted";
    /// The token is good, but belongs to the other kind of caller.
    WrongRole = "wrong-role", FORBIDDEN, "This token's role may not do this";
    /// Nothing of that name, or nothing that this caller may know of.
    NotFound = "not-found", NOT_FOUND, "Not found";
    /// The path exists, but not for this method.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    /// The request did not arrive whole in time.
    Timeout = "request-timeout", REQUEST_TIMEOUT, "The request took too long to arrive";
    /// An event of the same id was recorded with other content.
    EventConflict = "event-conflict", CONFLICT, "This event id was used for another event";
    /// Another protocol of the clinic is called by some of these codes.
    AliasTaken = "alias-taken", CONFLICT, "Another protocol is called so";
    /// The treatment was voided, and is corrected no more.
    TreatmentVoided = "treatment-voided", CONFLICT, "The treatment was voided";
    /// The clinic has as many signing secrets as it may have.
    TooManySecrets = "too-many-secrets", CONFLICT, "There are two signing secrets already";
    /// The installation in the path is not the one that this session was opened for.
    OtherInstallation = "other-installation", CONFLICT, "The session belongs to another installation";
    /// The reminder was not sent, or would not be sent again then.
    NotSnoozable = "not-snoozable", CONFLICT, "This reminder cannot be put off";
    /// The reminder would be worthless by then.
    SnoozePastUseBy = "snooze-past-use-by", CONFLICT, "The reminder would come too late to help";
    /// The treatment was recorded too long ago to be taken back at the desk.
    UndoTooLate = "undo-too-late", CONFLICT, "It is too late to undo this";
    /// No push would be heard now.
    Unreachable = "unreachable", CONFLICT, "The patient is not reached";
    /// A form that no page of this server showed to whoever sent it.
    ForeignForm = "foreign-form", FORBIDDEN, "This form is not accepted";
    /// The clinic has as many webhooks as it may.
    TooManyWebhooks = "too-many-webhooks", CONFLICT, "No more webhooks";
    /// The body is larger than the server takes.
    TooLarge = "payload-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body's media type or encoding is not taken here.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type";
    /// Fields are missing, unknown or wrong; `errors` names each.
    InvalidFields = "invalid-fields", UNPROCESSABLE_ENTITY, "Some fields are not valid";
    /// The clinic has no patient of that `ref`.
    UnknownPatient = "unknown-patient", UNPROCESSABLE_ENTITY, "Unknown patient";
    /// The clinic has no protocol of that name.
    UnknownProtocol = "unknown-protocol", UNPROCESSABLE_ENTITY, "Unknown protocol";
    /// No rule of any known protocol speaks of that activity.
    UnknownActivity = "unknown-activity", UNPROCESSABLE_ENTITY, "Unknown activity";
    /// The enrolment code is unknown, spent or too old.
    InvalidCode = "invalid-code", UNPROCESSABLE_ENTITY, "The enrolment code is not valid";
    /// Too many requests; `Retry-After` says when to come back.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, "Too many requests";
    /// The patient's phone was tested often enough; `Retry-After` says when it may be tested again.
    TooManyTests = "too-many-tests", TOO_MANY_REQUESTS, "No more test messages for now";
    /// The server failed; the log has the cause under the problem's `id`.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The server failed";
    /// The database does not answer, is full or cannot be written; `detail` says whether anything may have
    /// been changed.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Temporarily unavailable";
}

/// One fault of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where: a JSON pointer into the body (`/patient/time_zone`), `?name` for a query parameter,
    /// `{name}` for a part of the path.
    #[schema(example = "/completed_at")]
    pub pointer: String,
    /// What is wrong, and what would be right.
    #[schema(example = "must be an instant with an offset, such as 2026-11-22T15:40:00Z")]
    pub detail: String,
}

/// The document that every error answers with, except the token endpoint's.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// `urn:aftercare:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:aftercare:problem:invalid-fields")]
    pub kind: String,
    /// The same for every occurrence of the code.
    #[schema(example = "Some fields are not valid")]
    pub title: &'a str,
    /// The HTTP status again.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    pub status: u16,
    /// A stable code to branch on.
    #[schema(example = "invalid-fields")]
    pub code: &'a str,
    /// What happened this time.
    #[schema(example = "1 field is not valid")]
    pub detail: &'a str,
    /// Every bad field at once; absent when no field is to blame.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [Fault],
    /// The id under which the server logged the cause; only with status 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "5f0c2b9d8e7a6140")]
    pub id: Option<&'a str>,
}

/// A problem on its way to the caller. Its `Debug` and `Display` are its code alone, because errors are
/// logged and details may name what a caller sent.
#[derive(Clone)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<Fault>,
    /// The value of one header that goes with this code: `Retry-After`, `Allow` or a challenge.
    header: Option<String>,
    id: Option<String>,
}

impl Problem {
    /// A problem of one kind, with a sentence about this occurrence.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), header: None, id: None }
    }

    /// Nothing here, or nothing that this caller may know of: the two are told alike.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "There is nothing here under this address")
    }

    /// The fields that are wrong, every one of them; of more than a hundred the first hundred, so
    /// that an answer is never much larger than its request.
    #[must_use]
    pub fn fields(mut errors: Vec<Fault>) -> Self {
        const NAMED: usize = 100;
        let detail = match errors.len() {
            1 => "1 field is not valid".to_owned(),
            n if n > NAMED => format!("{n} fields are not valid; the first {NAMED} are named"),
            n => format!("{n} fields are not valid"),
        };
        errors.truncate(NAMED);
        Self { errors, ..Self::new(Code::InvalidFields, detail) }
    }

    /// A problem of another kind than [`Code::InvalidFields`] that these fields are to blame for.
    #[must_use]
    pub fn of_fields(code: Code, detail: &'static str, errors: Vec<Fault>) -> Self {
        Self { errors, ..Self::new(code, detail) }
    }

    /// A problem that one field is to blame for.
    #[must_use]
    pub fn field(code: Code, pointer: &str, detail: impl Into<String>) -> Self {
        let fault = Fault { pointer: pointer.to_owned(), detail: detail.into() };
        Self { errors: vec![fault.clone()], ..Self::new(code, fault.detail) }
    }

    /// Too many requests; `seconds` until one more is taken.
    #[must_use]
    pub fn rate_limited(seconds: u64) -> Self {
        let detail = "Too many requests; Retry-After says in how many seconds to come back";
        Self { header: Some(seconds.to_string()), ..Self::new(Code::RateLimited, detail) }
    }

    /// The patient's phone was tested often enough; `seconds` until one more test is sent.
    #[must_use]
    pub fn too_many_tests(seconds: u64) -> Self {
        let minutes = seconds.div_ceil(60);
        let detail = format!(
            "Five in a row are enough for a phone, and then one in 6 minutes: the next in {minutes} min"
        );
        Self { header: Some(seconds.to_string()), ..Self::new(Code::TooManyTests, detail) }
    }

    /// The method is not taken here; `allow` lists those that are.
    #[must_use]
    pub fn method_not_allowed(allow: String) -> Self {
        let detail = format!("Here the server takes: {allow}");
        Self { header: Some(allow), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    /// The database does not answer, is full or cannot be written.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::come_back("The database cannot serve this now; nothing was changed, so try again")
    }

    /// The database went away before it confirmed what it was to do.
    #[must_use]
    pub fn in_doubt() -> Self {
        Self::come_back(
            "The database broke off before it confirmed this; whether it was done is not known, so \
             repeat it",
        )
    }

    fn come_back(detail: &'static str) -> Self {
        Self {
            header: Some(UNAVAILABLE_RETRY_SECONDS.to_string()),
            ..Self::new(Code::Unavailable, detail)
        }
    }

    /// Logs the cause under a fresh id and tells the caller no more than the id.
    #[must_use]
    pub fn internal(cause: &dyn Error) -> Self {
        let mut bytes = [0_u8; 8];
        let id = match aws_lc_rs::rand::fill(&mut bytes) {
            Ok(()) => hex::encode(bytes),
            Err(_) => String::from("unnamed"),
        };
        tracing::error!(error_id = id, error = %Causes(cause), "a request failed");
        let detail = "The server could not do this; its log has the cause under this id";
        Self { id: Some(id), ..Self::new(Code::Internal, detail) }
    }

    /// The kind of problem.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// What happened this time.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The bad fields.
    #[must_use]
    pub fn errors(&self) -> &[Fault] {
        &self.errors
    }

    /// The seconds that `Retry-After` tells, if the code has that header.
    pub(crate) fn retry_after(&self) -> Option<&str> {
        self.header
            .as_deref()
            .filter(|_| matches!(self.code, Code::RateLimited | Code::Unavailable))
    }

    pub(crate) fn document(&self) -> ProblemDocument<'_> {
        ProblemDocument {
            kind: format!("urn:aftercare:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            errors: &self.errors,
            id: self.id.as_deref(),
        }
    }

    /// The header that the status asks for, if any.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let name = match self.code {
            Code::MissingToken | Code::InvalidSignature => {
                return Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
            }
            Code::InvalidToken => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                return Some((WWW_AUTHENTICATE, challenge));
            }
            Code::MethodNotAllowed => ALLOW,
            _ => RETRY_AFTER,
        };
        let value = HeaderValue::from_str(self.header.as_deref()?).ok()?;
        Some((name, value))
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Problem({})", self.code.as_str())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())
    }
}

impl Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CONTENT_TYPE, PROBLEM_JSON));
        response.insert_header((CACHE_CONTROL, "no-store"));
        if let Some(header) = self.header() {
            response.insert_header(header);
        }
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        response.body(body)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_)
            | StoreError::Busy(_)
            | StoreError::ReadOnly(_)
            | StoreError::Full(_)
            | StoreError::MissingKey(_) => {
                tracing::warn!(error = %Causes(&error), "the database cannot serve a request");
                Self::unavailable()
            }
            StoreError::InDoubt(_) => {
                tracing::warn!(error = %Causes(&error), "the database did not confirm a request");
                Self::in_doubt()
            }
            StoreError::WrongKey
            | StoreError::Corrupt(_)
            | StoreError::Conflict { .. }
            | StoreError::SchemaTooNew { .. }
            | StoreError::NotMigrated { .. }
            | StoreError::Settings(_)
            | StoreError::Internal(_) => Self::internal(&error),
        }
    }
}

/// An error with everything that caused it, on one line.
struct Causes<'a>(&'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    #[test]
    fn of_very_many_faults_the_first_hundred_are_named() {
        let fault = |n: usize| Fault { pointer: format!("/{n}"), detail: "wrong".to_owned() };
        let problem = Problem::fields((0..3_000).map(fault).collect());
        assert_eq!(problem.errors().len(), 100);
        assert!(problem.detail.starts_with("3000 fields"));
    }

    async fn sent(problem: Problem) -> (HttpResponse, String) {
        let response = problem.error_response();
        let (response, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body).await.unwrap().to_vec()).unwrap();
        (response.set_body(actix_web::body::BoxBody::new(())), text)
    }

    #[actix_web::test]
    async fn a_failure_inside_is_told_by_its_id_alone() {
        let cause = StoreError::Corrupt("treatments.event_sealed: secret cause".to_owned());
        let problem = Problem::from(cause);
        assert_eq!(format!("{problem:?} {problem}"), "Problem(internal) internal");
        let (response, body) = sent(problem).await;
        assert_eq!(response.status().as_u16(), 500);
        assert!(!body.contains("secret cause") && !body.contains("treatments"), "{body}");
        let document: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(document["id"].as_str().unwrap().len(), 16);
    }

    #[actix_web::test]
    async fn a_database_that_cannot_serve_asks_to_come_back() {
        for cause in [
            StoreError::Unavailable("the host is gone".to_owned()),
            StoreError::Busy("locked".to_owned()),
            StoreError::ReadOnly("standby".to_owned()),
            StoreError::Full("no space".to_owned()),
        ] {
            let (response, body) = sent(cause.into()).await;
            assert_eq!(response.status().as_u16(), 503);
            assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "5");
            assert!(body.contains("\"code\":\"unavailable\""), "{body}");
            assert!(body.contains("nothing was changed"), "{body}");
        }
        let (response, body) = sent(StoreError::InDoubt("cut off".to_owned()).into()).await;
        assert_eq!(response.status().as_u16(), 503);
        assert!(body.contains("is not known") && !body.contains("nothing"), "{body}");
    }

    #[test]
    fn codes_are_told_apart() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
