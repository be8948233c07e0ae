//! What is never logged.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::support::{api, device, session_done};

/// Everything this process logs, from every thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_hold_route_templates_and_opaque_ids_only() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_span_events(FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .init();
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "canary-ref", "canary-installation").await;
    let put = api.put("/v1/me/devices/canary-installation").bearer(&phone.access);
    put.json(&device("canary-address")).send().await.expect(204);
    let mut event = session_done("canary-event", "canary-ref");
    event["metadata"] = json!({"canary-name": "canary-value"});
    let post = api.post("/v1/treatments").bearer(&token).header("x-canary", "canary-header");
    let posted = post.json(&event).send().await.expect(201);
    let broken = json!({"event_id": "canary event", "canary-field": 1, "protocol": "canary"});
    api.post("/v1/treatments").bearer(&token).json(&broken).send().await.expect(422);
    api.get("/v1/patients/canary-ref/timeline?canary=1").bearer(&token).send().await.expect(200);
    api.get("/v1/treatments?patient_ref=canary-ref").bearer(&token).send().await.expect(200);
    api.get("/v1/canary").bearer("canary-token").send().await.expect(404);
    api.get("/v1/treatments").bearer("canary-token").send().await.expect(401);
    let calendar = api.get("/v1/me/calendar").bearer(&phone.access).send().await.expect(200);
    let feed = calendar["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(api.get(&format!("/calendar/{feed}")).send().await.status, 200);
    api.get("/calendar/canary.ics").send().await.problem(404, "not-found");
    api.refresh(&phone.refresh).await.expect(200);
    api.refresh("canary-refresh").await.expect(400);

    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("/v1/patients/{ref}/timeline"), "templates are logged");
    assert!(logged.contains(&api.clinic.clinic_id.to_string()), "opaque ids are logged");
    assert!(!logged.contains("canary"), "{}", surroundings(&logged, "canary"));
    assert!(logged.contains("/calendar/{token}.ics"), "of the feed, too");
    for secret in [&token, &phone.access, &phone.refresh, &feed] {
        assert!(!logged.contains(secret.as_str()), "a token is logged");
    }
    let code = posted["enrolment"]["code"].as_str();
    assert!(code.is_none_or(|code| !logged.contains(code)), "a code is logged");
}

/// The lines that hold `needle`.
fn surroundings(text: &str, needle: &str) -> String {
    text.lines().filter(|line| line.contains(needle)).collect::<Vec<_>>().join("\n")
}
