//! What a clinic's software says of sessions as CloudEvents, in whatever order.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::clients::{Message, completed, event, made_by_sdks};
use crate::http::Body;
use crate::stage::Stage;

async fn the_cloudevents_sdk_is_understood_in_every_mode(bed: Bed) {
    let stage = Stage::set(bed).await;
    let amended = json!({"supersedes": "4711", "areas": ["face"]});
    let batch = [completed("4713", "p-3"), event("4714", "voided", &json!({"supersedes": "4713"}))];
    let mut spoken = event("4716", "voided", &json!({"supersedes": "4712"}));
    spoken["subject"] = json!("Raum 2 – Süd");
    let wanted = json!([
        {"mode": "structured", "event": completed("4711", "p-1")},
        {"mode": "binary", "event": completed("4712", "p-2")},
        {"mode": "binary", "event": event("4715", "amended", &amended)},
        {"mode": "batch", "event": batch},
        {"mode": "structured", "event": spoken},
    ]);
    let Some(made) = made_by_sdks(&wanted).await else { return };
    let token = stage.clinic_token().await;
    let first = stage.send("", &made[0], Some(&token)).await.expect(201);
    assert_eq!(first["outcome"], "recorded");
    let shown = stage.shown(&first).await;
    assert_eq!(shown["treatment"]["event_id"], "4711");
    assert_eq!(shown["treatment"]["patient_ref"], "p-1");
    assert_eq!(stage.send("", &made[0], Some(&token)).await.expect(200)["outcome"], "known");
    stage.send("", &made[1], Some(&token)).await.expect(201);
    let receipt = stage.send("", &made[2], Some(&token)).await.expect(200);
    assert_eq!(receipt["treatment_id"], first["treatment_id"]);
    assert_eq!(stage.shown(&first).await["treatment"]["areas"], json!(["face"]));
    let receipts = stage.send("", &made[3], Some(&token)).await.expect(200);
    assert_eq!(receipts["items"][0]["status"], 201);
    assert_eq!(receipts["items"][1]["outcome"], "voided");
    assert_eq!(stage.shown(&receipts["items"][0]).await["treatment"]["state"], "voided");
    let found = stage.clinic("GET", "/v1/treatments?event_id=4712", Body::None).await.expect(200);
    assert_eq!(found["items"][0]["treatment"]["patient_ref"], "p-2");
    let voided = stage.send("", &made[4], Some(&token)).await.expect(200);
    assert_eq!(voided["treatment_id"], found["items"][0]["treatment"]["id"]);
}

