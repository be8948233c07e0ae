//! The routes, one file for each aggregate; what a handler documents is what is served.

mod calendar;
mod courses;
mod cursor;
mod devices;
mod docs;
mod enrolments;
mod events;
mod fhir;
mod front;
mod handout;
mod health;
mod me;
mod oauth;
mod openapi;
mod patients;
mod privacy;
mod protocols;
mod reachability;
mod signing_secrets;
mod test_push;
mod treatments;
mod webhooks;

pub(crate) use enrolments::invitation;
pub(crate) use handout::print;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ResourceDef, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, HttpResponse, ResponseError as _};
use serde_json::Value;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::fields::{Nothing, read_query};
use crate::outcome::Outcome;
use crate::problem::{Code, Problem};

/// Registers every route, and with it its documentation.
pub(crate) fn configure(config: &mut ServiceConfig<'_>) {
    docs::routes(config);
    front::routes(config);
    health::routes(config);
    oauth::routes(config);
    patients::routes(config);
    privacy::routes(config);
    enrolments::routes(config);
    treatments::routes(config);
    handout::routes(config);
    courses::routes(config);
    events::routes(config);
    fhir::routes(config);
    signing_secrets::routes(config);
    protocols::routes(config);
    reachability::routes(config);
    test_push::routes(config);
    webhooks::routes(config);
    devices::routes(config);
    me::routes(config);
    calendar::routes(config);
}

/// What is made once from the routes and served or looked up from then on.
pub(crate) struct Documents {
    /// The OpenAPI document.
    openapi: String,
    /// Each path with the methods that it takes.
    methods: Vec<(ResourceDef, String)>,
    /// Each path with the methods that refuse every query parameter.
    without_query: Vec<(ResourceDef, Vec<String>)>,
}

impl Documents {
    pub(crate) fn new(public_url: &str) -> Self {
        let document = openapi::document(public_url);
        let paths = document.get("paths").and_then(Value::as_object);
        let methods = paths.into_iter().flatten().map(|(path, operations)| {
            let names = operations.as_object().into_iter().flatten();
            let mut names: Vec<String> = names.map(|(method, _)| method.to_uppercase()).collect();
            if let Some(get) = names.iter().position(|name| name == "GET") {
                names.insert(get + 1, "HEAD".to_owned());
            }
            (ResourceDef::new(path.as_str()), names.join(", "))
        });
        let without_query = paths.into_iter().flatten().map(|(path, operations)| {
            let operations = operations.as_object().into_iter().flatten();
            let refuse = operations.filter(|(method, operation)| {
                let refuses = |operation| !openapi::takes_query(operation);
                *method != "get"
                    && operation.pointer("/responses/422").is_some()
                    && operation.as_object().is_some_and(refuses)
            });
            let methods = refuse.map(|(method, _)| method.to_uppercase()).collect();
            (ResourceDef::new(path.as_str()), methods)
        });
        Self {
            methods: methods.collect(),
            without_query: without_query.collect(),
            openapi: document.to_string(),
        }
    }

    /// The methods that a path takes, if it exists.
    pub(crate) fn methods(&self, path: &str) -> Option<&str> {
        let found = self.methods.iter().find(|(known, _)| known.is_match(path));
        found.map(|(_, methods)| methods.as_str())
    }

    fn refuses_query(&self, method: &Method, path: &str) -> bool {
        let found = self.without_query.iter().find(|(known, _)| known.is_match(path));
        found.is_some_and(|(_, methods)| methods.iter().any(|known| known == method.as_str()))
    }
}

/// Hands HEAD to the routes as GET (RFC 9110, section 9.3.2). The connection knows what was asked and
/// sends the head of the answer alone.
pub(crate) async fn head_as_get<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    next.call(request).await
}

/// Answers addresses with a NUL as those that lead nowhere: PostgreSQL has no such character.
pub(crate) async fn refuse_nul<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if request.path().contains("%00") {
        let answer = refusal(request.path(), Problem::not_found());
        return Ok(request.into_response(answer).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Refuses query parameters where something is changed and none is known: `?dry_run=true` must not be
/// overlooked.
pub(crate) async fn refuse_unknown_query<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let documents = request.app_data::<Data<Documents>>();
    let refuses =
        documents.is_some_and(|known| known.refuses_query(request.method(), request.path()));
    if refuses && let Err(problem) = read_query::<Nothing>(request.query_string()) {
        let answer = refusal(request.path(), problem);
        return Ok(request.into_response(answer).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// Answers what no route takes: 405 for a path that exists, 404 for one that does not.
pub(crate) async fn fallback(request: HttpRequest, documents: Data<Documents>) -> HttpResponse {
    let problem = match documents.methods(request.path()) {
        Some(allow) => Problem::method_not_allowed(allow.to_owned()),
        None => {
            Problem::new(Code::NotFound, "There is no such address; /docs lists those that exist")
        }
    };
    refusal(request.path(), problem)
}

/// A problem as the callers of that address expect it.
fn refusal(path: &str, problem: Problem) -> HttpResponse {
    if path.starts_with("/fhir/") {
        return Outcome::from(problem).error_response();
    }
    problem.error_response()
}

/// The OpenAPI document of this release, as it is served, for a server under `public_url`.
#[must_use]
pub fn openapi_document(public_url: &str) -> Value {
    openapi::document(public_url)
}
