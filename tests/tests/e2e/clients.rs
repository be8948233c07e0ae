//! Messages made by the SDKs that a clinic's software would use, which know nothing of ours.
//!
//! Those in JavaScript run when `node` is in PATH and `npm install` has been run in `tests/clients`, those in
//! Python when `AFTERCARE_TEST_CLIENTS_PYTHON` names a Python that has `tests/clients/requirements.txt`
//! installed, or `target/clients` is such a virtual environment. With `AFTERCARE_TEST_CLIENTS=required` a
//! test fails without them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::http::{Answer, Body};
use crate::receiver::Received;
use crate::stage::Stage;

const PATH: &str = "/v1/events";

/// A message ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// One line says what is missing, unless it must be there.
fn is_missing(what: &str) {
    let required = std::env::var("AFTERCARE_TEST_CLIENTS").as_deref() == Ok("required");
    assert!(!required, "{what}");
    println!("Not run with the SDKs of clinics: {what}.");
}

/// A Python that has the SDKs; says so when there is none.
pub(crate) fn python() -> Option<PathBuf> {
    let named = std::env::var_os("AFTERCARE_TEST_CLIENTS_PYTHON").map(PathBuf::from);
    let made = || folder().parent().unwrap().with_file_name("target/clients/bin/python");
    let python = named.unwrap_or_else(made);
    let imports = "import fhir.resources, cloudevents.core, standardwebhooks, requests";
    let probe = Command::new(&python).args(["-c", imports]).output();
    if probe.is_ok_and(|probe| probe.status.success()) {
        return Some(python);
    }
    is_missing(&format!("{} has no {imports}", python.display()));
    None
}

/// Whether the SDKs in JavaScript are here; says so when they are not.
pub(crate) fn has_node() -> bool {
    let installed = ["cloudevents", "standardwebhooks"]
        .iter()
        .all(|name| folder().join("node_modules").join(name).is_dir())
        && Command::new("node").arg("--version").output().is_ok();
    if !installed {
        is_missing("node or tests/clients/node_modules is missing");
    }
    installed
}

/// What a script prints of what it reads.
async fn run(script: &'static str, input: String) -> Value {
    let run = move || {
        let mut node = Command::new("node");
        node.current_dir(folder()).arg(script).stdin(Stdio::piped());
        let mut node = node.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        node.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        node.wait_with_output().unwrap()
    };
    let ran = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// Which of these messages `verify.mjs` takes as signed by the secret; `None` without the SDKs.
pub(crate) async fn verified_by_sdk(secret: &str, messages: &[Received]) -> Option<Vec<bool>> {
    if !has_node() {
        return None;
    }
    let message = |one: &Received| {
        json!({
            "id": one.id, "timestamp": one.timestamp, "signature": one.signature, "body": one.text,
        })
    };
    let messages: Vec<Value> = messages.iter().map(message).collect();
    let wanted = json!({"secret": secret, "messages": messages});
    let verified = run("verify.mjs", wanted.to_string()).await;
    Some(verified.as_array().unwrap().iter().map(|one| one == &json!(true)).collect())
}

/// The messages that `messages.mjs` makes of these wishes; `None` without the SDKs.
pub(crate) async fn made_by_sdks(wanted: &Value) -> Option<Vec<Message>> {
    if !has_node() {
        return None;
    }
    let made = run("messages.mjs", wanted.to_string()).await;
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
