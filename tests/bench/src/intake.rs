//! A clinic's software posts one finished session after the other, each of another patient, from several
//! clients at once.

mod fastify;
mod load;
mod pgbench;
mod rows;
mod sqlite;

use aftercare::ids::ClinicId;
use aftercare_tests::postgres::{TestDatabase, durable_server};
use jiff::{SignedDuration, Timestamp, Unit};
use serde_json::{Value, json};

use self::load::{Answer, Load};
use self::rows::Rows;
use crate::keys::Keys;
use crate::process::cpu;
use crate::product::Product;
use crate::seed::{Seed, morning};
use crate::table::{Compare, Table};
use crate::{in_runtime, machine};

/// Of so many sessions that are counted, one is recorded before.
const WARM_UP: usize = 10;
/// For so many sessions that are counted, one was there already.
const OTHERS: usize = 4;

const COLUMNS: [&str; 5] =
    ["sessions a second", "ms to the answer: p50", "p99", "CPU µs a session: own", "PostgreSQL"];

/// What one turn shows.
type Figures = [f64; COLUMNS.len()];

#[derive(clap::Args)]
#[command(
    after_help = "One session is one request: the token is checked, the body read and validated, \
seven reminders are planned, all of it is written in one transaction, and the answer, which shows the \
whole plan, leaves after the commit. pgbench writes the same rows with one statement for each table and \
nothing else. fastify checks a token and the body, adds fixed lengths of time, and writes the same rows."
)]
pub(crate) struct Args {
    /// How many sessions are recorded in one turn
    #[arg(long, default_value_t = 20_000)]
    count: usize,
    /// How many clients post at once
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// How often each contestant has its turn, one after the other
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Who competes [default: everybody]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contestant>,
}

/// Somebody who records sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Contestant {
    /// The product on PostgreSQL: `aftercare api`
    Aftercare,
    /// The same rows from PostgreSQL's load generator
    Pgbench,
    /// The handler that a team would write first, in Node
    Fastify,
    /// The product on SQLite
    AftercareOnSqlite,
    /// The same rows on SQLite, from one connection
    Inserts,
}

impl Contestant {
    fn name(self) -> &'static str {
        match self {
            Self::Aftercare => "aftercare",
            Self::Pgbench => "pgbench, the same rows",
            Self::Fastify => "fastify and pg",
            Self::AftercareOnSqlite => "aftercare on SQLite",
            Self::Inserts => "the same rows, one connection",
        }
    }
}

/// Fills a new database with a clinic's patients, each with a phone: those of the turn, and others who had a
/// session before, so that nobody begins with empty tables. Gives what `aftercare clinic create` says.
fn fill(keys: &Keys, database: String, args: &Args) -> Value {
    let product = Product { keys, database };
    let account = product.clinic(&morning());
    let clinic: ClinicId = account["clinic_id"].as_str().unwrap().parse().unwrap();
    let key = keys.master();
    let seed = || Seed::new(&product.database, &key).of(clinic);
    in_runtime(async {
        seed().without_session(args.people()).await;
        seed().after(args.people()).due_now(args.before()).await;
    });
    account
}

/// What everybody finds: patients, each with a phone, and what one session of one of them writes.
struct Stage<'k> {
    keys: &'k Keys,
    account: Value,
    seeded: TestDatabase,
    rows: Rows,
}

pub(crate) fn run(args: &Args) {
    use Contestant::{Aftercare, AftercareOnSqlite, Fastify, Inserts, Pgbench};
    let keys = Keys::make();
    let server = durable_server().expect("PostgreSQL");
    machine::print(&server);
    if args.wants(&[Aftercare, Pgbench, Fastify]) {
        let stage = Stage::set(&keys, server, args);
        let turn = |who: Contestant| match who {
            Pgbench => pgbench::turn(&stage, args),
            Fastify => fastify::turn(&stage, args),
            _ => product(&stage, args),
        };
        args.compete(&[Aftercare, Pgbench, Fastify], turn);
    }
    if args.wants(&[AftercareOnSqlite, Inserts]) {
        let stage = sqlite::Stage::set(&keys, args);
        let turn = |who: Contestant| match who {
            Inserts => stage.raw(args),
            _ => stage.product(args),
        };
        args.compete(&[AftercareOnSqlite, Inserts], turn);
    }
}

