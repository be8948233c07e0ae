//! `aftercare erasures`: the record of who was erased, for operators who keep it elsewhere.

use std::io::{self, Write as _};
use std::path::PathBuf;

use aftercare::clock::Env;
use aftercare::store::ErasureFile;

use super::Failure;
use super::settings::Database;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print every erasure that the database knows, as the file of erasures has them: opaque ids only
    Export {
        #[command(flatten)]
        database: Database,
    },
    /// Erase whoever a file of erasures names and this database still has
    Replay {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        database: Database,
    },
}

/// Works on the record of erasures.
pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Export { database } => {
            let store = database.open_existing(Env::system()).await?;
            let erasures = store.read(|tx| tx.erasures(None)).await.map_err(Failure::work)?;
            let mut out = io::stdout().lock();
            for erasure in erasures {
                writeln!(out, "{erasure}")?;
            }
        }
        Command::Replay { file, database } => {
            if !file.is_file() {
                return Err(Failure::Work(format!("there is no file {}", file.display())));
            }
            let noted = ErasureFile::at(&file).read(Env::system().now()).map_err(Failure::work)?;
            let store = database.open_existing(Env::system()).await?;
            let named = noted.len();
            let erased = store.replay(noted).await.map_err(Failure::work)?;
            writeln!(io::stdout(), "{named} erasures, {erased} of them erased now")?;
        }
    }
    Ok(())
}
