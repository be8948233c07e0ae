//! What a claim costs when there is more planned: the queue's head must be found however long the queue is.

use std::time::{Duration, Instant};

use aftercare::care::dispatch;
use aftercare::clock::Env;
use aftercare::ids::LeaseId;
use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreOptions};
use aftercare_tests::postgres::{TestDatabase, durable_server};
use jiff::SignedDuration;

use crate::keys::Keys;
use crate::seed::Seed;
use crate::table::{Compare, Table, percentile};
use crate::{in_runtime, machine};

const LEASE: SignedDuration = SignedDuration::from_mins(1);
/// Claims of one reminder that are made before any is timed.
const WARM_UP: usize = 5;

#[derive(clap::Args)]
#[command(
    after_help = "Each claim is one transaction of the product's store, committed to the disk. As many \
reminders are due as are claimed; all others are planned for the next thirty days. Ten million reminders want \
7 GB of disk and some minutes, and go when the command ends."
)]
pub(crate) struct Args {
    /// How many reminders are planned, in turn
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 10_000_000])]
    planned: Vec<usize>,
    /// How many are claimed at once, in turn
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 500])]
    batches: Vec<usize>,
    /// How many claims of each size are made in a round
    #[arg(long, default_value_t = 10)]
    claims: usize,
    /// How often each has its turn, one after the other
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Args {
    /// How many reminders a round claims.
    fn due(&self) -> usize {
        WARM_UP + self.claims * self.batches.iter().sum::<usize>()
    }
}

/// A queue of so many.
struct Queue {
    planned: usize,
    database: TestDatabase,
}

pub(crate) fn run(args: &Args) {
    let keys = Keys::make();
    let seeded = durable_server().expect("PostgreSQL");
    in_runtime(Seed::new(&seeded.url(), &keys.master()).due_now(1));
    let of = |planned: &usize| Queue::filled(*planned, args.due(), &seeded);
    let queues: Vec<Queue> = args.planned.iter().map(of).collect();
    machine::print(&seeded);
    let mut tables: Vec<Table<2>> = args.batches.iter().map(|batch| table(*batch)).collect();
    for _ in 0..args.rounds {
        for queue in &queues {
            for (figures, table) in queue.turn(&keys, args).into_iter().zip(&mut tables) {
                table.add(&format!("{} planned", queue.planned), figures);
            }
        }
    }
    tables.iter().for_each(Table::print);
    for queue in queues {
        queue.database.drop_it();
    }
}

fn table(batch: usize) -> Table<2> {
    let columns = ["ms a claim: p50", "most"];
    Table::new(format!("Claims of {batch}"), Compare::ItOverFirst, columns)
}

impl Queue {
    /// The ids are as ordered as the product's, and what is due stands together, as reminders of one day's
    /// sessions do. A claim looks at the reminder alone, so that there are no rows of patients and treatments.
    fn filled(planned: usize, due: usize, seeded: &TestDatabase) -> Self {
        assert!(planned >= due, "{planned} planned are fewer than the {due} that are claimed");
        let (database, began) = (seeded.copy(), Instant::now());
        let first = (planned - due) / 2;
        let id = |kind: u8, n: &str| {
            format!("(lpad(to_hex({n}), 8, '0') || '-000{kind}-7000-8000-000000000000')::uuid")
        };
        database.execute(&format!(
            "SET session_replication_role = replica;
             CREATE TEMP TABLE one AS SELECT * FROM reminders LIMIT 1;
             DELETE FROM reminders;
             INSERT INTO reminders (id, clinic_id, patient_id, treatment_id, step_id, due_at, use_by,
                state, reason, members, attempt_at, attempts, created_at, updated_at)
             SELECT {}, clinic_id, {}, {}, 'step-' || (n % 7), at, at + interval '8 hours',
                'planned', reason, members, at, 0, created_at, updated_at
             FROM one, generate_series(0, {planned} - 1) AS n, LATERAL (SELECT now() + CASE
                WHEN n BETWEEN {first} AND {first} + {due} - 1
                THEN interval '-1 hour' + n * interval '1 microsecond'
                ELSE interval '1 hour' + n * (interval '30 days' / {planned}) END AS at) AS due",
            id(1, "n"),
            id(2, "n / 7"),
            id(3, "n / 7"),
        ));
        database.execute("VACUUM ANALYZE reminders");
        let took = began.elapsed().as_secs_f64();
        let size = "SELECT pg_size_pretty(pg_total_relation_size('reminders'))";
        let size = database.query(size).concat();
        eprintln!("{planned} reminders planned in {took:.0} s, {size} with their indexes");
        Self { planned, database }
    }

    /// How long claims of each size take, in milliseconds: half of them, and the slowest.
    fn turn(&self, keys: &Keys, args: &Args) -> Vec<[f64; 2]> {
        self.database.execute("CHECKPOINT");
        let figures = in_runtime(async {
            let key = MasterKey::load(&keys.master()).unwrap();
            let options = StoreOptions::default();
            let store =
                Store::open(&self.database.url(), key, Env::system(), options).await.unwrap();
            for _ in 0..WARM_UP {
                claim(&store, 1).await;
            }
            let mut figures = Vec::new();
            for batch in &args.batches {
                let mut times = Vec::new();
                for _ in 0..args.claims {
                    times.push(claim(&store, *batch).await.as_secs_f64() * 1e3);
                }
                times.sort_by(f64::total_cmp);
                figures.push([percentile(&times, 0.5), percentile(&times, 1.0)]);
            }
            figures
        });
        self.put_back();
        figures
    }

    /// All as before the turn, without a trace in the indexes.
    fn put_back(&self) {
        self.database.execute(
            "UPDATE reminders SET state = 'planned', attempts = 0, lease_id = NULL, leased_until = NULL
             WHERE state = 'claimed'",
        );
        self.database.execute("VACUUM (INDEX_CLEANUP ON) reminders");
    }
}

async fn claim(store: &Store, batch: usize) -> Duration {
    let lease: LeaseId = store.env().id();
    let began = Instant::now();
    let claim = store.write(move |tx| dispatch::claim(tx, lease, LEASE, batch)).await.unwrap();
    let took = began.elapsed();
    assert_eq!(claim.len(), batch, "there must be enough that is due");
    took
}
