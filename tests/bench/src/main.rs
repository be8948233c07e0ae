//! How fast Aftercare is, beside what else a team could take for the same work. `just bench` runs it.
//!
//! Everybody sends to one sink over TLS and HTTP/2 from one PostgreSQL, each from a database of its own; what
//! is reported is what the sink and the kernel saw. See docs/performance.md.

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

mod bare;
mod contestants;
mod drain;
mod keys;
mod message;
mod process;
mod seed;
mod sink;
mod table;

use clap::Parser;

#[derive(Parser)]
enum Command {
    /// How fast so many reminders leave that are due at once
    Drain(drain::Args),
    /// What takes the messages (started by the others)
    #[command(hide = true)]
    Sink(sink::Args),
    /// The same statements and requests without the product around them (started by the others)
    #[command(hide = true)]
    Bare(bare::Args),
}

fn main() {
    match Command::parse() {
        Command::Drain(args) => drain::run(&args),
        Command::Sink(args) => in_runtime(sink::run(args)),
        Command::Bare(args) => in_runtime(bare::run(args)),
    }
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}
