//! Several schedulers on one PostgreSQL work off the same burst: as fast as one, and nothing twice.

use aftercare_tests::postgres::TestDatabase;
use serde_json::json;

use crate::drain::seeded;
use crate::keys::Keys;
use crate::machine;
use crate::product::Product;
use crate::race::{COLUMNS, Race, check_written};
use crate::table::{Compare, Table};

#[derive(clap::Args)]
#[command(
    after_help = "All of them, PostgreSQL and the sink share this machine: what is asked is what \
sharing costs, not what more machines bring. A turn fails if any reminder is sent twice."
)]
pub(crate) struct Args {
    /// How many reminders are due
    #[arg(long, default_value_t = 50_000)]
    count: usize,
    /// How many schedulers, in turn
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    schedulers: Vec<usize>,
    /// How often each number has its turn, one after the other
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) fn run(args: &Args) {
    let keys = Keys::make();
    let seeded = seeded(&keys, args.count);
    machine::print(&seeded);
    let title = format!("{} messages due at once, worked off together", args.count);
    let mut table = Table::new(title, Compare::ItOverFirst, COLUMNS);
    for _ in 0..args.rounds {
        for schedulers in &args.schedulers {
            let figures = turn(*schedulers, &seeded, &keys, args.count);
            table.add(&format!("schedulers: {schedulers}"), figures);
        }
    }
    table.print();
}

fn turn(
    schedulers: usize,
    seeded: &TestDatabase,
    keys: &Keys,
    count: usize,
) -> [f64; COLUMNS.len()] {
    let database = seeded.copy();
    database.execute("CHECKPOINT");
    let race = Race { keys, count, delay: 0, server: Some(database.server_pid()) };
    let mut finish = race.run(|sink| {
        let product = Product { keys, database: database.url() };
        (0..schedulers).map(|_| product.scheduler(sink)).collect()
    });
    check_written(&database, count);
    drop(finish.runners);
    database.drop_it();
    let report = finish.sink.report();
    let seen = [&report["count"], &report["distinct"]];
    assert_eq!(seen, [&json!(count), &json!(count)], "something was sent twice");
    finish.figures
}
