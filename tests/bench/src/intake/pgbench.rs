//! The same rows from PostgreSQL's own load generator: what a database takes that nothing is computed for.

use std::fs;

use serde_json::Value;

use super::load::Load;
use super::rows::Row;
use super::{Args, Figures, Stage, figures};
use crate::process::cpu;

/// Its threads: there is little for them to do.
const THREADS: &str = "2";

pub(super) fn turn(stage: &Stage<'_>, args: &Args) -> Figures {
    let database = stage.database();
    let folder = tempfile::tempdir().unwrap();
    let (script, logs) = (folder.path().join("session.sql"), folder.path().join("log"));
    fs::write(&script, script_of(stage)).unwrap();
    let each = args.count.div_ceil(args.clients);
    let mut command = database.program("pgbench");
    command.args(["-n", "-M", "prepared", "-j", THREADS, "-c", &args.clients.to_string()]);
    command.args(["-t", &each.to_string(), "-D", &format!("people={}", args.people())]);
    command.arg("--log").arg("--log-prefix").arg(&logs).arg("-f").arg(&script);
    let before = cpu(database.server_pid());
    let output = command.arg(database.url()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let postgres = cpu(database.server_pid()) - before;
    let (_, rate) = said.split_once("tps = ").expect("how fast it was");
    let rate: f64 = rate.split(' ').next().unwrap().parse().unwrap();
    let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|file| file != &script);
    let times: Vec<f64> =
        logs.flat_map(|log| milliseconds(&fs::read_to_string(log).unwrap())).collect();
    stage.rows.check(&database, each * args.clients + args.before());
    database.drop_it();
    figures(&Load::new(times.len() as f64 / rate, times), f64::NAN, postgres)
}

/// The third word of each line of its log is how long the transaction took, in microseconds.
fn milliseconds(log: &str) -> Vec<f64> {
    let micros = |line: &str| line.split(' ').nth(2)?.parse::<f64>().ok();
    log.lines().map(|line| micros(line).expect("a duration") / 1e3).collect()
}

/// One session of somebody.
fn script_of(stage: &Stage<'_>) -> String {
    let rows = &stage.rows;
    let treatment = |column: &str| match column {
        "id" => Some("gen_random_uuid()"),
        "patient_id" => Some("p.id"),
        "event_hash" => Some("uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())"),
        "recorded_at" | "updated_at" => Some("now()"),
        _ => None,
    };
    let reminder = |column: &str| match column {
        "id" => Some("gen_random_uuid()"),
        "patient_id" => Some(":patient::uuid"),
        "treatment_id" => Some(":treatment::uuid"),
        "created_at" | "updated_at" => Some("now()"),
        _ => None,
    };
    let noted = |column: &str| match column {
        "id" => Some("gen_random_uuid()"),
        "at" => Some("now()"),
        _ => None,
    };
    let list = |rows: &[Row], given: &dyn Fn(&str) -> Option<&'static str>| {
        let all: Vec<String> = rows.iter().map(|row| format!("({})", values(row, given))).collect();
        all.join(",\n")
    };
    format!(
        "\\set n random(0, :people - 1)
         BEGIN;
         INSERT INTO treatments ({}) SELECT {} FROM bench_people p WHERE p.n = :n
            RETURNING id AS treatment, patient_id AS patient \\gset
         INSERT INTO reminders ({}) VALUES {};
         UPDATE patients SET plan_version = plan_version + 1, updated_at = now() WHERE id = :patient::uuid;
         INSERT INTO audit ({}) VALUES {};
         COMMIT;",
        columns(&rows.treatment),
        values(&rows.treatment, &treatment),
        columns(&rows.reminders[0]),
        list(&rows.reminders, &reminder),
        columns(&rows.audit[0]),
        list(&rows.audit, &noted),
    )
}

fn columns(row: &Row) -> String {
    row.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The row's values as literals, but for columns that are given.
fn values(row: &Row, given: &dyn Fn(&str) -> Option<&'static str>) -> String {
    let all: Vec<String> = row
        .iter()
        .map(|(column, value)| given(column).map_or_else(|| literal(value), str::to_owned))
        .collect();
    all.join(", ")
}

/// Without a colon, in which pgbench would see a variable.
fn literal(value: &Value) -> String {
    let text = match value {
        Value::Null => return "NULL".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text.replace('\\', "\\\\").replace('\'', "''").replace(':', "\\x3a");
    format!("E'{text}'")
}
