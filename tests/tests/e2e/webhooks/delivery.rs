//! How events are delivered: in order, at least once, for a day, and to nobody else.

use std::collections::BTreeSet;

use aftercare::care::{self, Told};
use aftercare::store::{Tx, WebhookOutcome};
use aftercare_scheduler::WebhookSummary;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{ALL, LEASE};
use crate::http::Body;
use crate::receiver::{Receiver, Reply};
use crate::stage::Stage;

async fn a_later_event_of_a_patient_waits_for_an_earlier_one(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &ALL).await;
    receiver.answer(|received| match received.line().as_str() {
        "ana treatment.planned" => Reply::Status(500),
        _ => Reply::Status(204),
    });
    stage.treated("ana").await;
    stage.treated("bea").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    let told = stage.tell().await;
    assert_eq!((told.delivered, told.retrying), (2, 1));
    let mut lines = receiver.lines();
    lines.sort();
    assert_eq!(lines, ["ana treatment.planned", "bea reminder.sent", "bea treatment.planned"]);
    assert_eq!(stage.tell().await, WebhookSummary::default(), "it is not its turn yet");
    receiver.answer(|_| Reply::Status(200));
    stage.bed.clock.advance(SignedDuration::from_secs(5));
    assert_eq!(stage.tell().await.delivered, 2);
    assert_eq!(receiver.lines(), ["ana treatment.planned", "ana reminder.sent"]);
}

async fn what_is_not_taken_in_a_day_is_kept_and_can_be_replayed(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    let webhook = stage.webhook(&receiver, &["treatment.planned", "consent.withdrawn"]).await;
    receiver.answer(|_| Reply::Status(503));
    stage.patient("ana").await;
    let token = stage.phone("ana", "ana").await;
    stage.session_done("visit-1", "ana").await;
    let no = json!({"granted": false});
    stage.app_call(&token, "PUT", "/v1/me/consents/recall", &no).await;
    let mut waits = Vec::new();
    let (mut before, start) = (stage.now(), stage.now());
    loop {
        assert!(stage.now().duration_since(start) <= SignedDuration::from_hours(24));
        let told = stage.tell().await;
        if told != WebhookSummary::default() {
            waits.push(stage.now().duration_since(before).as_secs());
            before = stage.now();
        }
        if told.failed > 0 {
            break;
        }
        let step = if waits.len() < 5 { 1 } else { 60 };
        stage.bed.clock.advance(SignedDuration::from_secs(step));
    }
    let mut tried = receiver.take();
    assert_eq!(tried.pop().unwrap().kind(), "consent.withdrawn", "the later one waited until now");
    assert!((25..60).contains(&tried.len()), "{waits:?}");
    assert!(tried.iter().all(|one| one.kind() == "treatment.planned"));
    assert!(waits[1] <= 5 && waits[2] <= 10 && waits[3] <= 20, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 3_660), "{waits:?}");
    let ids: BTreeSet<&String> = tried.iter().map(|one| &one.id).collect();
    assert_eq!(ids.len(), 1, "under one id");
    let failed = stage.failures(&webhook).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["id"], tried[0].id.as_str());
    assert_eq!(failed[0]["type"], "treatment.planned");
    assert_eq!(failed[0]["attempts"], tried.len());
    assert_eq!(failed[0]["trouble"], "the receiver answered 503");

    receiver.answer(|_| Reply::Status(200));
    assert_eq!(stage.replay(&webhook).await, 1);
    assert_eq!(stage.failures(&webhook).await, [Value::Null; 0]);
    stage.bed.clock.advance(SignedDuration::from_secs(5));
    assert_eq!(stage.tell().await.delivered, 2);
    let replayed = receiver.take();
    let kinds: Vec<&str> = replayed.iter().map(|one| one.kind()).collect();
    assert_eq!(kinds, ["treatment.planned", "consent.withdrawn"]);
    assert_eq!((&replayed[0].id, &replayed[0].text), (&tried[0].id, &tried[0].text));
    assert_eq!(stage.replay(&webhook).await, 0);
}

