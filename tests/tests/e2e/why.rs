//! A reminder can always say why.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::{Fault, FaultKind, RetryAfter};
use serde_json::{Value, json};

use crate::app::App;
use crate::http::Body;
use crate::stage::{Stage, device};

async fn why(app: &App<'_>, reminder: &Value) -> Value {
    app.get(&format!("/v1/me/reminders/{}/why", reminder["id"].as_str().unwrap())).await
}

/// The id of a step's reminder.
async fn step(stage: &Stage, treated: &Value, step: &str) -> Value {
    let rows = stage.reminders(treated["treatment"]["id"].as_str().unwrap()).await;
    let row = rows.into_iter().find(|row| row.step_id.as_str() == step).unwrap();
    json!({"id": row.id.to_string()})
}

fn names(list: &Value, name: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item[name].as_str().unwrap().to_owned()).collect()
}

async fn it_names_rules_treatments_zone_and_every_push(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    let fault = Fault::new(FaultKind::Unavailable).retry_after(RetryAfter::Seconds(60)).times(1);
    stage.fcm.set_fault(fault);
    stage.play("2026-11-22T16:00:00Z").await;
    let start = step(&stage, &treated, "start").await;
    let receipt = json!([{
        "reminder_id": start["id"], "kind": "displayed", "at": "2026-11-22T15:56:02Z",
    }]);
    app.call("POST", "/v1/me/receipts", Body::Json(&receipt)).await.expect(200);
    app.snooze(&start, 30).await.expect(200);
    let waiting = why(&app, &start).await;
    assert_eq!(waiting["explanation"], "You put it off.");
    assert_eq!(waiting["next_attempt_at"], "2026-11-22T16:30:00Z");
    stage.play("2026-11-22T16:30:00Z").await;

    let told = why(&app, &start).await;
    assert_eq!(told["reminder"]["state"], "sent");
    assert_eq!(told["explanation"], "It was sent to your phone.");
    assert_eq!(told["time_zone"], json!({"value": "Europe/Lisbon", "source": "device"}));
    assert_eq!(told["locale"], json!({"value": "en", "source": "device"}));
    let expected = [
        "no-face-washing",
        "hydrate",
        "sun-protection",
        "no-makeup",
        "no-sweating",
        "expect-reaction",
    ];
    assert_eq!(names(&told["rules"], "rule"), expected);
    let makeup = &told["rules"][3];
    assert!(makeup["quote"].as_str().unwrap().to_lowercase().contains("makeup"), "{makeup}");
    assert_eq!(
        (&makeup["protocol"], &makeup["protocol_version"]),
        (&json!("microneedling"), &treated["treatment"]["protocol_version"])
    );
    assert_eq!(makeup["until"], "2026-11-23T15:40:00Z");
    assert_eq!(makeup["treatment_ids"], json!([treated["treatment"]["id"]]));
    assert_eq!(told["treatments"][0]["completed_local"], treated["treatment"]["completed_local"]);
    assert_eq!(told["steps"][0]["nominal_at"], "2026-11-22T15:55:00Z");
    assert_eq!(names(&told["steps"][0]["shifts"], "cause"), ["snoozed"]);
    let deliveries = &told["deliveries"];
    assert_eq!(names(deliveries, "state"), ["retry", "sent", "sent"]);
    assert_eq!(
        (&deliveries[0]["status"], &deliveries[0]["code"]),
        (&json!(503), &json!("UNAVAILABLE"))
    );
    assert_eq!(
        (&deliveries[1]["status"], &deliveries[1]["platform"]),
        (&json!(200), &json!("android"))
    );
    assert_eq!(deliveries[0]["device_id"], deliveries[2]["device_id"]);
    assert_eq!(told["receipts"][0]["at"], "2026-11-22T15:56:02Z");
    assert_eq!(
        told["snoozes"],
        json!([{"at": "2026-11-22T16:00:00Z", "until": "2026-11-22T16:30:00Z"}])
    );
    assert_eq!(told["next_attempt_at"], Value::Null);
    assert!(!told.to_string().contains("\"ana\""), "neither address nor installation: {told}");
}

