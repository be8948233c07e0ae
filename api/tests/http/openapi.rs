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
        assert!(!matches!(answer.status, 404 | 405), "{method} {path}: {}", answer.status);
        if !open {
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
