//! A copy of an SQLite database, made while servers work on it. It needs no master key, and what is sealed
//! stays so.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};

use super::conn::Access;
use super::sqlite::File;
use super::{StoreError, check_url};

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// How large the copy is.
    pub bytes: u64,
    /// How many reminders were on their way at that moment: nobody knows yet whether FCM took them, so a
    /// server on the copy sends them again, under the same tag.
    pub on_their_way: u64,
}

/// Why there is no backup. What was begun is removed again.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is a server's database.
    #[error(
        "only an SQLite file is copied by this; for PostgreSQL use pg_dump --format=custom, or base backups \
         with write-ahead logs"
    )]
    NotSqlite,
    /// There is nothing to copy.
    #[error("there is no database {} here; say where it is with --database-url or DATABASE_URL", .0.display())]
    NoDatabase(PathBuf),
    /// Something has that name.
    #[error("{} is there already: a backup is never overwritten; choose another name", .0.display())]
    Exists(PathBuf),
    /// Somebody else's copy, or what a machine that lost its power left of one.
    #[error(
        "{} is there: another backup is writing it, or one was cut off; if none runs, remove it",
        .0.display()
    )]
    Unfinished(PathBuf),
    /// The disk refuses.
    #[error("cannot write {}: {error}", .path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What was copied does not hold together.
    #[error("the copy is damaged, and so may be the database: {0}")]
    Damaged(String),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    text: String,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Copies the database of a `sqlite:` URL, as it is at one moment, into a new file that is its owner's alone.
/// Readers and writers go on meanwhile. When this returns, the copy was checked and is on the disk; until then
/// it is called `….part`. Blocks.
///
/// # Errors
/// [`BackupError`].
pub fn back_up(url: &str, to: &Path) -> Result<Backup, BackupError> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        check_url(url)?;
        return Err(BackupError::NotSqlite);
    };
    let file = File::parse(rest)?;
    if !file.path().is_file() {
        return Err(BackupError::NoDatabase(file.path().to_owned()));
    }
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Unfinished(part.clone()),
        _ => BackupError::Write { path: part.clone(), error },
    };
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(refused)?;
    let done = copy(&file, &part).and_then(|backup| keep(&part, to).map(|()| backup));
    if done.is_err() {
        // The error that is told is the one that counts.
        let _ = fs::remove_file(&part);
    }
    done
}

/// Fills the empty file `part`, and looks at what is in it then.
fn copy(file: &File, part: &Path) -> Result<Backup, BackupError> {
    let name = part.to_str().ok_or_else(|| BackupError::Write {
        path: part.to_owned(),
        error: io::Error::other("the name must be valid UTF-8"),
    })?;
    let mut conn = file.connect(Access::Write)?;
    sql_query("VACUUM INTO ?")
        .bind::<Text, _>(name)
        .execute(&mut conn)
        .map_err(StoreError::from)?;
    let mut copy = SqliteConnection::establish(name).map_err(StoreError::from)?;
    copy.batch_execute("PRAGMA query_only = ON").map_err(StoreError::from)?;
    let check = sql_query("SELECT integrity_check AS text FROM pragma_integrity_check");
    let found: Vec<Answer> = check.load(&mut copy).map_err(StoreError::from)?;
    if let Some(fault) = found.iter().find(|answer| answer.text != "ok") {
        return Err(BackupError::Damaged(fault.text.clone()));
    }
    let claimed = sql_query("SELECT count(*) AS number FROM reminders WHERE state = 'claimed'");
    let claimed: Number = claimed.get_result(&mut copy).map_err(StoreError::from)?;
    drop(copy);
    let on_their_way = u64::try_from(claimed.number).unwrap_or_default();
    let bytes = fs::metadata(part).map_err(|error| failed(part, error))?.len();
    Ok(Backup { bytes, on_their_way })
}

/// Gives a copy its name once it is on the disk.
fn keep(part: &Path, to: &Path) -> Result<(), BackupError> {
    let sync = |path: &Path| fs::File::open(path)?.sync_all();
    sync(part).map_err(|error| failed(part, error))?;
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    fs::rename(part, to).map_err(|error| failed(to, error))?;
    let folder = to.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    sync(folder).map_err(|error| failed(folder, error))
}

fn failed(path: &Path, error: io::Error) -> BackupError {
    BackupError::Write { path: path.to_owned(), error }
}
