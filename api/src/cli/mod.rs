//! The command line. Results go to stdout, everything else to stderr; exit code 1 says that the
//! work failed, 2 that the call was wrong.

mod audit;
mod backup;
mod clinics;
mod demo;
mod emulator;
mod erasures;
mod keys;
mod limits;
mod logging;
mod master_key;
mod operate;
mod plan;
mod protocol;
mod replan;
mod secrets;
mod serve;
mod settings;
mod staff;

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
    /// Play a course of sessions against the real API, scheduler and an FCM emulator
    Demo(demo::Args),
    /// Run the API and the scheduler
    Serve(serve::ServeArgs),
    /// Run the API alone
    Api(serve::ApiArgs),
    /// Run the scheduler alone
    Scheduler(serve::SchedulerArgs),
    /// Bring the database to this release's schema
    Migrate(operate::MigrateArgs),
    /// Work on clinics
    #[command(subcommand)]
    Clinic(clinics::ClinicCommand),
    /// Work on the people at a clinic's desk
    #[command(subcommand)]
    Staff(staff::StaffCommand),
    /// Work on the server's keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Stop sending; intake goes on and nothing due is lost before its use-by
    Pause(operate::PauseArgs),
    /// Send again
    Resume(operate::PauseArgs),
    /// Copy an SQLite database while servers work on it
    Backup(backup::Args),
    /// Work on the trail of who did what
    #[command(subcommand)]
    Audit(audit::Command),
    /// Work on the record of who was erased
    #[command(subcommand)]
    Erasures(erasures::Command),
    /// Plan what is not sent yet anew, by the time-zone rules of this release
    Replan(replan::Args),
    /// Work on protocol documents
    #[command(subcommand)]
    Protocol(protocol::Command),
    /// Run an emulator of Firebase Cloud Messaging, for app developers and tests
    FcmEmulator(emulator::Args),
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
    match carry_out(Cli::parse().command) {
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

fn carry_out(command: Command) -> Result<(), Failure> {
    match command {
        Command::Plan(args) => plan::run(args),
        Command::Protocol(command) => protocol::run(&command),
        Command::Demo(args) => wait_for(demo::run(args)),
        Command::Serve(args) => wait_for(serve::serve(args)),
        Command::Api(args) => wait_for(serve::api(args)),
        Command::Scheduler(args) => wait_for(serve::scheduler(args)),
        Command::Migrate(args) => wait_for(operate::migrate(args)),
        Command::Clinic(command) => wait_for(clinics::clinic(command)),
        Command::Staff(command) => wait_for(staff::run(command)),
        Command::Keys(command) => wait_for(keys::keys(command)),
        Command::Pause(args) => wait_for(operate::pause(args, true)),
        Command::Resume(args) => wait_for(operate::pause(args, false)),
        Command::Backup(args) => backup::run(&args),
        Command::Audit(command) => wait_for(audit::run(command)),
        Command::Erasures(command) => wait_for(erasures::run(command)),
        Command::Replan(args) => wait_for(replan::run(args)),
        Command::FcmEmulator(args) => wait_for(emulator::run(args)),
    }
}

fn wait_for(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
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
