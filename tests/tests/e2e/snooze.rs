//! A reminder that the patient puts off comes again, as the same one, unless it lost its point.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::{Value, json};

use crate::app::App;
use crate::http::Body;
use crate::stage::{Stage, device};

const START: &str = "2026-11-22T15:55:00Z";

/// A patient whose first reminder was sent just now.
async fn reminded(stage: &Stage) -> (App<'_>, Value, Value) {
    let (app, treated) = stage.treated_with_app("ana").await;
    stage.play(START).await;
    let [push] = stage.pushes().try_into().unwrap();
    let timeline = app.get("/v1/me/timeline").await;
    let mut shown = timeline["reminders"].as_array().unwrap().iter();
    let start = shown.find(|reminder| reminder["id"] == push.reminder.as_str()).unwrap().clone();
    (app, treated, start)
}

async fn it_comes_again_as_the_same_reminder(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated, start) = reminded(&stage).await;
    let version = app.get("/v1/me/timeline").await["plan_version"].as_i64().unwrap();
    let planned = app.snooze(&start, 30).await.expect(200);
    assert_eq!(planned["id"], start["id"]);
    assert_eq!((&planned["state"], &planned["reason"]), (&json!("planned"), &json!("snoozed")));
    assert_eq!(planned["due_at"], "2026-11-22T16:25:00Z");
    assert!(app.get("/v1/me/timeline").await["plan_version"].as_i64().unwrap() > version);
    stage.play("2026-11-22T16:24:59Z").await;
    assert_eq!(stage.pushes().len(), 1);
    stage.play("2026-11-22T17:00:00Z").await;
    let [first, second] = stage.pushes().try_into().unwrap();
    assert_eq!(second.at.to_string(), "2026-11-22T16:25:00Z");
    assert_eq!((&first.reminder, &first.tag), (&second.reminder, &second.tag));
    assert_eq!(stage.fates(&treated).await[0].1, "sent: accepted");
    // And again.
    app.snooze(&start, 10).await.expect(200);
    stage.play("2026-11-24T12:00:00Z").await;
    assert_eq!(stage.diary("ana").len(), 7, "the others came as ever: {:?}", stage.diary("ana"));
}

async fn whatever_is_planned_anew_leaves_it_there(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, _, start) = reminded(&stage).await;
    app.snooze(&start, 120).await.expect(200);
    let mut abroad = device("ana");
    abroad["time_zone"] = json!("Asia/Tokyo");
    app.register(&abroad).await.expect(204);
    app.wish(json!({"muted_rules": ["hydrate"], "exercise_hour": "19:00"})).await;
    stage.set_clock("2026-11-22T16:30:00Z");
    stage.session_done("visit-2", "ana").await;
    let timeline = app.get("/v1/me/timeline").await;
    let reminders = timeline["reminders"].as_array().unwrap();
    let snoozed = reminders.iter().find(|reminder| reminder["id"] == start["id"]).unwrap();
    assert_eq!(snoozed["state"], "planned");
    assert_eq!(snoozed["due_at"], "2026-11-22T17:55:00Z");
    assert!(snoozed["body"].as_str().unwrap().contains("No makeup"), "{snoozed}");
    assert!(!snoozed["body"].as_str().unwrap().contains("toner"), "{snoozed}");
    stage.play("2026-11-22T17:55:00Z").await;
    let last = stage.pushes().pop().unwrap();
    assert_eq!((Some(last.reminder.as_str()), last.at), (start["id"].as_str(), stage.now()));
}

