//! What patients wish for and agree to: it moves what is planned, and acts in the last moment too.

use aftercare::care::dispatch::{self, Decision, Verdict};
use aftercare::ids::LeaseId;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::http::Body;
use crate::stage::Stage;

/// What became of a step.
async fn fate(stage: &Stage, treated: &Value, step: &str) -> String {
    let fates = stage.fates(treated).await;
    fates.into_iter().find(|(id, _)| id == step).unwrap().1
}

/// When a step is due.
async fn due(stage: &Stage, treated: &Value, step: &str) -> String {
    let rows = stage.reminders(treated["treatment"]["id"].as_str().unwrap()).await;
    rows.iter().find(|row| row.step_id.as_str() == step).unwrap().due_at.to_string()
}

async fn wishes_are_merged_and_null_clears_them(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let app = stage.signed_in("ana", "ana").await;
    let nothing = json!({
        "time_zone": null, "locale": null, "quiet_hours": null, "exercise_hour": null,
        "push_content": null, "muted_rules": [],
    });
    assert_eq!(app.get("/v1/me/preferences").await, nothing);
    let all = json!({
        "time_zone": "America/New_York", "locale": "es",
        "quiet_hours": {"from": "20:00", "until": "09:15"}, "exercise_hour": "19:00",
        "push_content": "discreet", "muted_rules": ["hydrate", "no-makeup"],
    });
    assert_eq!(app.wish(all.clone()).await, all);
    assert_eq!(app.wish(json!({})).await, all);
    let mut some = all.clone();
    (some["locale"], some["quiet_hours"]) = (json!("fr"), Value::Null);
    assert_eq!(app.wish(json!({"locale": "fr", "quiet_hours": null})).await, some);
    assert_eq!(app.get("/v1/me/preferences").await, some);
    let cleared = json!({
        "time_zone": null, "locale": null, "quiet_hours": null, "exercise_hour": null,
        "push_content": null, "muted_rules": null,
    });
    assert_eq!(app.wish(cleared).await, nothing);
}

async fn every_wish_that_cannot_be_is_named(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let app = stage.signed_in("ana", "ana").await;
    let wishes = json!({
        "time_zone": "Mars/Olympus", "locale": 7, "quiet_hours": {"from": "25:00", "to": "07:00"},
        "exercise_hour": "7pm", "push_content": "loud", "muted_rules": ["hydrate", 3], "colour": 1,
    });
    let answer = app.call("PATCH", "/v1/me/preferences", Body::Json(&wishes)).await;
    let problem = answer.problem(422, "invalid-fields");
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    let expected = [
        "/time_zone",
        "/locale",
        "/quiet_hours/from",
        "/quiet_hours/until",
        "/quiet_hours/to",
        "/exercise_hour",
        "/push_content",
        "/muted_rules/1",
        "/colour",
    ];
    assert_eq!(pointers, expected);
    let wishes = json!({"muted_rules": ["hydrate", "no-fun", "no-more"], "locale": "fr"});
    let answer = app.call("PATCH", "/v1/me/preferences", Body::Json(&wishes)).await;
    let problem = answer.problem(422, "invalid-fields");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0]["pointer"], "/muted_rules/1");
    assert!(
        errors[0]["detail"].as_str().unwrap().contains("no-makeup, no-picking, no-sweating"),
        "{problem}"
    );
    assert_eq!(app.get("/v1/me/preferences").await["locale"], Value::Null, "all or nothing");
}