async fn every_event_of_a_batch_is_told_what_became_of_it(bed: Bed) {
    let stage = Stage::set(bed).await;
    let mut unknown = completed("2", "p-2");
    unknown["data"]["protocol"] = json!("peeling");
    let mut wrong = completed("3", "ana@example.org");
    wrong["EXTRA"] = json!(1);
    wrong["traceparent"] = json!("an extension");
    wrong["data"]["event_id"] = json!("3");
    let mut old = completed("4", "p-4");
    old["specversion"] = json!("0.3");
    old["data"]["protocol"] = json!(1);
    let mut other = completed("1", "p-1");
    other["data"]["areas"] = json!(["face"]);
    let early = event("5", "amended", &json!({"supersedes": "6", "areas": ["face"]}));
    let mut timeless = early.clone();
    timeless.as_object_mut().unwrap().remove("time");
    timeless["id"] = json!("7");
    let mut ahead = early.clone();
    (ahead["id"], ahead["time"]) = (json!("9"), json!("2026-11-22T15:45:01Z"));
    let itself = event("8", "voided", &json!({"supersedes": "8"}));
    let batch = json!([
        completed("1", "p-1"),
        unknown,
        wrong,
        old,
        other,
        early,
        timeless,
        ahead,
        itself,
        7
    ]);
    let answer = stage.say(&batch).await.expect(200);
    let items = answer["items"].as_array().unwrap();
    let pointers = |item: &Value| -> Vec<String> {
        let errors = item["errors"].as_array().into_iter().flatten();
        errors.map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    let told: Vec<_> = items
        .iter()
        .map(|item| {
            let code = item["code"].as_str().unwrap_or_default();
            (item["status"].as_u64().unwrap(), code, pointers(item).join(" "))
        })
        .collect();
    let expected = [
        (201, "", ""),
        (422, "unknown-protocol", "/data/protocol"),
        (422, "invalid-fields", "/data/patient/ref /data/event_id /EXTRA"),
        (422, "invalid-fields", "/specversion /data/protocol"),
        (409, "event-conflict", ""),
        (202, "", ""),
        (422, "invalid-fields", "/time"),
        (422, "invalid-fields", "/time"),
        (422, "invalid-fields", "/data/supersedes"),
        (422, "invalid-fields", ""),
    ];
    let told: Vec<_> =
        told.iter().map(|(status, code, at)| (*status, *code, at.as_str())).collect();
    assert_eq!(told[..9], expected[..9]);
    assert_eq!((told[9].0, told[9].1), (expected[9].0, expected[9].1));
    // The same batch again is the same.
    let again = stage.say(&batch).await.expect(200);
    assert_eq!(again["items"][0]["outcome"], "known");
    assert_eq!(again["items"][5]["outcome"], "known");
    assert_eq!(stage.say(&json!([])).await.expect(200), json!({"items": []}));
    let flood = vec![json!(1); 201];
    stage.say(&json!(flood)).await.problem(422, "invalid-fields");
    for (kind, said) in [
        ("application/cloudevents+json", json!([])),
        ("application/cloudevents-batch+json", json!({})),
    ] {
        stage.say_as(kind, &said).await.problem(422, "invalid-fields");
    }
    let plain = stage.say_as("application/json", &completed("1", "p-1")).await.expect(200);
    assert_eq!(plain["outcome"], "known");
    for kind in ["text/plain", "", "application/cloudevents+xml"] {
        stage.say_as(kind, &completed("1", "p-1")).await.problem(415, "unsupported-media-type");
    }
    let twice = ["content-type", "ce-specversion", "ce-id", "ce-id"];
    let headers = twice.iter().map(|name| ((*name).to_owned(), "application/json".to_owned()));
    let twice = Message { headers: headers.collect(), body: "{}".to_owned() };
    let token = stage.clinic_token().await;
    stage.send("", &twice, Some(&token)).await.problem(400, "malformed-request");
}

/// Everything that can be told of a patient's sessions but for ids and tombstones.
async fn outcome(stage: &Stage, reference: &str) -> Value {
    let path = format!("/v1/treatments?patient_ref={reference}");
    let mut found = stage.clinic("GET", &path, Body::None).await.expect(200)["items"].take();
    let path = format!("/v1/patients/{reference}/timeline");
    let mut timeline = stage.clinic("GET", &path, Body::None).await.expect(200);
    for name in ["generated_at", "plan_version"] {
        timeline.as_object_mut().unwrap().remove(name);
    }
    let items = found.as_array_mut().unwrap();
    items.sort_by_key(|item| item["treatment"]["completed_at"].as_str().unwrap().to_owned());
    items.push(timeline);
    for item in found.as_array_mut().unwrap() {
        if let Some(treatment) = item["treatment"].as_object_mut() {
            for name in ["id", "patient_ref", "patient_id"] {
                treatment.remove(name);
            }
        }
        for restriction in item["restrictions"].as_array_mut().unwrap() {
            restriction["treatment_ids"].take();
        }
        let reminders = item["reminders"].as_array_mut().unwrap();
        reminders.retain(|reminder| {
            !["cancelled", "superseded"].contains(&reminder["state"].as_str().unwrap())
        });
        for reminder in reminders {
            reminder["id"].take();
        }
    }
    found
}

/// What may be said of one session, all of it at once.
fn said() -> impl Strategy<Value = Vec<Value>> {
    let minutes = -600_i64..5;
    let completed_at = minutes.prop_map(|minutes| {
        let at: Timestamp = "2026-11-22T15:40:00Z".parse().unwrap();
        json!({"completed_at": (at + SignedDuration::from_mins(minutes)).to_string()})
    });
    let areas = prop::sample::subsequence(vec!["face", "neck", "chest", "scalp"], 1..=3)
        .prop_map(|areas| json!({"areas": areas}));
    let booked = prop_oneof![
        Just(json!({"next_session_at": "2026-12-24T11:00:00Z"})),
        Just(json!({"next_session_at": "2026-11-22T10:00:00Z"})),
        Just(json!({"next_session_at": null})),
    ];
    let zone = Just(json!({"time_zone": "America/New_York", "metadata": {"room": "3"}}));
    let change = prop_oneof![completed_at, areas, booked, zone];
    // Two may have one time: then the greater id wins. One may be of another.
    let amended = (change, 0..3_u8, any::<bool>());
    let all = (prop::collection::vec(amended, 1..5), prop::bool::weighted(0.3));
    all.prop_map(|(amended, voided)| {
        let mut events = vec![completed("c", "p")];
        let mut last = "c".to_owned();
        for (n, (mut data, minute, chained)) in amended.into_iter().enumerate() {
            data["supersedes"] = json!(if chained { last } else { "c".to_owned() });
            last = format!("a{}", 9 - n);
            let mut amended = event(&last, "amended", &data);
            amended["time"] = json!(format!("2026-11-22T15:3{minute}:00Z"));
            events.push(amended);
        }
        if voided {
            events.push(event("v", "voided", &json!({"supersedes": last})));
        }
        events
    })
}

/// Sends events one by one, or all at once; none is refused.
async fn tell(stage: &Stage, events: &[Value], at_once: bool) {
    if at_once {
        let answer = stage.say(&json!(events)).await.expect(200);
        let good = |item: &Value| item["status"].as_u64().unwrap() < 300;
        assert!(answer["items"].as_array().unwrap().iter().all(good), "{answer}");
        return;
    }
    for event in events {
        let answer = stage.say(event).await;
        assert!(answer.status < 300, "{event}: {answer:?}");
    }
}

/// The events as another source says them of another patient.
fn of(events: &[Value], reference: &str) -> Vec<Value> {
    let mut events = events.to_vec();
    for event in &mut events {
        event["source"] = json!(format!("https://practice.example/{reference}"));
        if event["data"]["patient"].is_object() {
            event["data"]["patient"]["ref"] = json!(reference);
        }
    }
    events
}

/// Hundreds of orders of arrival, each of a patient and a source of its own.
async fn the_order_of_arrival_does_not_matter(bed: Bed) {
    let stage = Stage::set(bed).await;
    let mut runner = TestRunner::deterministic();
    let mut orders = 0;
    for case in 0..30 {
        let events = said().new_tree(&mut runner).unwrap().current();
        let mut first = None;
        for order in 0..8 {
            let reference = format!("p-{case}-{order}");
            let mut events = of(&events, &reference);
            if order > 0 {
                events = Just(events).prop_shuffle().new_tree(&mut runner).unwrap().current();
            }
            tell(&stage, &events, order % 2 == 1).await;
            let outcome = outcome(&stage, &reference).await;
            let expected = first.get_or_insert_with(|| outcome.clone());
            assert_eq!(&outcome, expected, "{events:#?}");
            orders += 1;
        }
    }
    assert_eq!(orders, 240);
    let waiting = "SELECT count(*) FROM amendments WHERE treatment_id IS NULL";
    assert_eq!(stage.bed.query(waiting), ["0"]);
}

/// What clinics say of a patient in the events of sessions holds as of those sessions, whichever comes first.
async fn where_patients_are_and_what_they_speak_hangs_on_no_order(bed: Bed) {
    let stage = Stage::set(bed).await;
    let session = |id: &str, at: &str, zone: &str, locale: &str| {
        let mut event = completed(id, "p");
        event["data"]["completed_at"] = json!(at);
        event["data"]["patient"]["time_zone"] = json!(zone);
        event["data"]["patient"]["locale"] = json!(locale);
        event
    };
    let said = [
        session("1", "2026-09-20T15:40:00Z", "Asia/Tokyo", "en"),
        session("2", "2026-11-22T15:30:00Z", "America/New_York", "es"),
        session("3", "2026-11-22T15:27:00Z", "Europe/Lisbon", "fr"),
    ];
    let mut first = None;
    for order in 0..6 {
        let reference = format!("p-{order}");
        let mut left = of(&said, &reference);
        let events: Vec<_> =
            [order / 2, order % 2, 0].iter().map(|pick| left.remove(*pick)).collect();
        tell(&stage, &events, false).await;
        let path = format!("/v1/patients/{reference}/export");
        let patient = stage.clinic("GET", &path, Body::None).await.expect(200)["patient"].take();
        let known = (&patient["time_zone"], &patient["locale"]);
        assert_eq!(known, (&json!("America/New_York"), &json!("es")), "{events:#?}");
        let mut outcome = outcome(&stage, &reference).await;
        for item in outcome.as_array_mut().unwrap() {
            // What was over before it was known keeps the hour at which it would have been.
            let reminders = item["reminders"].as_array_mut().unwrap();
            reminders.retain(|reminder| reminder["state"] != "skipped");
        }
        assert_eq!(&outcome, first.get_or_insert_with(|| outcome.clone()), "{events:#?}");
    }
    // What the clinic says now, outside any event, is newer than every session that is over.
    let moved = json!({"time_zone": "Asia/Kathmandu"});
    stage.clinic("PUT", "/v1/patients/p-0", Body::Json(&moved)).await.expect(200);
    let late = of(&[session("4", "2026-11-22T15:39:00Z", "Asia/Tokyo", "pt")], "p-0");
    tell(&stage, &late, false).await;
    let export = stage.clinic("GET", "/v1/patients/p-0/export", Body::None).await.expect(200);
    assert_eq!(export["patient"]["time_zone"], "Asia/Kathmandu");
    assert_eq!(export["patient"]["locale"], "pt");
    assert_eq!(export["patient"]["locale_as_of"], "2026-11-22T15:39:00Z");
}

/// The rules themselves, beside that their order does not matter: in each of the 24 orders.
async fn the_later_time_wins_then_the_greater_id_and_a_void_over_all(bed: Bed) {
    let stage = Stage::set(bed).await;
    let amended = |id: &str, time: &str, areas: &str| {
        let mut event = event(id, "amended", &json!({"supersedes": "c", "areas": [areas]}));
        event["time"] = json!(time);
        event
    };
    let (early, late) = ("2026-11-22T15:30:00Z", "2026-11-22T15:31:00Z");
    let said = [
        completed("c", "p"),
        amended("z", early, "scalp"),
        amended("a", late, "neck"),
        amended("b", late, "chest"),
    ];
    for order in 0..24 {
        let reference = format!("p-{order}");
        let mut left = of(&said, &reference);
        let picks = [order / 6, order / 2 % 3, order % 2, 0];
        let events: Vec<_> = picks.iter().map(|pick| left.remove(*pick)).collect();
        tell(&stage, &events, false).await;
        let shown = outcome(&stage, &reference).await;
        assert_eq!(shown[0]["treatment"]["areas"], json!(["chest"]), "{events:#?}");
        assert_eq!(shown[0]["treatment"]["state"], "active");
    }
    let voided = of(&[event("v", "voided", &json!({"supersedes": "z"}))], "p-3");
    tell(&stage, &voided, false).await;
    let late = of(&[amended("zz", "2026-11-22T15:40:00Z", "scalp")], "p-3");
    tell(&stage, &late, false).await;
    assert_eq!(outcome(&stage, "p-3").await[0]["treatment"]["state"], "voided");
}

/// What a clinic says last counts, also where it was so before: what is older and comes later does not
/// undo it. And what cannot be undoes nothing.
async fn what_is_older_or_impossible_changes_nothing(bed: Bed) {
    let stage = Stage::set(bed).await;
    let mut said = completed("1", "p-1");
    said["data"]["areas"] = json!(["face"]);
    said["data"]["next_session_at"] = json!("2026-12-22T15:00:00Z");
    let receipt = stage.say(&said).await.expect(201);
    let id = receipt["treatment_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/treatments/{id}");
    let facts = async || {
        let shown = stage.shown(&receipt).await["treatment"].take();
        (shown["areas"].clone(), shown["next_session_at"].clone())
    };
    let before = facts().await;
    assert_eq!(before.1, "2026-12-22T15:00:00Z");
    let amended = |id: &str, time: &str, data: Value| {
        let mut amended = event(id, "amended", &json!({"supersedes": "1"}));
        amended["data"].as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        amended["time"] = json!(time);
        amended
    };
    let cannot_be =
        [json!({"areas": ["elbow"]}), json!({"next_session_at": "2001-01-01T00:00:00Z"})];
    for (n, data) in cannot_be.into_iter().enumerate() {
        let amended = amended(&format!("x{n}"), "2026-11-22T15:39:00Z", data);
        stage.say(&amended).await.expect(200);
        assert_eq!(facts().await, before);
    }
    let same = json!({"areas": ["face"], "next_session_at": "2026-12-22T15:00:00Z"});
    stage.clinic("PATCH", &path, Body::Json(&same)).await.expect(200);
    stage.set_clock("2026-11-22T15:42:00Z");
    stage.clinic("PATCH", &path, Body::Json(&same)).await.expect(200);
    let older = json!({"areas": ["neck"], "next_session_at": null});
    stage.say(&amended("a", "2026-11-22T15:41:00Z", older)).await.expect(200);
    assert_eq!(facts().await, before);
    let known = "SELECT count(*) FROM amendments WHERE kind = 'amended'";
    assert_eq!(stage.bed.query(known), ["4"], "to say the same again is no news");
}

/// Headers may be quoted, and are UTF-8 in escapes; what is not is refused, since two ids that cannot be
/// told apart would be one event.
async fn headers_of_events_are_read_as_they_are_meant(bed: Bed) {
    let stage = Stage::set(bed).await;
    let token = stage.clinic_token().await;
    let structured = completed("q 1", "p-1");
    stage.say(&structured).await.expect(201);
    let binary = |id: &str| {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let named = ["specversion", "type", "source"];
        let mut headers: Vec<_> = named
            .iter()
            .map(|name| header(&format!("ce-{name}"), structured[*name].as_str().unwrap()))
            .collect();
        headers.extend([header("ce-id", id), header("content-type", "application/json")]);
        Message { headers, body: structured["data"].to_string() }
    };
    for id in ["q 1", "\"q 1\"", "q%201", r#""q\ 1""#] {
        let receipt = stage.send("", &binary(id), Some(&token)).await.expect(200);
        assert_eq!(receipt["outcome"], "known", "{id}");
    }
    for id in ["q%FF", "q%E9"] {
        stage.send("", &binary(id), Some(&token)).await.problem(400, "malformed-request");
    }
}

async fn a_void_that_overtakes_its_session_counts(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "ana").await;
    let voided = event("2", "voided", &json!({"supersedes": "1"}));
    let waiting = stage.say(&voided).await.expect(202);
    assert_eq!(waiting, json!({"status": 202, "outcome": "waiting"}));
    let receipt = stage.say(&completed("1", "ana")).await.expect(201);
    assert_eq!(stage.shown(&receipt).await["treatment"]["state"], "voided");
    stage.play("2026-12-30T12:00:00Z").await;
    assert_eq!(stage.pushes(), []);
    assert_eq!(stage.say(&voided).await.expect(200)["treatment_id"], receipt["treatment_id"]);
    let mut other = voided;
    other["data"]["supersedes"] = json!("9");
    stage.say(&other).await.problem(409, "event-conflict");
    // An id is one event's, whatever it says.
    stage.say(&completed("2", "ana")).await.problem(409, "event-conflict");
    stage
        .say(&event("1", "voided", &json!({"supersedes": "3"})))
        .await
        .problem(409, "event-conflict");
}