async fn what_it_speaks_for_may_be_taken_back(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated, start) = reminded(&stage).await;
    app.snooze(&start, 60).await.expect(200);
    app.consent("aftercare", false).await;
    assert_eq!(stage.fates(&treated).await[0].1, "skipped: consent");
    app.consent("aftercare", true).await;
    let back = stage.reminders(treated["treatment"]["id"].as_str().unwrap()).await;
    let back = back.iter().find(|row| row.step_id.as_str() == "start").unwrap();
    assert_eq!(back.due_at.to_string(), "2026-11-22T16:55:00Z", "where it was put off to");
    let all = [
        "no-face-washing",
        "hydrate",
        "sun-protection",
        "no-makeup",
        "no-sweating",
        "expect-reaction",
    ];
    app.wish(json!({"muted_rules": all})).await;
    let fates = stage.fates(&treated).await;
    let fate = |step: &str| fates.iter().find(|(id, _)| id == step).unwrap().1.clone();
    assert_eq!(fate("start"), "skipped: muted");
    app.wish(json!({"muted_rules": null})).await;
    stage.void(&treated).await.expect(200);
    let fates = stage.fates(&treated).await;
    assert!(fates.contains(&("start".to_owned(), "cancelled: voided".to_owned())), "{fates:?}");
    stage.play("2026-11-24T12:00:00Z").await;
    let [_, mistake] = stage.pushes().try_into().unwrap();
    assert_ne!(
        start["id"],
        mistake.reminder.as_str(),
        "what was said is taken back, not said again"
    );
}

async fn it_comes_in_quiet_hours_when_it_was_put_off_into_them(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    stage.play("2026-11-22T21:05:00Z").await;
    let bedtime = app.reminder("Before you go to bed").await;
    app.snooze(&bedtime, 60).await.expect(200);
    stage.session_done("visit-2", "ana").await;
    stage.play("2026-11-22T23:30:00Z").await;
    let pushes = stage.pushes();
    let bedtimes: Vec<_> = pushes.iter().filter(|p| bedtime["id"] == p.reminder.as_str()).collect();
    assert_eq!(bedtimes.len(), 2);
    assert_eq!(bedtimes[1].at.to_string(), "2026-11-22T22:05:00Z");
    assert!(stage.fates(&treated).await.contains(&("bedtime".into(), "sent: accepted".into())));
}

async fn only_what_was_sent_and_never_past_its_use_by(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, _, start) = reminded(&stage).await;
    assert_eq!(start["use_by"], "2026-11-22T18:40:00Z");
    app.snooze(&start, 165).await.problem(409, "snooze-past-use-by");
    app.snooze(&start, 1440).await.problem(409, "snooze-past-use-by");
    let bedtime = app.reminder("Before you go to bed").await;
    app.snooze(&bedtime, 30).await.problem(409, "not-snoozable");
    for minutes in [json!(4), json!(1441), json!(-30), json!(7.5), json!("30"), Value::Null] {
        let path = format!("/v1/me/reminders/{}/snooze", start["id"].as_str().unwrap());
        let body = json!({"minutes": minutes});
        let refused = app.call("POST", &path, Body::Json(&body)).await;
        assert_eq!(refused.problem(422, "invalid-fields")["errors"][0]["pointer"], "/minutes");
    }
    app.snooze(&start, 164).await.expect(200);
    app.snooze(&start, 30).await.problem(409, "not-snoozable");
    for nobody in ["019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f", "x"] {
        app.snooze(&json!({"id": nobody}), 30).await.problem(404, "not-found");
    }
    stage.treated("bea").await;
    let bea = stage.signed_in("bea", "bea").await;
    bea.snooze(&start, 30).await.problem(404, "not-found");
}

async fn what_would_say_nothing_then_is_not_put_off(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, _, start) = reminded(&stage).await;
    let all = [
        "no-face-washing",
        "hydrate",
        "sun-protection",
        "no-makeup",
        "no-sweating",
        "expect-reaction",
    ];
    app.wish(json!({"muted_rules": all})).await;
    app.snooze(&start, 30).await.problem(409, "not-snoozable");
    let timeline = app.get("/v1/me/timeline").await;
    let mut shown = timeline["reminders"].as_array().unwrap().iter();
    let start = shown.find(|reminder| reminder["id"] == start["id"]).unwrap();
    assert_eq!(start["state"], "sent");
}

on_both_engines!(
    it_comes_again_as_the_same_reminder,
    whatever_is_planned_anew_leaves_it_there,
    what_it_speaks_for_may_be_taken_back,
    it_comes_in_quiet_hours_when_it_was_put_off_into_them,
    only_what_was_sent_and_never_past_its_use_by,
    what_would_say_nothing_then_is_not_put_off,
);
