//! A database of SQLite, in a file.

use std::fs;
use std::path::{Path, PathBuf};

use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;

/// What a commit waits for is what it waits for in the product.
const PRAGMAS: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;
    PRAGMA synchronous = FULL";

pub(crate) struct File(PathBuf);

#[derive(QueryableByName)]
struct Word {
    #[diesel(sql_type = Text)]
    word: String,
}

impl File {
    /// That name in the folder; nothing is made yet.
    pub(crate) fn named(folder: &Path, name: &str) -> Self {
        Self(folder.join(name))
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.0.display())
    }

    pub(crate) fn connect(&self) -> SqliteConnection {
        let mut conn = SqliteConnection::establish(self.0.to_str().unwrap()).unwrap();
        conn.batch_execute(PRAGMAS).unwrap();
        conn
    }

    /// Runs statements; what they wrote is in the file itself afterwards, and nowhere else.
    pub(crate) fn execute(&self, sql: &str) {
        let mut conn = self.connect();
        conn.batch_execute(sql).unwrap();
        conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    }

    /// The column `word` of what a query gives.
    pub(crate) fn words(&self, sql: &str) -> Vec<String> {
        let rows: Vec<Word> = diesel::sql_query(sql).load(&mut self.connect()).unwrap();
        rows.into_iter().map(|row| row.word).collect()
    }

    /// A copy for one turn, in the place of the turn before; nobody may have either open.
    pub(crate) fn for_a_turn(&self) -> Self {
        let copy = self.0.with_file_name("turn.db");
        for ending in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{ending}", copy.display()));
        }
        fs::copy(&self.0, &copy).unwrap();
        Self(copy)
    }
}
