//! Nobody is kept for longer than the operator says, nor what they were told. 13 months after 22 November 2026,
//! 15:40, is 22 December 2027, 15:40.

use std::collections::BTreeSet;

use aftercare::store::Reminder;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::{Value, json};

use crate::http::Body;
use crate::stage::{Stage, done};

impl Stage {
    /// The patients that are still there, after the hourly look.
    async fn kept(&self, now: &str) -> BTreeSet<&'static str> {
        self.set_clock(now);
        self.scheduler.tidy().await;
        let names = ["ana", "bea", "eva", "ida", "mia", "zoe"];
        let kept = self.bed.store.read(move |tx| {
            let clinic = tx.clinics()?.remove(0).id;
            let mut kept = BTreeSet::new();
            for name in names {
                if tx.patient_by_ref(clinic, name)?.is_some() {
                    kept.insert(name);
                }
            }
            Ok::<_, aftercare::store::StoreError>(kept)
        });
        kept.await.unwrap()
    }

    /// Another session of a known patient, after all that is due until then.
    async fn comes_again(&self, name: &str, then: &str) -> Value {
        self.play(then).await;
        self.session_done(&format!("visit-{name}-{then}"), name).await
    }

    /// What is answered of a treatment, after the hourly look.
    async fn left_of(&self, treatment: &Value, now: &str) -> Value {
        self.play(now).await;
        self.scheduler.tidy().await;
        let path = path_of(treatment);
        self.clinic("GET", &path, Body::None).await.expect(200)
    }
}

fn path_of(treatment: &Value) -> String {
    format!("/v1/treatments/{}", treatment["treatment"]["id"].as_str().unwrap())
}

fn is_open(left: &Value) -> bool {
    let (closed, reminders) = (&left["treatment"]["closed_at"], left["reminders"].as_array());
    assert_eq!(closed.is_null(), !reminders.unwrap().is_empty(), "{left}");
    closed.is_null()
}

async fn patients_go_thirteen_months_after_their_last_treatment(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    // Never treated, and only by mistake.
    stage.patient("bea").await;
    let mistake = stage.treated("eva").await;
    stage.void(&mistake).await.expect(200);
    // A treatment of long ago, told of today.
    stage.patient("ida").await;
    stage.set_clock("2026-11-22T15:41:00Z");
    let long_ago = "2024-01-10T10:00:00Z".parse().unwrap();
    stage.post(&done("visit-ida", "ida", long_ago)).await.expect(201);
    stage.play("2027-01-22T15:40:00Z").await;

    assert_eq!(stage.kept("2027-12-22T15:39:59Z").await, ["ana", "bea", "eva", "ida"].into());
    assert_eq!(stage.kept("2027-12-22T15:40:00Z").await, ["ida"].into());
    assert_eq!(stage.kept("2027-12-22T15:41:00Z").await, [].into());
    let erased = stage.bed.query("SELECT count(*) FROM erasures");
    assert_eq!(erased, ["4"]);
    let actors = "SELECT DISTINCT actor FROM audit WHERE action = 'patient.erased'";
    assert_eq!(stage.bed.query(actors), ["system"]);
    let path = format!("/v1/treatments/{}", treated["treatment"]["id"].as_str().unwrap());
    stage.clinic("GET", &path, Body::None).await.problem(404, "not-found");
}

