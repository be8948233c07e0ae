//! What a caller that speaks FHIR is told when a request cannot be served: a [`Problem`], said as an
//! OperationOutcome.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::problem::{Code, Fault, Problem};

/// The media type of every FHIR resource.
pub(crate) const FHIR_JSON: &str = "application/fhir+json";

/// Why a request in FHIR is refused.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `document` makes")]
pub(crate) struct OperationOutcome {
    /// `OperationOutcome`.
    #[schema(rename = "resourceType", example = "OperationOutcome")]
    resource_type: String,
    /// Every bad field at once, or what is wrong otherwise.
    issue: Vec<Issue>,
}

/// One thing that is wrong.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `document` makes")]
struct Issue {
    /// `error`, or `fatal` when the server failed.
    #[schema(example = "error")]
    severity: String,
    /// The kind of issue, of FHIR's own list.
    #[schema(example = "required")]
    code: String,
    /// The stable code of the problem, in the system `urn:aftercare:problem`, and its title.
    #[schema(value_type = Object)]
    details: Value,
    /// What happened this time.
    #[schema(example = "is required, or performedPeriod with its end")]
    diagnostics: String,
    /// Where, as FHIRPath.
    #[schema(example = json!(["Procedure.performedDateTime"]))]
    expression: Option<Vec<String>>,
}

/// A problem on its way to a caller that speaks FHIR.
#[derive(Debug)]
pub(crate) struct Outcome(Problem);

impl From<Problem> for Outcome {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Outcome {}

impl ResponseError for Outcome {
    fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.0.error_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
        response.set_body(BoxBody::new(document(&self.0).to_string()))
    }
}

/// The resource: an issue for each bad field, or one for the problem itself.
pub(crate) fn document(problem: &Problem) -> Value {
    let issues: Vec<Value> = if problem.errors().is_empty() {
        vec![issue(problem, None)]
    } else {
        problem.errors().iter().map(|fault| issue(problem, Some(fault))).collect()
    };
    json!({"resourceType": "OperationOutcome", "issue": issues})
}

fn issue(problem: &Problem, fault: Option<&Fault>) -> Value {
    let said = problem.document();
    let mut diagnostics = fault.map_or(said.detail, |fault| &fault.detail).to_owned();
    if let Some(id) = said.id {
        diagnostics = format!("{diagnostics}: {id}");
    }
    let severity = if problem.code().status().is_server_error() { "fatal" } else { "error" };
    let coding = json!({"system": "urn:aftercare:problem", "code": said.code});
    let mut issue = json!({
        "severity": severity,
        "code": kind(problem.code(), &diagnostics),
        "details": {"coding": [coding], "text": said.title},
        "diagnostics": diagnostics,
    });
    if let (Some(fault), Some(issue)) = (fault, issue.as_object_mut()) {
        issue.insert("expression".to_owned(), json!([expression(&fault.pointer)]));
    }
    issue
}

/// The issue's type, of FHIR's own list.
fn kind(code: Code, diagnostics: &str) -> &'static str {
    match code {
        Code::InvalidFields if diagnostics.starts_with("is required") => "required",
        Code::InvalidFields => "value",
        Code::UnknownPatient => "not-found",
        Code::UnknownProtocol => "code-invalid",
        code => match code.status().as_u16() {
            400 => "structure",
            401 => "login",
            403 => "forbidden",
            404 => "not-found",
            405 | 415 => "not-supported",
            408 => "timeout",
            409 => "conflict",
            413 => "too-long",
            429 => "throttled",
            503 => "transient",
            _ => "exception",
        },
    }
}

/// A JSON pointer into the procedure as FHIRPath: `/code/coding/0` is `Procedure.code.coding[0]`.
fn expression(pointer: &str) -> String {
    pointer.split('/').skip(1).fold("Procedure".to_owned(), |path, part| {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("{path}[{part}]")
        } else {
            format!("{path}.{part}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_field_is_an_issue_of_its_own() {
        let fault = |pointer: &str, detail: &str| Fault {
            pointer: pointer.to_owned(),
            detail: detail.to_owned(),
        };
        let problem = Problem::fields(vec![
            fault("/bodySite/1/text", "is odd"),
            fault("/code", "is required"),
        ]);
        let outcome = document(&problem);
        let told: Vec<_> = outcome["issue"]
            .as_array()
            .unwrap()
            .iter()
            .map(|issue| {
                (issue["code"].as_str().unwrap(), issue["expression"][0].as_str().unwrap())
            })
            .collect();
        let expected = [("value", "Procedure.bodySite[1].text"), ("required", "Procedure.code")];
        assert_eq!(told, expected);
        assert_eq!(outcome["issue"][0]["details"]["coding"][0]["code"], "invalid-fields");
    }
}
