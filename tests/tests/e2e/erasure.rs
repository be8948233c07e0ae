//! Whoever is erased is gone: nothing is sent, nothing opens, and no backup brings them back.

use std::fs;
use std::time::Duration;

use aftercare::care::dispatch::{self, Attempt, Decision, Settled, Trial, Verdict};
use aftercare::care::{self, ErasedBy};
use aftercare::ids::LeaseId;
use aftercare::store::{AmendedFields, AmendingEvent, AmendmentKind, NewAmendment};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::json;

use crate::http::{Body, wait_for};
use crate::process::{Clinic, Server, aftercare, make_clinic, run};
use crate::stage::{Stage, done};

const LEASE: SignedDuration = SignedDuration::from_mins(1);

async fn who_is_erased_hears_nothing_and_gets_in_nowhere(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.treated("bea").await;
    let path = "/v1/patients/ana/enrolments";
    let enrolment = stage.clinic("POST", path, Body::None).await.expect(201);
    let redeem = |code: &serde_json::Value| json!({"code": code, "installation_id": "second"});
    let tokens = stage.clinic("POST", path, Body::None).await.expect(201);
    let redeemed = redeem(&tokens["code"]);
    let tokens =
        stage.http.call("POST", "/v1/enrolments/redeem", None, Body::Json(&redeemed)).await;
    let tokens = tokens.expect(200);
    let (access, refresh) =
        (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());

    stage.clinic("DELETE", "/v1/patients/ana", Body::None).await.expect(204);
    stage.clinic("DELETE", "/v1/patients/ana", Body::None).await.problem(404, "not-found");
    stage.clinic("GET", "/v1/patients/ana/timeline", Body::None).await.problem(404, "not-found");
    let timeline = stage.http.call("GET", "/v1/me/timeline", Some(access), Body::None).await;
    timeline.problem(401, "invalid-token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let refreshed = stage.http.call("POST", "/v1/oauth/token", None, Body::Form(&form)).await;
    assert_eq!(refreshed.expect(400)["error"], "invalid_grant");
    let body = redeem(&enrolment["code"]);
    let late = stage.http.call("POST", "/v1/enrolments/redeem", None, Body::Json(&body)).await;
    late.problem(422, "invalid-code");
    let event = done("visit-ana-2", "ana", stage.now());
    stage.post(&event).await.problem(422, "unknown-patient");
    let event = done("visit-ana", "ana", stage.now());
    stage.post(&event).await.problem(422, "unknown-patient");

    stage.play("2027-01-10T12:00:00Z").await;
    assert_eq!(stage.diary("ana"), [""; 0]);
    assert!(stage.diary("bea").len() > 4, "her neighbour's go on");
    let deeds = stage.bed.query(
        "SELECT actor || ' ' || action || ' ' || subject FROM audit WHERE action = 'patient.erased'",
    );
    assert_eq!(deeds.len(), 1);
    assert!(deeds[0].starts_with("clinic:") && deeds[0].contains(" patient:"), "{deeds:?}");
    assert!(!deeds[0].contains("ana"));
}

async fn patients_erase_themselves(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let token = stage.phone("ana", "ana").await;
    stage.session_done("visit-ana", "ana").await;
    let erased = stage.http.call("DELETE", "/v1/me", Some(&token), Body::None).await;
    erased.expect(204);
    let again = stage.http.call("DELETE", "/v1/me", Some(&token), Body::None).await;
    again.problem(401, "invalid-token");
    stage.clinic("GET", "/v1/patients/ana/timeline", Body::None).await.problem(404, "not-found");
    stage.play("2026-12-31T12:00:00Z").await;
    assert_eq!(stage.pushes(), []);
    // The clinic may use the name again: it is a new patient, without a past.
    stage.patient("ana").await;
    let timeline = stage.clinic("GET", "/v1/patients/ana/timeline", Body::None).await.expect(200);
    assert_eq!(timeline["reminders"], json!([]));
}

async fn a_claim_in_flight_comes_to_nothing(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.treated("bea").await;
    stage.set_clock("2026-11-22T15:55:00Z");
    let lease: LeaseId = stage.bed.store.env().id();
    let store = &stage.bed.store;
    let claim = store.write(move |tx| dispatch::claim(tx, lease, LEASE, 10)).await.unwrap();
    assert_eq!(claim.len(), 2);

    // Before it was looked at again: it is not sent.
    stage.clinic("DELETE", "/v1/patients/ana", Body::None).await.expect(204);
    let jobs = store.read(move |tx| dispatch::prepare(tx, &claim)).await.unwrap();
    let (send, not): (Vec<_>, Vec<_>) =
        jobs.into_iter().partition(|job| matches!(job.decision, Decision::Send(_)));
    assert_eq!((send.len(), not.len()), (1, 1));

    // While the message travels: what came of it is written nowhere.
    stage.clinic("DELETE", "/v1/patients/bea", Body::None).await.expect(204);
    let settled = not.into_iter().chain(send).map(|job| match job.decision {
        Decision::Not(verdict) => Settled { item: job.item, verdict, said: None },
        Decision::Send(outgoing) => {
            let target = outgoing.targets[0].clone();
            let (at, status) = (stage.now(), Some(200));
            let trial = Trial::Accepted;
            let attempt = Attempt { target, at, trial, status, code: None, detail: None };
            Settled { item: job.item, verdict: Verdict::Tried(vec![attempt]), said: None }
        }
    });
    let settled: Vec<Settled> = settled.collect();
    let tally = store.write(move |tx| dispatch::settle(tx, &settled)).await.unwrap();
    assert_eq!((tally.lost, tally.sent), (2, 0));
    for table in ["reminders", "deliveries", "devices", "treatments", "patients"] {
        assert_eq!(stage.bed.query(&format!("SELECT count(*) FROM {table}")), ["0"], "{table}");
    }
}

async fn who_does_not_open_any_more_can_still_be_erased(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.patient("bea").await;
    let token = stage.phone("bea", "bea").await;
    stage.bed.execute("UPDATE patients SET key_wrapped = ref_sealed");
    let read = stage.clinic("GET", "/v1/patients/ana/export", Body::None).await;
    assert_eq!(read.status, 500, "{read:?}");
    stage.clinic("DELETE", "/v1/patients/ana", Body::None).await.expect(204);
    stage.http.call("DELETE", "/v1/me", Some(&token), Body::None).await.expect(204);
    for table in stage.bed.tables_with("patient_id") {
        let held = format!("SELECT count(*) FROM {table} WHERE patient_id IS NOT NULL");
        let expected = if table == "erasures" { "2" } else { "0" };
        assert_eq!(stage.bed.query(&held), [expected], "{table}");
    }
}

/// What is said of a session that nobody has recorded is no patient's: an erasure does not find it.
async fn what_belongs_to_nobody_yet_does_not_stay(bed: Bed) {
    let stage = Stage::set(bed).await;
    let said = stage.bed.store.write(|tx| {
        let clinic = tx.clinics()?.remove(0).id;
        let event = AmendingEvent {
            event_id: "early".to_owned(),
            supersedes: "never-recorded".to_owned(),
            content_hash: tx.content_hash(b"early"),
        };
        let said = NewAmendment {
            kind: AmendmentKind::Voided,
            namespace: "api".to_owned(),
            event: Some(event),
            at: tx.now(),
            fields: AmendedFields::default(),
        };
        tx.insert_amendment(clinic, None, said).map(drop)
    });
    said.await.unwrap();
    let kept = || stage.bed.query("SELECT count(*) FROM amendments");
    stage.bed.clock.advance(SignedDuration::from_hours(30 * 24));
    stage.scheduler.tidy().await;
    assert_eq!(kept(), ["1"]);
    stage.bed.clock.advance(SignedDuration::from_secs(1));
    stage.scheduler.tidy().await;
    assert_eq!(kept(), ["0"]);
}

/// Erasing and settling wait for each other and never in a circle.
async fn erasures_and_dispatch_do_not_get_in_each_others_way(bed: Bed) {
    let stage = Stage::set(bed).await;
    for n in 0..12 {
        stage.treated(&format!("p{n}")).await;
    }
    stage.set_clock("2026-11-22T15:55:00Z");
    let ids: Vec<_> = stage
        .bed
        .store
        .read(|tx| {
            let clinic = tx.clinics()?.remove(0).id;
            (0..12)
                .map(|n| Ok(tx.patient_by_ref(clinic, &format!("p{n}"))?.unwrap().id))
                .collect::<Result<_, aftercare::store::StoreError>>()
        })
        .await
        .unwrap();
    let erase = ids.into_iter().map(|id| {
        let store = stage.bed.store.clone();
        async move {
            let erased = store.write(move |tx| care::erase_patient(tx, id, ErasedBy::Retention));
            assert!(erased.await.unwrap().is_some());
        }
    });
    let (run, _) = tokio::join!(stage.scheduler.run_once(), join_all(erase));
    run.unwrap();
    assert_eq!(stage.bed.query("SELECT count(*) FROM deliveries"), ["0"]);
    assert_eq!(stage.run().await.claimed, 0);
}

on_both_engines!(
    who_is_erased_hears_nothing_and_gets_in_nowhere,
    patients_erase_themselves,
    a_claim_in_flight_comes_to_nothing,
    who_does_not_open_any_more_can_still_be_erased,
    what_belongs_to_nobody_yet_does_not_stay,
    erasures_and_dispatch_do_not_get_in_each_others_way,
);

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_forgets_again_whom_it_had_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (database, copy) = (folder.path().join("aftercare.db"), folder.path().join("backup.db"));
    let made = make_clinic(folder.path(), &[]);
    let mut server = Server::start(aftercare(folder.path()).arg("serve")).await;
    let clinic = Clinic::sign_in(server.http, &made).await;
    for name in ["ana", "zoe"] {
        clinic.patient(name).await;
        // The first reminder is due in 40 s: after the backup is restored, and before patience ends.
        clinic.session_done(name, SignedDuration::from_secs(14 * 60 + 20)).await;
    }
    // Not a copy of the file alone: what was written last may still stand beside it.
    let made_copy = run(aftercare(folder.path()).arg("backup").arg(&copy));
    assert!(made_copy.status.success(), "{made_copy:?}");
    assert!(server.process.terminate().await.success());

    let mut server = Server::start(aftercare(folder.path()).arg("serve")).await;
    let clinic = Clinic::sign_in(server.http, &made).await;
    let erased = clinic.attempt("DELETE", "/v1/patients/ana", Body::None).await;
    erased.expect(204);
    assert!(server.process.terminate().await.success());

    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", database.display()));
    }
    fs::copy(&copy, &database).unwrap();
    let mut server = Server::start(aftercare(folder.path()).arg("serve")).await;
    let emulator = server.emulator().await;
    let clinic = Clinic::sign_in(server.http, &made).await;
    let ana = clinic.attempt("GET", "/v1/patients/ana/timeline", Body::None).await;
    ana.problem(404, "not-found");
    let pushed = wait_for("zoe's push", async || {
        let inboxes = emulator.get("/inbox").await.to_string();
        inboxes.contains("zoe").then_some(inboxes)
    });
    let pushed = tokio::time::timeout(Duration::from_secs(90), pushed).await.unwrap();
    assert!(!pushed.contains("ana"), "{pushed}");
    let log = server.process.log();
    assert!(log.contains("had been erased"), "{log}");
    assert!(server.process.terminate().await.success());
}
