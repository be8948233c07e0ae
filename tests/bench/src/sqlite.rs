//! A burst on SQLite: few are due among many that are not.

use std::thread::sleep;
use std::time::{Duration, Instant};

use aftercare_tests::postgres::durable_server;

use crate::embedded::File;
use crate::keys::Keys;
use crate::product::Product;
use crate::race::{COLUMNS, Race};
use crate::seed::Seed;
use crate::table::{Compare, Table};
use crate::{in_runtime, machine};

/// How long the last outcomes may take to be written.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(clap::Args)]
#[command(
    after_help = "The product makes the patients whose reminders are due, seven reminders each; the \
rest are rows of nobody's, planned for later."
)]
pub(crate) struct Args {
    /// How many reminders are due
    #[arg(long, default_value_t = 50_000)]
    count: usize,
    /// How many are planned in all
    #[arg(long, default_value_t = 1_000_000)]
    planned: usize,
    /// How often
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) fn run(args: &Args) {
    let keys = Keys::make();
    machine::print(&durable_server().expect("PostgreSQL"));
    let seeded = seeded(&keys, args);
    let title = format!("{} messages due at once of {} on SQLite", args.count, args.planned);
    let mut table = Table::new(title, Compare::Nothing, COLUMNS);
    for _ in 0..args.rounds {
        table.add("aftercare", turn(&seeded, &keys, args.count));
    }
    table.print();
}

fn seeded(keys: &Keys, args: &Args) -> File {
    let file = File::named(keys.path(), "drain.db");
    in_runtime(Seed::new(&file.url(), &keys.master()).due_now(args.count));
    let made: usize =
        file.words("SELECT CAST(count(*) AS TEXT) AS word FROM reminders")[0].parse().unwrap();
    let id = |n: &str| format!("CAST(printf('%016d', {n}) AS BLOB)");
    file.execute(&format!(
        "PRAGMA foreign_keys = OFF;
         CREATE TEMP TABLE later AS SELECT * FROM reminders ORDER BY attempt_at DESC LIMIT 1;
         INSERT INTO reminders (id, clinic_id, patient_id, treatment_id, step_id, due_at, use_by, state,
            reason, members, attempt_at, attempts, created_at, updated_at)
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT {})
         SELECT {}, clinic_id, {}, {}, 'step-' || (n % 7), due_at + n, use_by + n, state, reason, members,
            attempt_at + n, 0, created_at, updated_at
         FROM numbers, later",
        args.planned.saturating_sub(made),
        id("n"),
        id("n / 7"),
        id("n / 7"),
    ));
    file
}

fn turn(seeded: &File, keys: &Keys, count: usize) -> [f64; COLUMNS.len()] {
    let file = seeded.for_a_turn();
    let race = Race { keys, count, delay: 0, server: None };
    let finish = race.run(|sink| vec![Product { keys, database: file.url() }.scheduler(sink)]);
    let sent =
        "SELECT count(*) || ' ' || (SELECT count(*) FROM deliveries WHERE state = 'sent') AS word
        FROM reminders WHERE state = 'sent'";
    let began = Instant::now();
    while file.words(sent) != [format!("{count} {count}")] {
        assert!(began.elapsed() < PATIENCE, "not all that was sent is written");
        sleep(Duration::from_millis(200));
    }
    drop(finish.runners);
    finish.figures
}
