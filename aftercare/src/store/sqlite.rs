//! SQLite: one file beside the server, the default.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use diesel::connection::{Connection, SimpleConnection};
use diesel::sqlite::SqliteConnection;

use super::StoreError;
use super::conn::Access;

/// `busy_timeout` comes first: switching to WAL needs a lock that another process may hold. What is
/// deleted is overwritten, so that an erased patient's key is nowhere in the file. Sixteen megabytes of pages
/// for each connection, since a claim's rows lie all over a large file, and as much in the log, since a page that is
/// written again and again goes from there into the file but once.
const PRAGMAS: &str = "PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
    PRAGMA foreign_keys = ON;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA cache_size = -16000;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA temp_store = MEMORY;";

/// A database file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
}

impl File {
    /// The file that a `sqlite:` URL names; `rest` is what follows the colon.
    pub(super) fn parse(rest: &str) -> Result<Self, StoreError> {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let refuse = |why: &str| Err(StoreError::Settings(why.to_owned()));
        if path.is_empty() {
            return refuse("sqlite: needs a file, as in sqlite:aftercare.db");
        }
        if path.contains(":memory:") || path.contains("mode=memory") {
            return refuse(
                "a database in memory forgets every reminder; give a file, as in sqlite:aftercare.db",
            );
        }
        if path.contains('?') {
            return refuse("sqlite: takes a file and no parameters, as in sqlite:aftercare.db");
        }
        let path = PathBuf::from(path);
        match path.parent() {
            Some(folder) if folder != Path::new("") && !folder.is_dir() => {
                Err(StoreError::Settings(format!(
                    "there is no folder {}; make it first",
                    folder.display()
                )))
            }
            _ if path.is_dir() => {
                Err(StoreError::Settings(format!("{} is a folder, not a file", path.display())))
            }
            _ => Ok(Self { path }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connect(&self, access: Access) -> Result<SqliteConnection, StoreError> {
        // Whatever the name looks like, it is a file's: never a `file:` URI.
        let path = if self.path.is_absolute() {
            self.path.clone()
        } else {
            Path::new(".").join(&self.path)
        };
        // A new file is its owner's alone, and so are the files that SQLite puts beside it. What
        // stands in the way of making it, SQLite says better. One that is there must not be opened:
        // to close it would drop every lock that this process holds on it, and whoever looks into the
        // database then takes the log from under our connections.
        let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let path = path.to_str().ok_or_else(|| {
            StoreError::Settings("the database file's name must be valid UTF-8".to_owned())
        })?;
        let mut conn = SqliteConnection::establish(path)
            .map_err(|error| StoreError::Unavailable(format!("{path}: {error}")))?;
        conn.batch_execute(PRAGMAS).map_err(|error| match error.into() {
            StoreError::Unavailable(why) => StoreError::Unavailable(format!(
                "{path}: {why}; SQLite writes beside it, too: is its folder on a disk that can be \
                 written?"
            )),
            other => other,
        })?;
        if access == Access::Read {
            conn.batch_execute("PRAGMA query_only = ON")?;
        }
        Ok(conn)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_file_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.db");
        let file = File::parse(path.to_str().unwrap()).unwrap();
        file.connect(Access::Write).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_url_names_a_file() {
        for (rest, path) in
            [("aftercare.db", "aftercare.db"), ("//a.db", "a.db"), ("///tmp/a.db", "/tmp/a.db")]
        {
            assert_eq!(File::parse(rest).unwrap().path, Path::new(path));
        }
        for rest in ["", "//", ":memory:", "a.db?mode=ro", "/nonexistent/folder/a.db", "/tmp"] {
            assert!(matches!(File::parse(rest), Err(StoreError::Settings(_))), "{rest}");
        }
    }
}
