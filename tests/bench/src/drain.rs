//! A morning's peak: so many reminders are due at once, and a worker starts.

use std::time::Instant;

use aftercare_tests::postgres::{TestDatabase, durable_server};
use clap::ValueEnum as _;

use crate::contestants::Contestant;
use crate::keys::Keys;
use crate::race::{COLUMNS, Race, check_written};
use crate::seed::Seed;
use crate::table::{Compare, Table};
use crate::{in_runtime, machine};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many reminders are due
    #[arg(long, default_value_t = 100_000)]
    count: usize,
    /// How often each contestant has its turn, one after the other
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long an answer takes, in milliseconds
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Who competes [default: everybody]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contestant>,
}

pub(crate) fn run(args: &Args) {
    let keys = Keys::make();
    let everybody =
        if args.only.is_empty() { Contestant::value_variants() } else { args.only.as_slice() };
    let seeded = seeded(&keys, args.count);
    let sizes = seeded.query(&format!(
        "SELECT relname || ' ' || pg_total_relation_size(oid) / {} FROM pg_class
         WHERE relname IN ('patients', 'devices', 'treatments', 'reminders', 'audit')",
        args.count
    ));
    eprintln!("bytes a patient, indexes included: {}", sizes.join(", "));
    machine::print(&seeded);
    let title = format!("{} messages due at once, {} ms to an answer", args.count, args.delay);
    let mut table = Table::new(title, Compare::FirstOverIt, COLUMNS);
    for _ in 0..args.rounds {
        for contestant in everybody {
            table.add(contestant.name(), turn(*contestant, &seeded, &keys, args));
        }
    }
    table.print();
}

/// A database with so many patients, each with one reminder that is due.
pub(crate) fn seeded(keys: &Keys, count: usize) -> TestDatabase {
    let seeded = durable_server().expect("PostgreSQL");
    let began = Instant::now();
    in_runtime(Seed::new(&seeded.url(), &keys.master()).due_now(count));
    eprintln!("{count} patients made in {:.0} s", began.elapsed().as_secs_f64());
    seeded.execute("VACUUM ANALYZE");
    seeded
}

fn turn(
    contestant: Contestant,
    seeded: &TestDatabase,
    keys: &Keys,
    args: &Args,
) -> [f64; COLUMNS.len()] {
    let database = contestant.database(seeded, args.count);
    database.execute("CHECKPOINT");
    let server = Some(database.server_pid());
    let race = Race { keys, count: args.count, delay: args.delay, server };
    let finish = race.run(|sink| vec![contestant.start(&database, keys, sink)]);
    if matches!(contestant, Contestant::Aftercare | Contestant::Bare) {
        check_written(&database, args.count);
    }
    drop(finish.runners);
    database.drop_it();
    finish.figures
}
