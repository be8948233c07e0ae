//! The desk in a real browser, by keyboard alone.
//!
//! Runs when Chromium and `node` are in PATH and `npm install` has been run in `tests/desk-browser`;
//! with `AFTERCARE_TEST_CHROMIUM=required` it fails otherwise.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aftercare_api::add_staff;
use aftercare_tests::bed::Bed;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::chromium;
use crate::http::Body;
use crate::stage::Stage;

const NAME: &str = "Maria Lopes";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("desk-browser")
}

fn is_installed() -> bool {
    let tools = folder().join("node_modules/puppeteer-core").is_dir();
    chromium::is_installed() && chromium::has(tools, "tests/desk-browser/node_modules")
}

/// Somebody who was invited to the desk sits down before a browser.
async fn hands(stage: &Stage, script: &str) -> Command {
    let added = add_staff(&stage.bed.store, stage.clinic.clinic_id, NAME).await.unwrap();
    let url = format!("http://{}/desk/join/{}", stage.http.0, added.invitation.expose_secret());
    let shots = std::env::var("AFTERCARE_SHOTS");
    let shots = shots.unwrap_or_else(|_| stage.bed.folder().display().to_string());
    let mut node = Command::new("node");
    node.arg(folder().join(script))
        .env("AFTERCARE_INVITATION", url)
        .env("AFTERCARE_NAME", NAME)
        .env("AFTERCARE_SHOTS", shots);
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_is_enough_on_a_phones_screen() {
    if !is_installed() {
        return;
    }
    let stage = Stage::set(Bed::sqlite().await).await;
    let mut node = hands(&stage, "desk.mjs").await;
    let output = tokio::task::block_in_place(|| node.output().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let list = stage.clinic("GET", "/v1/treatments?patient_ref=p-42", Body::None).await;
    let list = list.expect(200);
    let recorded = &list["items"][0]["treatment"];
    assert_eq!(recorded["areas"], json!(["chest", "face", "neck"]));
    assert_eq!(recorded["state"], "voided");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_tells_by_itself_when_the_phone_showed_the_test() {
    if !is_installed() {
        return;
    }
    let stage = Stage::set(Bed::sqlite().await).await;
    stage.patient("ana").await;
    let app = stage.phone("ana", "ana").await;
    let mut node = hands(&stage, "test-push.mjs").await;
    let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut done = node.stdin.take().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    while let Some(line) = tokio::task::block_in_place(|| lines.next()) {
        match line.unwrap().as_str() {
            "send" => assert_eq!(stage.run().await.tally.tests, 1),
            "show" => {
                let push = stage.pushes().pop().unwrap();
                let at = push.at.to_string();
                let seen = json!([{"reminder_id": push.reminder, "kind": "displayed", "at": at}]);
                let path = "/v1/me/receipts";
                stage.http.call("POST", path, Some(&app), Body::Json(&seen)).await.expect(200);
            }
            _ => break,
        }
        writeln!(done).unwrap();
    }
    assert!(node.wait().unwrap().success(), "see above");
}
