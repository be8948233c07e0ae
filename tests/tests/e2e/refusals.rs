//! Starts that cannot go well: each ends at once, with a message that says what to do.

use std::net::TcpListener;
use std::process::Command;

use aftercare_tests::postgres;
use tempfile::TempDir;

use crate::process::{Server, aftercare, make_clinic, run};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What a start that fails says, once it has failed with this code.
#[track_caller]
fn refused(code: i32, command: &mut Command) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn postgres_without_fcm_credentials_is_refused() {
    let Some(database) = postgres::database() else { return };
    let folder = folder();
    for command in ["serve", "scheduler"] {
        let mut command_line = aftercare(folder.path());
        command_line.env("DATABASE_URL", database.url());
        command_line.env("AFTERCARE_KEY_FILE", folder.path().join("master.key"));
        let said = refused(2, command_line.arg(command));
        assert!(said.contains("FCM_CREDENTIALS"), "{said}");
    }
}

#[test]
fn postgres_without_a_key_file_is_refused() {
    let Some(database) = postgres::database() else { return };
    let folder = folder();
    let mut command = aftercare(folder.path());
    let said = refused(2, command.env("DATABASE_URL", database.url()).arg("api"));
    assert!(said.contains("AFTERCARE_KEY_FILE"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "and no key is made");
}

#[test]
fn a_listen_address_that_others_reach_needs_fcm_credentials() {
    let folder = folder();
    let said = refused(2, aftercare(folder.path()).args(["serve", "--listen", "0.0.0.0:0"]));
    assert!(said.contains("FCM_CREDENTIALS"), "{said}");
}

#[test]
fn an_unknown_database_scheme_is_refused() {
    let folder = folder();
    let url = "mysql://root:hunter2@localhost/aftercare";
    let said = refused(1, aftercare(folder.path()).args(["api", "--database-url", url]));
    assert!(said.contains("sqlite:aftercare.db") && said.contains("postgres://"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let key = ["--key-file", "master.key"];
    let said = refused(1, aftercare(folder.path()).args(["api", "--database-url", url]).args(key));
    assert!(said.contains("sqlite:aftercare.db") && said.contains("postgres://"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_database_that_is_not_there_is_said_to_be_so() {
    let folder = folder();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://u:hunter2@127.0.0.1:{closed}/x");
    let mut command = aftercare(folder.path());
    let said = refused(1, command.args(["api", "--key-file", "k", "--database-url", &url]));
    assert!(said.contains("cannot be reached") && !said.contains("hunter2"), "{said}");
}

#[test]
fn an_unmigrated_postgres_is_told_to_migrate() {
    let Some(database) = postgres::database() else { return };
    database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let folder = folder();
    let settings = ["--key-file", "master.key", "--database-url", &database.url()];
    let said = refused(1, aftercare(folder.path()).arg("api").args(settings));
    assert!(said.contains("aftercare migrate"), "{said}");
    assert!(run(aftercare(folder.path()).arg("migrate").args(settings)).status.success());
    let again = run(aftercare(folder.path()).arg("migrate").args(settings));
    assert!(String::from_utf8_lossy(&again.stdout).contains("up to date"));
}

#[test]
fn a_port_in_use_is_named() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = refused(1, aftercare(folder.path()).args(["serve", "--listen", &address]));
    assert!(said.contains(&address), "{said}");
}

#[tokio::test]
async fn another_master_key_is_refused() {
    let folder = folder();
    make_clinic(folder.path(), &[]);
    let mut process = Server::start(aftercare(folder.path()).arg("serve")).await.process;
    assert!(process.terminate().await.success());
    std::fs::remove_file(folder.path().join("aftercare.db.key")).unwrap();
    let said = refused(1, aftercare(folder.path()).arg("serve"));
    assert!(said.contains("AFTERCARE_KEY_FILE"), "{said}");
}

#[test]
fn a_service_account_that_is_none_is_refused() {
    let folder = folder();
    for (content, says) in [(None, "cannot be read"), (Some("{}"), "`"), (Some("hi"), "JSON")] {
        if let Some(content) = content {
            std::fs::write(folder.path().join("fcm.json"), content).unwrap();
        }
        let mut command = aftercare(folder.path());
        let said = refused(1, command.args(["serve", "--fcm-credentials", "fcm.json"]));
        assert!(said.contains("FCM_CREDENTIALS=fcm.json") && said.contains(says), "{said}");
    }
}

#[test]
fn help_lists_settings_and_shows_no_values() {
    let folder = folder();
    for command in ["serve", "api", "scheduler", "migrate", "pause"] {
        let mut command_line = aftercare(folder.path());
        command_line.env("DATABASE_URL", "postgres://u:hunter2@localhost/x");
        command_line
            .env("AFTERCARE_KEY_FILE", "/secret/place")
            .env("FCM_CREDENTIALS", "/other/place");
        let output = run(command_line.args([command, "--help"]));
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && help.contains("DATABASE_URL"), "{help}");
        for value in ["hunter2", "/secret/place", "/other/place"] {
            assert!(!help.contains(value), "{command} --help shows {value}");
        }
    }
}
