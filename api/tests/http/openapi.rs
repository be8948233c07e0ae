//! The document agrees with itself and with what is served.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::support::api;

/// Every operation: path, method, description.
fn operations(document: &Value) -> Vec<(String, String, Map<String, Value>)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, operation)| {
            (path.clone(), method.to_uppercase(), operation.as_object().unwrap().clone())
        })
    });
    all.collect()
}

/// Whom the committed document is of.
const PUBLIC_URL: &str = "https://aftercare.example";

#[test]
fn the_committed_document_is_the_codes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let document = aftercare_api::openapi_document(PUBLIC_URL);
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(file, format!("{document:#}\n")).unwrap();
    }
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(committed == document, "docs/openapi.json is not the code's; write it: just openapi");
}

#[test]
fn every_operation_says_what_it_takes_and_gives() {
    const TAGS: [&str; 4] = ["auth", "clinic", "patient", "operations"];
    let document = aftercare_api::openapi_document(PUBLIC_URL);
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let tags = operation["tags"].as_array().unwrap();
        assert!(tags.len() == 1 && TAGS.contains(&tags[0].as_str().unwrap()), "{name}: {tags:?}");
        assert!(!operation["security"].as_array().unwrap().is_empty(), "{name}");
        let id = operation["operationId"].as_str().unwrap();
        assert!(
            id.starts_with(char::is_lowercase) && id.chars().all(char::is_alphanumeric),
            "{id}"
        );
        for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten()
        {
            assert_ne!(parameter["description"], Value::Null, "{name}: {parameter}");
        }
        let request = operation.get("requestBody").map(|body| ("request", body));
        let responses = operation["responses"].as_object().unwrap().iter();
        let responses = responses.map(|(status, response)| (status.as_str(), response));
        for (part, body) in request.into_iter().chain(responses) {
            for (media_type, content) in body["content"].as_object().into_iter().flatten() {
                let known = content.get("example").is_some() || content.get("examples").is_some();
                assert!(known, "{name}: {part} {media_type} has no example");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_described_whole() {
    let api = api().await;
    let document = api.get("/openapi.json").send().await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["servers"][0]["url"], api.handle.public_url());
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{name}");
        let guarded = operation.get("security").is_some_and(|security| {
            security
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one.get("clinic").is_some() || one.get("patient").is_some())
        });
        if path.starts_with("/v1/") && !path.starts_with("/v1/oauth/") && !path.ends_with("/redeem")
        {
            assert!(guarded, "{name}");
            for status in ["401", "429", "500", "503"] {
                assert!(responses.contains_key(status), "{name} {status}");
            }
        }
        for (status, response) in responses {
            assert_ne!(response["description"], "", "{name} {status}");
            if status.starts_with(['4', '5']) && !path.starts_with("/readyz") {
                let content = response["content"].as_object().unwrap();
                assert_eq!(content.len(), 1, "{name} {status}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_leads_somewhere() {
    let document = aftercare_api::openapi_document("https://aftercare.test");
    let mut open = vec![&document];
    let mut references = 0;
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{target}");
                    references += 1;
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert!(references > 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_described_operation_is_served_and_guarded() {
    let api = api().await;
    let document = aftercare_api::openapi_document("https://aftercare.test");
    for (path, method, operation) in operations(&document) {
        let open = operation["tags"][0] == "operations" || operation["tags"][0] == "auth";
        let filled = path.replace("{ref}", "p-1").replace(['{', '}'], "");
        let answer = api.request(&method, &filled).send().await;
        if path == "/calendar/{token}.ics" {
            answer.problem(404, "not-found");
            continue;
        }
        assert!(!matches!(answer.status, 404 | 405), "{method} {path}: {}", answer.status);
        if path.starts_with("/fhir/") {
            let outcome = answer.expect(401);
            let code = &outcome["issue"][0]["details"]["coding"][0]["code"];
            assert_eq!(code, "missing-token", "{method} {path}");
            assert_eq!(answer.header("content-type"), Some("application/fhir+json"));
        } else if !open {
            answer.problem(401, "missing-token");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_from_the_binary() {
    let api = api().await;
    let docs = api.get("/docs").send().await;
    assert_eq!((docs.status, docs.header("location")), (308, Some("/docs/")));
    let page = api.get("/docs/").send().await;
    let html = String::from_utf8(page.body.clone()).unwrap();
    assert_eq!(page.status, 200);
    assert!(!html.contains("https://"), "nothing is loaded from elsewhere");
    let script = api.get("/docs/swagger-initializer.js").send().await;
    assert!(String::from_utf8_lossy(&script.body).contains("../openapi.json"));
    api.get("/docs/nothing.js").send().await.problem(404, "not-found");
}
