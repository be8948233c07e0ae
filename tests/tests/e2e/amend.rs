//! Sessions that turn out otherwise: what was not sent follows, what was stays.

use std::time::Duration;

use aftercare::care::dispatch::{self, Attempt, Claim, Decision, Settled, Trial, Verdict};
use aftercare::planner::ReminderState;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::{Fault, FaultKind};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::http::{Answer, Body, wait_for};
use crate::stage::{Stage, done};

impl Stage {
    pub(crate) async fn amend(&self, treatment: &Value, patch: &Value) -> Answer {
        let id = treatment["treatment"]["id"].as_str().unwrap();
        self.clinic("PATCH", &format!("/v1/treatments/{id}"), Body::Json(patch)).await
    }
}

fn due(answer: &Value, title: &str) -> Value {
    let reminders = answer["reminders"].as_array().unwrap();
    let found = reminders.iter().find(|reminder| reminder["title"] == title);
    found.map_or(Value::Null, |reminder| reminder["due_at"].clone())
}

async fn what_was_not_sent_follows_a_correction(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    assert_eq!(stage.pushes().len(), 1);
    let patch = json!({"completed_at": "2026-11-21T23:30:00Z", "metadata": {"room": "2"}});
    let amended = stage.amend(&treatment, &patch).await.expect(200);
    let mut expected = treatment["treatment"].clone();
    expected["completed_at"] = json!("2026-11-21T23:30:00Z");
    expected["completed_local"] = json!("2026-11-21T23:30:00+00:00[Europe/Lisbon]");
    expected["metadata"] = json!({"room": "2"});
    assert_eq!(amended["treatment"], expected, "what was not given stays");
    assert_eq!(due(&amended, "Your next 48 hours"), "2026-11-22T15:55:00Z", "history stays");
    assert_eq!(due(&amended, "No intense exercise today"), "2026-11-22T17:55:00Z");
    assert_eq!(due(&amended, "Two days after"), "2026-11-23T07:50:00Z");
    stage.play("2026-11-24T12:00:00Z").await;
    let diary = stage.diary("ana");
    let expected = [
        "Sun 22 Nov 15:55  Your next 48 hours",
        "Sun 22 Nov 17:55  No intense exercise today",
        "Mon 23 Nov 07:50  Two days after",
    ];
    assert_eq!(diary, expected);
}

async fn the_same_correction_twice_is_one(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    let change = json!({"areas": ["face"], "time_zone": "Europe/Lisbon"});
    let first = stage.amend(&treatment, &change).await.expect(200);
    let path = "/v1/patients/ana/timeline";
    let timeline = stage.clinic("GET", path, Body::None).await.expect(200);
    stage.bed.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(stage.amend(&treatment, &change).await.expect(200), first);
    assert_eq!(stage.amend(&treatment, &json!({})).await.expect(200), first);
    let again = stage.clinic("GET", path, Body::None).await.expect(200);
    assert_eq!(again["plan_version"], timeline["plan_version"]);
    // The event that recorded it says what it said; the treatment is what it is now.
    let event = done("visit-ana", "ana", "2026-11-22T15:40:00Z".parse().unwrap());
    let repeat = stage.post(&event).await.expect(200);
    assert_eq!(repeat["treatment"], first["treatment"]);
    let mut other = event.clone();
    other["areas"] = json!(["face"]);
    assert_eq!(stage.post(&other).await.expect(409)["code"], "event-conflict");
}

async fn a_voided_treatment_is_corrected_no_more(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    stage.void(&treatment).await.expect(200);
    let refused = stage.amend(&treatment, &json!({"areas": ["face"]})).await.expect(409);
    assert_eq!(refused["code"], "treatment-voided");
    let unknown = json!({"treatment": {"id": "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f"}});
    stage.amend(&unknown, &json!({"areas": ["face"]})).await.expect(404);
}