async fn a_zone_of_one_s_own_moves_what_is_not_sent(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    let start = due(&stage, &treated, "start").await;
    stage.play("2026-11-22T16:00:00Z").await;
    app.wish(json!({"time_zone": "America/New_York"})).await;
    assert_eq!(due(&stage, &treated, "morning").await, "2026-11-23T12:50:00Z");
    assert_eq!(due(&stage, &treated, "start").await, start, "elapsed, and sent");
    // The wish outranks the phone.
    app.register(&crate::stage::device("ana")).await.expect(204);
    assert_eq!(due(&stage, &treated, "morning").await, "2026-11-23T12:50:00Z");
    app.wish(json!({"time_zone": null, "exercise_hour": "19:00"})).await;
    assert_eq!(due(&stage, &treated, "morning").await, "2026-11-23T07:50:00Z");
    assert_eq!(due(&stage, &treated, "before-exercise").await, "2026-11-23T18:05:00Z");
    app.wish(json!({"quiet_hours": {"from": "22:00", "until": "08:30"}})).await;
    assert_eq!(due(&stage, &treated, "morning").await, "2026-11-23T08:30:00Z");
    stage.play("2026-11-24T12:00:00Z").await;
    let expected = [
        "Sun 22 Nov 15:55  Your next 48 hours",
        "Sun 22 Nov 21:05  Before you go to bed",
        "Mon 23 Nov 08:30  Good morning",
        "Mon 23 Nov 18:05  No intense exercise today",
        "Tue 24 Nov 08:30  Two days after",
    ];
    let diary = stage.diary("ana");
    assert_eq!(diary[1..], expected[1..]);
}

async fn an_elapsed_reminder_does_not_travel(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    let mut abroad = crate::stage::device("ana");
    abroad["time_zone"] = json!("Asia/Tokyo");
    app.register(&abroad).await.expect(204);
    assert_eq!(due(&stage, &treated, "start").await, "2026-11-22T15:55:00Z");
    assert_eq!(due(&stage, &treated, "morning").await, "2026-11-22T22:50:00Z");
    app.wish(json!({"time_zone": "Asia/Kolkata"})).await;
    assert_eq!(due(&stage, &treated, "start").await, "2026-11-22T15:55:00Z");
    assert_eq!(due(&stage, &treated, "morning").await, "2026-11-23T02:20:00Z");
}

async fn a_muted_rule_is_not_spoken_of(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    app.wish(json!({"muted_rules": ["no-sweating"]})).await;
    assert_eq!(fate(&stage, &treated, "before-exercise").await, "skipped: muted");
    stage.play("2026-11-22T16:00:00Z").await;
    let [start] = stage.pushes().try_into().unwrap();
    assert!(start.body.contains("No makeup") && !start.body.contains("sweating"), "{start:?}");
    app.wish(json!({"muted_rules": []})).await;
    assert_eq!(fate(&stage, &treated, "before-exercise").await, "planned: ");
}

async fn the_two_consents_are_apart(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    let never = json!({"kind": "recall", "granted": true, "notice_version": null, "at": null});
    assert_eq!(app.get("/v1/me/consents/recall").await, never);
    let redeemed = app.get("/v1/me/consents/aftercare").await;
    assert_eq!(redeemed["granted"], true);
    assert_eq!(redeemed["at"], "2026-11-22T15:40:00Z");

    let steps = stage.fates(&treated).await.len();
    let told = app.consent("recall", false).await;
    assert_eq!((&told["granted"], &told["applied"]), (&json!(false), &json!(true)));
    assert_eq!(fate(&stage, &treated, "book").await, "skipped: consent");
    assert_eq!(fate(&stage, &treated, "bedtime").await, "planned: ");
    app.consent("aftercare", false).await;
    stage.play("2026-11-22T16:00:00Z").await;
    assert_eq!(stage.pushes(), []);
    assert_eq!(fate(&stage, &treated, "start").await, "skipped: consent");
    assert_eq!(stage.fates(&treated).await.len(), steps, "of the day before no session, too");
    app.consent("aftercare", true).await;
    stage.run().await;
    assert_eq!(stage.pushes().len(), 1, "what still holds comes at once");
    assert_eq!(fate(&stage, &treated, "book").await, "skipped: consent");
    app.consent("recall", true).await;
    assert_eq!(fate(&stage, &treated, "book").await, "planned: ");
    for path in ["/v1/me/consents/marketing", "/v1/me/consents/Recall"] {
        app.call("GET", path, Body::None).await.problem(404, "not-found");
    }
}