async fn it_names_every_shift_and_merge(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, first) = stage.treated_with_app("ana").await;
    stage.play("2026-11-22T17:40:00Z").await;
    let second = stage.session_done("visit-2", "ana").await;
    app.wish(json!({"quiet_hours": {"from": "22:00", "until": "08:30"}, "locale": "es"})).await;
    let morning = why(&app, &step(&stage, &first, "morning").await).await;
    let both = [
        first["treatment"]["id"].as_str().unwrap().to_owned(),
        second["treatment"]["id"].as_str().unwrap().to_owned(),
    ];
    assert_eq!(names(&morning["treatments"], "id"), both);
    assert_eq!(names(&morning["steps"], "treatment_id"), both);
    let makeup = morning["rules"].as_array().unwrap().iter().find(|r| r["rule"] == "no-makeup");
    let makeup = makeup.unwrap();
    assert_eq!(makeup["until"], "2026-11-23T17:40:00Z", "the later end");
    assert_eq!(makeup["treatment_ids"], json!(both));
    let shift = &morning["steps"][0]["shifts"][0];
    assert_eq!(
        (&shift["cause"], &shift["to"]),
        (&json!("quiet-hours"), &json!("2026-11-23T08:30:00Z"))
    );
    assert_eq!(shift["explanation"], "Se movió fuera de tus horas de silencio.");
    assert_eq!(morning["locale"], json!({"value": "es", "source": "preferences"}));

    app.wish(json!({"muted_rules": ["no-sweating"], "time_zone": "America/New_York"})).await;
    let muted = why(&app, &step(&stage, &first, "before-exercise").await).await;
    assert_eq!(muted["reminder"]["state"], "skipped");
    assert_eq!(muted["explanation"], "Has silenciado todas las reglas de las que habla.");
    assert_eq!(names(&muted["rules"], "rule"), ["no-sweating"]);
    assert_eq!(muted["time_zone"], json!({"value": "America/New_York", "source": "preferences"}));

    app.wish(json!({"muted_rules": null, "time_zone": null, "locale": null})).await;
    stage.void(&first).await.expect(200);
    let cancelled = why(&app, &step(&stage, &first, "before-exercise").await).await;
    assert_eq!(cancelled["explanation"], "The clinic took the treatment back.");
    assert_eq!(cancelled["treatments"][0]["state"], "voided");
}

async fn what_another_one_says_is_found_there(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, first) = stage.treated_with_app("ana").await;
    let before = step(&stage, &first, "bedtime").await;
    // Of another zone's evening: its first reminder is due just before this one, and says both.
    stage.play("2026-11-22T20:30:00Z").await;
    let mut event = crate::stage::done("visit-2", "ana", stage.now());
    event["time_zone"] = json!("Atlantic/Azores");
    stage.post(&event).await.expect(201);
    let bedtime = why(&app, &before).await;
    assert_eq!(bedtime["reminder"]["state"], "superseded");
    assert_eq!(bedtime["explanation"], "Another reminder says it together with its own.");
    let says = why(&app, &json!({"id": bedtime["said_by"]})).await;
    assert_eq!(says["reminder"]["state"], "planned");
    assert_eq!(names(&says["steps"], "step"), ["start", "bedtime"]);
    let causes = names(&says["steps"][1]["shifts"], "cause");
    assert_eq!(causes, ["bundled"]);
}

async fn the_zone_comes_from_whoever_knows_best(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let app = stage.signed_in("ana", "ana").await;
    let treated = stage.session_done("visit-1", "ana").await;
    let book = step(&stage, &treated, "book").await;
    let source = async || why(&app, &book).await["time_zone"].clone();
    assert_eq!(source().await, json!({"value": "Europe/Lisbon", "source": "patient"}));
    let mut abroad = device("ana");
    abroad["time_zone"] = json!("Asia/Tokyo");
    app.register(&abroad).await.expect(204);
    assert_eq!(source().await, json!({"value": "Asia/Tokyo", "source": "device"}));
    app.wish(json!({"time_zone": "Asia/Kolkata"})).await;
    assert_eq!(source().await, json!({"value": "Asia/Kolkata", "source": "preferences"}));
    app.wish(json!({"time_zone": null})).await;
    app.call("DELETE", "/v1/me/devices/ana", Body::None).await.expect(204);
    assert_eq!(source().await["source"], "patient");
    let nobody = json!({"id": "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f"});
    let path = format!("/v1/me/reminders/{}/why", nobody["id"].as_str().unwrap());
    app.call("GET", &path, Body::None).await.problem(404, "not-found");
    stage.treated("bea").await;
    let bea = stage.signed_in("bea", "bea").await;
    let path = format!("/v1/me/reminders/{}/why", book["id"].as_str().unwrap());
    bea.call("GET", &path, Body::None).await.problem(404, "not-found");
}

async fn what_was_said_stays_what_was_said(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treated) = stage.treated_with_app("ana").await;
    stage.play("2026-11-22T15:55:00Z").await;
    let start = step(&stage, &treated, "start").await;
    let before = why(&app, &start).await;
    assert_eq!(before["rules"][3]["until"], "2026-11-23T15:40:00Z");
    let path = format!("/v1/treatments/{}", treated["treatment"]["id"].as_str().unwrap());
    let corrected = json!({"completed_at": "2026-11-22T15:10:00Z"});
    stage.clinic("PATCH", &path, Body::Json(&corrected)).await.expect(200);
    app.wish(json!({"locale": "es", "muted_rules": ["hydrate"]})).await;
    let after = why(&app, &start).await;
    for told in ["title", "body", "rule_ids"] {
        assert_eq!(after["reminder"][told], before["reminder"][told]);
    }
    let ends = |told: &Value| {
        let all = told["rules"].as_array().unwrap().iter();
        all.map(|one| (one["rule"].clone(), one["until"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(ends(&after), ends(&before));
    assert_eq!(after["treatments"][0]["completed_at"], "2026-11-22T15:10:00Z");
}

on_both_engines!(
    it_names_rules_treatments_zone_and_every_push,
    it_names_every_shift_and_merge,
    what_another_one_says_is_found_there,
    the_zone_comes_from_whoever_knows_best,
    what_was_said_stays_what_was_said,
);
