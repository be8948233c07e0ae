//! What can go wrong in the store, sorted by what the caller can do about it.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::seal::{KeyId, SealError};

/// A failure of the store. Messages are for operators: they name tables, columns and constraints,
/// never a value from a row, and never the database's password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached; try again later.
    #[error("the database cannot be reached: {0}")]
    Unavailable(String),
    /// The database broke off before it confirmed a commit: the work may have been done or not.
    #[error("the database did not confirm a commit: {0}")]
    InDoubt(String),
    /// Others were in the way (a lock, a deadlock, a full pool); try again at once.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// The database takes no writes: a read-only file or folder, or a standby server.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// The disk under the database is full.
    #[error("the database's disk is full: {0}")]
    Full(String),
    /// The master key is not the one this database was made with.
    #[error(
        "the master key does not belong to this database; point AFTERCARE_KEY_FILE at the key file it \
         was created with"
    )]
    WrongKey,
    /// The master key was replaced, and the key file is from before or after that.
    #[error(
        "the key file lacks master key {0}, which this database needs; copy the key file from where the key \
         was replaced, or, for a backup from before that, use the file that was left there as FILE.until-…"
    )]
    MissingKey(KeyId),
    /// What is stored cannot be understood: a damaged file, an altered row, or an unknown code.
    #[error("the database holds something it should not: {0}")]
    Corrupt(String),
    /// A unique key is taken. PostgreSQL names the constraint, SQLite the columns.
    #[error("a unique key is taken: {on}")]
    Conflict {
        /// The constraint or the columns.
        on: String,
    },
    /// A newer release of Aftercare has migrated this database.
    #[error(
        "the database was migrated by a newer release (it has migration {newest}, this binary knows none \
         after {known}); start that release, or restore a backup"
    )]
    SchemaTooNew {
        /// The newest migration in the database.
        newest: String,
        /// The newest migration in this binary.
        known: String,
    },
    /// The database is not at this release's schema yet.
    #[error("the database has {pending} migrations to run; run: aftercare migrate")]
    NotMigrated {
        /// How many there are.
        pending: usize,
    },
    /// The database URL or a setting in it cannot be used.
    #[error("DATABASE_URL: {0}")]
    Settings(String),
    /// A mistake of ours: a query the database refuses.
    #[error("the store failed: {0}")]
    Internal(String),
}

impl StoreError {
    /// Whether the same work may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::InDoubt(_) | Self::Busy(_))
    }

    /// Whether it lies in what the work was about, so that the same with other rows may succeed.
    #[must_use]
    pub fn is_of_one_row(&self) -> bool {
        self.is_unreadable() || matches!(self, Self::Conflict { .. } | Self::Internal(_))
    }

    /// Whether a row is there and cannot be understood, or not opened.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::MissingKey(_))
    }

    /// This error as that of a `COMMIT`, after which an engine that went away leaves it open what became
    /// of the work.
    pub(super) fn of_commit(self) -> Self {
        match self {
            Self::Unavailable(message) => Self::InDoubt(message),
            other => other,
        }
    }
}

impl From<SealError> for StoreError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::NoKey(id) => Self::MissingKey(id),
            SealError::Damaged { .. } => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<diesel::ConnectionError> for StoreError {
    fn from(error: diesel::ConnectionError) -> Self {
        match error {
            diesel::ConnectionError::CouldntSetupConfiguration(error) => error.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, info) => database(kind, info.as_ref()),
            DieselError::BrokenTransactionManager => {
                Self::Unavailable("the connection broke inside a transaction".to_owned())
            }
            DieselError::DeserializationError(cause) => Self::Corrupt(cause.to_string()),
            DieselError::RollbackErrorOnCommit { commit_error, .. } => (*commit_error).into(),
            other => Self::Internal(other.to_string()),
        }
    }
}

fn database(
    kind: DatabaseErrorKind,
    info: &(dyn diesel::result::DatabaseErrorInformation + Send + Sync),
) -> StoreError {
    let message = info.message().to_owned();
    match kind {
        DatabaseErrorKind::UniqueViolation => {
            StoreError::Conflict { on: info.constraint_name().map_or(message, str::to_owned) }
        }
        // A foreign key breaks when somebody erased the patient since this transaction looked.
        DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::ForeignKeyViolation => {
            StoreError::Busy(message)
        }
        DatabaseErrorKind::ReadOnlyTransaction => StoreError::ReadOnly(message),
        DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => {
            StoreError::Unavailable(message)
        }
        _ => StoreError::by_message(message),
    }
}

impl StoreError {
    /// Neither driver passes its error code on, so these are told apart by the engines' own words.
    pub(super) fn by_message(message: String) -> Self {
        type Make = fn(String) -> StoreError;
        const KNOWN: [(&str, Make); 16] = [
            ("database is locked", StoreError::Busy),
            ("table is locked", StoreError::Busy),
            ("deadlock detected", StoreError::Busy),
            ("lock timeout", StoreError::Busy),
            ("statement timeout", StoreError::Busy),
            ("readonly database", StoreError::ReadOnly),
            ("disk is full", StoreError::Full),
            ("No space left on device", StoreError::Full),
            ("disk quota exceeded", StoreError::Full),
            ("unable to open database file", StoreError::Unavailable),
            ("terminating connection", StoreError::Unavailable),
            ("the database system is", StoreError::Unavailable),
            ("disk I/O error", StoreError::Unavailable),
            ("too many clients", StoreError::Unavailable),
            ("file is not a database", StoreError::Corrupt),
            ("disk image is malformed", StoreError::Corrupt),
        ];
        KNOWN
            .iter()
            .find(|(words, _)| message.contains(words))
            .map_or(StoreError::Internal as Make, |(_, make)| *make)(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_own_words_are_understood() {
        let transient = |message: &str| StoreError::by_message(message.to_owned()).is_transient();
        assert!(transient("database is locked"));
        assert!(transient("deadlock detected"));
        assert!(transient("canceling statement due to lock timeout"));
        assert!(transient("the database system is shutting down"));
        assert!(transient("terminating connection due to administrator command"));
        assert!(!transient("attempt to write a readonly database"));
        assert!(!transient("syntax error at or near \"SELEC\""));
        for message in [
            "database or disk is full",
            "could not extend file \"base/5/16389\": No space left on device",
        ] {
            let error = StoreError::by_message(message.to_owned());
            assert!(matches!(error, StoreError::Full(_)), "{error:?}");
        }
    }
}
