//! What a clinic's software may do with the event: send it late, twice, to try it, or take it back.

use aftercare::care::dispatch::{self, Decision};
use aftercare::ids::LeaseId;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::http::Body;
use crate::stage::{Stage, at, done};

const MONTHS_LATER: &str = "2027-03-01T00:00:00Z";

/// Steps and what became of them, as `fates` gives them.
fn fates(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(step, fate)| ((*step).to_owned(), (*fate).to_owned())).collect()
}

async fn a_voided_treatment_sends_nothing_more(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    stage.play("2026-11-22T16:00:00Z").await;
    assert_eq!(stage.pushes().len(), 1);
    let voided = stage.void(&treated).await.expect(200);
    assert_eq!(voided["treatment"]["state"], "voided");
    let again = stage.void(&treated).await.expect(200);
    assert_eq!(again["treatment"], voided["treatment"], "void is idempotent");
    stage.play(MONTHS_LATER).await;
    let pushes = stage.pushes();
    assert_eq!(pushes.len(), 2, "one takes back what was said: {pushes:?}");
    assert!(pushes[1].body.contains("by mistake"), "{pushes:?}");
    let mut fates = stage.fates(&treated).await;
    fates.retain(|(step, _)| step != "correction-disregard");
    assert_eq!(fates[0], ("start".to_owned(), "sent: accepted".to_owned()));
    assert!(fates[1..].iter().all(|(_, fate)| fate == "cancelled: voided"), "{fates:?}");
}

async fn a_void_between_claim_and_send_stops_the_send(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    stage.set_clock("2026-11-22T15:55:00Z");
    let store = &stage.bed.store;
    let lease: LeaseId = store.env().id();
    let minute = SignedDuration::from_mins(1);
    let claim = store.write(move |tx| dispatch::claim(tx, lease, minute, 10)).await.unwrap();
    assert_eq!(claim.len(), 1);
    stage.void(&treated).await.expect(200);
    let jobs = store.read(move |tx| dispatch::prepare(tx, &claim)).await.unwrap();
    assert!(jobs.iter().all(|job| !matches!(job.decision, Decision::Send(_))), "{jobs:?}");
    stage.play(MONTHS_LATER).await;
    assert_eq!(stage.pushes(), []);
}

/// The answer is made of what was read before and written since; it must be what a look then shows: of a patient
/// who is new, who moves with the event, and whose earlier session comes later.
async fn the_answer_is_what_is_kept(bed: Bed) {
    let stage = Stage::set(bed).await;
    for (event, completed_at, zone) in [
        ("visit-1", "2026-11-22T15:00:00.123456789Z", "Europe/Lisbon"),
        ("visit-2", "2026-11-22T15:35:00Z", "Asia/Kathmandu"),
        ("visit-0", "2026-10-20T10:00:00Z", "America/New_York"),
    ] {
        let mut event = done(event, "ana", stage.now());
        event.as_object_mut().unwrap().remove("patient_ref");
        event["patient"] = json!({"ref": "ana", "time_zone": zone});
        event["completed_at"] = json!(completed_at);
        let told = stage.post(&event).await.expect(201);
        let path = format!("/v1/treatments/{}", told["treatment"]["id"].as_str().unwrap());
        let kept = stage.clinic("GET", &path, Body::None).await.expect(200);
        for (part, value) in kept.as_object().unwrap() {
            assert_eq!(told[part], *value, "{part} of {event}");
        }
    }
}

async fn a_dry_run_leaves_nothing(bed: Bed) {
    let stage = Stage::set(bed).await;
    let mut event = done("visit-1", "ana", stage.now());
    event.as_object_mut().unwrap().remove("patient_ref");
    event["patient"] = json!({"ref": "ana", "time_zone": "Europe/Lisbon"});
    let path = "/v1/treatments?dry_run=true";
    let planned = stage.clinic("POST", path, Body::Json(&event)).await.expect(200);
    assert_eq!(planned["reminders"].as_array().unwrap().len(), 7, "{planned}");
    let list = stage.clinic("GET", "/v1/treatments", Body::None).await.expect(200);
    assert_eq!(list["items"], json!([]));
    let timeline = stage.clinic("GET", "/v1/patients/ana/timeline", Body::None).await;
    timeline.problem(404, "not-found");
    stage.play(MONTHS_LATER).await;
    assert_eq!(stage.fcm.stats().sends, 0);
    stage.patient("ana").await;
}

