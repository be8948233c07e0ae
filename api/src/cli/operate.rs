//! The operator's small commands: `migrate`, `pause`, `resume`.

use std::io::{self, Write as _};

use aftercare::clock::Env;
use aftercare::ids::ClinicId;
use aftercare::store::AuditEntry;
use clap::ArgGroup;

use super::Failure;
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

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("whose").required(true).args(["clinic", "all"]))]
pub(super) struct PauseArgs {
    /// The clinic whose sends are meant
    #[arg(long, value_name = "ID")]
    clinic: Option<ClinicId>,
    /// Every clinic's sends
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    database: Database,
}

/// Stops or starts sending; intake goes on either way.
pub(super) async fn pause(args: PauseArgs, paused: bool) -> Result<(), Failure> {
    let store = args.database.open_existing(Env::system()).await?;
    let clinic = args.clinic;
    let found = store.write(move |tx| {
        let found = match clinic {
            Some(clinic) => tx.set_paused(clinic, paused)?,
            None => tx.set_all_paused(paused).map(|()| true)?,
        };
        tx.append_audit(&AuditEntry {
            clinic_id: clinic.filter(|_| found),
            actor: "operator",
            action: if paused { "sending.paused" } else { "sending.resumed" },
            subject: None,
        })?;
        Ok::<_, aftercare::store::StoreError>((found, tx.all_paused()?))
    });
    let (found, all_paused) = found.await.map_err(Failure::work)?;
    let word = if paused { "paused" } else { "resumed" };
    let mut out = io::stdout();
    match clinic {
        Some(clinic) if !found => {
            return Err(Failure::Work(format!("there is no clinic {clinic}")));
        }
        Some(_) if all_paused && !paused => {
            writeln!(out, "{word} sending of the clinic; all sending is paused still")?;
        }
        Some(_) => writeln!(out, "{word} sending of the clinic")?,
        None if paused => writeln!(out, "paused all sending, also of clinics made from now on")?,
        None => writeln!(out, "resumed sending, but of clinics that were paused one by one")?,
    }
    Ok(())
}
