//! `aftercare keys rotate-master`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use aftercare::clock::Env;
use aftercare::seal::{KeyFile, KeyId};
use aftercare::store::Store;
use serde_json::json;

use super::Failure;
use super::settings::Database;

/// After how many values it says how far it is.
const SAY_EVERY: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only put a new key into the key file; nothing uses it yet
    #[arg(long)]
    prepare: bool,
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
}

/// Replaces the master key. Two keys in the file are a replacement that was prepared or broken off.
pub(super) async fn rotate_master(args: Args) -> Result<(), Failure> {
    let env = Env::system();
    // Before anything changes: the file and the database belong together.
    let store = args.database.open_existing(env.clone()).await?;
    let in_use = store.master_key_in_use().await.map_err(Failure::work)?;
    let file = KeyFile::hold(&args.database.key_file()?).map_err(Failure::work)?;
    let newest = match file.ids().map_err(Failure::work)?.as_slice() {
        [only] if *only == in_use => add_key(&file, &env)?,
        [newest, ..] if *newest == in_use && args.prepare => {
            return Err(Failure::Work(format!(
                "key {in_use} is in use already, but others are in the file: call this without --prepare first"
            )));
        }
        [newest, ..] => *newest,
        [] => in_use,
    };
    if args.prepare {
        return prepared(newest, &file, args.json);
    }
    // Anew, with all that is in the file by now.
    let store = args.database.open_existing(env.clone()).await?;
    let values = replace(&store).await?;
    let before = file.retire_all_but(newest, &env).map_err(Failure::work)?;
    replaced(newest, values, before, args.json)
}

fn add_key(file: &KeyFile, env: &Env) -> Result<KeyId, Failure> {
    let id = file.add_key(env).map_err(Failure::work)?;
    writeln!(io::stderr(), "put key {id} into {}", file.path().display())?;
    Ok(id)
}

/// Puts everything under the newest key; gives how many values there were.
async fn replace(store: &Store) -> Result<usize, Failure> {
    let mut replacement = store.replace_master_key().await.map_err(Failure::work)?;
    let (key, total) = (replacement.under(), replacement.left().await.map_err(Failure::work)?);
    writeln!(io::stderr(), "key {key} is in use; {total} values are under another one still")?;
    let mut done = 0;
    while let Some(batch) = replacement.step().await.map_err(Failure::work)? {
        let before = done;
        done += batch.values;
        if before / SAY_EVERY != done / SAY_EVERY {
            writeln!(io::stderr(), "{done} of {total}")?;
        }
    }
    match replacement.left().await.map_err(Failure::work)? {
        0 => Ok(done),
        left => Err(Failure::Work(format!(
            "{left} values came under another key meanwhile: a server of an older release is running; stop \
             it and call this again"
        ))),
    }
}

fn prepared(key: KeyId, file: &KeyFile, json: bool) -> Result<(), Failure> {
    let path = file.path().display();
    if json {
        let document = json!({ "key": key.get(), "prepared": true, "file": path.to_string() });
        writeln!(io::stdout(), "{document}")?;
        return Ok(());
    }
    writeln!(
        io::stdout(),
        "key {key} is in {path}, and nothing uses it yet: copy the file to every machine, then call this \
         without --prepare"
    )?;
    Ok(())
}

fn replaced(key: KeyId, values: usize, before: Option<PathBuf>, json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let before = before.map(|path| path.display().to_string());
    if json {
        let document = json!({ "key": key.get(), "values": values, "before": before });
        writeln!(out, "{document}")?;
        return Ok(());
    }
    writeln!(out, "key {key} is the only one in use: {values} values were put under it")?;
    if let Some(before) = before {
        writeln!(out, "the old one is in {before} only: backups from before need it")?;
    }
    writeln!(io::stderr(), "Back up the key file now, and copy it to every machine.")?;
    Ok(())
}
