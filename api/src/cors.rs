//! Web apps of other origins, when the operator names them.
//!
//! Off by default: an answer without these headers is one that a browser keeps from another origin's
//! script. Credentials are never allowed: tokens travel in `Authorization`, which a script sets itself,
//! and the desk's cookie is for its own pages.

use std::fmt;
use std::str::FromStr;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpResponse};

use crate::routes::Documents;
use crate::state::Api;

/// The request headers that the API reads.
const ALLOW_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, if-none-match");
/// The answer's headers that a script may read besides the ordinary ones.
const EXPOSE_HEADERS: HeaderValue =
    HeaderValue::from_static("etag, location, retry-after, www-authenticate, x-request-id");
/// For how many seconds a browser may remember what it was allowed.
const MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// The origin of a web app: scheme, host and port as browsers write them, such as
/// `https://app.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
        match rest {
            Some(rest) if !rest.is_empty() && rest.chars().all(host) => Ok(Self(text.to_owned())),
            _ => Err(OriginError),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that names no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an origin; write https://app.example.com, in small letters, without a path and without *"
)]
pub struct OriginError;

/// Answers preflights of the origins that are named, and lets them read every answer, errors too.
pub(crate) async fn share<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let Some(api) = request.app_data::<Data<Api>>().cloned().filter(|api| !api.cors.is_empty())
    else {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    };
    let origin = request.headers().get(header::ORIGIN);
    let origin = origin.filter(|origin| api.cors.iter().any(|known| known.0 == **origin)).cloned();
    let mut answer = match preflight(&request).filter(|_| origin.is_some()) {
        Some(methods) => {
            let mut answer = HttpResponse::NoContent();
            answer.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, methods));
            answer.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS));
            answer.insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS));
            request.into_response(answer.finish()).map_into_right_body()
        }
        None => next.call(request).await?.map_into_left_body(),
    };
    allow(answer.headers_mut(), origin);
    Ok(answer)
}

/// The methods that the path of a preflight takes.
fn preflight(request: &ServiceRequest) -> Option<String> {
    let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() != Method::OPTIONS || !asks {
        return None;
    }
    request.app_data::<Data<Documents>>()?.methods(request.path()).map(str::to_owned)
}

fn allow(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_whole_and_never_everybody() {
        for right in ["https://app.example.com", "http://localhost:5173", "https://[::1]:8443"] {
            assert_eq!(right.parse::<Origin>().unwrap().to_string(), right);
        }
        for wrong in [
            "*",
            "null",
            "",
            "https://",
            "app.example.com",
            "https://a.b/",
            "https://*.b",
            "https://A.b",
        ] {
            assert_eq!(wrong.parse::<Origin>(), Err(OriginError), "{wrong}");
        }
    }
}