async fn an_older_word_does_not_overwrite_a_newer_one(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    let told = |granted: bool, at: &str| json!({"granted": granted, "notice_version": "2026-11", "at": at});
    let path = "/v1/me/consents/recall";
    stage.set_clock("2026-11-22T20:00:00Z");
    let newer = told(false, "2026-11-22T19:00:00+01:00");
    let answer = app.call("PUT", path, Body::Json(&newer)).await.expect(200);
    let known = json!({
        "kind": "recall", "granted": false, "notice_version": "2026-11",
        "at": "2026-11-22T18:00:00Z", "applied": true,
    });
    assert_eq!(answer, known);
    let older = told(true, "2026-11-22T17:59:59Z");
    let answer = app.call("PUT", path, Body::Json(&older)).await.expect(200);
    assert_eq!(answer["applied"], false);
    assert_eq!((&answer["granted"], &answer["at"]), (&known["granted"], &known["at"]));
    assert_eq!(fate(&stage, &treated, "book").await, "skipped: consent");
    let again = app.call("PUT", path, Body::Json(&newer)).await.expect(200);
    assert_eq!(again, known, "the same word again");

    let ahead = told(true, "2026-11-22T20:04:00Z");
    let answer = app.call("PUT", path, Body::Json(&ahead)).await.expect(200);
    assert_eq!(answer["at"], "2026-11-22T20:00:00Z", "a phone's clock may be a little ahead");
    let future = told(true, "2026-11-22T20:06:00Z");
    let refused = app.call("PUT", path, Body::Json(&future)).await;
    assert_eq!(refused.problem(422, "invalid-fields")["errors"][0]["pointer"], "/at");
}

/// What a dispatcher that claimed everything due finds when it looks again.
async fn look_again(stage: &Stage, claim: &dispatch::Claim) -> Vec<dispatch::Job> {
    let claim = claim.clone();
    stage.bed.store.read(move |tx| dispatch::prepare(tx, &claim)).await.unwrap()
}

async fn wishes_act_on_what_is_claimed_already(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    stage.set_clock("2026-11-22T15:55:00Z");
    let lease: LeaseId = stage.bed.store.env().id();
    let minute = SignedDuration::from_mins(1);
    let claim = stage.bed.store.write(move |tx| dispatch::claim(tx, lease, minute, 10)).await;
    let claim = claim.unwrap();
    assert_eq!(claim.len(), 1);

    app.wish(json!({"muted_rules": ["hydrate"]})).await;
    let jobs = look_again(&stage, &claim).await;
    let Decision::Send(outgoing) = &jobs[0].decision else { panic!("{jobs:?}") };
    assert!(outgoing.body.contains("No makeup"), "{outgoing:?}");
    assert!(!outgoing.body.contains("toner"), "{outgoing:?}");

    let hushed = [
        "no-face-washing",
        "hydrate",
        "sun-protection",
        "no-makeup",
        "no-sweating",
        "expect-reaction",
    ];
    app.wish(json!({"muted_rules": hushed})).await;
    let jobs = look_again(&stage, &claim).await;
    assert!(matches!(jobs[0].decision, Decision::Not(Verdict::Replan(_))), "{jobs:?}");

    app.wish(json!({"muted_rules": null})).await;
    app.consent("aftercare", false).await;
    let jobs = look_again(&stage, &claim).await;
    assert!(matches!(jobs[0].decision, Decision::Not(Verdict::Released)), "{jobs:?}");
    assert_eq!(fate(&stage, &treated, "start").await, "skipped: consent");
}

on_both_engines!(
    wishes_are_merged_and_null_clears_them,
    every_wish_that_cannot_be_is_named,
    a_zone_of_one_s_own_moves_what_is_not_sent,
    an_elapsed_reminder_does_not_travel,
    a_muted_rule_is_not_spoken_of,
    the_two_consents_are_apart,
    an_older_word_does_not_overwrite_a_newer_one,
    wishes_act_on_what_is_claimed_already,
);
