//! From the first message at the sink to the last.

use std::thread::sleep;
use std::time::{Duration, Instant};

use aftercare_tests::postgres::TestDatabase;

use crate::keys::Keys;
use crate::process::{Running, Sink, cpu};

/// How long a contestant may take.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often the sink is asked.
const LOOK: Duration = Duration::from_millis(200);

/// What a race's figures are.
pub(crate) const COLUMNS: [&str; 4] =
    ["messages a second", "CPU µs a message: own", "PostgreSQL", "sink"];

/// So many messages that are due when it starts.
pub(crate) struct Race<'r> {
    pub(crate) keys: &'r Keys,
    pub(crate) count: usize,
    /// How long the sink takes to answer, in milliseconds.
    pub(crate) delay: u64,
    /// The server of the database that they are in, unless it is a file.
    pub(crate) server: Option<u32>,
}

/// How a race went.
pub(crate) struct Finish {
    pub(crate) figures: [f64; COLUMNS.len()],
    /// Where it all arrived, and what may come yet arrives.
    pub(crate) sink: Sink,
    /// Whoever ran, still running.
    pub(crate) runners: Vec<Running>,
}

impl Race<'_> {
    /// Starts whoever sends, with the port of the sink, and waits until all has arrived.
    pub(crate) fn run(&self, start: impl FnOnce(u16) -> Vec<Running>) -> Finish {
        let mut sink = Sink::start(self.keys.path(), self.delay);
        let server = || self.server.map_or(f64::NAN, cpu);
        let before = (server(), cpu(sink.pid()));
        let mut runners = start(sink.port);
        let count = self.count as u64;
        let began = Instant::now();
        let mut report = sink.report();
        while report["count"].as_u64().unwrap() < count {
            for runner in &mut runners {
                let ended = runner.0.try_wait().unwrap();
                assert!(ended.is_none(), "it ended: {ended:?}, {report}");
            }
            assert!(began.elapsed() < PATIENCE, "it hangs: {report}");
            sleep(LOOK);
            report = sink.report();
        }
        // What came of the last messages is written, too, before anybody's CPU time is looked at.
        sleep(2 * LOOK);
        let a_message = |seconds: f64| seconds * 1e6 / self.count as f64;
        let figures = [
            self.count as f64 / report["seconds"].as_f64().unwrap(),
            a_message(runners.iter().map(|runner| cpu(runner.0.id())).sum()),
            a_message(server() - before.0),
            a_message(cpu(sink.pid()) - before.1),
        ];
        Finish { figures, sink, runners }
    }
}

/// Nothing is won by forgetting to write down what was sent.
pub(crate) fn check_written(database: &TestDatabase, count: usize) {
    for sql in [
        "SELECT count(*) FROM reminders WHERE state = 'sent'",
        "SELECT count(*) FROM deliveries WHERE state = 'sent'",
    ] {
        let began = Instant::now();
        while database.query(sql) != [count.to_string()] {
            assert!(began.elapsed() < PATIENCE, "{sql} is not {count}");
            sleep(LOOK);
        }
    }
}
