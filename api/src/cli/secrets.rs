//! `aftercare clinic secret`.

use std::io::{self, Write as _};

use aftercare::clock::Env;
use aftercare::ids::ClientSecretId;
use aftercare_api::{add_client_secret, client_secrets, revoke_client_secret};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Failure;
use super::settings::OfClinic;

#[derive(Debug, clap::Subcommand)]
pub(super) enum SecretCommand {
    /// Make a second secret, shown this once; the first goes on counting
    Add {
        #[command(flatten)]
        of: OfClinic,
    },
    /// Show which secrets count, and when each was used last
    List {
        #[command(flatten)]
        of: OfClinic,
    },
    /// Revoke a secret and end the sessions that it opened, at once
    Revoke {
        /// Its id, from `add` or `list`
        #[arg(long, value_name = "ID")]
        secret: ClientSecretId,
        /// Revoke it even if it is the clinic's only one
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        of: OfClinic,
    },
}

/// Works on the secrets of a clinic's client.
pub(super) async fn secret(command: SecretCommand) -> Result<(), Failure> {
    match command {
        SecretCommand::Add { of } => add(of).await,
        SecretCommand::List { of } => list(of).await,
        SecretCommand::Revoke { secret, force, of } => revoke(of, secret, force).await,
    }
}

async fn add(of: OfClinic) -> Result<(), Failure> {
    let store = of.database.open_existing(Env::system()).await?;
    let made = add_client_secret(&store, of.clinic).await.map_err(Failure::work)?;
    let secret = made.client_secret.expose_secret();
    let mut out = io::stdout().lock();
    if of.json {
        let document =
            json!({"secret_id": made.id, "client_id": made.client_id, "client_secret": secret});
        writeln!(out, "{document}")?;
    } else {
        writeln!(out, "secret_id      {}", made.id)?;
        writeln!(out, "client_id      {}", made.client_id)?;
        writeln!(out, "client_secret  {secret}")?;
        writeln!(
            io::stderr(),
            "Keep the secret now: only its hash is stored. When all software uses it, revoke the other."
        )?;
    }
    Ok(())
}

async fn list(of: OfClinic) -> Result<(), Failure> {
    let store = of.database.open_existing(Env::system()).await?;
    let secrets = client_secrets(&store, of.clinic).await.map_err(Failure::work)?;
    let mut out = io::stdout().lock();
    if of.json {
        let secrets = secrets.iter().map(|(secret, used_at)| {
            json!({"secret_id": secret.id, "created_at": secret.created_at, "used_at": used_at})
        });
        writeln!(out, "{}", json!({ "secrets": secrets.collect::<Vec<Value>>() }))?;
        return Ok(());
    }
    for (secret, used_at) in secrets {
        let used = used_at.map_or_else(
            || "not used in the last month".to_owned(),
            |at| format!("last used {at:.0}"),
        );
        writeln!(out, "{}  made {:.0}  {used}", secret.id, secret.created_at)?;
    }
    Ok(())
}

async fn revoke(of: OfClinic, secret: ClientSecretId, force: bool) -> Result<(), Failure> {
    let store = of.database.open_existing(Env::system()).await?;
    let ended = revoke_client_secret(&store, of.clinic, secret, force).await;
    let ended = ended.map_err(Failure::work)?;
    let mut out = io::stdout().lock();
    if of.json {
        writeln!(out, "{}", json!({"secret_id": secret, "sessions_ended": ended}))?;
    } else {
        writeln!(out, "revoked {secret} and ended {ended} session(s)")?;
    }
    Ok(())
}
