//! Phones without a network: what they can show of what they know, and what they report later.

use std::collections::BTreeSet;

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::{Value, json};

use crate::http::Body;
use crate::stage::{Stage, at};

/// What an app that wakes at each `due_at` of a timeline shows: when, what, and until when.
fn shown_offline(timeline: &Value) -> BTreeSet<(String, String, String, String)> {
    let text = |reminder: &Value, name: &str| reminder[name].as_str().unwrap().to_owned();
    let reminders = timeline["reminders"].as_array().unwrap().iter();
    let planned = reminders.filter(|reminder| reminder["state"] == "planned");
    planned
        .map(|one| (text(one, "due_at"), text(one, "id"), text(one, "title"), text(one, "body")))
        .collect()
}

async fn an_app_that_synced_once_shows_each_reminder_at_its_time(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, _) = stage.treated_with_app("ana").await;
    let timeline = app.get("/v1/me/timeline").await;
    let offline = shown_offline(&timeline);
    stage.play("2027-02-01T00:00:00Z").await;
    let pushed: BTreeSet<_> = stage
        .pushes()
        .into_iter()
        .map(|push| (push.at.to_string(), push.reminder, push.title, push.body))
        .collect();
    assert_eq!(pushed.len(), 7, "five in two days, and twice the next session");
    assert_eq!(offline, pushed);
    for reminder in timeline["reminders"].as_array().unwrap() {
        let (due, use_by) = (reminder["due_at"].as_str(), reminder["use_by"].as_str());
        assert!(at(due.unwrap()) < at(use_by.unwrap()), "{reminder}");
    }
}

async fn what_was_cancelled_is_told_for_a_week(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    let before = app.get("/v1/me/timeline").await;
    stage.void(&treated).await.expect(200);
    let planned = shown_offline(&before);
    let gone = |timeline: &Value| {
        let all = timeline["reminders"].as_array().unwrap().clone();
        all.iter().filter(|one| one["state"] == "cancelled").count()
    };
    assert_eq!(gone(&app.get("/v1/me/timeline").await), planned.len());
    stage.set_clock("2026-11-29T15:39:00Z");
    assert_eq!(gone(&app.get("/v1/me/timeline").await), planned.len());
    stage.set_clock("2026-11-29T15:41:00Z");
    assert_eq!(gone(&app.get("/v1/me/timeline").await), 0);
}

async fn the_tag_changes_with_what_the_app_must_know(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, _) = stage.treated_with_app("ana").await;
    let tag = async || {
        let answer = app.call("GET", "/v1/me/timeline", Body::None).await;
        answer.header("etag").unwrap().to_owned()
    };
    let first = tag().await;
    stage.set_clock("2026-11-22T15:41:00Z");
    assert_eq!(tag().await, first, "only the clock went on");
    stage.play("2026-11-22T15:55:00Z").await;
    let sent = tag().await;
    assert_ne!(sent, first);
    let start = app.reminder("Your next 48 hours").await;
    app.snooze(&start, 30).await.expect(200);
    let snoozed = tag().await;
    assert_ne!(snoozed, sent);
    app.wish(json!({"locale": "es"})).await;
    assert_ne!(tag().await, snoozed);
}

