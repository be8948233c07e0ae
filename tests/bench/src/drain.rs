//! A morning's peak: so many reminders are due at once, and a worker starts.

use std::thread::sleep;
use std::time::{Duration, Instant};

use aftercare_tests::postgres::{TestDatabase, durable_server};
use clap::ValueEnum as _;

use crate::contestants::Contestant;
use crate::keys::Keys;
use crate::process::{Sink, cpu};
use crate::table::{Figures, print};
use crate::{in_runtime, seed};

/// How long a contestant may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often the sink is asked.
const LOOK: Duration = Duration::from_millis(200);

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
    let seeded = durable_server().expect("PostgreSQL");
    let began = Instant::now();
    in_runtime(seed::patients(&seeded.url(), &keys.master(), args.count));
    eprintln!("{} patients made in {:.0} s", args.count, began.elapsed().as_secs_f64());
    seeded.execute("VACUUM ANALYZE");
    let sizes = seeded.query(&format!(
        "SELECT relname || ' ' || pg_total_relation_size(oid) / {} FROM pg_class
         WHERE relname IN ('patients', 'devices', 'treatments', 'reminders', 'audit')",
        args.count
    ));
    eprintln!("bytes a patient, indexes included: {}", sizes.join(", "));
    let mut figures: Vec<Figures> =
        everybody.iter().map(|contestant| Figures::of(contestant.name())).collect();
    for round in 1..=args.rounds {
        for (contestant, figures) in everybody.iter().zip(&mut figures) {
            let turn = turn(*contestant, &seeded, &keys, args);
            eprintln!("round {round}: {} {turn:?}", contestant.name());
            figures.add(&turn);
        }
    }
    print(args.count, args.delay, &figures);
}

/// What one contestant did once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// Messages a second, from the first to the last.
    pub(crate) rate: f64,
    /// CPU microseconds a message of the contestant, of PostgreSQL and of the sink.
    pub(crate) own: f64,
    pub(crate) postgres: f64,
    pub(crate) sink: f64,
}

fn turn(contestant: Contestant, seeded: &TestDatabase, keys: &Keys, args: &Args) -> Turn {
    let database = contestant.database(seeded, args.count);
    database.execute("CHECKPOINT");
    let mut sink = Sink::start(keys.path(), args.delay);
    let count = args.count as u64;
    let before = (cpu(database.server_pid()), cpu(sink.pid()));
    let mut running = contestant.start(&database, keys, sink.port);
    let began = Instant::now();
    let mut report = sink.report();
    while report["count"].as_u64().unwrap() < count {
        let ended = running.0.try_wait().unwrap();
        assert!(ended.is_none(), "{} ended: {ended:?}, {report}", contestant.name());
        assert!(began.elapsed() < PATIENCE, "{} hangs: {report}", contestant.name());
        sleep(LOOK);
        report = sink.report();
    }
    // What came of the last messages is written, too, before anybody's CPU time is looked at.
    sleep(2 * LOOK);
    let a_message = |seconds: f64| seconds * 1e6 / args.count as f64;
    let turn = Turn {
        rate: args.count as f64 / report["seconds"].as_f64().unwrap(),
        own: a_message(cpu(running.0.id())),
        postgres: a_message(cpu(database.server_pid()) - before.0),
        sink: a_message(cpu(sink.pid()) - before.1),
    };
    check(contestant, &database, args.count);
    drop(running);
    database.drop_it();
    turn
}

/// Nothing is won by forgetting to write down what was sent.
fn check(contestant: Contestant, database: &TestDatabase, count: usize) {
    if !matches!(contestant, Contestant::Aftercare | Contestant::Bare) {
        return;
    }
    for sql in [
        "SELECT count(*) FROM reminders WHERE state = 'sent'",
        "SELECT count(*) FROM deliveries WHERE state = 'sent'",
    ] {
        let began = Instant::now();
        while database.query(sql) != [count.to_string()] {
            assert!(began.elapsed() < PATIENCE, "{}: {sql}", contestant.name());
            sleep(LOOK);
        }
    }
}
