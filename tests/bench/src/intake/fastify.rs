//! The handler that a team would write first.

use std::fs;
use std::process::Command;

use super::{Args, Figures, Server, Stage};
use crate::process::{Running, peer};
use crate::product::{free_port, wait_for_port};

pub(super) fn turn(stage: &Stage<'_>, args: &Args) -> Figures {
    let database = stage.database();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rows.json"), stage.rows.json().to_string()).unwrap();
    let node = |what: &str| {
        let mut command = Command::new("node");
        command.arg(peer("fastify.mjs")).arg(what).arg(folder.path());
        command
    };
    let output = node("token").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).unwrap();
    let port = free_port();
    let mut command = node("serve");
    command.args([&database.url_at("127.0.0.1"), &port.to_string()]);
    let mut running = Running::start(command);
    wait_for_port(&mut running, port);
    let postgres = Some(database.server_pid());
    let figures = args.post(&Server { pid: running.0.id(), port, token: &token, postgres });
    drop(running);
    stage.rows.check(&database, args.sessions());
    database.drop_it();
    figures
}