async fn every_bad_field_of_a_correction_is_named(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    let patch = json!({
        "completed_at": "2026-11-22T18:00:00Z", "next_session_at": "2026-11-01T10:00:00Z",
        "protocol": "peeling",
    });
    let refused = stage.amend(&treatment, &patch).await.expect(422);
    let pointers: Vec<_> =
        refused["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(pointers, ["/completed_at", "/next_session_at", "/protocol"]);
    let refused = stage.amend(&treatment, &json!({"areas": ["A nose"], "extra": 1})).await;
    assert_eq!(refused.expect(422)["errors"].as_array().unwrap().len(), 2);
    let shown = stage.amend(&treatment, &json!({})).await.expect(200);
    assert_eq!(shown["treatment"], treatment["treatment"], "nothing was changed");
}

/// What some scheduler claims at this moment.
async fn claimed(stage: &Stage, at: &str) -> Claim {
    stage.set_clock(at);
    let (lease, length) = (stage.bed.store.env().id(), SignedDuration::from_mins(1));
    stage.bed.store.write(move |tx| dispatch::claim(tx, lease, length, 9)).await.unwrap()
}

/// What changes something has no dry run, and says so instead of doing it.
async fn a_parameter_that_is_not_known_is_not_overlooked(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    let id = treatment["treatment"]["id"].as_str().unwrap();
    let path = format!("/v1/treatments/{id}");
    let chest = json!({"areas": ["chest"]});
    let calls = [
        ("PATCH", format!("{path}?dry_run=true"), Body::Json(&chest)),
        ("POST", format!("{path}/void?dry_run=true"), Body::None),
        ("POST", "/v1/signing-secrets?x".to_owned(), Body::None),
        ("DELETE", "/v1/patients/ana?dry_run=1".to_owned(), Body::None),
    ];
    for (method, path, body) in calls {
        let refused = stage.clinic(method, &path, body).await.problem(422, "invalid-fields");
        assert!(refused["errors"][0]["pointer"].as_str().unwrap().starts_with('?'), "{refused}");
    }
    let extra = json!({"foo": 1});
    stage.clinic("POST", "/v1/signing-secrets", Body::Json(&extra)).await.expect(422);
    let shown = stage.clinic("GET", &path, Body::None).await.expect(200);
    assert_eq!(shown["treatment"], treatment["treatment"]);
}

/// PostgreSQL has no NUL: what holds one names nothing, on either engine.
async fn a_nul_names_nothing(bed: Bed) {
    let stage = Stage::set(bed).await;
    let token = stage.clinic_token().await;
    let form = "grant_type=client_credentials&client_id=x%00&client_secret=x";
    stage.http.call("POST", "/v1/oauth/token", None, Body::Form(form)).await.expect(400);
    for path in ["/v1/protocols/%00", "/v1/patients/a%00/timeline", "/calendar/%00.ics"] {
        stage.http.call("GET", path, Some(&token), Body::None).await.problem(404, "not-found");
    }
    let path = "/v1/treatments?event_id=%00";
    stage.http.call("GET", path, Some(&token), Body::None).await.expect(400);
    let visit = json!({
        "event_id": "visit", "patient": {"ref": "ana"}, "protocol": "\u{0}",
        "completed_at": stage.now().to_string(),
    });
    stage.post(&visit).await.expect(422);
}

async fn a_correction_takes_a_claimed_reminder_back(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    let claim = claimed(&stage, "2026-11-22T15:55:00Z").await;
    assert_eq!(claim.len(), 1);
    let looked = claim.clone();
    let jobs = stage.bed.store.read(move |tx| dispatch::prepare(tx, &looked)).await.unwrap();
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    let Decision::Send(outgoing) = &job.decision else { panic!("{job:?}") };
    // In words already: "no makeup until tomorrow 15:40". Now it ends an hour earlier.
    assert!(outgoing.body.contains("15:40"), "{}", outgoing.body);
    let patch = json!({"completed_at": "2026-11-22T14:40:00Z"});
    let amended = stage.amend(&treatment, &patch).await.expect(200);
    assert_eq!(due(&amended, "Your next 48 hours"), "2026-11-22T15:55:00Z");
    let again = stage.bed.store.read(move |tx| dispatch::prepare(tx, &claim)).await.unwrap();
    assert!(matches!(again[0].decision, Decision::Not(Verdict::Released)), "{again:?}");
    // Whoever held it, and sent it all the same, completes nothing.
    let attempt = Attempt {
        target: outgoing.targets[0].clone(),
        at: stage.now(),
        trial: Trial::Accepted,
        status: Some(200),
        code: None,
        detail: None,
    };
    let settled = Settled { item: job.item, verdict: Verdict::Tried(vec![attempt]), said: None };
    let tally = stage.bed.store.write(move |tx| dispatch::settle(tx, &[settled])).await.unwrap();
    assert_eq!((tally.sent, tally.lost), (0, 1));
    stage.run().await;
    let pushes = stage.pushes();
    assert_eq!(pushes.len(), 1);
    assert!(pushes[0].body.contains("14:40") && !pushes[0].body.contains("15:40"), "{pushes:?}");
    let id = treatment["treatment"]["id"].as_str().unwrap();
    let sent = stage.reminders(id).await;
    assert_eq!(sent.iter().filter(|row| row.state == ReminderState::Sent).count(), 1);
}

async fn notes_and_a_booking_take_nothing_back(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    let claim = claimed(&stage, "2026-11-22T15:55:00Z").await;
    stage.amend(&treatment, &json!({"metadata": {"room": "4"}})).await.expect(200);
    stage.amend(&treatment, &json!({"next_session_at": "2026-12-22T15:00:00Z"})).await.expect(200);
    let jobs = stage.bed.store.read(move |tx| dispatch::prepare(tx, &claim)).await.unwrap();
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert!(matches!(job.decision, Decision::Send(_)), "{job:?}");
}

async fn a_next_session_is_booked_and_unbooked(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    let path = "/v1/patients/ana/courses/microneedling/next-session";
    let at = json!({"at": "2026-12-23T11:00:00Z"});
    let booked = stage.clinic("PUT", path, Body::Json(&at)).await.expect(200);
    assert_eq!(booked["treatment"]["id"], treatment["treatment"]["id"]);
    assert_eq!(booked["treatment"]["next_session_at"], "2026-12-23T11:00:00Z");
    assert_eq!(booked["warnings"], json!([]));
    assert_eq!(due(&booked, "See you soon"), "2026-12-22T10:05:00Z");
    assert_eq!(stage.clinic("PUT", path, Body::Json(&at)).await.expect(200), booked);

    let early = json!({"at": "2026-12-20T11:00:00Z"});
    let early = stage.clinic("PUT", path, Body::Json(&early)).await.expect(200);
    assert_eq!(early["warnings"], json!(["earlier-than-interval"]));
    assert_eq!(due(&early, "See you soon"), "2026-12-19T10:05:00Z");

    let unbooked = stage.clinic("DELETE", path, Body::None).await.expect(200);
    assert!(unbooked["treatment"]["next_session_at"].is_null());
    assert_eq!(due(&unbooked, "Your next session"), "2026-12-15T10:05:00Z");
    assert_eq!(stage.clinic("DELETE", path, Body::None).await.expect(200), unbooked);

    let before = json!({"at": "2026-11-01T11:00:00Z"});
    let refused = stage.clinic("PUT", path, Body::Json(&before)).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/at");
    for nobody in ["/v1/patients/eva/courses/microneedling", "/v1/patients/ana/courses/peeling"] {
        let path = format!("{nobody}/next-session");
        stage.clinic("PUT", &path, Body::Json(&at)).await.expect(404);
        stage.clinic("DELETE", &path, Body::None).await.expect(404);
    }
}

async fn a_longer_restriction_is_corrected_by_one_push(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    stage.set_clock("2026-11-22T16:30:00Z");
    let patch = json!({"completed_at": "2026-11-22T16:20:00Z"});
    let amended = stage.amend(&treatment, &patch).await.expect(200);
    assert_eq!(due(&amended, "Please note: a change"), "2026-11-22T16:30:00Z");
    stage.run().await;
    let pushes = stage.pushes();
    let [told, corrected] = pushes.as_slice() else { panic!("{pushes:?}") };
    assert_eq!(corrected.title, "Please note: a change");
    assert!(corrected.body.contains("tomorrow 16:20"), "{corrected:?}");
    assert_eq!(corrected.use_by.to_string(), "2026-11-24T16:20:00Z", "the longest one's end");
    assert_ne!(corrected.tag, told.tag);
    // What was sent stays as it was said.
    let shown = stage.amend(&treatment, &patch).await.expect(200);
    let shown = shown["reminders"].as_array().unwrap().clone();
    let first = shown.iter().find(|reminder| reminder["id"] == told.reminder.as_str()).unwrap();
    assert_eq!((&first["title"], &first["body"]), (&json!(told.title), &json!(told.body)));
    assert!(told.body.contains("tomorrow 15:40"), "{told:?}");
    // A shorter one harms nobody.
    let patch = json!({"completed_at": "2026-11-22T15:00:00Z"});
    stage.amend(&treatment, &patch).await.expect(200);
    stage.play("2026-11-25T12:00:00Z").await;
    let corrections = stage.pushes().into_iter().filter(|push| push.title.contains("note"));
    assert_eq!(corrections.count(), 1);
}

async fn a_voided_treatment_is_taken_back_by_one_push(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    stage.void(&treatment).await.expect(200);
    stage.void(&treatment).await.expect(200);
    stage.run().await;
    stage.play("2026-12-30T12:00:00Z").await;
    let pushes = stage.pushes();
    assert_eq!(pushes.len(), 2, "{pushes:?}");
    assert_eq!(pushes[1].title, "Please note: a correction");
    assert!(pushes[1].body.contains("disregard"), "{pushes:?}");
    let fates = stage.fates(&treatment).await;
    assert!(fates.contains(&("correction-disregard".into(), "sent: accepted".into())), "{fates:?}");
    // Nothing was sent of this one: nothing is taken back.
    let unsent = stage.treated("eva").await;
    stage.void(&unsent).await.expect(200);
    stage.play("2027-02-01T12:00:00Z").await;
    assert_eq!(stage.pushes().len(), 2);
}

async fn what_sets_a_message_right_is_not_put_off(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, treatment) = stage.treated_with_app("ana").await;
    stage.play("2026-11-22T15:55:00Z").await;
    stage.set_clock("2026-11-22T16:30:00Z");
    let patch = json!({"completed_at": "2026-11-22T16:20:00Z"});
    stage.amend(&treatment, &patch).await.expect(200);
    stage.run().await;
    let correction = app.reminder("Please note: a change").await;
    assert_eq!(correction["state"], "sent");
    app.snooze(&correction, 30).await.problem(409, "not-snoozable");
    // It stays as it was sent, whatever is planned anew.
    app.wish(json!({"exercise_hour": "19:00"})).await;
    assert_eq!(app.reminder("Please note: a change").await["state"], "sent");
}

