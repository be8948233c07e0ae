//! How fast Aftercare is, beside what else a team could take for the same work. `just bench` runs all of it.
//!
//! Whoever sends does so over TLS and HTTP/2 to one sink, and everybody has a database of its own on one
//! PostgreSQL; what is reported is what clients, the sink and the kernel saw. See docs/performance.md.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a harness that cannot go on must stop"
)]
#![expect(clippy::disallowed_methods, reason = "it measures, by this machine's own clocks")]
#![expect(clippy::print_stdout, reason = "a report is what this is for")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are rounded for people anyway"
)]

mod all;
mod bare;
mod claim;
mod contestants;
mod drain;
mod embedded;
mod intake;
mod keys;
mod lateness;
mod machine;
mod message;
mod process;
mod product;
mod race;
mod replicas;
mod seed;
mod sink;
mod snapshot;
mod sqlite;
mod table;

use clap::Parser;

/// How fast Aftercare is, beside what else a team could take for the same work.
///
/// Each command measures one thing, everybody in turn, and prints Markdown tables; what is under way is said
/// on standard error. It wants a quiet machine, PostgreSQL's server programs and Node.
/// docs/performance.md says what the figures mean.
#[derive(Parser)]
#[command(max_term_width = 100)]
enum Command {
    /// Everything below, one after the other
    All(all::Args),
    /// How fast so many reminders leave that are due at once
    Drain(drain::Args),
    /// How long a claim takes, among few planned reminders and among many
    Claim(claim::Args),
    /// How fast sessions are recorded, over HTTP
    Intake(intake::Args),
    /// How long after it was due each reminder leaves, as they come due one after the other
    Lateness(lateness::Args),
    /// How fast what is due leaves when several schedulers share one PostgreSQL
    Replicas(replicas::Args),
    /// How fast what is due leaves while somebody else holds an old snapshot open
    Snapshot(snapshot::Args),
    /// How fast what is due leaves on SQLite, among many that are not
    Sqlite(sqlite::Args),
    /// What takes the messages (started by the others)
    #[command(hide = true)]
    Sink(sink::Args),
    /// The same statements and requests without the product around them (started by the others)
    #[command(hide = true)]
    Bare(bare::Args),
}

fn main() {
    match Command::parse() {
        Command::All(args) => all::run(&args),
        Command::Claim(args) => claim::run(&args),
        Command::Drain(args) => drain::run(&args),
        Command::Intake(args) => intake::run(&args),
        Command::Lateness(args) => lateness::run(&args),
        Command::Replicas(args) => replicas::run(&args),
        Command::Snapshot(args) => snapshot::run(&args),
        Command::Sqlite(args) => sqlite::run(&args),
        Command::Sink(args) => in_runtime(sink::run(args)),
        Command::Bare(args) => in_runtime(bare::run(args)),
    }
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}
