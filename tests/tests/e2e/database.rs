//! A database that is read-only, locked or gone: callers are told so, and nothing acknowledged is lost.

use std::time::Duration;

use aftercare_tests::bed::Bed;
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::sqlite::SqliteConnection;
use fcm_emulator::{Fault, FaultKind};
use jiff::SignedDuration;

use crate::http::{Answer, Body, wait_for};
use crate::process::{Clinic, Server, aftercare, make_clinic};
use crate::stage::{Stage, done};

/// Ends every session but the one that asks, so that new ones begin with the new settings.
const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// The answer of a server whose database cannot serve it.
#[track_caller]
fn is_unavailable(answer: &Answer) {
    answer.problem(503, "unavailable");
    assert!(answer.header("retry-after").is_some());
}

/// Ana's session is acknowledged and her phone has the first push; Bea's session is done.
async fn before_the_outage(bed: Bed) -> (Stage, Tokens) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.patient("bea").await;
    stage.phone("bea", "bea").await;
    stage.play("2026-11-22T15:56:00Z").await;
    assert_eq!(stage.pushes().len(), 1);
    let tokens =
        Tokens { clinic: stage.clinic_token().await, ana: stage.app("ana", "tablet").await };
    (stage, tokens)
}

/// Good through the outage.
struct Tokens {
    clinic: String,
    ana: String,
}

impl Tokens {
    /// Ana's timeline, as the clinic asks for it, which leaves a note, and as she does.
    async fn read(&self, stage: &Stage) -> [Answer; 2] {
        let read = |path, token| stage.http.call("GET", path, Some(token), Body::None);
        [
            read("/v1/patients/ana/timeline", &self.clinic).await,
            read("/v1/me/timeline", &self.ana).await,
        ]
    }
}

/// What was acknowledged is there, what was refused can be sent again, and the rest goes on.
async fn after_the_outage(stage: &Stage) {
    let list = stage.clinic("GET", "/v1/treatments", Body::None).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "Bea's was refused, not half written");
    stage.session_done("visit-bea", "bea").await;
    stage.play("2026-11-24T17:00:00Z").await;
    assert_eq!(stage.diary("ana").len(), 5);
    assert_eq!(stage.diary("bea").len(), 5);
    let shown = stage.fcm.inboxes();
    assert!(shown.iter().all(|shown| shown.replaced == 0), "nothing twice: {shown:?}");
}

/// Bea's session, posted during the outage.
async fn posted(stage: &Stage, clinic: &str) -> Answer {
    let event = done("visit-bea", "bea", stage.now());
    stage.http.call("POST", "/v1/treatments", Some(clinic), Body::Json(&event)).await
}

#[tokio::test]
async fn a_read_only_postgres_refuses_and_recovers() {
    let Some(bed) = Bed::postgres().await else { return };
    let (stage, tokens) = before_the_outage(bed).await;
    let database = stage.bed.database.as_ref().unwrap();
    let name = database.query("SELECT current_database()").remove(0);
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    database.execute(END_SESSIONS);
    is_unavailable(&posted(&stage, &tokens.clinic).await);
    let [clinics, own] = tokens.read(&stage).await;
    is_unavailable(&clinics);
    assert_eq!(own.expect(200)["reminders"][0]["state"], "sent", "the app goes on");
    let ready = stage.http.call("GET", "/readyz", None, Body::None).await.expect(503);
    assert_eq!(ready["checks"][0]["detail"], "is read-only");
    stage.set_clock("2026-11-22T21:05:00Z");
    assert!(stage.scheduler.run_once().await.is_err(), "nothing is claimed that cannot be settled");
    assert_eq!(stage.pushes().len(), 1);

    database.execute(&format!(
        "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = off; COMMIT"
    ));
    database.execute(END_SESSIONS);
    assert_eq!(stage.http.get("/readyz").await["status"], "ready");
    stage.run().await;
    assert_eq!(stage.diary("ana").len(), 2);
    stage.set_clock("2026-11-22T21:10:00Z");
    let list = stage.clinic("GET", "/v1/treatments", Body::None).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(posted(&stage, &stage.clinic_token().await).await.status, 201);
}