impl<'k> Stage<'k> {
    fn set(keys: &'k Keys, seeded: TestDatabase, args: &Args) -> Self {
        let account = fill(keys, seeded.url(), args);
        seeded.execute(
            "CREATE TABLE bench_people AS
                SELECT n, 'patient-' || n AS ref, id
                FROM (SELECT row_number() OVER () - 1 AS n, id FROM patients) AS numbered;
             ALTER TABLE bench_people ADD PRIMARY KEY (n), ADD UNIQUE (ref)",
        );
        seeded.execute("VACUUM ANALYZE");
        let rows = Rows::of_one_session(keys, &seeded, &account);
        Self { keys, account, seeded, rows }
    }

    fn database(&self) -> TestDatabase {
        let database = self.seeded.copy();
        database.execute("CHECKPOINT");
        database
    }
}

impl Args {
    fn wants(&self, any: &[Contestant]) -> bool {
        self.only.is_empty() || any.iter().any(|who| self.only.contains(who))
    }

    /// Gives each of them that is wanted its turns, and prints the table.
    fn compete(&self, all: &[Contestant], turn: impl Fn(Contestant) -> Figures) {
        let title = format!("{} sessions posted by {} clients", self.count, self.clients);
        let mut table = Table::new(title, Compare::FirstOverIt, COLUMNS);
        for _ in 0..self.rounds {
            for who in all.iter().filter(|who| self.wants(&[**who])) {
                table.add(who.name(), turn(*who));
            }
        }
        table.print();
    }

    fn warm_up(&self) -> usize {
        (self.count / WARM_UP).max(self.clients)
    }

    /// How many patients there are, and sessions of them.
    fn people(&self) -> usize {
        self.warm_up() + self.count
    }

    /// How many other patients there are, each with one session.
    fn before(&self) -> usize {
        self.count.div_ceil(OTHERS)
    }

    /// How many sessions there are after a turn that warms up.
    fn sessions(&self) -> usize {
        self.people() + self.before()
    }

    /// Posts all, the first of them to warm up, and gives the figures.
    fn post(&self, server: &Server<'_>) -> Figures {
        let requests: Vec<Vec<u8>> = (0..self.people())
            .map(|n| load::post("/v1/treatments", server.token, &session(n)))
            .collect();
        let (first, counted) = requests.split_at(self.warm_up());
        load::run(server.port, self.clients, first);
        let of_postgres = || server.postgres.map_or(f64::NAN, cpu);
        let before = (cpu(server.pid), of_postgres());
        let load = load::run(server.port, self.clients, counted);
        figures(&load, cpu(server.pid) - before.0, of_postgres() - before.1)
    }
}

/// Somebody who takes sessions over HTTP.
struct Server<'s> {
    pid: u32,
    port: u16,
    token: &'s str,
    postgres: Option<u32>,
}

fn figures(load: &Load, own: f64, postgres: f64) -> Figures {
    let count = load.milliseconds.len() as f64;
    let a_session = |seconds: f64| seconds * 1e6 / count;
    let [p50, p99] = load.percentiles();
    [count / load.seconds, p50, p99, a_session(own), a_session(postgres)]
}

/// What a clinic's software says of one session.
fn session(n: usize) -> Value {
    let completed_at = Timestamp::now() - SignedDuration::from_mins(1);
    json!({
        "event_id": format!("visit-{n}"), "patient_ref": format!("patient-{n}"),
        "protocol": "microneedling", "completed_at": completed_at.round(Unit::Second).unwrap(),
        "areas": ["face", "neck"], "metadata": { "room": "2" },
    })
}

fn product(stage: &Stage<'_>, args: &Args) -> Figures {
    let database = stage.database();
    let (running, port) = Product { keys: stage.keys, database: database.url() }.api();
    let token = sign_in(port, &stage.account);
    let postgres = Some(database.server_pid());
    let figures = args.post(&Server { pid: running.0.id(), port, token: &token, postgres });
    drop(running);
    stage.rows.check(&database, args.sessions());
    database.drop_it();
    figures
}

/// An access token of the clinic's software.
fn sign_in(port: u16, account: &Value) -> String {
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        account["client_id"].as_str().unwrap(),
        account["client_secret"].as_str().unwrap()
    );
    let answer = load::send(port, &load::form("/v1/oauth/token", &form));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let Answer { body, .. } = answer;
    let body: Value = serde_json::from_slice(&body).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}
