//! The operator replaces the master key under a running server, and starts it again without the old one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use aftercare_tests::envelope::master_keys;
use aftercare_tests::postgres;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::sqlite::SqliteConnection;
use fcm_emulator::{Emulator, EmulatorConfig};
use jiff::SignedDuration;
use serde_json::Value;

use crate::http::{Body, wait_for};
use crate::process::{Clinic, Server, aftercare, everybody_at, make_clinic, run};

const KEY_FILE: &str = "master.key";
/// The file as it was before the second key came to be the only one.
const BEFORE: &str = "master.key.until-2";

/// What operators do with one database and its key file.
struct Operator<'a> {
    folder: &'a Path,
    settings: Vec<(&'a str, &'a str)>,
}

impl Operator<'_> {
    fn command(&self, words: &str) -> Command {
        let mut command = aftercare(self.folder);
        command.envs(self.settings.iter().copied()).args(words.split(' '));
        command.env("AFTERCARE_LOG", everybody_at("debug"));
        command
    }

    /// The exit code, the document on stdout, and stderr; no key of any file is in either.
    fn run(&self, command: &mut Command) -> (Option<i32>, Value, String) {
        let output = run(command);
        let said = [output.stdout.clone(), output.stderr.clone()].concat();
        let said = String::from_utf8_lossy(&said);
        for file in [KEY_FILE, BEFORE].map(|name| self.folder.join(name)) {
            let keys = if file.exists() { master_keys(&file) } else { Vec::new() };
            for (_, key) in keys {
                assert!(!said.contains(STANDARD.encode(key).trim_end_matches('=')), "{said}");
                assert!(!said.contains(&hex::encode(key)), "{said}");
            }
        }
        let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), document, String::from_utf8(output.stderr).unwrap())
    }

    /// A command that succeeds, and the document that it prints.
    #[track_caller]
    fn succeed(&self, words: &str) -> Value {
        let (code, document, said) = self.run(&mut self.command(words));
        assert_eq!(code, Some(0), "{words}: {said}");
        document
    }

    /// A command that fails under another key file, and what it says.
    #[track_caller]
    fn fail_with(&self, key_file: &str, words: &str) -> String {
        let mut command = self.command(words);
        let (code, _, said) = self.run(command.env("AFTERCARE_KEY_FILE", key_file));
        assert_eq!(code, Some(1), "{said}");
        said
    }

    fn ids(&self, file: &str) -> Vec<u8> {
        let path = self.folder.join(file);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
        master_keys(&path).into_iter().map(|(id, _)| id).collect()
    }
}

/// The patient is found by reference, and the treatment by its event, with what is sealed of both.
async fn is_found(clinic: &Clinic, name: &str) {
    let timeline = format!("/v1/patients/{name}/timeline");
    let timeline = clinic.call("GET", &timeline, Body::None).await;
    assert!(!timeline["reminders"].as_array().unwrap().is_empty());
    let path = format!("/v1/treatments?patient_ref={name}&event_id=visit-{name}");
    let page = clinic.call("GET", &path, Body::None).await;
    assert_eq!(page["items"][0]["treatment"]["patient_ref"], name);
    assert_eq!(page["items"][0]["treatment"]["event_id"], format!("visit-{name}"));
}

async fn the_master_key_is_replaced(folder: &Path, database: &str) {
    let fcm = Emulator::start(EmulatorConfig::default()).await.unwrap();
    std::fs::write(folder.join("fcm.json"), fcm.credentials_json()).unwrap();
    let settings = vec![
        ("DATABASE_URL", database),
        ("AFTERCARE_KEY_FILE", KEY_FILE),
        ("FCM_CREDENTIALS", "fcm.json"),
        ("AFTERCARE_FCM_URL", fcm.base_url()),
    ];
    let operator = Operator { folder, settings };
    assert!(run(&mut operator.command("migrate")).status.success());
    let account = make_clinic(folder, &operator.settings);
    let mut server = Server::start(&mut operator.command("serve")).await;
    let clinic = Clinic::sign_in(server.http, &account).await;
    clinic.patient("ana").await;
    clinic.session_done("ana", SignedDuration::ZERO).await;
    let head = wait_for("the seal", async || {
        let report = operator.succeed("audit verify --json");
        (report["unsealed"] == 0).then(|| report["head"]["hash"].clone())
    });
    let head = head.await;
    std::fs::copy(folder.join(KEY_FILE), folder.join("old.key")).unwrap();

    let prepared = operator.succeed("keys rotate-master --prepare --json");
    assert_eq!((&prepared["key"], &prepared["prepared"]), (&2.into(), &true.into()));
    assert_eq!(operator.succeed("keys rotate-master --prepare --json"), prepared, "once");
    assert_eq!(operator.ids(KEY_FILE), [2, 1]);
    is_found(&clinic, "ana").await;

    // A server that knows the old key only reads the new one from the file.
    let replaced = operator.succeed("keys rotate-master --json");
    assert_eq!(replaced["key"], 2);
    assert!(replaced["before"].as_str().unwrap().ends_with(BEFORE), "{replaced}");
    assert_eq!((operator.ids(KEY_FILE), operator.ids(BEFORE)), (vec![2], vec![2, 1]));
    is_found(&clinic, "ana").await;
    clinic.patient("bea").await;
    clinic.session_done("bea", SignedDuration::ZERO).await;
    is_found(&clinic, "bea").await;
    assert!(server.process.terminate().await.success());

    let said = operator.fail_with("old.key", "keys list");
    assert!(said.contains("the key file lacks master key 2"), "{said}");
    let server = Server::start(&mut operator.command("serve")).await;
    let clinic = Clinic::sign_in(server.http, &account).await;
    is_found(&clinic, "ana").await;
    is_found(&clinic, "bea").await;
    let report =
        operator.succeed(&format!("audit verify --json --head {}", head.as_str().unwrap()));
    assert_eq!(report["whole"], true, "{report}");
    let replaced = operator.succeed("keys rotate-master --json");
    assert_eq!((&replaced["key"], operator.ids(KEY_FILE)), (&3.into(), vec![3]));
    is_found(&clinic, "ana").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_replaced_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    the_master_key_is_replaced(folder.path(), "sqlite:aftercare.db").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_replaced_on_postgres() {
    let Some(database) = postgres::database() else { return };
    let folder = tempfile::tempdir().unwrap();
    the_master_key_is_replaced(folder.path(), &database.url()).await;
}

/// A backup from before the replacement opens with the file from then, and comes under the new key by
/// the same command.
#[test]
fn a_backup_needs_the_key_of_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let settings = vec![("DATABASE_URL", "sqlite:aftercare.db"), ("AFTERCARE_KEY_FILE", KEY_FILE)];
    let mut operator = Operator { folder, settings };
    make_clinic(folder, &operator.settings);
    operator.succeed("keys list --json");
    let file = folder.join("aftercare.db");
    let mut file = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    file.batch_execute(&format!("VACUUM INTO '{}'", folder.join("copy.db").display())).unwrap();
    operator.succeed("keys rotate-master --json");

    operator.settings[0].1 = "sqlite:copy.db";
    let said = operator.fail_with(KEY_FILE, "keys list");
    assert!(said.contains("the key file lacks master key 1"), "{said}");
    assert!(said.contains("FILE.until-"), "what to do: {said}");
    operator.settings[1].1 = BEFORE;
    operator.succeed("keys list --json");
    assert_eq!(operator.succeed("keys rotate-master --json")["key"], 2);
    operator.settings[1].1 = KEY_FILE;
    assert_eq!(operator.succeed("keys list --json")["keys"].as_array().unwrap().len(), 1);
}
