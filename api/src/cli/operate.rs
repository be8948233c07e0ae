//! The operator's small commands: `migrate`, `clinic`, `pause`, `resume`.

use std::io::{self, Write as _};

use aftercare::clock::Env;
use aftercare::ids::ClinicId;
use aftercare::locale::Locale;
use aftercare::store::AuditEntry;
use aftercare::zone::Zone;
use aftercare_api::create_clinic;
use secrecy::ExposeSecret as _;

use super::Failure;
use super::secrets::{SecretCommand, secret};
use super::settings::{Database, migrate as run_migrations};

#[derive(Debug, clap::Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    database: Database,
}

/// Runs the migrations that the database lacks.
pub(super) async fn migrate(args: MigrateArgs) -> Result<(), Failure> {
    let store = args.database.open(Env::system()).await?;
    let ran = run_migrations(&store).await?;
    let mut out = io::stdout().lock();
    if ran.is_empty() {
        writeln!(out, "the database is up to date")?;
    }
    for migration in ran {
        writeln!(out, "ran {migration}")?;
    }
    Ok(())
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ClinicCommand {
    /// Make a clinic and the credentials of its software; the secret is shown this once
    Create {
        /// What patients see
        #[arg(long)]
        name: String,
        /// The clinic's IANA time zone, such as Europe/Lisbon
        #[arg(long, value_name = "ZONE")]
        time_zone: Zone,
        /// The language of patients who have none of their own, as a BCP 47 tag
        #[arg(long, default_value = "en", value_name = "TAG")]
        locale: Locale,
        /// Print one JSON document instead of lines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        database: Database,
    },
    /// Work on the secrets of a clinic's software: two may count at once
    #[command(subcommand)]
    Secret(SecretCommand),
}

/// Works on clinics.
pub(super) async fn clinic(command: ClinicCommand) -> Result<(), Failure> {
    let (name, time_zone, locale, json, database) = match command {
        ClinicCommand::Create { name, time_zone, locale, json, database } => {
            (name, time_zone, locale, json, database)
        }
        ClinicCommand::Secret(command) => return secret(command).await,
    };
    let store = database.open_current(Env::system()).await?;
    let made = create_clinic(&store, &name, time_zone, locale).await.map_err(Failure::work)?;
    let client_secret = made.client_secret.expose_secret();
    let mut out = io::stdout().lock();
    if json {
        let document = serde_json::json!({
            "clinic_id": made.clinic_id,
            "client_id": made.client_id,
            "client_secret": client_secret,
        });
        writeln!(out, "{document}")?;
    } else {
        writeln!(out, "clinic_id      {}", made.clinic_id)?;
        writeln!(out, "client_id      {}", made.client_id)?;
        writeln!(out, "client_secret  {client_secret}")?;
        writeln!(io::stderr(), "Keep the secret now: only its hash is stored.")?;
    }
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The clinic whose sends are meant
    #[arg(long, value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    clinic: Option<ClinicId>,
    /// Every clinic's sends
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    database: Database,
}

/// Stops or starts sending; intake goes on either way.
pub(super) async fn pause(args: PauseArgs, paused: bool) -> Result<(), Failure> {
    let store = args.database.open_current(Env::system()).await?;
    let clinic = args.clinic;
    let changed = store.write(move |tx| {
        let changed = tx.set_paused(clinic, paused)?;
        tx.append_audit(&AuditEntry {
            clinic_id: clinic.filter(|_| changed > 0),
            actor: "operator",
            action: if paused { "sending.paused" } else { "sending.resumed" },
            subject: None,
        })?;
        Ok::<_, aftercare::store::StoreError>(changed)
    });
    let changed = changed.await.map_err(Failure::work)?;
    if let Some(clinic) = clinic.filter(|_| changed == 0) {
        return Err(Failure::Work(format!("there is no clinic {clinic}")));
    }
    let word = if paused { "paused" } else { "resumed" };
    writeln!(io::stdout(), "{word} sending of {changed} clinic(s)")?;
    Ok(())
}
