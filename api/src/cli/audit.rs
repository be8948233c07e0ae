//! `aftercare audit`.

use std::io::{self, Write as _};

use aftercare::clock::Env;
use aftercare::seal::Digest;
use aftercare::store::AuditReport;
use serde_json::json;

use super::Failure;
use super::settings::Database;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Look whether any sealed row of the audit trail was changed, removed, put in or moved
    #[command(
        after_help = "Exit code 0: the trail is whole. Exit code 1: it is not, and the findings name the \
rows by their numbers.\n\n\
That the end was cut off shows only by a head that was kept elsewhere: schedulers log it at start and \
once a day (\"the head of the audit trail\"). Rows that are not sealed yet, usually those of the last \
second, are counted; nothing can be said of them."
    )]
    Verify {
        /// The hash of an earlier head, as it was logged: it must still be in the trail
        #[arg(long, value_name = "HASH")]
        head: Option<Digest>,
        /// Print one JSON document instead of lines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        database: Database,
    },
}

/// Works on the audit trail.
pub(super) async fn run(command: Command) -> Result<(), Failure> {
    let Command::Verify { head, json, database } = command;
    let store = database.open_existing(Env::system()).await?;
    let report = store.verify_audit(head).await.map_err(Failure::work)?;
    if json {
        writeln!(io::stdout(), "{}", document(&report))?;
    } else {
        print(&report)?;
    }
    match report.findings.len() {
        0 => Ok(()),
        count => Err(Failure::Work(format!("the audit trail is not whole: {count} finding(s)"))),
    }
}

fn print(report: &AuditReport) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "sealed    {}", report.sealed)?;
    writeln!(out, "unsealed  {}", report.unsealed)?;
    if let Some(head) = report.head {
        writeln!(out, "head      {} {}", head.seq, head.hash.to_hex())?;
    }
    if let Some(seq) = report.asked_for {
        writeln!(out, "the head that was asked for is row {seq}")?;
    }
    report.findings.iter().try_for_each(|finding| writeln!(out, "{finding}"))
}

fn document(report: &AuditReport) -> serde_json::Value {
    let head = report.head.map(|head| json!({ "seq": head.seq, "hash": head.hash.to_hex() }));
    let findings = report.findings.iter().map(|finding| {
        json!({ "code": finding.code(), "seq": finding.seq(), "detail": finding.to_string() })
    });
    json!({
        "whole": report.findings.is_empty(),
        "sealed": report.sealed,
        "unsealed": report.unsealed,
        "head": head,
        "asked_for_seq": report.asked_for,
        "findings": findings.collect::<Vec<_>>(),
    })
}
