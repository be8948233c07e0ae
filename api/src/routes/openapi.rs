//! The OpenAPI document: gathered from the handlers, then completed with what holds for all alike.
//!
//! A handler documents its own answers. What every operation of a kind answers (no token, too many
//! requests, a body that is not JSON) is added here from the one table of problem codes, so that no
//! handler can forget it.

mod examples;

use actix_web::App;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_actix_web::AppExt as _;

use crate::outcome::{self, FHIR_JSON, OperationOutcome};
use crate::problem::{Code, Fault, PROBLEM_JSON, Problem, ProblemDocument};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Aftercare",
        description = "Aftercare reminders: a clinic posts a completed session, and the patient's phone gets \
            each reminder at the right local time. Instants are RFC 3339 in UTC, zones are IANA names, unknown \
            request fields are refused, and enums may grow: treat values you do not know as such. Errors are \
            `application/problem+json` with a stable `code`.\n\nNot a medical device: it repeats the clinic's own \
            rules and never gives permission.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(ProblemDocument<'static>, Fault, OperationOutcome)),
    tags(
        (name = "auth", description = "Tokens, keys, enrolment"),
        (name = "clinic", description = "What a clinic's own software calls"),
        (name = "patient", description = "What the patient's app calls"),
        (name = "operations", description = "Health, metrics and this document")
    )
)]
struct Described;

/// The complete document for a server under `public_url`.
pub(super) fn document(public_url: &str) -> Value {
    let (_, openapi) = App::new()
        .into_utoipa_app()
        .openapi(Described::openapi())
        .configure(super::configure)
        .split_for_parts();
    let mut document = serde_json::to_value(&openapi).unwrap_or_default();
    if let Some(root) = document.as_object_mut() {
        root.insert("servers".to_owned(), json!([{ "url": public_url }]));
        if let Some(components) = object(root, "components") {
            components.insert("securitySchemes".to_owned(), security_schemes());
        }
        let schemas = root.get("components").and_then(|all| all.get("schemas")).cloned();
        let schemas = schemas.unwrap_or_default();
        for (method, operation) in operations(root) {
            complete(method, operation);
            examples::add(operation, &schemas);
        }
    }
    document
}

fn security_schemes() -> Value {
    let bearer = |who: &str| {
        let description = format!("An access token of {who}.");
        json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description})
    };
    json!({
        "clinic": bearer("a clinic: `POST /v1/oauth/token` with `client_credentials`"),
        "patient": bearer("a patient's app: `POST /v1/enrolments/redeem`, then `refresh_token`"),
        "signature": {
            "type": "apiKey", "in": "header", "name": "webhook-signature",
            "description": "Standard Webhooks: `webhook-id`, `webhook-timestamp` and `webhook-signature`, made with a secret of `POST /v1/signing-secrets`; `?clinic=` says whose.",
        },
        "client": {"type": "http", "scheme": "basic", "description": "The clinic's client id and secret."},
    })
}

fn object<'a>(
    parent: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    parent.get_mut(name)?.as_object_mut()
}

/// Every operation, and its method in lower case.
fn operations(
    root: &mut Map<String, Value>,
) -> impl Iterator<Item = (&String, &mut Map<String, Value>)> {
    let paths = object(root, "paths").into_iter().flat_map(Map::values_mut);
    let operations = paths.filter_map(Value::as_object_mut).flatten();
    operations.filter_map(|(method, operation)| Some((method, operation.as_object_mut()?)))
}

/// Adds the problems that hold for an operation by its nature, and a body to every error that was
/// documented with a description alone.
fn complete(method: &str, operation: &mut Map<String, Value>) {
    // Said outright: whoever says nothing of security may have forgotten it.
    operation.entry("security").or_insert_with(|| json!([{}]));
    let codes = common(method, operation);
    let fhir = content(operation).is_some_and(|content| content.contains_key(FHIR_JSON));
    let Some(responses) = object(operation, "responses") else { return };
    for code in codes {
        let status = code.status().as_str().to_owned();
        let entry = responses.entry(status).or_insert_with(|| json!({"description": ""}));
        let Some(response) = entry.as_object_mut() else { continue };
        let known = response.get("description").and_then(Value::as_str).unwrap_or_default();
        if response.contains_key("content") || known.contains(&format!("`{}`", code.as_str())) {
            continue;
        }
        let line = format!("`{}`: {}.", code.as_str(), code.title());
        let description = if known.is_empty() { line } else { format!("{known}\n\n{line}") };
        response.insert("description".to_owned(), description.into());
    }
    for (status, response) in responses {
        let is_error = status.starts_with('4') || status.starts_with('5');
        if let Some(response) = response.as_object_mut().filter(|_| is_error) {
            describe(status, response, fhir);
        }
    }
}

