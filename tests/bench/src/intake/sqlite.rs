//! The same on SQLite, beside nothing but its inserts: one connection, and one transaction for each session,
//! which waits for the disk as the product's does.

use std::time::Instant;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteConnection};
use serde_json::Value;

use super::load::{self, Load};
use super::{Args, Figures, Server, figures, fill, session, sign_in};
use crate::embedded::File;
use crate::keys::Keys;
use crate::process::cpu;
use crate::product::Product;

/// What everybody finds: a file with patients, and what one session writes.
pub(super) struct Stage<'k> {
    keys: &'k Keys,
    account: Value,
    seeded: File,
    statements: Vec<String>,
}

impl<'k> Stage<'k> {
    pub(super) fn set(keys: &'k Keys, args: &Args) -> Self {
        let seeded = File::named(keys.path(), "intake.db");
        let account = fill(keys, seeded.url(), args);
        seeded.execute(
            "CREATE TABLE bench_people (n INTEGER PRIMARY KEY, id BLOB NOT NULL);
             INSERT INTO bench_people SELECT row_number() OVER () - 1, id FROM patients;
             DELETE FROM audit",
        );
        let mut stage = Self { keys, account, seeded, statements: Vec::new() };
        stage.statements = stage.of_one_session();
        stage
    }

    /// The statements that write what the product writes for one session.
    fn of_one_session(&self) -> Vec<String> {
        let file = self.seeded.for_a_turn();
        let (running, port) = Product { keys: self.keys, database: file.url() }.api();
        let token = sign_in(port, &self.account);
        file.execute("DELETE FROM audit");
        let answer = load::send(port, &load::post("/v1/treatments", &token, &session(0)));
        assert_eq!(answer.status, 201, "{}", answer.text());
        drop(running);
        let mut statements: Vec<String> =
            ["treatments", "reminders", "audit"].map(|table| insert(&file, table)).into();
        statements.push(format!(
            "UPDATE patients SET plan_version = plan_version + 1 WHERE id = {PATIENT}"
        ));
        statements
    }

    pub(super) fn product(&self, args: &Args) -> Figures {
        let file = self.seeded.for_a_turn();
        let (running, port) = Product { keys: self.keys, database: file.url() }.api();
        let token = sign_in(port, &self.account);
        let figures =
            args.post(&Server { pid: running.0.id(), port, token: &token, postgres: None });
        drop(running);
        check(&file, args);
        figures
    }

    pub(super) fn raw(&self, args: &Args) -> Figures {
        let file = self.seeded.for_a_turn();
        let mut conn = file.connect();
        let mut write = |n: usize| {
            let began = Instant::now();
            conn.batch_execute("BEGIN IMMEDIATE").unwrap();
            for sql in &self.statements {
                Of { sql, n: i64::try_from(n).unwrap() }.execute(&mut conn).unwrap();
            }
            conn.batch_execute("COMMIT").unwrap();
            began.elapsed().as_secs_f64() * 1e3
        };
        for n in 0..args.warm_up() {
            write(n);
        }
        let (before, began) = (cpu(std::process::id()), Instant::now());
        let times = (args.warm_up()..args.people()).map(write).collect();
        let load = Load::new(began.elapsed().as_secs_f64(), times);
        let own = cpu(std::process::id()) - before;
        check(&file, args);
        figures(&load, own, f64::NAN)
    }
}

/// One of the statements, for one session: prepared once.
struct Of<'s> {
    sql: &'s str,
    n: i64,
}

impl QueryFragment<Sqlite> for Of<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.sql);
        // It stands there by its number, and not in every statement.
        if self.sql.contains("?1") {
            out.push_bind_param_value_only::<BigInt, _>(&self.n)?;
        }
        Ok(())
    }
}

impl QueryId for Of<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl RunQueryDsl<SqliteConnection> for Of<'_> {}

/// Whose session number `?1` is, and its id.
const PATIENT: &str = "(SELECT id FROM bench_people WHERE n = ?1)";
const TREATMENT: &str = "CAST(printf('%016d', ?1) AS BLOB)";

/// Inserts what the latest session left in that table, as of session number `?1`.
fn insert(file: &File, table: &str) -> String {
    let columns = file.words(&format!("SELECT name AS word FROM pragma_table_info('{table}')"));
    let value = |column: &String| match (table, column.as_str()) {
        ("treatments", "id") | (_, "treatment_id") => {
            format!("'{}'", TREATMENT.replace('\'', "''"))
        }
        (_, "patient_id") => format!("'{PATIENT}'"),
        ("treatments", "event_hash") => "'randomblob(32)'".to_owned(),
        (_, "id") => "'randomblob(16)'".to_owned(),
        _ => format!("quote({column})"),
    };
    let row: Vec<String> = columns.iter().map(value).collect();
    let latest = "SELECT id FROM treatments ORDER BY recorded_at DESC LIMIT 1";
    let its = match table {
        "treatments" => format!("WHERE id = ({latest})"),
        "reminders" => format!("WHERE treatment_id = ({latest})"),
        _ => String::new(),
    };
    let row = row.join(" || ',' || ");
    let rows =
        file.words(&format!("SELECT '(' || {row} || ')' AS word FROM {table} {its}")).join(",");
    format!("INSERT INTO {table} ({}) VALUES {rows}", columns.join(","))
}

/// That every session was written, with all that belongs to it.
fn check(file: &File, args: &Args) {
    let count = "SELECT count(*) || ' ' || ((SELECT count(*) FROM reminders) / count(*)) AS word
        FROM treatments";
    assert_eq!(file.words(count), [format!("{} 7", args.sessions())]);
}
