//! An SQLite file on a disk that is full, and on one that takes no writes: a small file system of
//! the server's own, made in namespaces that need no rights and go with the process. A disk that
//! stops taking writes under a running server cannot be had this way, since no file system turns
//! read-only while files of it are open for writing; there the kernel is told to refuse that
//! process every write to a file, which SQLite sees as it sees a failing disk.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use jiff::SignedDuration;

use crate::http::{Body, Http, wait_for};
use crate::process::{Clinic, Server, binary, configure, make_clinic, now, run};
use crate::stage::done;

/// Mounts two megabytes over the folder `disk`, takes the database there and serves it.
const SERVE: &str = r#"
mount -t tmpfs -o size=2m none disk
cp seed/* disk/
mount -o "remount,$ACCESS" disk
exec "$BINARY" serve --database-url sqlite:disk/aftercare.db"#;

/// How to start a server on a small disk, or `None` where namespaces are forbidden: then one line
/// says so.
fn on_a_small_disk(folder: &Path, access: &str) -> Option<Command> {
    const UNSHARE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];
    let probe = Command::new(UNSHARE[0])
        .args(&UNSHARE[1..])
        .args(["mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        let line =
            b"no mount namespaces here: the tests of full and read-only disks were NOT run\n";
        std::io::stderr().write_all(line).unwrap();
        return None;
    }
    let mut command = Command::new(UNSHARE[0]);
    configure(&mut command, folder);
    command.args(&UNSHARE[1..]).args(["sh", "-ec", SERVE]);
    command.env("BINARY", binary()).env("ACCESS", access);
    Some(command)
}

/// A folder with a fresh database to begin with, and its clinic.
fn prepared() -> (tempfile::TempDir, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["seed", "disk"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let clinic = make_clinic(folder.path(), &[("DATABASE_URL", "sqlite:seed/aftercare.db")]);
    (folder, clinic)
}

/// Works inside the server's own namespaces.
fn inside(server: &Server, folder: &Path, script: &str) -> bool {
    let process = server.process.id().to_string();
    let mut command = Command::new("nsenter");
    command.args(["--target", &process, "--user", "--mount", "--preserve-credentials", "sh", "-c"]);
    let script = format!("cd '{}' && {script}", folder.display());
    command.arg(script).status().unwrap().success()
}

async fn refuses_clearly(clinic: &Clinic) {
    let event = done("visit-bea", "bea", now() - SignedDuration::from_mins(20));
    let answer = clinic.attempt("POST", "/v1/treatments", Body::Json(&event)).await;
    answer.problem(503, "unavailable");
    assert!(answer.header("retry-after").is_some());
}

/// The patient's app reads on; a clinic's reading would have to be noted.
async fn reading_goes_on(server: &Server, app: &str) {
    let timeline =
        server.http.call("GET", "/v1/me/timeline", Some(app), Body::None).await.expect(200);
    let states =
        timeline["reminders"].as_array().unwrap().iter().map(|reminder| &reminder["state"]);
    assert!(states.into_iter().any(|state| state == "sent"), "{timeline}");
}

/// Bea's session can be told again, both pushes go out, and each was shown once.
async fn goes_on(clinic: &Clinic, inbox: Http) {
    clinic.session_done("bea", SignedDuration::from_mins(20)).await;
    for name in ["ana", "bea"] {
        wait_for(name, async || (clinic.first_state(name).await == "sent").then_some(())).await;
        let shown = inbox.get(&format!("/inbox/{name}")).await;
        assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_clearly_and_loses_nothing() {
    let (folder, account) = prepared();
    let Some(mut command) = on_a_small_disk(folder.path(), "rw") else { return };
    let mut server = Server::start(&mut command).await;
    let inbox = server.emulator().await;
    let clinic = Clinic::sign_in(server.http, &account).await;
    let app = clinic.patient("ana").await;
    clinic.patient("bea").await;
    clinic.session_done("ana", SignedDuration::from_mins(20)).await;
    wait_for("ana", async || (clinic.first_state("ana").await == "sent").then_some(())).await;

    // The log that SQLite writes ahead is reused up to its length, so it is emptied first.
    inside(&server, folder.path(), "cat /dev/zero >disk/ballast 2>/dev/null");
    let mut refused = 0;
    for n in 0..200 {
        let event = done(&format!("filler-{n}"), "ana", now() - SignedDuration::from_hours(9_000));
        let answer = clinic.attempt("POST", "/v1/treatments", Body::Json(&event)).await;
        assert!([201, 503].contains(&answer.status), "{answer:?}");
        refused += u32::from(answer.status == 503);
        if refused > 2 {
            break;
        }
    }
    assert!(refused > 2, "the disk is never full");
    refuses_clearly(&clinic).await;
    reading_goes_on(&server, &app).await;
    assert!(inside(&server, folder.path(), "rm disk/ballast"));
    goes_on(&clinic, inbox).await;

    assert!(server.process.terminate().await.success(), "{}", server.process.log());
}

/// Serves with writes over the limit of file sizes refused, not punished.
const SERVE_UNPUNISHED: &str = r#"trap "" XFSZ
exec "$BINARY" serve --database-url sqlite:seed/aftercare.db"#;

/// Whether the server's files take writes.
fn let_write(server: &Server, may: bool) -> bool {
    let limit = if may { "--fsize=unlimited:unlimited" } else { "--fsize=0:unlimited" };
    let process = server.process.id().to_string();
    Command::new("prlimit").args(["--pid", &process, limit]).status().is_ok_and(|s| s.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stops_taking_writes_is_reported_and_forgiven() {
    let (folder, account) = prepared();
    let mut command = Command::new("sh");
    configure(&mut command, folder.path());
    command.args(["-ec", SERVE_UNPUNISHED]).env("BINARY", binary());
    let mut server = Server::start(&mut command).await;
    let inbox = server.emulator().await;
    let clinic = Clinic::sign_in(server.http, &account).await;
    let app = clinic.patient("ana").await;
    clinic.patient("bea").await;
    clinic.session_done("ana", SignedDuration::from_mins(20)).await;
    wait_for("ana", async || (clinic.first_state("ana").await == "sent").then_some(())).await;
    assert_eq!(server.http.get("/readyz").await["status"], "ready");

    if !let_write(&server, false) {
        let line = b"no prlimit here: the test of a disk that stops taking writes was NOT run\n";
        std::io::stderr().write_all(line).unwrap();
        return;
    }
    refuses_clearly(&clinic).await;
    reading_goes_on(&server, &app).await;
    let unready = wait_for("the end of trust", async || {
        let answer = server.http.call("GET", "/readyz", None, Body::None).await;
        (answer.status == 503).then(|| answer.expect(503))
    });
    let unready = unready.await;
    let database = &unready["checks"][0];
    assert_eq!((&database["name"], &database["ok"]), (&"database".into(), &false.into()));
    let log = server.process.log();
    assert!(log.contains("the database is not ready") && log.contains("disk I/O error"), "{log}");

    assert!(let_write(&server, true));
    wait_for("readiness", async || {
        let answer = server.http.call("GET", "/readyz", None, Body::None).await;
        (answer.status == 200).then_some(())
    })
    .await;
    goes_on(&clinic, inbox).await;
    assert!(server.process.terminate().await.success(), "{}", server.process.log());
}

#[test]
fn a_read_only_disk_is_named_at_the_start() {
    let (folder, _) = prepared();
    let Some(mut command) = on_a_small_disk(folder.path(), "ro") else { return };
    let output = run(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let names = said.contains("disk/aftercare.db") && said.contains("a disk that can be written");
    assert!(names, "{said}");
}
