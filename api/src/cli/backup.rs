//! `aftercare backup`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use aftercare::clock::{Clock as _, SystemClock};
use aftercare::store::back_up;
use serde_json::json;

use super::Failure;
use super::settings::Database;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The database alone is copied, and servers go on meanwhile. Keep the master key's file \
                        elsewhere: without it nobody can read the copy. Leave the file of erasures where it \
                        is: a restored copy is told by it whom to forget again.\n\nExample: aftercare backup \
                        backups/aftercare-$(date +%F).db\n\nFor PostgreSQL use pg_dump --format=custom, or \
                        base backups with write-ahead logs."
)]
pub(super) struct Args {
    /// The file to make; one that is there is never overwritten
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON document instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    database: Database,
}

/// Copies an SQLite database while servers work on it.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let as_of = SystemClock.now();
    let made = back_up(args.database.url(), &args.file).map_err(Failure::work)?;
    let file = args.file.display();
    let mut out = io::stdout().lock();
    if args.json {
        let document = json!({
            "file": args.file.to_string_lossy(), "as_of": as_of, "bytes": made.bytes,
            "on_their_way": made.on_their_way,
        });
        writeln!(out, "{document}")?;
        return Ok(());
    }
    writeln!(out, "{file}: {} bytes, checked, as of {as_of:.0}", made.bytes)?;
    if made.on_their_way > 0 {
        writeln!(
            out,
            "{} reminder(s) were on their way: a server on this copy sends them again, under the same tag",
            made.on_their_way
        )?;
    }
    Ok(())
}
