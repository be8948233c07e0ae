//! A client in TypeScript, generated from the API's description, plays a patient's month.
//!
//! Runs when `node` is in PATH and `npm install` has been run in `tests/typescript-client`; with
//! `AFTERCARE_TEST_TYPESCRIPT=required` it fails otherwise.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aftercare_tests::bed::Bed;
use secrecy::ExposeSecret as _;

use crate::stage::Stage;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("typescript-client")
}

/// Whether the tools are here; says so in one line when they are not.
fn is_installed() -> bool {
    let installed = folder().join("node_modules/openapi-fetch").is_dir()
        && Command::new("node").arg("--version").output().is_ok();
    if !installed {
        let said = "node or tests/typescript-client/node_modules is missing";
        let required = std::env::var("AFTERCARE_TEST_TYPESCRIPT").as_deref() == Ok("required");
        assert!(!required, "{said}");
        println!("Not run with a TypeScript client: {said}.");
    }
    installed
}

/// Runs one of the installed tools.
fn tool(name: &str, arguments: &[&str]) {
    let tool = folder().join("node_modules/.bin").join(name);
    let output = Command::new(tool).args(arguments).current_dir(folder()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_client_plays_a_patients_month() {
    if !is_installed() {
        return;
    }
    tool("openapi-typescript", &["../../docs/openapi.json", "--output", "generated/schema.d.ts"]);
    tool("tsc", &[]);
    let stage = Stage::set(Bed::sqlite().await).await;
    let mut month = Command::new("node")
        .arg(folder().join("build/month.js"))
        .env("AFTERCARE_URL", format!("http://{}", stage.http.0))
        .env("AFTERCARE_CLIENT_ID", &stage.clinic.client_id)
        .env("AFTERCARE_CLIENT_SECRET", stage.clinic.client_secret.expose_secret())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut moved = month.stdin.take().unwrap();
    let mut lines = BufReader::new(month.stdout.take().unwrap()).lines();
    let mut last = None;
    // Whatever the program writes is an instant to wait for, until it is done.
    while let Some(line) = tokio::task::block_in_place(|| lines.next()) {
        let line = line.unwrap();
        if line != "done" {
            stage.play(&line).await;
            writeln!(moved).unwrap();
        }
        last = Some(line);
    }
    assert!(month.wait().unwrap().success(), "it ended after {last:?}; see above");
    assert_eq!(last.as_deref(), Some("done"));
}
