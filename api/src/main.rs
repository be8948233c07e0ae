//! The one binary: the API, the scheduler, the tools.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