/// Sources, and the plain events, have ids of their own.
async fn the_same_id_of_another_source_is_another_event(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receipt = stage.say(&completed("1", "ana")).await.expect(201);
    let mut elsewhere = completed("1", "zoe");
    elsewhere["source"] = json!("https://practice.example/rooms/3");
    let other = stage.say(&elsewhere).await.expect(201);
    assert_ne!(receipt["treatment_id"], other["treatment_id"]);
    let mut plain = completed("1", "eva")["data"].take();
    plain["event_id"] = json!("1");
    stage.post(&plain).await.expect(201);
    let found = stage.clinic("GET", "/v1/treatments?event_id=1", Body::None).await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 3);
    let mut voided = event("2", "voided", &json!({"supersedes": "1"}));
    voided["source"] = json!("https://practice.example/rooms/3");
    assert_eq!(stage.say(&voided).await.expect(200)["treatment_id"], other["treatment_id"]);
    assert_eq!(stage.shown(&receipt).await["treatment"]["state"], "active");
}

/// What waited goes with the patient once its session has come; until then it is nobody's, and the
/// keeper forgets it.
async fn an_erasure_takes_along_what_had_waited(bed: Bed) {
    let stage = Stage::set(bed).await;
    let amended = json!({"supersedes": "1", "metadata": {"room": "2"}});
    stage.say(&event("3", "voided", &json!({"supersedes": "2"}))).await.expect(202);
    stage.say(&event("2", "amended", &amended)).await.expect(202);
    let rows = || stage.bed.query("SELECT count(*) FROM amendments");
    assert_eq!(rows(), ["2"]);
    stage.say(&completed("1", "ana")).await.expect(201);
    // With the row of what the session was before.
    assert_eq!(rows(), ["3"]);
    stage.clinic("DELETE", "/v1/patients/ana", Body::None).await.expect(204);
    assert_eq!(rows(), ["0"]);
    let mut known = completed("1", "ana");
    known["data"]["patient_ref"] =
        known["data"].as_object_mut().unwrap().remove("patient").unwrap()["ref"].take();
    stage.say(&known).await.problem(422, "unknown-patient");
    stage.say(&event("2", "amended", &amended)).await.expect(202);
    stage.bed.clock.advance(SignedDuration::from_hours(30 * 24) + SignedDuration::from_secs(1));
    stage.scheduler.tidy().await;
    assert_eq!(rows(), ["0"]);
}

