//! What is logged and counted of requests.
//!
//! Never logged: paths and query strings as they came (they hold a patient's `ref`), header values,
//! bodies, tokens, client addresses. A request is known by its route's template, its own id, and the
//! opaque ids of clinic and patient once they are known.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _};
use tracing::Span;
use tracing::field::Empty;
use tracing_actix_web::{RequestId, RootSpanBuilder};

/// What stands for the route of a request that no route matched.
const NO_ROUTE: &str = "none";

/// Opens the span of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let route = request.match_pattern();
        let id = request.extensions().get::<RequestId>().map(ToString::to_string);
        tracing::info_span!(
            "request",
            method = method(request.method()),
            route = route.as_deref().unwrap_or(NO_ROUTE),
            request_id = id.as_deref().unwrap_or_default(),
            clinic = Empty,
            patient = Empty,
            status = Empty,
        )
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let status = match outcome {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        span.record("status", status.as_u16());
    }
}

/// Counts and times each request, and gives its id back as `x-request-id`.
pub(crate) async fn observe<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let started = std::time::Instant::now();
    let method = method(request.method());
    let route = request.match_pattern().unwrap_or_else(|| NO_ROUTE.to_owned());
    let id = request.extensions().get::<RequestId>().map(ToString::to_string);
    let mut answered = next.call(request).await;
    let status = match &answered {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let labels = [("method", method.to_owned()), ("route", route)];
    metrics::histogram!("aftercare_http_request_seconds", &labels)
        .record(started.elapsed().as_secs_f64());
    let [method, route] = labels;
    let labels = [method, route, ("status", status.as_str().to_owned())];
    metrics::counter!("aftercare_http_requests_total", &labels).increment(1);
    if let (Ok(response), Some(Ok(id))) = (&mut answered, id.map(|id| HeaderValue::from_str(&id))) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    answered
}

/// The method's name; whatever a client invents is one name, so that labels stay few.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
