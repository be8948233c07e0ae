//! Sessions told as FHIR R4 Procedures, made by an independent package.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::{Value, json};

use crate::clients::{folder, python};
use crate::http::{Answer, Body};
use crate::stage::Stage;

const PATH: &str = "/fhir/R4/Procedure";
const SNOMED: &str = "http://snomed.info/sct";

/// What the package makes of these wishes.
fn made(python: &Path, wishes: &Value) -> Vec<Value> {
    let mut package = Command::new(python)
        .arg(folder().join("procedures.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    package.stdin.take().unwrap().write_all(wishes.to_string().as_bytes()).unwrap();
    let output = package.wait_with_output().unwrap();
    assert!(output.status.success(), "{wishes}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A procedure that ended at 15:30.
pub(crate) fn procedure(value: &str, patient: &str) -> Value {
    json!({
        "resourceType": "Procedure", "status": "completed",
        "identifier": [{"system": "https://ehr.example", "value": value}],
        "code": {"coding": [{"system": "https://practice.example", "code": "microneedling"}]},
        "subject": {"identifier": {"value": patient}},
        "performedDateTime": "2026-11-22T15:30:00Z",
    })
}

impl Stage {
    async fn perform(&self, procedure: &Value) -> Answer {
        let headers = [("content-type".to_owned(), "application/fhir+json".to_owned())];
        let body = Body::Raw { headers: &headers, text: &procedure.to_string() };
        self.clinic("POST", PATH, body).await
    }
}

async fn the_packages_procedures_are_understood(bed: Bed) {
    let Some(python) = python() else { return };
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let code = json!([[SNOMED, "424982005"], ["https://practice.example", "microneedling"]]);
    let wish = |value: &str, rest: Value| {
        let mut wish = json!({
            "system": "https://ehr.example", "value": value, "patient": "ana", "code": code,
        });
        wish.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        wish
    };
    let sites = json!([[SNOMED, "89545001"], [SNOMED, "41695006"], ["urn:x", "Chest"]]);
    let made = made(
        &python,
        &json!([
            wish("1", json!({"at": "2026-11-22T15:30:00+00:00", "sites": sites})),
            wish(
                "2",
                json!({"start": "2026-10-22T14:00:00+02:00", "at": "2026-10-22T15:00:00+02:00"})
            ),
            wish("1", json!({"at": "2026-11-22T15:30:00+00:00"})),
            wish("3", json!({"at": "2026-11-22T15:30:00+00:00", "status": "in-progress"})),
        ]),
    );
    let first = stage.perform(&made[0]).await.expect(201);
    assert_eq!(first["treatment"]["event_id"], "1");
    assert_eq!(first["treatment"]["patient_ref"], "ana");
    assert_eq!(first["treatment"]["protocol"], "microneedling");
    assert_eq!(first["treatment"]["completed_at"], "2026-11-22T15:30:00Z");
    assert_eq!(first["treatment"]["areas"], json!(["chest", "face", "scalp"]));
    assert!(first["enrolment"]["code"].is_string(), "{first}");
    let again = stage.perform(&made[0]).await.expect(200);
    assert_eq!(again["treatment"]["id"], first["treatment"]["id"]);
    let second = stage.perform(&made[1]).await.expect(201);
    assert_eq!(second["treatment"]["completed_at"], "2026-10-22T13:00:00Z");
    assert_eq!(second["treatment"]["areas"], json!(["face", "neck"]));
    stage.perform(&made[2]).await.outcome(409, "event-conflict");
    stage.perform(&made[3]).await.outcome(422, "invalid-fields");
    // A hospital's own codes say nothing of the words beside them.
    let odd = json!([
        {"coding": [{"system": SNOMED, "code": "181469002"}, {"system": "urn:l", "code": "F-01"}], "text": "Face"},
        {"coding": [{"system": "urn:l", "code": "f01"}, {"system": "urn:p", "code": "neck"}]},
    ]);
    let mut local = procedure("5", "ana");
    local["bodySite"] = odd;
    let local = stage.perform(&local).await.expect(201);
    assert_eq!(local["treatment"]["areas"], json!(["face", "neck"]));
    // The same as the plain event of it, but for whose ids they are.
    let plain = json!({
        "event_id": "1", "patient_ref": "ana", "protocol": "microneedling",
        "completed_at": "2026-11-22T15:30:00Z", "areas": ["chest", "face", "scalp"],
    });
    let plain = stage.post(&plain).await.expect(201);
    assert_ne!(plain["treatment"]["id"], first["treatment"]["id"]);
    // One day is one session, and the one of a month before is the first.
    assert_eq!(plain["treatment"]["session"], 2);
    // Identifiers of another system are others.
    let mut elsewhere = made[0].clone();
    elsewhere["identifier"][0]["system"] = json!("https://other.example");
    stage.perform(&elsewhere).await.expect(201);
}

async fn what_is_refused_says_where_and_why(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let good = procedure("1", "ana");
    let but = |name: &str, value: Value| {
        let mut procedure = good.clone();
        procedure[name] = value;
        procedure
    };
    let period = json!({"start": "2026-11-22T15:00:00Z"});
    let odd_site = json!([{"text": "left cheek"}]);
    let cases = [
        (but("resourceType", json!("Observation")), "value", "Procedure.resourceType"),
        (but("status", json!("entered-in-error")), "value", "Procedure.status"),
        (but("status", json!(null)), "required", "Procedure.status"),
        (but("identifier", json!([{"system": "x"}])), "required", "Procedure.identifier"),
        (but("identifier", json!({"value": "1"})), "value", "Procedure.identifier"),
        (but("code", json!({"text": "microneedling"})), "required", "Procedure.code"),
        (but("code", json!({"coding": [{"code": "97"}]})), "code-invalid", "Procedure.code"),
        (
            but("subject", json!({"reference": "Patient/1"})),
            "required",
            "Procedure.subject.identifier",
        ),
        (
            but("subject", json!({"identifier": {"value": "zoe"}})),
            "not-found",
            "Procedure.subject.identifier",
        ),
        (
            but("subject", json!({"identifier": {"value": "ana@example.org"}})),
            "value",
            "Procedure.subject.identifier.value",
        ),
        (but("performedDateTime", json!("2026-11-22")), "value", "Procedure.performedDateTime"),
        (but("performedDateTime", json!(null)), "required", "Procedure.performedDateTime"),
        (but("performedDateTime", json!("2026-11-22T15:45:01Z")), "value", "Procedure.performed"),
        (but("performedPeriod", period), "required", "Procedure.performedPeriod.end"),
        (but("bodySite", odd_site), "value", "Procedure.bodySite[0].coding"),
        (but("bodySite", json!([{"text": "knee"}])), "value", "Procedure.bodySite"),
        (but("modifierExtension", json!([{"url": "x"}])), "value", "Procedure.modifierExtension"),
    ];
    let mut outcomes = Vec::new();
    for (procedure, kind, expression) in cases {
        let answer = stage.perform(&procedure).await;
        let outcome = answer.expect(422);
        assert_eq!(answer.header("content-type"), Some("application/fhir+json"));
        let issue = &outcome["issue"][0];
        assert_eq!((&issue["code"], &issue["expression"][0]), (&json!(kind), &json!(expression)));
        assert!(issue["diagnostics"].as_str().is_some_and(|text| text.len() > 10), "{outcome}");
        outcomes.push(json!({"outcome": outcome}));
    }
    assert_eq!(stage.bed.query("SELECT count(*) FROM treatments"), ["0"]);

    let kind = |of: &str| [("content-type".to_owned(), of.to_owned())];
    let fhir = kind("application/fhir+json");
    let xml = kind("application/fhir+xml");
    let r5 = kind("application/fhir+json; fhirVersion=5.0");
    let raw = |headers, text| Body::Raw { headers, text };
    let whole = good.to_string();
    let token = stage.clinic_token().await;
    let none = stage.http.call("POST", PATH, None, raw(&fhir, "{}")).await;
    assert_eq!(none.header("www-authenticate"), Some("bearer"));
    let calls = [
        (none, 401, "missing-token"),
        (
            stage.clinic("POST", PATH, raw(&fhir, "{\"a\": 1, \"a\": 2}")).await,
            400,
            "malformed-json",
        ),
        (stage.clinic("POST", PATH, raw(&xml, "<x/>")).await, 415, "unsupported-media-type"),
        (stage.clinic("POST", PATH, raw(&r5, "{}")).await, 415, "unsupported-media-type"),
        (
            stage.clinic("POST", &format!("{PATH}?dry_run=true"), raw(&fhir, &whole)).await,
            422,
            "invalid-fields",
        ),
        (stage.http.call("GET", PATH, Some(&token), Body::None).await, 405, "method-not-allowed"),
        (stage.http.call("GET", "/fhir/R4/Patient", None, Body::None).await, 404, "not-found"),
    ];
    for (answer, status, code) in calls {
        outcomes.push(json!({"outcome": answer.outcome(status, code)}));
    }
    if let Some(python) = python() {
        let read = made(&python, &json!(outcomes));
        assert_eq!(read.len(), outcomes.len());
    }
    // Both media types do.
    let body = good.to_string();
    stage
        .clinic("POST", PATH, raw(&kind("application/json; charset=utf-8"), &body))
        .await
        .expect(201);
    stage.perform(&good).await.expect(200);
}

on_both_engines!(the_packages_procedures_are_understood, what_is_refused_says_where_and_why);