async fn what_events_change_is_in_the_audit_trail(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receipt = stage.say(&completed("1", "ana")).await.expect(201);
    let amended = json!({"supersedes": "1", "areas": ["face"]});
    stage.say(&event("2", "amended", &amended)).await.expect(200);
    stage.say(&event("2", "amended", &amended)).await.expect(200);
    // Says nothing new.
    stage.say(&event("3", "amended", &amended)).await.expect(200);
    stage.say(&event("4", "voided", &json!({"supersedes": "3"}))).await.expect(200);
    let id = receipt["treatment_id"].as_str().unwrap();
    let actions = stage.bed.query(&format!(
        "SELECT action FROM audit WHERE subject = 'treatment:{id}'
         AND actor = 'clinic:{}' AND action NOT LIKE '%.read' ORDER BY action DESC",
        stage.clinic.clinic_id
    ));
    assert_eq!(actions, ["treatment.voided", "treatment.recorded", "treatment.amended"]);
}

on_both_engines!(
    the_cloudevents_sdk_is_understood_in_every_mode,
    every_event_of_a_batch_is_told_what_became_of_it,
    the_order_of_arrival_does_not_matter,
    where_patients_are_and_what_they_speak_hangs_on_no_order,
    the_later_time_wins_then_the_greater_id_and_a_void_over_all,
    what_is_older_or_impossible_changes_nothing,
    headers_of_events_are_read_as_they_are_meant,
    a_void_that_overtakes_its_session_counts,
    the_same_id_of_another_source_is_another_event,
    an_erasure_takes_along_what_had_waited,
    what_events_change_is_in_the_audit_trail,
);
