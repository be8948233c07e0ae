//! `aftercare fcm-emulator`.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use fcm_emulator::{Emulator, EmulatorConfig};

use super::Failure;
use super::logging::Logging;
use super::serve::stopped;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  aftercare fcm-emulator --tls --credentials-out fcm.json --ca-out ca.pem\n  \
SSL_CERT_FILE=ca.pem FCM_CREDENTIALS=fcm.json AFTERCARE_FCM_URL=https://localhost:9099 aftercare serve"
)]
pub(super) struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9099", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Speak TLS, certified by a throw-away authority
    #[arg(long)]
    tls: bool,
    /// Host names to certify besides localhost, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "HOSTS", requires = "tls")]
    tls_hosts: Vec<String>,
    /// The Firebase project it plays
    #[arg(long, default_value = "aftercare-emulator", value_name = "ID")]
    project: String,
    /// Write the service account to this file
    #[arg(long, value_name = "FILE")]
    credentials_out: Option<PathBuf>,
    /// Write the authority's certificate to this file
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca_out: Option<PathBuf>,
    /// Listen on other than loopback addresses: whoever reaches it can read everything
    #[arg(long)]
    allow_remote: bool,
    #[command(flatten)]
    logging: Logging,
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    args.logging.start()?;
    let config = EmulatorConfig {
        listen: args.listen,
        allow_remote: args.allow_remote,
        tls: args.tls,
        tls_hosts: args.tls_hosts,
        project_id: args.project,
        ..EmulatorConfig::default()
    };
    let emulator = Emulator::start(config).await.map_err(Failure::work)?;
    if let Some(file) = &args.credentials_out {
        write_private(file, &emulator.credentials_json())?;
    }
    if let (Some(file), Some(ca)) = (&args.ca_out, emulator.ca_pem()) {
        write_private(file, ca)?;
    }
    writeln!(io::stdout(), "FCM emulator at {}", emulator.base_url())?;
    stopped().await?;
    emulator.stop().await;
    Ok(())
}

/// Writes a file that only its owner can read.
fn write_private(file: &Path, text: &str) -> Result<(), Failure> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    let written = open.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| Failure::Work(format!("cannot write {}: {error}", file.display())))
}
