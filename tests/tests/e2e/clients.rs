//! Messages made by the SDKs that a clinic's software would use, which know nothing of ours.
//!
//! The SDKs of CloudEvents and Standard Webhooks run when `node` is in PATH and `npm install` has been run
//! in `tests/clients`; with `AFTERCARE_TEST_CLIENTS=required` a test fails without them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::http::{Answer, Body};
use crate::stage::Stage;

const PATH: &str = "/v1/events";

/// A message ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Whether the SDKs are here; says so in one line when they are not.
fn are_installed() -> bool {
    let installed = ["cloudevents", "standardwebhooks"]
        .iter()
        .all(|name| folder().join("node_modules").join(name).is_dir())
        && Command::new("node").arg("--version").output().is_ok();
    if !installed {
        let said = "node or tests/clients/node_modules is missing";
        let required = std::env::var("AFTERCARE_TEST_CLIENTS").as_deref() == Ok("required");
        assert!(!required, "{said}");
        println!("Not run with the SDKs of clinics: {said}.");
    }
    installed
}

/// The messages that `messages.mjs` makes of these wishes; `None` without the SDKs.
pub(crate) async fn made_by_sdks(wanted: &Value) -> Option<Vec<Message>> {
    if !are_installed() {
        return None;
    }
    let wanted = wanted.to_string();
    let run = move || {
        let mut node = Command::new("node");
        node.current_dir(folder()).arg("messages.mjs").stdin(Stdio::piped());
        let mut node = node.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        node.stdin.take().unwrap().write_all(wanted.as_bytes()).unwrap();
        node.wait_with_output().unwrap()
    };
    let ran = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let made: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let message = |made: &Value| Message {
        headers: made["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        body: text(&made["body"]),
    };
    Some(made.as_array().unwrap().iter().map(message).collect())
}

/// An event as it would stand in structured mode.
pub(crate) fn event(id: &str, what: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "https://practice.example/rooms/2",
        "type": format!("care.aftercare.session.{what}.v1"),
        "time": "2026-11-22T15:39:00Z", "data": data,
    })
}

/// The event of a session that ended at 15:40, of a patient who may be new.
pub(crate) fn completed(id: &str, reference: &str) -> Value {
    let data = json!({
        "patient": {"ref": reference}, "protocol": "microneedling",
        "completed_at": "2026-11-22T15:40:00Z",
    });
    event(id, "completed", &data)
}

impl Stage {
    /// Sends a message to `/v1/events`.
    pub(crate) async fn send(&self, query: &str, message: &Message, token: Option<&str>) -> Answer {
        let body = Body::Raw { headers: &message.headers, text: &message.body };
        self.http.call("POST", &format!("{PATH}{query}"), token, body).await
    }

    /// A structured event, or a batch of them, from the clinic with its bearer.
    pub(crate) async fn say(&self, said: &Value) -> Answer {
        let kind = if said.is_array() { "cloudevents-batch" } else { "cloudevents" };
        self.say_as(&format!("application/{kind}+json"), said).await
    }

    pub(crate) async fn say_as(&self, kind: &str, said: &Value) -> Answer {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        let token = self.clinic_token().await;
        self.send("", &Message { headers, body: said.to_string() }, Some(&token)).await
    }

    /// The treatment that a receipt names, as the clinic sees it.
    pub(crate) async fn shown(&self, receipt: &Value) -> Value {
        let id = receipt["treatment_id"].as_str().unwrap();
        self.clinic("GET", &format!("/v1/treatments/{id}"), Body::None).await.expect(200)
    }
}
