//! `aftercare staff`.

use std::io::{self, Write as _};

use aftercare::clock::Env;
use aftercare::ids::StaffId;
use aftercare_api::{add_staff, remove_staff, staff};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Failure;
use super::settings::{OfClinic, base_url};

#[derive(Debug, clap::Subcommand)]
pub(super) enum StaffCommand {
    /// Add somebody, and print the link under which they set their password, once
    Add {
        /// What they sign in with, and what pages call them
        #[arg(long)]
        name: String,
        /// The URL that browsers use
        #[arg(
            long,
            env = "AFTERCARE_PUBLIC_URL",
            hide_env_values = true,
            default_value = "http://127.0.0.1:8080",
            value_name = "URL",
            value_parser = base_url
        )]
        public_url: String,
        #[command(flatten)]
        of: OfClinic,
    },
    /// Show who signs in at the desk
    List {
        #[command(flatten)]
        of: OfClinic,
    },
    /// Forget somebody and end their sign-ins, at once
    Remove {
        /// Their id, from `add` or `list`
        #[arg(long, value_name = "ID")]
        staff: StaffId,
        #[command(flatten)]
        of: OfClinic,
    },
}

/// Works on the people at a clinic's desk.
pub(super) async fn run(command: StaffCommand) -> Result<(), Failure> {
    match command {
        StaffCommand::Add { name, public_url, of } => add(of, &name, &public_url).await,
        StaffCommand::List { of } => list(of).await,
        StaffCommand::Remove { staff, of } => remove(of, staff).await,
    }
}

async fn add(of: OfClinic, name: &str, public_url: &str) -> Result<(), Failure> {
    let store = of.database.open_existing(Env::system()).await?;
    let added = add_staff(&store, of.clinic, name).await.map_err(Failure::work)?;
    let url = format!("{public_url}/desk/join/{}", added.invitation.expose_secret());
    let mut out = io::stdout().lock();
    if of.json {
        let document = json!({"staff_id": added.id, "url": url, "expires_at": added.ends_at});
        writeln!(out, "{document}")?;
    } else {
        writeln!(out, "staff_id  {}", added.id)?;
        writeln!(out, "url       {url}")?;
        writeln!(io::stderr(), "The link works once, until {:.0}.", added.ends_at)?;
    }
    Ok(())
}

async fn list(of: OfClinic) -> Result<(), Failure> {
    let store = of.database.open_existing(Env::system()).await?;
    let people = staff(&store, of.clinic).await.map_err(Failure::work)?;
    let mut out = io::stdout().lock();
    if of.json {
        let people = people.iter().map(|one| {
            json!({
                "staff_id": one.id, "name": one.name, "created_at": one.created_at,
                "invited_until": one.invitation_ends_at,
            })
        });
        writeln!(out, "{}", json!({ "staff": people.collect::<Vec<Value>>() }))?;
        return Ok(());
    }
    for one in people {
        let invited = one.invitation_ends_at.map(|until| format!("  invited until {until:.0}"));
        writeln!(out, "{}  {}{}", one.id, one.name, invited.unwrap_or_default())?;
    }
    Ok(())
}

async fn remove(of: OfClinic, id: StaffId) -> Result<(), Failure> {
    let store = of.database.open_existing(Env::system()).await?;
    remove_staff(&store, of.clinic, id).await.map_err(Failure::work)?;
    let mut out = io::stdout().lock();
    if of.json {
        writeln!(out, "{}", json!({ "staff_id": id }))?;
    } else {
        writeln!(out, "removed {id} and ended their sign-ins")?;
    }
    Ok(())
}