/// FCM has taken the push and not answered yet when the session is taken back: the phone shows it.
async fn what_is_taken_back_while_it_travels_is_set_right(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    stage.set_clock("2026-11-22T15:55:00Z");
    let slow = Fault::new(FaultKind::DelayAnswer).delay(Duration::from_secs(2));
    stage.fcm.set_fault(slow);
    let void = async {
        wait_for("the push", async || stage.fcm.inbox("ana").first().map(drop)).await;
        stage.void(&treatment).await.expect(200);
        stage.fcm.clear_faults();
    };
    let (run, ()) = tokio::join!(stage.scheduler.run_once(), void);
    assert_eq!(run.unwrap().tally.lost, 1);
    stage.run().await;
    let pushes = stage.pushes();
    assert_eq!(pushes.len(), 2, "{pushes:?}");
    assert_eq!(pushes[1].title, "Please note: a correction");
    let fates = stage.fates(&treatment).await;
    assert!(fates.contains(&("start".into(), "sent: accepted".into())), "{fates:?}");
    assert_eq!(stage.bed.query("SELECT state FROM deliveries"), ["sent", "sent"]);
    stage.play("2026-12-30T12:00:00Z").await;
    assert_eq!(stage.pushes().len(), 2, "once, and nothing else");
}

/// The answer comes when the lease is over: by then another may hold the reminder, and this one writes nothing.
async fn an_answer_after_the_lease_sets_nothing_right(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    stage.set_clock("2026-11-22T15:55:00Z");
    let (store, lease) = (&stage.bed.store, stage.bed.store.env().id());
    let length = SignedDuration::from_mins(1);
    let claim = store.write(move |tx| dispatch::claim(tx, lease, length, 10)).await.unwrap();
    let mut jobs = store.read(move |tx| dispatch::prepare(tx, &claim)).await.unwrap();
    let job = jobs.remove(0);
    let Decision::Send(outgoing) = job.decision else { panic!("it is to be sent") };
    let (target, at) = (outgoing.targets[0].clone(), stage.now());
    let (trial, status) = (Trial::Accepted, Some(200));
    let attempt = Attempt { target, at, trial, status, code: None, detail: None };
    let verdict = Verdict::Tried(vec![attempt]);
    let settled = vec![Settled { item: job.item, verdict, said: outgoing.said }];
    stage.void(&treatment).await.expect(200);
    stage.bed.clock.advance(length);
    let asked = settled.clone();
    let late = store.read(move |tx| dispatch::overtaken(tx, &asked)).await.unwrap();
    assert!(late.is_empty(), "{late:?}");
    let one = settled[0].clone();
    assert!(!store.write(move |tx| dispatch::settle_overtaken(tx, &one)).await.unwrap());
    assert_eq!(stage.bed.query("SELECT count(*) FROM deliveries"), ["0"]);
}

on_both_engines!(
    what_is_taken_back_while_it_travels_is_set_right,
    an_answer_after_the_lease_sets_nothing_right,
    what_sets_a_message_right_is_not_put_off,
    a_longer_restriction_is_corrected_by_one_push,
    a_voided_treatment_is_taken_back_by_one_push,
    what_was_not_sent_follows_a_correction,
    the_same_correction_twice_is_one,
    a_voided_treatment_is_corrected_no_more,
    every_bad_field_of_a_correction_is_named,
    a_parameter_that_is_not_known_is_not_overlooked,
    a_nul_names_nothing,
    a_correction_takes_a_claimed_reminder_back,
    notes_and_a_booking_take_nothing_back,
    a_next_session_is_booked_and_unbooked,
);
