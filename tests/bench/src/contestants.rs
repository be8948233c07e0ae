//! Who competes, what each needs in its database before the clock runs, and how it is started.

use std::path::PathBuf;
use std::process::Command;

use aftercare_tests::postgres::TestDatabase;

use crate::keys::Keys;
use crate::process::{Running, peer};
use crate::product::Product;

/// Somebody who sends what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Contestant {
    /// The product, as its own process: `aftercare scheduler`
    Aftercare,
    /// The same statements and requests without the product
    Bare,
    /// graphile-worker, a local queue of 2,000 jobs, one request each over HTTP/2
    GraphileWorker,
    /// pg-boss, batches of 500 jobs, one request each over HTTP/2
    PgBoss,
}

impl Contestant {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aftercare => "aftercare",
            Self::Bare => "bare pipeline",
            Self::GraphileWorker => "graphile-worker",
            Self::PgBoss => "pg-boss",
        }
    }

    fn script(self) -> Option<PathBuf> {
        let name = match self {
            Self::Aftercare | Self::Bare => return None,
            Self::GraphileWorker => "graphile-worker.mjs",
            Self::PgBoss => "pg-boss.mjs",
        };
        Some(peer(name))
    }

    /// A database with that many messages due.
    pub(crate) fn database(self, seeded: &TestDatabase, count: usize) -> TestDatabase {
        let Some(script) = self.script() else { return seeded.copy() };
        let database = seeded.empty_beside();
        let status = Command::new("node")
            .arg(script)
            .args(["fill", &database.url_at("127.0.0.1"), &count.to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "{} could not be filled", self.name());
        database
    }

    /// Starts it.
    pub(crate) fn start(self, database: &TestDatabase, keys: &Keys, port: u16) -> Running {
        let mut command = match self {
            Self::Aftercare => return Product { keys, database: database.url() }.scheduler(port),
            Self::Bare => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.args(["bare", &database.url_at("127.0.0.1")]);
                command.arg(keys.path()).arg(port.to_string());
                command
            }
            Self::GraphileWorker | Self::PgBoss => {
                let mut command = Command::new("node");
                command.arg(self.script().unwrap());
                command.args(["run", &database.url_at("127.0.0.1")]);
                command.env("NODE_EXTRA_CA_CERTS", keys.authority());
                command
            }
        };
        command.env("SINK_PORT", port.to_string());
        Running::start(command)
    }
}
