//! `aftercare keys`.

use std::io::{self, Write as _};

use aftercare::care::{self, Rotation, Turn};
use aftercare::clock::Env;
use aftercare::store::{SigningKey, Tx};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::settings::Database;
use super::{Failure, master_key};

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeysCommand {
    /// Let a new key sign access tokens; nobody is refused and nothing needs a restart
    #[command(
        after_help = "The new key is published at once and signs a quarter of an hour later, when every server \
and every verifier knows it. The old one then signs no more; what it signed stays good until it expires, \
and its private half is destroyed. While that is under way, another call changes nothing.\n\n\
--now is for a key that was stolen: a new one signs at once, every other is destroyed, and every access \
token that is out is refused from then on. Apps and clinics get new ones with what they hold."
    )]
    Rotate {
        /// Destroy every other key at once: what they signed is refused
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Replace the master key, under which everything personal is sealed; servers go on meanwhile
    #[command(
        after_help = "A new key is put into the key file and to use, what is under the old one is put under it in \
batches, and the old one is taken out of the file. The file as it was stays beside it as FILE.until-NUMBER, \
because backups of the database from before need it. Whatever breaks it off, the next call goes on with what \
is left.\n\n\
Servers on other machines need the new key first: call with --prepare, copy the key file to each, then \
call without, and copy the file again."
    )]
    RotateMaster(master_key::Args),
    /// Show the keys that sign access tokens, and whose turn it is
    List {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
}

/// Works on the server's keys.
pub(super) async fn keys(command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Rotate { now: false, output } => {
            rotate(output, care::rotate_signing_keys).await
        }
        KeysCommand::Rotate { now: true, output } => {
            rotate(output, care::replace_signing_keys).await
        }
        KeysCommand::RotateMaster(args) => master_key::rotate_master(args).await,
        KeysCommand::List { output } => {
            let store = output.database.open_existing(Env::system()).await?;
            let keys = store.write(care::ensure_signing_key).await.map_err(Failure::work)?;
            show(&keys, store.env().now(), output.json, None)
        }
    }
}

type Rotate = fn(&mut Tx<'_>) -> Result<Rotation, aftercare::store::StoreError>;

async fn rotate(output: Output, rotate: Rotate) -> Result<(), Failure> {
    let store = output.database.open_existing(Env::system()).await?;
    let rotation = store.write(rotate).await.map_err(Failure::work)?;
    if !rotation.made {
        let next = &rotation.next;
        writeln!(io::stderr(), "a rotation to {next} is under way: nothing was changed")?;
    }
    show(&rotation.keys, store.env().now(), output.json, Some(rotation.made))
}

fn show(
    keys: &[SigningKey],
    now: Timestamp,
    json: bool,
    rotated: Option<bool>,
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if json {
        let keys: Vec<Value> = keys.iter().map(|key| document(key, now)).collect();
        let document = match rotated {
            Some(rotated) => json!({ "rotated": rotated, "keys": keys }),
            None => json!({ "keys": keys }),
        };
        writeln!(out, "{document}")?;
        return Ok(());
    }
    for key in keys {
        let fate = match (key.turn(now), key.retired_at, key.over_at()) {
            (Turn::Next, ..) => format!("published; signs from {}", whole(key.signs_from)),
            (Turn::Signing, Some(at), _) => format!("signs until {}", whole(at)),
            (Turn::Signing, ..) => "signs".to_owned(),
            (Turn::Retired, _, over) => {
                let over = over.map(|at| whole(at).to_string()).unwrap_or_default();
                format!("signs no more; its last tokens are good until {over} at most")
            }
        };
        writeln!(out, "{}  {fate}", key.kid)?;
    }
    Ok(())
}

/// To the second, upwards.
fn whole(at: Timestamp) -> Timestamp {
    let second = jiff::TimestampRound::new().smallest(jiff::Unit::Second);
    at.round(second.mode(jiff::RoundMode::Ceil)).unwrap_or(at)
}

fn document(key: &SigningKey, now: Timestamp) -> Value {
    json!({
        "kid": key.kid,
        "state": key.turn(now).as_str(),
        "created_at": key.created_at,
        "signs_from": key.signs_from,
        "signs_until": key.retired_at,
        "accepted_until": key.over_at(),
    })
}
