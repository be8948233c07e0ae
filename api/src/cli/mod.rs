//! The command line. Results go to stdout, everything else to stderr; exit code 1 says that the
//! work failed, 2 that the call was wrong.

mod plan;
mod protocol;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Aftercare reminders: a clinic posts "session done", the patient's phone is told what to do, and
/// what not, at the right local time.
///
/// Not a medical device. The texts are the clinic's and need its approval.
#[derive(Debug, Parser)]
#[command(name = "aftercare", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the timeline of a treatment: what holds until when, and what is sent when
    Plan(plan::Args),
    /// Work on protocol documents
    #[command(subcommand)]
    Protocol(protocol::Command),
}

/// What went wrong, in a line or a few that say what to do.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The call cannot be carried out as it was written.
    #[error("{0}")]
    Usage(String),
    /// The work failed.
    #[error("{0}")]
    Work(String),
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    fn work(error: impl std::fmt::Display) -> Self {
        Self::Work(error.to_string())
    }
}

/// Runs what the command line asks for.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Plan(args) => plan::run(args),
        Command::Protocol(command) => protocol::run(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // A reader such as `head` that has seen enough is no failure.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

/// Bold on a terminal, plain elsewhere and where `NO_COLOR` is set.
fn heading(text: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if plain || !io::stdout().is_terminal() {
        text.to_owned()
    } else {
        format!("\x1b[1m{text}\x1b[0m")
    }
}
