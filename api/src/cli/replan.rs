//! `aftercare replan`.

use std::io::{self, Write as _};

use aftercare::care::{ReplanFilter, Replanned, replan_everybody};
use aftercare::clock::Env;
use aftercare::ids::{ClinicId, PatientId};
use aftercare::store::AuditEntry;
use aftercare::zone::Zone;

use super::Failure;
use super::settings::Database;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Run it once for each release that brings other time-zone rules, when every server runs that \
                  release.\nStopped halfway, it has done no harm: run it again, or go on with --after.\n\n\
                  Example:\n  aftercare replan --zone Europe/Lisbon"
)]
pub(super) struct Args {
    /// Only patients whose clock, or whose treatment's, is in this zone, such as Europe/Lisbon
    #[arg(long, value_name = "ZONE")]
    zone: Option<Zone>,
    /// Only this clinic's patients
    #[arg(long, value_name = "ID")]
    clinic: Option<ClinicId>,
    /// Go on behind this patient: the last one that a call before told of
    #[arg(long, value_name = "ID")]
    after: Option<PatientId>,
    /// Print one JSON document instead of a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
}

/// Plans what is not sent yet by the time-zone rules of this binary.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let store = args.database.open_existing(Env::system()).await?;
    let clinic = args.clinic;
    let noted = store.write(move |tx| {
        if let Some(id) = clinic
            && tx.clinic(id)?.is_none()
        {
            return Ok(false);
        }
        tx.append_audit(&AuditEntry {
            clinic_id: clinic,
            actor: "operator",
            action: "patients.replanned",
            subject: None,
        })?;
        Ok::<_, aftercare::store::StoreError>(true)
    });
    if !noted.await.map_err(Failure::work)? {
        return Err(Failure::Work("there is no such clinic".to_owned()));
    }
    let filter = ReplanFilter {
        zone: args.zone,
        clinic: args.clinic,
        after: args.after,
        ..ReplanFilter::default()
    };
    let done = replan_everybody(&store, filter, tell).await.map_err(Failure::work)?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &done).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{}", line(&done))?;
    }
    if done.failed > 0 {
        return Err(Failure::Work(format!(
            "{} patient(s) could not be planned anew; the log names them",
            done.failed
        )));
    }
    Ok(())
}

fn tell(done: &Replanned) {
    let last = done.last.map(|last| format!("; last {last}")).unwrap_or_default();
    let _ = writeln!(io::stderr(), "{}{last}", line(done));
}

fn line(done: &Replanned) -> String {
    format!(
        "looked at {} patient(s): of {} something changed; reminders: {} moved, {} added, {} ended",
        done.patients, done.changed, done.moved, done.added, done.ended
    )
}