async fn receipts_are_kept_once_and_the_earliest_counts(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, _) = stage.treated_with_app("ana").await;
    stage.play("2026-11-22T16:00:00Z").await;
    let [push] = stage.pushes().try_into().unwrap();
    let id = push.reminder.as_str();
    stage.treated("bea").await;
    let bea = stage.signed_in("bea", "bea").await;
    let of_bea = bea.get("/v1/me/timeline").await["reminders"][0]["id"].clone();
    let nobody = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f";
    let receipt =
        |id: &Value, kind: &str, at: &str| json!({"reminder_id": id, "kind": kind, "at": at});
    let id = json!(id);
    let batch = json!([
        receipt(&id, "displayed", "2026-11-22T15:55:05Z"),
        receipt(&id, "displayed", "2026-11-22T15:55:03Z"),
        receipt(&id, "acknowledged", "2026-11-22T15:59:00Z"),
        receipt(&of_bea, "displayed", "2026-11-22T15:59:00Z"),
        receipt(&json!(nobody), "displayed", "2026-11-22T15:59:00Z"),
        receipt(&json!(nobody), "acknowledged", "2026-11-22T15:59:00Z"),
    ]);
    let path = "/v1/me/receipts";
    let first = app.call("POST", path, Body::Json(&batch)).await.expect(200);
    assert_eq!(first["recorded"], 3);
    let mut unknown = first["unknown"].as_array().unwrap().clone();
    unknown.sort_by_key(ToString::to_string);
    let mut expected = vec![json!(nobody), of_bea.clone()];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(unknown, expected, "another patient's is as unknown as nobody's");
    assert_eq!(app.call("POST", path, Body::Json(&batch)).await.expect(200), first);

    let earlier = json!([
        receipt(&id, "displayed", "2026-11-22T15:55:01Z"),
        receipt(&id, "acknowledged", "2026-11-22T15:59:59Z"),
    ]);
    app.call("POST", path, Body::Json(&earlier)).await.expect(200);
    let of: aftercare::ids::ReminderId = push.reminder.parse().unwrap();
    let kept = stage.bed.store.read(move |tx| tx.receipts_of(&[of])).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|one| (one.kind.as_str(), one.at.to_string())).collect();
    let displayed = ("displayed", "2026-11-22T15:55:01Z".to_owned());
    assert_eq!(kept, [displayed, ("acknowledged", "2026-11-22T15:59:00Z".to_owned())]);
    let of_bea: aftercare::ids::ReminderId = of_bea.as_str().unwrap().parse().unwrap();
    assert_eq!(stage.bed.store.read(move |tx| tx.receipts_of(&[of_bea])).await.unwrap(), []);

    let wrong = json!([
        receipt(&id, "displayed", "2026-11-22T15:50:00Z"),
        {"reminder_id": id, "kind": "displayed", "at": "just now"},
        {"reminder_id": "x", "kind": "seen"},
    ]);
    let refused = app.call("POST", path, Body::Json(&wrong)).await.problem(422, "invalid-fields");
    let pointers: Vec<_> =
        refused["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, ["/1/at", "/2/reminder_id", "/2/kind", "/2/at"]);
    let kept = stage.bed.store.read(move |tx| tx.receipts_of(&[of])).await.unwrap();
    assert_eq!(kept[0].at.to_string(), "2026-11-22T15:55:01Z", "all of a batch or nothing");

    let most = json!(vec![receipt(&id, "displayed", "2026-11-22T15:59:00Z"); 200]);
    app.call("POST", path, Body::Json(&most)).await.expect(200);
    let more = json!(vec![receipt(&id, "displayed", "2026-11-22T15:59:00Z"); 201]);
    app.call("POST", path, Body::Json(&more)).await.problem(422, "invalid-fields");
    app.call("POST", path, Body::Json(&json!({}))).await.problem(422, "invalid-fields");
    assert_eq!(app.call("POST", path, Body::Json(&json!([]))).await.expect(200)["recorded"], 0);
}

async fn a_phone_whose_clock_is_fast_is_believed_and_counts_as_now(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, _) = stage.treated_with_app("ana").await;
    stage.play("2026-11-22T16:00:00Z").await;
    let [push] = stage.pushes().try_into().unwrap();
    let report = async |kind: &str, at: &str| {
        let receipt = json!([{"reminder_id": push.reminder, "kind": kind, "at": at}]);
        app.call("POST", "/v1/me/receipts", Body::Json(&receipt)).await.expect(200)
    };
    assert_eq!(report("displayed", "2026-11-23T03:00:00Z").await["recorded"], 1);
    assert_eq!(report("acknowledged", "2199-12-30T22:00:00Z").await["recorded"], 1);
    stage.set_clock("2026-11-22T16:10:00Z");
    assert_eq!(report("displayed", "2026-11-22T16:30:00Z").await["recorded"], 1);
    let of: aftercare::ids::ReminderId = push.reminder.parse().unwrap();
    let kept = stage.bed.store.read(move |tx| tx.receipts_of(&[of])).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|one| one.at.to_string()).collect();
    assert_eq!(kept, ["2026-11-22T16:00:00Z"; 2], "when it was told first");
}

on_both_engines!(
    a_phone_whose_clock_is_fast_is_believed_and_counts_as_now,
    an_app_that_synced_once_shows_each_reminder_at_its_time,
    what_was_cancelled_is_told_for_a_week,
    the_tag_changes_with_what_the_app_must_know,
    receipts_are_kept_once_and_the_earliest_counts,
);
