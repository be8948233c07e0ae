//! One open transaction: whose methods, file by file, are the queries.

use std::fmt;

use jiff::Timestamp;

use super::StoreError;
use super::conn::Conn;
use crate::clock::Env;
use crate::ids::{ClinicId, StaffId};
use crate::seal::MasterKey;

/// One open transaction. Its methods are the queries, one file for each aggregate.
///
/// After a method returned an error, the unit of work must return one too: the transaction is
/// lost, and the store refuses to commit it.
pub struct Tx<'a> {
    pub(super) conn: &'a mut Conn,
    pub(super) env: &'a Env,
    pub(super) master: &'a MasterKey,
    pub(super) now: Timestamp,
    pub(super) acting: Option<StaffId>,
    /// The first query that failed; what comes after it in the same transaction fails of that.
    pub(super) failure: Option<Failure>,
    /// Whether the plans of this transaction's statements follow the indexes already.
    pub(super) follows_the_index: bool,
}

/// That a query failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) says: String,
    /// Whether the engine said something that is known.
    pub(super) understood: bool,
}

impl Tx<'_> {
    /// The instant of this unit of work: the clock's when the transaction began.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The clock and the random numbers.
    #[must_use]
    pub fn env(&self) -> &Env {
        self.env
    }

    /// From now on, what is done in a clinic's name is done by this person at its desk.
    pub fn act_as(&mut self, staff: StaffId) {
        self.acting = Some(staff);
    }

    /// Who acts in a clinic's name, as the audit trail has it: its own software, or somebody at its
    /// desk.
    #[must_use]
    pub fn actor_of(&self, clinic: ClinicId) -> String {
        self.acting.map_or_else(|| format!("clinic:{clinic}"), |staff| format!("staff:{staff}"))
    }

    /// Notes that a query failed, so that the transaction is not committed.
    pub(super) fn refused(&mut self, error: diesel::result::Error) -> StoreError {
        let error = StoreError::from(error);
        self.failure.get_or_insert_with(|| Failure {
            says: error.to_string(),
            understood: !matches!(error, StoreError::Internal(_)),
        });
        error
    }

    /// What PostgreSQL alone is told: which rows a `SELECT` locks, while SQLite has one writer; which index answers.
    pub(super) fn on_postgres(&self, postgres: &'static str) -> &'static str {
        match self.conn {
            Conn::Pg(_) => postgres,
            Conn::Sqlite(_) => "",
        }
    }
}

impl fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("now", &self.now).finish_non_exhaustive()
    }
}
