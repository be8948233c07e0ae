//! Google's own SDK for Node, unchanged, against the emulator over TLS.
//!
//! Runs when `node` is in PATH and `npm install` has been run in `tests/firebase-admin`; with
//! `AFTERCARE_TEST_FIREBASE_ADMIN=required` it fails otherwise.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fcm_emulator::{Emulator, EmulatorConfig, EmulatorHandle, Fault, FaultKind, RetryAfter};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/firebase-admin")
}

/// Whether the SDK is here; says so in one line when it is not.
fn is_installed() -> bool {
    let installed = folder().join("node_modules/firebase-admin").is_dir()
        && Command::new("node").arg("--version").output().is_ok();
    if !installed {
        let said = "node or fcm-emulator/tests/firebase-admin/node_modules is missing";
        let required = std::env::var("AFTERCARE_TEST_FIREBASE_ADMIN").as_deref() == Ok("required");
        assert!(!required, "{said}");
        println!("Not run against firebase-admin: {said}.");
    }
    installed
}

/// What the script says of each message.
async fn results(emulator: &EmulatorHandle, transport: &str) -> Value {
    let files = tempfile::tempdir().unwrap();
    let (credentials, ca) = (files.path().join("account.json"), files.path().join("ca.pem"));
    std::fs::write(&credentials, emulator.credentials_json()).unwrap();
    std::fs::write(&ca, emulator.ca_pem().unwrap()).unwrap();
    let mut node = Command::new("node");
    node.current_dir(folder())
        .arg("send.mjs")
        .args([credentials.as_os_str(), transport.as_ref()])
        .env("EMULATOR_PORT", emulator.addr().port().to_string())
        .env("NODE_EXTRA_CA_CERTS", &ca);
    let ran = tokio::task::spawn_blocking(move || node.output()).await.unwrap();
    let Output { status, stdout, stderr } = ran.unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

async fn sdk_works_over(transport: &str) {
    if !is_installed() {
        return;
    }
    let config = EmulatorConfig { tls: true, ..EmulatorConfig::default() };
    let emulator = Emulator::start(config).await.unwrap();
    emulator.set_fault(Fault::new(FaultKind::Unregistered).for_address("phone-gone"));
    emulator.set_fault(Fault::new(FaultKind::SenderIdMismatch).for_address("phone-other-project"));
    // The SDK tries again by itself after a 503.
    let busy = Fault::new(FaultKind::Unavailable).for_address("phone-busy").times(1);
    emulator.set_fault(busy.retry_after(RetryAfter::Seconds(0)));

    let results = results(&emulator, transport).await;

    let each = results["each"].as_array().unwrap();
    for accepted in [0, 1, 4] {
        let name = each[accepted]["name"].as_str().unwrap_or_default();
        assert!(name.starts_with("projects/aftercare-emulator/messages/"), "{results}");
    }
    let codes: Vec<_> =
        [2, 3, 5, 6, 7].iter().map(|index| each[*index]["code"].as_str().unwrap()).collect();
    assert_eq!(
        codes,
        [
            "messaging/registration-token-not-registered",
            "messaging/mismatched-credential",
            "messaging/invalid-argument",
            "messaging/invalid-argument",
            "messaging/invalid-argument",
        ]
    );
    assert_eq!(results["multicast"], 20);
    assert_eq!(results["dryRun"], "projects/aftercare-emulator/messages/fake_message_id");
    assert_eq!(
        results["subscribed"],
        json!({ "successCount": 2, "failureCount": 0, "errors": [] })
    );
    assert_eq!(results["unsubscribed"]["successCount"], 1);

    let shown = emulator.inbox("phone-1");
    let titles: Vec<_> = shown.iter().map(|shown| shown.title.as_deref().unwrap()).collect();
    assert_eq!(titles, ["Tonight", "News"]);
    assert_eq!(shown[0].replaced, 1, "sent twice under one tag");
    assert!(emulator.inbox("phone-2").is_empty());
    assert_eq!(emulator.inbox("fleet-19").len(), 1);
    emulator.stop().await;
}

#[tokio::test]
async fn firebase_admin_works_over_http2() {
    sdk_works_over("http2").await;
}

#[tokio::test]
async fn firebase_admin_works_over_http1() {
    sdk_works_over("http1").await;
}