async fn the_same_event_again_changes_nothing(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    let event = done("visit-ana", "ana", stage.now());
    stage.play("2026-11-22T16:00:00Z").await;
    let again = stage.post(&event).await.expect(200);
    assert_eq!(again["treatment"], treated["treatment"]);
    let ids = |answer: &Value| -> Vec<Value> {
        answer["reminders"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect()
    };
    assert_eq!(ids(&again), ids(&treated));
    let mut other = event.clone();
    other["areas"] = json!(["scalp"]);
    stage.post(&other).await.problem(409, "event-conflict");
    stage.play("2026-12-22T15:40:00Z").await;
    stage.post(&event).await.expect(200);
    stage.play("2026-12-23T15:40:00Z").await;
    assert_eq!(stage.pushes().len(), 6);
}

async fn a_late_event_says_at_once_what_still_holds(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "ana").await;
    // Done at 15:40, heard of at 17:00: the start is due, and of use until 18:40.
    stage.set_clock("2026-11-22T17:00:00Z");
    let event = done("visit-1", "ana", at("2026-11-22T15:40:00Z"));
    stage.post(&event).await.expect(201);
    stage.play("2026-11-23T08:00:00Z").await;
    let diary = stage.diary("ana");
    assert_eq!(diary[0][..16], *"Sun 22 Nov 17:00", "{diary:?}");
    assert_eq!(
        diary[1..],
        ["Sun 22 Nov 21:05  Before you go to bed", "Mon 23 Nov 07:50  Good morning"]
    );
}

async fn six_hours_late_the_first_evening_is_left_out(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "ana").await;
    stage.set_clock("2026-11-22T21:40:00Z");
    let event = done("visit-1", "ana", at("2026-11-22T15:40:00Z"));
    let late = stage.post(&event).await.expect(201);
    stage.play("2026-11-24T12:00:00Z").await;
    let expected = [
        "Mon 23 Nov 07:50  Good morning",
        "Mon 23 Nov 17:05  No intense exercise today",
        "Tue 24 Nov 07:50  Two days after",
    ];
    assert_eq!(stage.diary("ana"), expected);
    let fates_now = stage.fates(&late).await;
    let skipped = fates(&[("start", "skipped: past-use-by"), ("bedtime", "skipped: quiet-hours")]);
    assert_eq!(fates_now[..2], skipped);
}

async fn heard_of_after_everything_it_counts_for_the_course_only(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "ana").await;
    stage.set_clock("2027-02-20T12:00:00Z");
    let event = done("visit-1", "ana", at("2026-11-22T15:40:00Z"));
    let late = stage.post(&event).await.expect(201);
    assert_eq!(late["treatment"]["session"], 1);
    stage.play("2027-06-01T00:00:00Z").await;
    assert_eq!(stage.pushes(), []);
    let fates = stage.fates(&late).await;
    assert!(fates.iter().all(|(_, fate)| fate == "skipped: past-use-by"), "{fates:?}");
}

async fn a_scalp_is_not_told_about_faces(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "ana").await;
    let mut event = done("visit-1", "ana", stage.now());
    event["areas"] = json!(["scalp"]);
    stage.post(&event).await.expect(201);
    stage.play("2026-11-24T12:00:00Z").await;
    let expected = [
        "Sun 22 Nov 15:55  Your next 48 hours",
        "Mon 23 Nov 07:50  Good morning",
        "Mon 23 Nov 17:05  No intense exercise today",
        "Tue 24 Nov 07:50  Two days after",
    ];
    assert_eq!(stage.diary("ana"), expected);
    for push in stage.pushes() {
        assert!(!push.body.contains("makeup") && !push.body.contains("wash"), "{push:?}");
    }
}

on_both_engines!(
    a_voided_treatment_sends_nothing_more,
    a_void_between_claim_and_send_stops_the_send,
    the_answer_is_what_is_kept,
    a_dry_run_leaves_nothing,
    the_same_event_again_changes_nothing,
    a_late_event_says_at_once_what_still_holds,
    six_hours_late_the_first_evening_is_left_out,
    heard_of_after_everything_it_counts_for_the_course_only,
    a_scalp_is_not_told_about_faces,
);
