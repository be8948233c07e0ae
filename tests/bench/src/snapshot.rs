//! A burst while somebody else, as a backup or a report does, holds an old snapshot open: nothing that dies
//! meanwhile may be cleared away, least of all at the head of the queue.

use aftercare_tests::postgres::TestDatabase;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::drain::seeded;
use crate::keys::Keys;
use crate::machine;
use crate::product::Product;
use crate::race::{COLUMNS, Race, check_written};
use crate::table::{Compare, Table};

#[derive(clap::Args)]
#[command(
    after_help = "The other transaction is of the level REPEATABLE READ, has read something, and \
does nothing more until the last message has arrived."
)]
pub(crate) struct Args {
    /// How many reminders are due
    #[arg(long, default_value_t = 50_000)]
    count: usize,
    /// How often either has its turn, one after the other
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

pub(crate) fn run(args: &Args) {
    let keys = Keys::make();
    let seeded = seeded(&keys, args.count);
    machine::print(&seeded);
    let title = format!("{} messages due at once", args.count);
    let mut table = Table::new(title, Compare::FirstOverIt, COLUMNS);
    for _ in 0..args.rounds {
        table.add("alone", turn(&seeded, &keys, args.count, false));
        table.add("beside an old snapshot", turn(&seeded, &keys, args.count, true));
    }
    table.print();
}

fn turn(seeded: &TestDatabase, keys: &Keys, count: usize, held: bool) -> [f64; COLUMNS.len()] {
    let database = seeded.copy();
    database.execute("CHECKPOINT");
    let snapshot = held.then(|| Snapshot::hold(&database));
    let race = Race { keys, count, delay: 0, server: Some(database.server_pid()) };
    let finish = race.run(|sink| vec![Product { keys, database: database.url() }.scheduler(sink)]);
    drop(snapshot);
    check_written(&database, count);
    drop(finish.runners);
    database.drop_it();
    finish.figures
}

/// A transaction that stays open.
struct Snapshot {
    _client: Client,
    _runtime: Runtime,
}

impl Snapshot {
    fn hold(database: &TestDatabase) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let client = runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
            tokio::spawn(connection);
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM clinics";
            client.batch_execute(begin).await.unwrap();
            client
        });
        Self { _client: client, _runtime: runtime }
    }
}
