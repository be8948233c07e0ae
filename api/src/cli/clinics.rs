//! `aftercare clinic`.

use std::io::{self, Write as _};

use aftercare::care::{ClinicPatch, ReplanFilter, Replanned, change_clinic, replan_everybody};
use aftercare::clock::Env;
use aftercare::ids::ClinicId;
use aftercare::locale::Locale;
use aftercare::patch::Patch;
use aftercare::store::{Clinic, PushContent, Store};
use aftercare::zone::Zone;
use aftercare_api::create_clinic;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::Failure;
use super::secrets::{SecretCommand, secret};
use super::settings::Database;

#[derive(Debug, clap::Subcommand)]
pub(super) enum ClinicCommand {
    /// Make a clinic and the credentials of its software; the secret is shown this once
    Create(Create),
    /// Change what a clinic is called, where it is, and how much its pushes say
    #[command(
        after_help = "Of --push-content and what a patient chose, the stricter counts, from the next push on. \
A new time zone moves the reminders of patients who have none of their own; if that is cut off, call it \
again: --time-zone plans them anew also when the clinic is there already."
    )]
    Set(Box<Set>),
    /// Show every clinic
    List {
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

#[derive(Debug, clap::Args)]
pub(super) struct Create {
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
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct Set {
    /// The clinic
    #[arg(long, value_name = "ID")]
    clinic: ClinicId,
    /// What patients see
    #[arg(long, group = "change")]
    name: Option<String>,
    /// The clinic's IANA time zone, such as Europe/Lisbon
    #[arg(long, value_name = "ZONE", group = "change")]
    time_zone: Option<Zone>,
    /// The language of patients who have none of their own, as a BCP 47 tag
    #[arg(long, value_name = "TAG", group = "change")]
    locale: Option<Locale>,
    /// How much a push says: text, discreet (a neutral sentence) or reference (the app fetches it)
    #[arg(long, value_name = "HOW", group = "change")]
    push_content: Option<PushContent>,
    /// The number that patients may call
    #[arg(long, value_name = "NUMBER", group = "change", conflicts_with = "no_contact_phone")]
    contact_phone: Option<String>,
    /// There is no number that patients may call
    #[arg(long, group = "change")]
    no_contact_phone: bool,
    #[command(flatten)]
    database: Database,
}

/// Works on clinics.
pub(super) async fn clinic(command: ClinicCommand) -> Result<(), Failure> {
    match command {
        ClinicCommand::Create(args) => create(args).await,
        ClinicCommand::Set(args) => set(*args).await,
        ClinicCommand::List { json, database } => list(json, database).await,
        ClinicCommand::Secret(command) => secret(command).await,
    }
}

async fn create(args: Create) -> Result<(), Failure> {
    let store = args.database.open_current(Env::system()).await?;
    let made = create_clinic(&store, &args.name, args.time_zone, args.locale).await;
    let made = made.map_err(Failure::work)?;
    let client_secret = made.client_secret.expose_secret();
    let mut out = io::stdout().lock();
    if args.json {
        let document = json!({
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

async fn set(args: Set) -> Result<(), Failure> {
    let store = args.database.open_existing(Env::system()).await?;
    let moved = args.time_zone.is_some();
    let contact_phone = match (args.contact_phone, args.no_contact_phone) {
        (Some(phone), _) => Patch::Set(phone),
        (None, true) => Patch::Clear,
        (None, false) => Patch::Keep,
    };
    let patch = ClinicPatch {
        display_name: args.name,
        time_zone: args.time_zone,
        locale: args.locale,
        contact_phone,
        push_content: args.push_content,
    };
    let id = args.clinic;
    let changed = store.write(move |tx| change_clinic(tx, id, patch)).await;
    let (before, after) = changed.map_err(Failure::work)?;
    say_what_changed(&before, &after)?;
    if moved { replan_patients(&store, id).await } else { Ok(()) }
}

fn say_what_changed(before: &Clinic, after: &Clinic) -> Result<(), Failure> {
    let fields = |clinic: &Clinic| {
        [
            ("name", clinic.display_name.clone()),
            ("time zone", clinic.time_zone.to_string()),
            ("locale", clinic.locale.to_string()),
            ("contact phone", clinic.contact_phone.clone().unwrap_or_else(|| "none".to_owned())),
            ("push content", clinic.push_content.to_string()),
        ]
    };
    let mut out = io::stdout().lock();
    if before == after {
        writeln!(out, "nothing of the clinic was changed")?;
    }
    for ((field, before), (_, after)) in fields(before).into_iter().zip(fields(after)) {
        if before != after {
            writeln!(out, "{field}: {before} -> {after}")?;
        }
    }
    Ok(())
}

/// Plans anew whom the clinic's zone counts for.
async fn replan_patients(store: &Store, clinic: ClinicId) -> Result<(), Failure> {
    let tell = |done: &Replanned| {
        let _ = writeln!(io::stderr(), "{} patients so far", done.patients);
    };
    let filter =
        ReplanFilter { clinic: Some(clinic), in_clinics_zone: true, ..ReplanFilter::default() };
    let done = replan_everybody(store, filter, tell).await.map_err(Failure::work)?;
    writeln!(
        io::stdout(),
        "planned anew: {} of {} patients without a zone of their own",
        done.changed,
        done.patients
    )?;
    match done.failed {
        0 => Ok(()),
        failed => Err(Failure::Work(format!(
            "{failed} patients cannot be planned anew; the log names them"
        ))),
    }
}

async fn list(json: bool, database: Database) -> Result<(), Failure> {
    let store = database.open_existing(Env::system()).await?;
    let listed =
        store.read(|tx| Ok::<_, aftercare::store::StoreError>((tx.clinics()?, tx.all_paused()?)));
    let (clinics, all_paused) = listed.await.map_err(Failure::work)?;
    let mut out = io::stdout().lock();
    if json {
        let clinics: Vec<Value> = clinics.iter().map(document).collect();
        writeln!(out, "{}", json!({ "clinics": clinics, "all_paused": all_paused }))?;
        return Ok(());
    }
    if all_paused {
        writeln!(out, "all sending is paused")?;
    }
    clinics.iter().try_for_each(|clinic| show(&mut out, clinic))
}

fn document(clinic: &Clinic) -> Value {
    json!({
        "clinic_id": clinic.id,
        "client_id": clinic.client_id,
        "name": clinic.display_name,
        "time_zone": clinic.time_zone.name(),
        "locale": clinic.locale.to_string(),
        "contact_phone": clinic.contact_phone,
        "push_content": clinic.push_content.as_str(),
        "paused": clinic.paused,
        "created_at": clinic.created_at,
    })
}

fn show(out: &mut impl io::Write, clinic: &Clinic) -> Result<(), Failure> {
    let phone = clinic.contact_phone.as_deref().unwrap_or("no phone");
    let paused = if clinic.paused { "  paused" } else { "" };
    writeln!(
        out,
        "{}  {}  {}  {}  {phone}  {}{paused}",
        clinic.id, clinic.display_name, clinic.time_zone, clinic.locale, clinic.push_content
    )?;
    Ok(())
}
