//! Whoever reads what is held about patients leaves a note, and the notes cannot be changed unseen.

use std::process::Output;

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::sqlite::SqliteConnection;
use serde_json::Value;

use crate::http::{Body, wait_for};
use crate::process::{Server, aftercare, make_clinic, run};
use crate::stage::Stage;

const NOTES: &str = "SELECT actor || ' ' || action || ' ' || subject FROM audit
    WHERE action LIKE '%.read' OR action LIKE '%.exported'";

async fn each_read_of_the_clinic_and_each_export_leaves_one_note(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    stage.treated("zoe").await;
    let app = stage.app("ana", "tablet").await;
    let id = treatment["treatment"]["id"].as_str().unwrap();
    let recorded = format!(
        "SELECT actor FROM audit WHERE action = 'treatment.recorded' AND subject = 'treatment:{id}'"
    );
    let clinic = &stage.bed.query(&recorded)[0];
    let own = stage.http.call("GET", "/v1/me/export", Some(&app), Body::None).await.expect(200);
    let of_ana = stage.bed.query("SELECT actor FROM audit WHERE action = 'patient.exported'");
    let ana = &of_ana[0];
    assert!(own["audit"].as_array().unwrap().len() > 1);

    for path in [
        "/v1/patients/ana/timeline",
        "/v1/patients/ana/export",
        &format!("/v1/treatments/{id}"),
        "/v1/treatments?patient_ref=ana",
        "/v1/treatments",
        "/v1/treatments?limit=1",
    ] {
        stage.clinic("GET", path, Body::None).await.expect(200);
    }
    let mut expected = [
        format!("{ana} patient.exported {ana}"),
        format!("{clinic} timeline.read {ana}"),
        format!("{clinic} patient.exported {ana}"),
        format!("{clinic} treatment.read treatment:{id}"),
        format!("{clinic} treatments.read {ana}"),
        format!("{clinic} treatments.read treatments:2"),
        format!("{clinic} treatments.read treatments:1"),
    ];
    // All in one instant, so in no order.
    expected.sort();
    let mut notes = stage.bed.query(NOTES);
    notes.sort();
    assert_eq!(notes, expected);

    // What is not there is not read; the patient's own looks are nobody's business.
    for path in ["/v1/patients/nobody/timeline", "/v1/patients/nobody/export", "/v1/treatments/x"] {
        stage.clinic("GET", path, Body::None).await.problem(404, "not-found");
    }
    stage.http.call("GET", "/v1/me/timeline", Some(&app), Body::None).await.expect(200);
    assert_eq!(stage.bed.query(NOTES).len(), expected.len());
}

on_both_engines!(each_read_of_the_clinic_and_each_export_leaves_one_note);

fn verify(folder: &std::path::Path, args: &[&str]) -> (Output, Value) {
    let output = run(aftercare(folder).args(["audit", "verify", "--json"]).args(args));
    let document = serde_json::from_slice(&output.stdout).unwrap();
    (output, document)
}

/// A running server seals by itself and logs the head; the command tells what was done to the file.
#[tokio::test(flavor = "multi_thread")]
async fn operators_find_what_was_tampered_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    make_clinic(path, &[]);
    let mut server = Server::start(aftercare(path).arg("serve")).await;
    let head = server.process.line("the head", |line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "the head of the audit trail").then(|| line["hash"].clone())
    });
    let head = head.await.as_str().unwrap().to_owned();
    for _ in 0..3 {
        assert!(run(aftercare(path).args(["pause", "--all"])).status.success());
    }
    let last = wait_for("the seal", async || {
        let (output, report) = verify(path, &["--head", &head]);
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert!(report["asked_for_seq"].as_i64() >= Some(1), "{report}");
        (report["unsealed"] == 0).then_some(report["head"].clone())
    });
    let last = last.await;
    assert!(server.process.terminate().await.success());

    let mut file =
        SqliteConnection::establish(path.join("aftercare.db").to_str().unwrap()).unwrap();
    let (seq, hash) = (last["seq"].as_i64().unwrap(), last["hash"].as_str().unwrap());
    file.batch_execute(&format!("DELETE FROM audit WHERE seq = {seq}")).unwrap();
    let (output, report) = verify(path, &["--head", hash]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["findings"][0]["code"], "head-missing");
    file.batch_execute("UPDATE audit SET action = 'sending.resumed' WHERE seq = 2").unwrap();
    let (output, report) = verify(path, &[]);
    assert_eq!((output.status.code(), &report["whole"]), (Some(1), &Value::Bool(false)));
    assert_eq!(
        (&report["findings"][0]["code"], &report["findings"][0]["seq"]),
        (&"edited".into(), &2.into())
    );
    let lines = run(aftercare(path).args(["audit", "verify"]));
    assert!(String::from_utf8_lossy(&lines.stdout).contains("2: edited or forged"));
    let wrong = run(aftercare(path).args(["audit", "verify", "--head", "abc"]));
    assert_eq!(wrong.status.code(), Some(2));
}
