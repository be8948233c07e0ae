//! The binary on the real clock: on time, stopped politely, killed, over TLS, and several at once.

use std::path::Path;
use std::time::Duration;

use aftercare::care::{self, Namespace, PatientRef, RecordError, SessionDone};
use aftercare::clock::Env;
use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreOptions, Tx};
use aftercare_tests::phone::android;
use aftercare_tests::postgres;
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::sqlite::SqliteConnection;
use fcm_emulator::{Emulator, EmulatorConfig, EmulatorHandle, Fault, FaultKind};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::http::{Body, wait_for};
use crate::process::{Clinic, Process, Server, aftercare, make_clinic, now};

/// How late a reminder may be on a machine that does nothing else.
const LATE_MAX: SignedDuration = SignedDuration::from_millis(1_500);

fn instant(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// An FCM that outlives the servers of a test, and its service-account file.
async fn fcm(folder: &Path) -> EmulatorHandle {
    let fcm = Emulator::start(EmulatorConfig::default()).await.unwrap();
    std::fs::write(folder.join("fcm.json"), fcm.credentials_json()).unwrap();
    fcm
}

/// `aftercare serve` on an SQLite file, pushing to that FCM.
async fn serve(folder: &Path, fcm: &EmulatorHandle) -> Server {
    let mut command = aftercare(folder);
    command.env("FCM_CREDENTIALS", "fcm.json").env("AFTERCARE_FCM_URL", fcm.base_url());
    Server::start(command.arg("serve")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_defaults_a_due_reminder_is_out_within_a_second_and_a_half() {
    let folder = tempfile::tempdir().unwrap();
    let clinic = make_clinic(folder.path(), &[]);
    let mut server = Server::start(aftercare(folder.path()).arg("serve")).await;
    let inbox = server.emulator().await;
    let clinic = Clinic::sign_in(server.http, &clinic).await;
    // Three, at different parts of a second: the machine may be busy when one of them is due.
    for (name, seconds) in [("ana", 894), ("bea", 891), ("cleo", 888)] {
        clinic.patient(name).await;
        clinic.session_done(name, SignedDuration::from_secs(seconds)).await;
    }
    let accepted = wait_for("three pushes", async || {
        let accepted = inbox.get("/emulator/v1/accepted").await;
        accepted.as_array().filter(|all| all.len() == 3).cloned()
    });
    let late = accepted.await.into_iter().map(|push| {
        instant(&push["accepted_at"]).duration_since(instant(&push["message"]["data"]["due_at"]))
    });
    let late: Vec<SignedDuration> = late.collect();
    assert!(late.iter().all(|late| !late.is_negative()), "before its time: {late:?}");
    assert!(late.iter().min().unwrap() <= &LATE_MAX, "{late:?}");
    assert!(server.process.terminate().await.success());
    assert!(server.process.log().contains("stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alerts_watch_is_there_before_it_rises() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(aftercare(folder.path()).arg("serve")).await;
    let metrics = server.http.call("GET", "/metrics", None, Body::None).await.text();
    for counter in [
        "aftercare_dispatch_errors_total",
        "aftercare_heartbeat_restarts_total",
        "aftercare_leases_reclaimed_total",
        "aftercare_lost_leases_total",
        "aftercare_pushes_total{outcome=\"rejected\"}",
        "aftercare_webhook_attempts_total{outcome=\"failed\"}",
    ] {
        let line = format!("{counter} 0");
        assert!(metrics.lines().any(|known| known == line), "no {line}: {metrics}");
    }
    assert!(server.process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polite_stop_finishes_what_is_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let fcm = fcm(folder.path()).await;
    let account = make_clinic(folder.path(), &[]);
    let mut server = serve(folder.path(), &fcm).await;
    let clinic = Clinic::sign_in(server.http, &account).await;
    clinic.patient("ana").await;
    let slow = Fault::new(FaultKind::DelayAnswer).delay(Duration::from_millis(1_500));
    fcm.set_fault(slow.times(1));
    clinic.session_done("ana", SignedDuration::from_mins(20)).await;
    wait_for("the push", async || (fcm.accepted().len() == 1).then_some(())).await;
    assert!(server.process.terminate().await.success(), "{}", server.process.log());

    let server = serve(folder.path(), &fcm).await;
    let clinic = Clinic::sign_in(server.http, &account).await;
    assert_eq!(clinic.first_state("ana").await, "sent", "FCM's answer was waited for");
    assert_eq!(fcm.accepted().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_sends_it_loses_nothing_and_shows_nothing_twice() {
    const PATIENTS: usize = 12;
    let folder = tempfile::tempdir().unwrap();
    let fcm = fcm(folder.path()).await;
    let account = make_clinic(folder.path(), &[]);
    let mut server = serve(folder.path(), &fcm).await;
    let clinic = Clinic::sign_in(server.http, &account).await;
    let names: Vec<String> = (0..PATIENTS).map(|n| format!("patient-{n}")).collect();
    fcm.set_fault(Fault::new(FaultKind::DelayAnswer).delay(Duration::from_secs(30)));
    for name in &names {
        clinic.patient(name).await;
        clinic.session_done(name, SignedDuration::from_mins(20)).await;
    }
    wait_for("some pushes", async || (fcm.accepted().len() >= 3).then_some(())).await;
    server.process.kill();
    let before = fcm.accepted().len();
    fcm.clear_faults();

    // The wait for the leases' end, 60 s, is cut short.
    let file = folder.path().join("aftercare.db");
    let mut database = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    let over = "UPDATE reminders SET leased_until = created_at WHERE leased_until IS NOT NULL";
    database.batch_execute(over).unwrap();
    drop(database);
    let server = serve(folder.path(), &fcm).await;
    let clinic = Clinic::sign_in(server.http, &account).await;
    for name in &names {
        wait_for(name, async || (clinic.first_state(name).await == "sent").then_some(())).await;
        let shown = fcm.inbox(name);
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert_eq!(shown[0].tag.as_deref(), shown[0].data.get("reminder_id").map(String::as_str));
    }
    assert_eq!(fcm.accepted().len(), before + PATIENTS, "those under way went out again, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_file_and_tls_reach_the_emulator_as_they_reach_google() {
    let folder = tempfile::tempdir().unwrap();
    let mut emulator = aftercare(folder.path());
    emulator.args(["fcm-emulator", "--tls", "--listen", "127.0.0.1:0"]);
    emulator.args(["--credentials-out", "fcm.json", "--ca-out", "ca.pem"]);
    let mut emulator = Process::start(&mut emulator);
    let url = emulator
        .line("the emulator's URL", |line| {
            let (_, url) = line.split_once("https://127.0.0.1:")?;
            Some(format!("https://localhost:{url}"))
        })
        .await;
    let clinic = make_clinic(folder.path(), &[]);
    let mut command = aftercare(folder.path());
    command.env("SSL_CERT_FILE", "ca.pem").env("FCM_CREDENTIALS", "fcm.json");
    let mut server = Server::start(command.env("AFTERCARE_FCM_URL", url).arg("serve")).await;
    let clinic = Clinic::sign_in(server.http, &clinic).await;
    clinic.patient("ana").await;
    clinic.session_done("ana", SignedDuration::from_mins(20)).await;
    wait_for("the push", async || (clinic.first_state("ana").await == "sent").then_some(())).await;
    assert_eq!(server.http.get("/readyz").await["status"], "ready");
    assert!(server.process.terminate().await.success());
    assert!(emulator.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_schedulers_on_one_postgres_send_each_reminder_once() {
    const DUE: usize = 300;
    let Some(database) = postgres::database() else { return };
    let folder = tempfile::tempdir().unwrap();
    let fcm = fcm(folder.path()).await;
    let url = database.url();
    let key = folder.path().join("master.key");
    let env = Env::system();
    let master = MasterKey::load_or_create(&key, &env).unwrap();
    let store = Store::open(&url, master, env, StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    store.write(care::seed_protocols).await.unwrap();
    let settings = [("DATABASE_URL", url.as_str()), ("AFTERCARE_KEY_FILE", "master.key")];
    let clinic = make_clinic(folder.path(), &settings)["clinic_id"].as_str().unwrap().to_owned();
    let done_at = now() - SignedDuration::from_mins(20);
    let recorded = store.write(move |tx| {
        (0..DUE).try_for_each(|n| record(tx, &clinic, &format!("patient-{n}"), done_at))
    });
    recorded.await.unwrap();

    let schedulers: Vec<Process> = (0..3)
        .map(|_| {
            let mut command = aftercare(folder.path());
            command.envs(settings).env("FCM_CREDENTIALS", "fcm.json");
            Process::start(command.env("AFTERCARE_FCM_URL", fcm.base_url()).arg("scheduler"))
        })
        .collect();
    let sent = "SELECT count(*)::text FROM reminders WHERE state = 'sent'";
    wait_for("all pushes", async || (database.query(sent) == [DUE.to_string()]).then_some(()))
        .await;
    for mut scheduler in schedulers {
        assert!(scheduler.terminate().await.success(), "{}", scheduler.log());
    }
    assert_eq!(fcm.accepted().len(), DUE);
    let shown = fcm.inboxes();
    assert_eq!(shown.len(), DUE);
    assert!(shown.iter().all(|shown| shown.replaced == 0));
}

/// A patient with a phone, whose session was done then.
fn record(
    tx: &mut Tx<'_>,
    clinic: &str,
    name: &str,
    completed_at: Timestamp,
) -> Result<(), RecordError> {
    let clinic = clinic.parse().unwrap();
    let event = SessionDone {
        namespace: Namespace::Event,
        event_id: format!("visit-{name}"),
        patient: PatientRef::Inline { reference: name.to_owned(), time_zone: None, locale: None },
        protocol: "microneedling".to_owned().into(),
        completed_at,
        time_zone: None,
        areas: None,
        next_session_at: None,
        metadata: None,
    };
    care::record_treatment(tx, clinic, event)?;
    let patient = tx.patient_by_ref(clinic, name)?.unwrap();
    let registration = android(name, name);
    care::register_device(tx, patient.id, &registration)?;
    Ok(())
}
