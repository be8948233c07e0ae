//! The desk in a real browser, by keyboard alone.
//!
//! Runs when Chromium and `node` are in PATH and `npm install` has been run in `tests/desk-browser`;
//! with `AFTERCARE_TEST_CHROMIUM=required` it fails otherwise.

use std::path::Path;
use std::process::Command;

use aftercare_api::add_staff;
use aftercare_tests::bed::Bed;
use secrecy::ExposeSecret as _;

use crate::chromium;
use crate::http::Body;
use crate::stage::Stage;

const NAME: &str = "Maria Lopes";

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_is_enough_on_a_phones_screen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("desk-browser");
    let tools = folder.join("node_modules/puppeteer-core").is_dir();
    if !chromium::is_installed() || !chromium::has(tools, "tests/desk-browser/node_modules") {
        return;
    }
    let stage = Stage::set(Bed::sqlite().await).await;
    let added = add_staff(&stage.bed.store, stage.clinic.clinic_id, NAME).await.unwrap();
    let invitation = added.invitation.expose_secret();
    let shots = std::env::var("AFTERCARE_SHOTS");
    let shots = shots.unwrap_or_else(|_| stage.bed.folder().display().to_string());
    let url = format!("http://{}/desk/join/{invitation}", stage.http.0);
    let mut node = Command::new("node");
    node.arg(folder.join("desk.mjs"))
        .env("AFTERCARE_INVITATION", url)
        .env("AFTERCARE_NAME", NAME)
        .env("AFTERCARE_SHOTS", shots);
    let output = tokio::task::block_in_place(|| node.output().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let list = stage.clinic("GET", "/v1/treatments?patient_ref=p-42", Body::None).await;
    let list = list.expect(200);
    let recorded = &list["items"][0]["treatment"];
    assert_eq!(recorded["areas"], serde_json::json!(["chest", "face", "neck"]));
    assert_eq!(recorded["state"], "voided");
}
