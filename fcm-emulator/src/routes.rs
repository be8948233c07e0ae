//! Which endpoint a request is for.

use http::header::{ALLOW, DATE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use jiff::fmt::rfc2822::DateTimePrinter;
use percent_encoding::percent_decode_str;

use crate::answer::{self, Answer};
use crate::emulator::Shared;
use crate::faults::{Endpoint, FaultKind};
use crate::server::Cut;
use crate::{control, send, topics};

/// The largest body read, in bytes; a message may have 4 KiB.
const MAX_BODY: usize = 1024 * 1024;

/// A request with its body read.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path's segments, percent-decoded.
    pub(crate) path: Vec<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: bytes::Bytes,
}

/// Answers one request.
pub(crate) async fn route(shared: &Shared, cut: &Cut, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let answer = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => {
            let call = Call {
                method: parts.method,
                path: segments(parts.uri.path()),
                headers: parts.headers,
                body: body.to_bytes(),
            };
            dispatch(shared, cut, &call).await
        }
        Err(_) => answer::refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Request payload size exceeds the limit, or was cut short.",
        ),
    };
    match DateTimePrinter::new().timestamp_to_rfc9110_string(&shared.env.now()) {
        Ok(date) => answer::with_header(answer, DATE, &date),
        Err(_) => answer,
    }
}

fn segments(path: &str) -> Vec<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let decode = |segment| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    path.split('/').map(decode).collect()
}

async fn dispatch(shared: &Shared, cut: &Cut, call: &Call) -> Answer {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        // The last three are older token URIs that SDKs still have hard-coded.
        ["token"] | ["oauth2", "v4", "token"] | ["o", "oauth2", "token"] => {
            if call.method != Method::POST {
                return only(&[Method::POST]);
            }
            token(shared, cut, call).await
        }
        ["v1", "projects", project, "messages:send"] => {
            if call.method != Method::POST {
                return only(&[Method::POST]);
            }
            send::send(shared, cut, project, &call.headers, &call.body).await
        }
        ["iid", change @ ("v1:batchAdd" | "v1:batchRemove")] => {
            if call.method != Method::POST {
                return only(&[Method::POST]);
            }
            topics::change(shared, call, *change == "v1:batchAdd")
        }
        path => control::answer(shared, call, path),
    }
}

async fn token(shared: &Shared, cut: &Cut, call: &Call) -> Answer {
    let fault = shared.faults.strike(Endpoint::Token, None, &*shared.env.rng);
    let late = fault.as_ref().filter(|fault| fault.delay_ms > 0);
    if let Some(fault) = late {
        tokio::time::sleep(fault.delay_time()).await;
    }
    let kind = fault.as_ref().map(|fault| fault.kind);
    if kind == Some(FaultKind::DropBefore) {
        return cut.now().await;
    }
    if let Some(refused) = fault.and_then(|fault| fault.answer(&shared.env)) {
        return refused;
    }
    let answer = shared.oauth.token(&call.body);
    if answer.status() == StatusCode::OK {
        shared.history.count(|stats| stats.tokens += 1);
    }
    if kind == Some(FaultKind::DropAfter) {
        return cut.now().await;
    }
    answer
}

/// The answer to a method that an endpoint does not have.
pub(crate) fn only(methods: &[Method]) -> Answer {
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let allowed = allowed.join(", ");
    let said = format!("This endpoint answers {allowed}.");
    answer::with_header(answer::refuse(StatusCode::METHOD_NOT_ALLOWED, &said), ALLOW, &allowed)
}
