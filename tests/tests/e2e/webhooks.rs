//! Webhooks: what happens is told to the clinic's own server, signed, in order and at least once.

mod courses;
mod delivery;
mod together;

use std::collections::BTreeSet;

use aftercare::care::{self, Outbound};
use aftercare::ids::{LeaseId, WebhookId};
use aftercare::store::Tx;
use aftercare_scheduler::WebhookSummary;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::PhoneSettings;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::clients::verified_by_sdk;
use crate::http::Body;
use crate::receiver::{Receiver, Reply};
use crate::stage::{Stage, at, done};

const ALL: [&str; 9] = [
    "treatment.planned",
    "reminder.sent",
    "reminder.failed",
    "reminder.acknowledged",
    "patient.unreachable",
    "patient.erased",
    "consent.withdrawn",
    "course.session_due",
    "course.completed",
];

/// How long what nobody settles is held.
const LEASE: SignedDuration = SignedDuration::from_mins(1);

impl Stage {
    /// A webhook of the clinic's that hears of these types.
    async fn webhook(&self, receiver: &Receiver, types: &[&str]) -> Value {
        let body = json!({"url": receiver.url(), "types": types});
        self.clinic("POST", "/v1/webhooks", Body::Json(&body)).await.expect(201)
    }

    async fn tell(&self) -> WebhookSummary {
        self.scheduler.tell_webhooks().await.unwrap()
    }

    async fn app_call(&self, token: &str, method: &str, path: &str, body: &Value) {
        let answer = self.http.call(method, path, Some(token), Body::Json(body)).await;
        answer.expect(200);
    }

    async fn failures(&self, webhook: &Value) -> Vec<Value> {
        let path = format!("/v1/webhooks/{}/failures", webhook["id"].as_str().unwrap());
        let page = self.clinic("GET", &path, Body::None).await.expect(200);
        page["items"].as_array().unwrap().clone()
    }

    async fn replay(&self, webhook: &Value) -> u64 {
        let path = format!("/v1/webhooks/{}/replay", webhook["id"].as_str().unwrap());
        let replayed = self.clinic("POST", &path, Body::None).await.expect(200);
        replayed["replayed"].as_u64().unwrap()
    }

    /// A claim of everything that is due at a webhook, by somebody who then does nothing.
    async fn claimed(&self, webhook: &Value) -> (Outbound, LeaseId) {
        let id: WebhookId = webhook["id"].as_str().unwrap().parse().unwrap();
        let lease: LeaseId = self.bed.store.env().id();
        let claim = move |tx: &mut Tx<'_>| care::claim_webhook(tx, id, lease, LEASE, 9);
        (self.bed.store.write(claim).await.unwrap().unwrap(), lease)
    }

    fn outbox(&self) -> usize {
        self.bed.query("SELECT count(*) FROM webhook_events WHERE state = 'pending'")[0]
            .parse()
            .unwrap()
    }
}

