//! An ordinary hour: reminders come due one after the other, and each is to leave at its moment.

use std::thread::sleep;
use std::time::Duration;

use aftercare_tests::postgres::{TestDatabase, durable_server};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::keys::Keys;
use crate::product::Product;
use crate::race::{Race, check_written};
use crate::seed::Seed;
use crate::table::{Compare, Table, percentile};
use crate::{in_runtime, machine};

/// How far ahead the first is put, at first.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);
/// How much of that must be left when all is in place: the server starts meanwhile.
const LEFT: SignedDuration = SignedDuration::from_secs(5);

const COLUMNS: [&str; 5] = ["ms late: p50", "p99", "most", "CPU µs a message: own", "PostgreSQL"];

#[derive(clap::Args)]
#[command(
    after_help = "`aftercare serve` runs before the first is due. Late is what lies between the \
moment that the message says it was due at and the moment that its request reached the sink."
)]
pub(crate) struct Args {
    /// How many reminders come due each second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// For how many seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=240))]
    seconds: u32,
    /// How often
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) fn run(args: &Args) {
    let count = (args.rate * args.seconds) as usize;
    let keys = Keys::make();
    let seeded = durable_server().expect("PostgreSQL");
    let (url, key) = (seeded.url(), keys.master());
    let first = in_runtime(Seed::new(&url, &key).due_by_and_by(count, args.rate));
    seeded.execute("VACUUM ANALYZE");
    machine::print(&seeded);
    let title = format!("{} reminders come due each second, {count} in all", args.rate);
    let mut table = Table::new(title, Compare::Nothing, COLUMNS);
    for _ in 0..args.rounds {
        table.add("aftercare serve", turn(&seeded, first, &keys, count));
    }
    table.print();
}

fn turn(
    seeded: &TestDatabase,
    first: Timestamp,
    keys: &Keys,
    count: usize,
) -> [f64; COLUMNS.len()] {
    let database = seeded.copy();
    let start = put_ahead(&database, first);
    let server = Some(database.server_pid());
    let race = Race { keys, count, delay: 0, server };
    let mut finish = race.run(|sink| {
        let running = Product { keys, database: database.url() }.serve(sink);
        let left = start.duration_since(Timestamp::now());
        assert!(left.is_positive(), "the first reminder was due before anybody could send it");
        sleep(Duration::try_from(left).unwrap());
        vec![running]
    });
    check_written(&database, count);
    drop(finish.runners);
    database.drop_it();
    let late = milliseconds(&finish.sink.report()["late"]);
    let [_, own, postgres, _] = finish.figures;
    [percentile(&late, 0.5), percentile(&late, 0.99), percentile(&late, 1.0), own, postgres]
}

/// Moves all that is planned, so that the first is due when there was time to get ready; gives when.
fn put_ahead(database: &TestDatabase, mut first: Timestamp) -> Timestamp {
    let mut ahead = AHEAD;
    loop {
        let start = Timestamp::now() + ahead;
        shift(database, start.duration_since(first));
        if start.duration_since(Timestamp::now()) > LEFT {
            return start;
        }
        // The disk is slow today.
        (first, ahead) = (start, ahead * 2);
    }
}

/// Moves all that was planned by so much, as if the sessions had been later.
fn shift(database: &TestDatabase, by: SignedDuration) {
    let by = format!("interval '{} microseconds'", by.as_micros());
    database.execute(&format!(
        "UPDATE treatments SET completed_at = completed_at + {by};
         UPDATE reminders SET due_at = due_at + {by}, use_by = use_by + {by}, attempt_at = attempt_at + {by}"
    ));
    database.execute("VACUUM ANALYZE");
    database.execute("CHECKPOINT");
}

/// How late each was, the least first, from how many were so many tenths of a millisecond late.
fn milliseconds(late: &Value) -> Vec<f64> {
    let counted: Vec<(u64, usize)> = serde_json::from_value(late.clone()).unwrap();
    let each = counted.into_iter().flat_map(|(tenths, n)| vec![tenths as f64 / 10.0; n]);
    each.collect()
}
