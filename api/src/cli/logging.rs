//! Log lines: to stderr, for people on a terminal and for machines elsewhere.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use super::Failure;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Libraries speak up only when something is wrong, whatever level is asked for: below that some write
/// down what they were given. Naming one in the filter still opens it. A refused request is the
/// caller's business.
const LIBRARIES: &str = "tokio_cron_scheduler=warn,actix_server=warn,actix_web=warn,actix_http=off,\
    tracing_actix_web=off,h2=warn,hyper=warn,hyper_util=warn,rustls=warn,mio=warn,tokio_postgres=warn";

/// What is logged.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Logging {
    /// What to log: a level, or directives such as info,aftercare=debug
    #[arg(
        long,
        env = "AFTERCARE_LOG",
        hide_env_values = true,
        default_value = "info",
        value_name = "FILTER"
    )]
    log: String,
    /// How log lines look
    #[arg(
        long,
        env = "AFTERCARE_LOG_FORMAT",
        hide_env_values = true,
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: LogFormat,
}

impl Logging {
    /// Lines for people.
    pub(super) fn text(filter: &str) -> Self {
        Self { log: filter.to_owned(), log_format: LogFormat::Text }
    }

    /// Starts logging, for the rest of the process.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(format!("{LIBRARIES},{}", self.log))
            .map_err(|error| Failure::Usage(format!("--log \"{}\": {error}", self.log)))?;
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        let started = match self.log_format {
            LogFormat::Text => lines.with_ansi(!plain && io::stderr().is_terminal()).try_init(),
            LogFormat::Json => lines.json().flatten_event(true).try_init(),
        };
        started.map_err(Failure::work)
    }
}
