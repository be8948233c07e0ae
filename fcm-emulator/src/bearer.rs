//! The `Authorization` header of a request to Google's endpoints.

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::answer::{self, Answer, Refusal};
use crate::oauth::{Bearer, Oauth};

/// Checks that a request may send.
///
/// # Errors
/// The answer to give instead: 401 without a good token, 403 with one of other scopes.
pub(crate) fn authorize(oauth: &Oauth, headers: &HeaderMap) -> Result<(), Box<Answer>> {
    let Some(credentials) = headers.get(AUTHORIZATION) else {
        return Err(Box::new(unauthenticated(BearerFault::Missing)));
    };
    let token = credentials.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    match token.map_or(Bearer::Refused, |token| oauth.check(token)) {
        Bearer::Accepted => Ok(()),
        Bearer::Refused => Err(Box::new(unauthenticated(BearerFault::Invalid))),
        Bearer::OtherScopes => Err(Box::new(other_scopes().into_answer())),
    }
}

/// Why a request's credentials do not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BearerFault {
    /// There are none.
    Missing,
    /// They are not valid (any more).
    Invalid,
}

/// The answer to a request without good credentials.
pub(crate) fn unauthenticated(fault: BearerFault) -> Answer {
    let expected = "Expected OAuth 2 access token, login cookie or other valid authentication \
                    credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
    let (said, reason, challenge) = match fault {
        BearerFault::Missing => (
            "Request is missing required authentication credential.",
            "CREDENTIALS_MISSING",
            r#"Bearer realm="https://accounts.google.com/""#,
        ),
        BearerFault::Invalid => (
            "Request had invalid authentication credentials.",
            "ACCESS_TOKEN_TYPE_UNSUPPORTED",
            r#"Bearer realm="https://accounts.google.com/", error="invalid_token""#,
        ),
    };
    let refusal = Refusal {
        status: StatusCode::UNAUTHORIZED,
        name: "UNAUTHENTICATED",
        message: format!("{said} {expected}"),
        details: vec![json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": {
                "service": "fcm.googleapis.com",
                "method": "google.firebase.fcm.v1.FcmService.SendMessage",
            },
        })],
    };
    answer::with_header(refusal.into_answer(), WWW_AUTHENTICATE, challenge)
}

fn other_scopes() -> Refusal {
    Refusal {
        status: StatusCode::FORBIDDEN,
        name: "PERMISSION_DENIED",
        message: "Request had insufficient authentication scopes.".into(),
        details: vec![json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            "domain": "googleapis.com",
            "metadata": { "service": "fcm.googleapis.com" },
        })],
    }
}