async fn whoever_is_expected_stays(bed: Bed) {
    let stage = Stage::set(bed).await;
    let book = async |name: &str| {
        let path = format!("/v1/patients/{name}/courses/microneedling/next-session");
        let next = json!({"at": "2028-03-01T15:00:00Z"});
        stage.clinic("PUT", &path, Body::Json(&next)).await.expect(200);
    };
    // Booked, and reminded of it.
    stage.treated("mia").await;
    book("mia").await;
    // Booked, and does not want to be reminded of it.
    let (zoe, _) = stage.treated_with_app("zoe").await;
    zoe.consent("recall", false).await;
    book("zoe").await;
    stage.play("2027-12-22T15:40:00Z").await;
    assert_eq!(stage.kept("2027-12-22T16:00:00Z").await, ["mia", "zoe"].into());
    // The day before: Mia's reminder is due and waits to be sent.
    assert_eq!(stage.kept("2028-02-29T10:05:00Z").await, ["mia", "zoe"].into());
    // Nobody has heard of her phone for long: it expires that evening.
    stage.play("2028-02-29T20:00:01Z").await;
    assert_eq!(stage.kept("2028-03-01T14:59:59Z").await, ["mia", "zoe"].into());
    assert_eq!(stage.kept("2028-03-01T15:00:00Z").await, [].into());
}

async fn whoever_stays_is_not_held_to_what_they_were_told_long_ago(bed: Bed) {
    let stage = Stage::set(bed).await;
    let event = done("visit-ana", "ana", stage.now());
    let first = stage.treated("ana").await;
    let second = stage.comes_again("ana", "2027-03-01T12:00:00Z").await;
    let third = stage.comes_again("ana", "2027-08-01T12:00:00Z").await;
    // Its last step could have been said until 1 January 2027, 10:05.
    assert!(is_open(&stage.left_of(&first, "2028-02-01T10:04:59Z").await));
    let left = stage.left_of(&first, "2028-02-01T10:05:00Z").await;
    assert!(!is_open(&left));
    assert_eq!(left["treatment"]["closed_at"], "2028-02-01T10:05:00Z");
    let noted = "SELECT actor FROM audit WHERE action = 'treatment.closed'";
    assert_eq!(stage.bed.query(noted), ["system"]);
    let timeline = stage.clinic("GET", "/v1/patients/ana/timeline", Body::None).await.expect(200);
    let id = &first["treatment"]["id"];
    let shown = timeline["reminders"].as_array().unwrap();
    assert!(!shown.is_empty() && shown.iter().all(|row| row["treatment_id"] != *id), "{shown:?}");

    // It counts on, and planning anew brings nothing back.
    for (treatment, number) in [(&second, 2), (&third, 3)] {
        let left = stage.left_of(treatment, "2028-02-01T10:06:00Z").await;
        assert!(is_open(&left));
        assert_eq!(left["treatment"]["session"], number);
    }
    let path = "/v1/patients/ana/courses/microneedling/next-session";
    let next = json!({"at": "2028-03-10T15:00:00Z"});
    let booked = stage.clinic("PUT", path, Body::Json(&next)).await.expect(200);
    assert_eq!(booked["treatment"]["session"], 3);
    assert!(!is_open(&stage.left_of(&first, "2028-02-01T11:00:00Z").await));
    let again = stage.post(&event).await.expect(200);
    assert_eq!((&again["treatment"]["id"], is_open(&again)), (id, false));

    // Notes change nothing; an earlier hour does, of which nothing is to be said any more.
    let room = json!({"metadata": {"room": "2"}});
    let noted = stage.clinic("PATCH", &path_of(&first), Body::Json(&room)).await.expect(200);
    assert!(!is_open(&noted));
    let pushes = stage.pushes().len();
    let hour = json!({"completed_at": "2026-11-22T15:10:00Z"});
    let moved = stage.clinic("PATCH", &path_of(&first), Body::Json(&hour)).await.expect(200);
    assert!(is_open(&moved));
    let states = moved["reminders"].as_array().unwrap().iter().map(|row| row["state"].as_str());
    assert_eq!(states.collect::<BTreeSet<_>>(), [Some("skipped")].into());
    assert!(!is_open(&stage.left_of(&first, "2028-02-01T12:00:00Z").await));
    assert_eq!(stage.pushes().len(), pushes);
    let voided = stage.void(&first).await.expect(200);
    assert!(!is_open(&voided));
    stage.play("2028-02-03T12:00:00Z").await;
    assert_eq!(stage.pushes().len(), pushes);
    let report = stage.bed.store.verify_audit(None).await.unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
}