async fn a_crash_between_the_answer_and_the_note_of_it_tells_again(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    let webhook = stage.webhook(&receiver, &["treatment.planned"]).await;
    receiver.answer(|_| Reply::Nothing);
    stage.treated("ana").await;
    assert_eq!(stage.tell().await.retrying, 1, "taken, for all we know, but not confirmed");
    receiver.answer(|_| Reply::Status(200));
    stage.bed.clock.advance(SignedDuration::from_secs(5));

    let (dead, lease) = stage.claimed(&webhook).await;
    assert_eq!(stage.tell().await, WebhookSummary::default(), "another one holds it");
    stage.bed.clock.advance(LEASE);
    assert_eq!(stage.tell().await.delivered, 1, "its lease is over");
    let ids: BTreeSet<String> = receiver.take().into_iter().map(|one| one.id).collect();
    assert_eq!(ids, [dead.messages[0].event.id.to_string()].into());
    let late = Told {
        seq: dead.messages[0].event.seq,
        outcome: WebhookOutcome::Failed { trouble: "late".to_owned() },
        gone: true,
    };
    let of = (dead.webhook.clinic_id, dead.webhook.id);
    let settle = move |tx: &mut Tx<'_>| care::settle_webhook(tx, of, lease, &[late]);
    let written = stage.bed.store.write(settle).await.unwrap();
    assert_eq!(written, 0, "who comes too late writes nothing");
    assert_eq!(stage.failures(&webhook).await, [Value::Null; 0]);
}

async fn two_schedulers_never_tell_at_the_same_time(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &ALL).await;
    for n in 0..40 {
        stage.patient(&format!("p-{n}")).await;
        stage.session_done(&format!("visit-{n}"), &format!("p-{n}")).await;
    }
    let other = stage.another_scheduler().await;
    let (one, two) = futures_util::join!(stage.tell(), other.tell_webhooks());
    assert_eq!(one.delivered + two.unwrap().delivered, 40);
    let messages = receiver.take();
    let ids: BTreeSet<&String> = messages.iter().map(|one| &one.id).collect();
    assert_eq!((messages.len(), ids.len()), (40, 40));
}

async fn a_receiver_that_is_gone_is_left_alone(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    let webhook = stage.webhook(&receiver, &["treatment.planned"]).await;
    receiver.answer(|_| Reply::Status(410));
    stage.treated("ana").await;
    assert_eq!(stage.tell().await.failed, 1);
    let listed = stage.clinic("GET", "/v1/webhooks", Body::None).await.expect(200);
    assert_eq!(listed["items"][0]["disabled_at"], stage.now().to_string());
    stage.treated("bea").await;
    assert_eq!(stage.outbox(), 0);
    assert_eq!(stage.failures(&webhook).await[0]["trouble"], "the receiver answered 410");
    receiver.answer(|_| Reply::Status(200));
    receiver.take();
    assert_eq!(stage.replay(&webhook).await, 1);
    stage.treated("cai").await;
    assert_eq!(stage.tell().await.delivered, 2);
    assert_eq!(receiver.lines().len(), 2);
}

/// A deed that was under way while the receiver was found to be gone.
async fn what_is_written_for_a_receiver_that_is_gone_is_given_up(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    let webhook = stage.webhook(&receiver, &["treatment.planned"]).await;
    receiver.answer(|_| Reply::Status(410));
    stage.treated("ana").await;
    stage.treated("bea").await;
    let id = webhook["id"].as_str().unwrap().parse().unwrap();
    let clinic = stage.clinic.clinic_id;
    let disable = move |tx: &mut Tx<'_>| tx.set_webhook_disabled(clinic, id, true);
    assert!(stage.bed.store.write(disable).await.unwrap());
    assert_eq!((stage.tell().await, stage.outbox()), (WebhookSummary::default(), 2));
    stage.scheduler.tidy().await;
    assert_eq!(stage.outbox(), 0);
    assert_eq!(stage.failures(&webhook).await[0]["trouble"], "the receiver is gone (410)");
    receiver.answer(|_| Reply::Status(200));
    assert_eq!(stage.replay(&webhook).await, 2);
    assert_eq!(stage.tell().await.delivered, 2);
}

async fn redirects_are_not_followed(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    stage.webhook(&receiver, &["treatment.planned"]).await;
    let to = elsewhere.url();
    receiver.answer(move |_| Reply::Redirect(to.clone()));
    stage.treated("ana").await;
    assert_eq!(stage.tell().await.retrying, 1);
    assert_eq!((receiver.take().len(), elsewhere.take().len()), (1, 0));
}

on_both_engines!(
    a_later_event_of_a_patient_waits_for_an_earlier_one,
    what_is_not_taken_in_a_day_is_kept_and_can_be_replayed,
    a_crash_between_the_answer_and_the_note_of_it_tells_again,
    two_schedulers_never_tell_at_the_same_time,
    a_receiver_that_is_gone_is_left_alone,
    what_is_written_for_a_receiver_that_is_gone_is_given_up,
    redirects_are_not_followed,
);