async fn what_happens_is_told_signed_and_in_order(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    let webhook = stage.webhook(&receiver, &ALL).await;
    stage.patient("ana").await;
    let treated = stage.session_done("visit-1", "ana").await;
    stage.set_clock("2026-11-22T15:41:00Z");
    let token = stage.phone("ana", "ana").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    let push = stage.pushes().pop().unwrap();
    let seen = json!([
        {"reminder_id": push.reminder, "kind": "displayed", "at": push.at.to_string()},
        {"reminder_id": push.reminder, "kind": "acknowledged", "at": push.at.to_string()},
    ]);
    stage.app_call(&token, "POST", "/v1/me/receipts", &seen).await;
    stage.app_call(&token, "POST", "/v1/me/receipts", &seen).await;
    let no = json!({"granted": false});
    stage.app_call(&token, "PUT", "/v1/me/consents/recall", &no).await;
    stage.app_call(&token, "PUT", "/v1/me/consents/recall", &no).await;

    let told = stage.tell().await;
    assert_eq!(told, WebhookSummary { delivered: 4, ..WebhookSummary::default() });
    let messages = receiver.take();
    let kinds: Vec<&str> = messages.iter().map(|one| one.kind()).collect();
    let expected =
        ["treatment.planned", "reminder.sent", "reminder.acknowledged", "consent.withdrawn"];
    assert_eq!(kinds, expected);
    let patient = &treated["treatment"]["patient_id"];
    let data = |more: Value| {
        let mut data = json!({"patient_ref": "ana", "patient_id": patient});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        data
    };
    let reminder = json!({"reminder_id": push.reminder});
    for (received, more) in messages.iter().zip([
        json!({"treatment_id": treated["treatment"]["id"]}),
        reminder.clone(),
        reminder,
        json!({"consent": "recall"}),
    ]) {
        assert_eq!(received.body["data"], data(more), "ids and codes, nothing else");
    }
    assert_eq!(messages[0].body["timestamp"], "2026-11-22T15:40:00Z");
    assert_eq!(messages[1].body["timestamp"], "2026-11-22T15:55:00Z");
    assert_eq!(messages[0].timestamp, at("2026-11-22T15:55:00Z").as_second().to_string());
    let ids: BTreeSet<&String> = messages.iter().map(|one| &one.id).collect();
    assert_eq!(ids.len(), 4);
    let secret = webhook["secret"].as_str().unwrap();
    let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";
    for received in &messages {
        assert!(received.is_signed(secret) && !received.is_signed(other));
    }
    if let Some(verified) = verified_by_sdk(secret, &messages).await {
        assert_eq!(verified, [true; 4]);
    }
    if let Some(verified) = verified_by_sdk(other, &messages).await {
        assert_eq!(verified, [false; 4]);
    }
    assert_eq!(stage.tell().await, WebhookSummary::default(), "nothing twice");
    assert_eq!(stage.failures(&webhook).await, [Value::Null; 0]);
}

async fn nothing_is_written_for_who_does_not_listen(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    assert_eq!(stage.outbox(), 0, "no webhook");
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &["patient.erased"]).await;
    stage.treated("bea").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    assert_eq!(stage.outbox(), 0, "another type");
    stage.webhook(&receiver, &["treatment.planned", "treatment.planned"]).await;
    let dry = json!({
        "event_id": "dry", "patient_ref": "bea", "protocol": "microneedling",
        "completed_at": stage.now().to_string(),
    });
    stage.clinic("POST", "/v1/treatments?dry_run=true", Body::Json(&dry)).await.expect(200);
    assert_eq!(stage.outbox(), 0, "only tried out");
    stage.session_done("visit-2", "bea").await;
    stage.post(&done("visit-2", "bea", stage.now())).await.expect(200);
    assert_eq!(stage.outbox(), 1, "a repeat tells nothing");
}

async fn of_who_was_erased_only_the_erasure_is_told(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &ALL).await;
    receiver.answer(|_| Reply::Status(500));
    let treated = stage.treated("ana-7Zq").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    stage.tell().await;
    assert_eq!(stage.outbox(), 2);
    stage.clinic("DELETE", "/v1/patients/ana-7Zq", Body::None).await.expect(204);
    assert_eq!(stage.outbox(), 1);
    receiver.answer(|_| Reply::Status(200));
    receiver.take();
    assert_eq!(stage.tell().await.delivered, 1);
    let told = receiver.take().pop().unwrap();
    assert_eq!(told.kind(), "patient.erased");
    assert_eq!(told.body["data"], json!({"patient_id": treated["treatment"]["patient_id"]}));
    stage.bed.clock.advance(SignedDuration::from_hours(24 * 7));
    stage.scheduler.tidy().await;
    assert_eq!(stage.bed.query("SELECT count(*) FROM webhook_events"), ["0"], "kept for a week");
}

async fn an_erasure_is_told_after_what_is_on_its_way(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    let webhook = stage.webhook(&receiver, &ALL).await;
    stage.treated("ana").await;
    stage.claimed(&webhook).await;
    stage.clinic("DELETE", "/v1/patients/ana", Body::None).await.expect(204);
    assert_eq!(stage.tell().await, WebhookSummary::default());
    stage.bed.clock.advance(LEASE);
    assert_eq!(stage.tell().await.delivered, 1);
    assert_eq!(receiver.lines(), ["- patient.erased"]);
}