#[tokio::test]
async fn a_postgres_that_is_stopped_and_started_again_is_only_away() {
    let Some(bed) = Bed::own_postgres().await else { return };
    let (stage, tokens) = before_the_outage(bed).await;
    let database = stage.bed.database.as_ref().unwrap();
    database.stop_server();
    is_unavailable(&posted(&stage, &tokens.clinic).await);
    tokens.read(&stage).await.iter().for_each(is_unavailable);
    let ready = stage.http.call("GET", "/readyz", None, Body::None).await;
    assert_eq!(ready.expect(503)["status"], "not_ready");
    assert_eq!(stage.http.get("/healthz").await["status"], "ok");
    assert!(stage.scheduler.run_once().await.is_err());
    assert!(stage.scheduler.status().last_error.is_some());

    database.start_server();
    assert_eq!(stage.http.get("/readyz").await["status"], "ready");
    stage.run().await;
    assert_eq!(stage.scheduler.status().last_error, None);
    after_the_outage(&stage).await;
}

/// Whoever copies the file as operators should not, or opens it with a tool, may hold its lock.
#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_that_somebody_locks_is_only_busy() {
    let (stage, tokens) = before_the_outage(Bed::sqlite().await).await;
    let file = stage.bed.url.strip_prefix("sqlite:").unwrap();
    let mut other = SqliteConnection::establish(file).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    is_unavailable(&posted(&stage, &tokens.clinic).await);
    let [clinics, own] = tokens.read(&stage).await;
    is_unavailable(&clinics);
    own.expect(200);
    other.batch_execute("ROLLBACK").unwrap();
    after_the_outage(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_outcome_could_not_be_written_goes_out_again_and_shows_once() {
    let Some(bed) = Bed::own_postgres().await else { return };
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    let slow = Fault::new(FaultKind::DelayAnswer).delay(Duration::from_secs(2));
    stage.fcm.set_fault(slow.times(1));
    stage.set_clock("2026-11-22T15:55:00Z");
    let scheduler = stage.scheduler.clone();
    let run = tokio::spawn(async move { scheduler.run_once().await });
    wait_for("the push", async || (stage.pushes().len() == 1).then_some(())).await;
    let database = stage.bed.database.as_ref().unwrap();
    database.stop_server();
    assert!(run.await.unwrap().is_err());
    database.start_server();
    assert_eq!(stage.run().await.claimed, 0, "its lease holds, lest two send it");
    stage.set_clock("2026-11-22T15:56:01Z");
    assert_eq!(stage.run().await.tally.sent, 1);
    assert_eq!(stage.fates(&treated).await[0].1, "sent: accepted");
    let shown = stage.fcm.inbox("ana");
    assert_eq!((shown.len(), shown[0].replaced), (1, 1), "{shown:?}");
}

/// Whoever is the last to close a database takes its log away. The server is seen to be there by the lock
/// that it holds on the file, as long as nothing in the process closes the file behind SQLite's back.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_into_the_file_sees_that_a_server_is_running() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = tempfile::tempdir().unwrap();
    let made = make_clinic(folder.path(), &[]);
    let mut server = Server::start(aftercare(folder.path()).arg("serve")).await;
    let clinic = Clinic::sign_in(server.http, &made).await;
    let inode = folder.path().join("aftercare.db").metadata().unwrap().ino();
    for name in ["ana", "bea", "eva"] {
        clinic.patient(name).await;
        clinic.session_done(name, SignedDuration::ZERO).await;
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        assert!(locks.contains(&format!(":{inode} ")), "{inode}: {locks}");
    }
    assert!(server.process.terminate().await.success());
}