async fn what_was_told_together_goes_together(bed: Bed) {
    let stage = Stage::set(bed).await;
    let first = stage.treated("ana").await;
    // Its first message takes the other's last of the day along, and it announces a session next year.
    stage.play("2026-11-22T20:45:00Z").await;
    let mut event = done("visit-ana-2", "ana", stage.now());
    event["next_session_at"] = json!("2027-03-01T15:00:00Z");
    let second = stage.post(&event).await.expect(201);
    let rows = stage.reminders(second["treatment"]["id"].as_str().unwrap()).await;
    let both = |row: &Reminder| {
        let of = row.members.iter().map(|member| member.key.treatment);
        of.collect::<BTreeSet<_>>().len() == 2
    };
    assert!(rows.iter().any(both), "{rows:?}");
    stage.comes_again("ana", "2027-08-01T12:00:00Z").await;
    assert!(is_open(&stage.left_of(&first, "2028-04-01T14:59:59Z").await));
    assert!(!is_open(&stage.left_of(&first, "2028-04-01T15:00:00Z").await));
    assert!(!is_open(&stage.left_of(&second, "2028-04-01T15:00:01Z").await));
}

async fn what_was_told_without_an_end_stays_after_a_correction(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "ana").await;
    let mut event = done("visit-laser", "ana", stage.now());
    (event["protocol"], event["areas"]) = (json!("laser-hair-removal"), json!(["face"]));
    let laser = stage.post(&event).await.expect(201);
    stage.play("2026-11-22T16:00:00Z").await;
    let other = json!({"protocol": "microneedling", "areas": ["face"]});
    let needled = stage.clinic("PATCH", &path_of(&laser), Body::Json(&other)).await.expect(200);
    let holds = |rule: &Value| rule["kind"] == "avoid" && rule["until"].is_null();
    assert!(!needled["restrictions"].as_array().unwrap().iter().any(holds), "{needled}");
    stage.comes_again("ana", "2027-12-01T12:00:00Z").await;
    assert!(is_open(&stage.left_of(&laser, "2028-06-01T12:00:00Z").await));
}

async fn an_instruction_without_an_end_keeps_what_was_told(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "ana").await;
    let mut event = done("visit-laser", "ana", stage.now());
    (event["protocol"], event["areas"]) = (json!("laser-hair-removal"), json!(["legs"]));
    let laser = stage.post(&event).await.expect(201);
    let holds = |rule: &Value| rule["kind"] == "avoid" && rule["until"].is_null();
    assert!(laser["restrictions"].as_array().unwrap().iter().any(holds), "{laser}");
    stage.comes_again("ana", "2027-12-01T12:00:00Z").await;
    assert!(is_open(&stage.left_of(&laser, "2028-06-01T12:00:00Z").await));
    // It is looked at no more, until it is changed.
    let looked = "SELECT count(*) FROM treatments WHERE over_at IS NULL";
    assert_eq!(stage.bed.query(looked), ["0"]);
    stage.phone("ana", "ana-2").await;
    let sent_before = stage.pushes().len();
    stage.void(&laser).await.expect(200);
    assert_eq!(stage.bed.query(looked), ["1"]);
    stage.play("2028-06-01T13:00:00Z").await;
    let pushed = stage.pushes().split_off(sent_before);
    assert_eq!(pushed.len(), 1, "{pushed:?}");
    assert!(pushed[0].title.contains("note"), "{pushed:?}");
}

on_both_engines!(
    what_was_told_without_an_end_stays_after_a_correction,
    an_instruction_without_an_end_keeps_what_was_told,
    patients_go_thirteen_months_after_their_last_treatment,
    whoever_is_expected_stays,
    whoever_stays_is_not_held_to_what_they_were_told_long_ago,
    what_was_told_together_goes_together,
);