/// What an operation takes, by media type.
fn content(operation: &Map<String, Value>) -> Option<&Map<String, Value>> {
    operation.get("requestBody")?.get("content")?.as_object()
}

/// The problems that come with what an operation takes and who may call it.
fn common(method: &str, operation: &Map<String, Value>) -> Vec<Code> {
    let tagged = |tag| {
        operation.get("tags").and_then(Value::as_array).is_some_and(|t| t.contains(&json!(tag)))
    };
    if tagged("operations") {
        return Vec::new();
    }
    let mut codes = vec![Code::Internal, Code::Unavailable];
    let bearer = |one: &&Value| ["clinic", "patient"].iter().any(|role| one.get(role).is_some());
    let security = operation.get("security").and_then(Value::as_array);
    let roles = security.map_or(0, |all| all.iter().filter(bearer).count());
    if roles > 0 {
        codes.extend([Code::MissingToken, Code::InvalidToken, Code::RateLimited]);
    }
    if roles == 1 {
        codes.push(Code::WrongRole);
    }
    let json = |content: &Map<String, Value>| content.keys().any(|kind| kind.ends_with("json"));
    if content(operation).is_some_and(json) {
        codes.extend([Code::MalformedJson, Code::MalformedRequest, Code::Timeout, Code::TooLarge]);
        codes.extend([Code::UnsupportedMediaType, Code::InvalidFields]);
    }
    // What changes something refuses parameters that it does not know; forms have rules of their own.
    if takes_query(operation) || (method != "get" && !tagged("auth")) {
        codes.extend([Code::MalformedRequest, Code::InvalidFields]);
    }
    codes
}

/// Whether an operation has parameters in its query string.
pub(super) fn takes_query(operation: &Map<String, Value>) -> bool {
    let parameters = operation.get("parameters").and_then(Value::as_array);
    parameters.into_iter().flatten().any(|parameter| parameter.get("in") == Some(&json!("query")))
}

/// Gives an error its body, one example for each code that its description names, and its headers.
fn describe(status: &str, response: &mut Map<String, Value>, fhir: bool) {
    if response.contains_key("content") {
        return;
    }
    let named = response.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let of_status = Code::ALL.iter().copied().filter(|code| code.status().as_str() == status);
    let examples: Map<String, Value> = of_status
        .filter(|code| named.contains(&format!("`{}`", code.as_str())))
        .map(|code| (code.as_str().to_owned(), json!({ "value": example(code, fhir) })))
        .collect();
    let (kind, schema) =
        if fhir { (FHIR_JSON, "OperationOutcome") } else { (PROBLEM_JSON, "Problem") };
    let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
    response
        .insert("content".to_owned(), json!({ kind: {"schema": schema, "examples": examples} }));
    let header = match status {
        "401" => Some(("WWW-Authenticate", "string", "The challenge of RFC 6750.")),
        "429" | "503" => {
            Some(("Retry-After", "integer", "Seconds until it is worth asking again."))
        }
        _ => None,
    };
    if let Some((name, kind, description)) = header {
        let header = json!({"description": description, "schema": {"type": kind}});
        response.insert("headers".to_owned(), json!({ name: header }));
    }
}

fn example(code: Code, fhir: bool) -> Value {
    let problem = match code {
        Code::InvalidFields => Problem::fields(vec![Fault {
            pointer: "/completed_at".to_owned(),
            detail: "must be an instant with an offset, such as 2026-11-22T15:40:00Z".to_owned(),
        }]),
        code => Problem::new(code, code.title()),
    };
    if fhir {
        return outcome::document(&problem);
    }
    serde_json::to_value(problem.document()).unwrap_or_default()
}