async fn who_cannot_be_reached_is_told_once_for_each_reminder(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &["patient.unreachable", "reminder.failed"]).await;
    stage.patient("ana").await;
    stage.session_done("visit-1", "ana").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    stage.tell().await;
    assert_eq!(receiver.lines(), ["ana patient.unreachable"]);
    stage.phone("ana", "ana").await;
    let gone = PhoneSettings { installed: Some(false), ..PhoneSettings::default() };
    stage.fcm.set_phone("ana", gone);
    stage.play("2026-11-22T18:45:00Z").await;
    stage.tell().await;
    let messages = receiver.take();
    let lines: Vec<String> = messages.iter().map(|one| one.line()).collect();
    assert_eq!(lines, ["ana reminder.failed"], "no second word on one reminder");
    assert_eq!(messages[0].body["data"]["reason"], "no-device");
}

async fn webhooks_are_the_clinics_own_and_their_secret_is_shown_once(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    let made = stage.webhook(&receiver, &["patient.erased"]).await;
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let listed = stage.clinic("GET", "/v1/webhooks", Body::None).await.expect(200);
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(listed["items"], json!([shown]));

    let other = stage.another_clinic().await;
    let id = made["id"].as_str().unwrap();
    let call = async |method: &str, path: &str| {
        stage.http.call(method, path, Some(&other), Body::None).await
    };
    assert!(call("GET", "/v1/webhooks").await.is_empty_page());
    call("GET", &format!("/v1/webhooks/{id}/failures")).await.problem(404, "not-found");
    call("POST", &format!("/v1/webhooks/{id}/replay")).await.problem(404, "not-found");
    call("DELETE", &format!("/v1/webhooks/{id}")).await.problem(404, "not-found");
    let event = json!({
        "event_id": "theirs", "patient": {"ref": "theirs"}, "protocol": "microneedling",
        "completed_at": stage.now().to_string(),
    });
    let path = "/v1/treatments";
    stage.http.call("POST", path, Some(&other), Body::Json(&event)).await.expect(201);
    let path = "/v1/patients/theirs";
    stage.http.call("DELETE", path, Some(&other), Body::None).await.expect(204);
    assert_eq!(stage.outbox(), 0, "another clinic's patients are none of its business");

    stage.clinic("DELETE", &format!("/v1/webhooks/{id}"), Body::None).await.expect(204);
    let again = stage.clinic("DELETE", &format!("/v1/webhooks/{id}"), Body::None).await;
    again.problem(404, "not-found");
}

async fn what_can_be_no_webhook_is_refused(bed: Bed) {
    let stage = Stage::set(bed).await;
    let post = async |body: Value| stage.clinic("POST", "/v1/webhooks", Body::Json(&body)).await;
    for url in [
        "http://hooks.example/",
        "https://u:p@hooks.example/",
        "https://10.0.0.1/",
        "https://169.254.169.254/",
        "https://[::ffff:10.0.0.1]/",
        "gopher://hooks.example/",
        "hooks",
    ] {
        let problem = post(json!({"url": url, "types": ["patient.erased"]})).await;
        let problem = problem.problem(422, "invalid-fields");
        assert_eq!(problem["errors"][0]["pointer"], "/url", "{url}");
    }
    for (types, pointer) in [
        (json!([]), "/types"),
        (json!("patient.erased"), "/types"),
        (json!(["patient.erased", "patient.sneezed"]), "/types/1"),
    ] {
        let problem = post(json!({"url": "https://hooks.example/", "types": types})).await;
        assert_eq!(problem.problem(422, "invalid-fields")["errors"][0]["pointer"], pointer);
    }
    let good = json!({"url": "https://hooks.example/", "types": ["patient.erased"]});
    for _ in 0..10 {
        post(good.clone()).await.expect(201);
    }
    post(good).await.problem(409, "too-many-webhooks");
}

on_both_engines!(
    what_happens_is_told_signed_and_in_order,
    nothing_is_written_for_who_does_not_listen,
    of_who_was_erased_only_the_erasure_is_told,
    an_erasure_is_told_after_what_is_on_its_way,
    who_cannot_be_reached_is_told_once_for_each_reminder,
    webhooks_are_the_clinics_own_and_their_secret_is_shown_once,
    what_can_be_no_webhook_is_refused,
);
