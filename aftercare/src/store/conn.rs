//! One connection of either engine, and the pool that keeps them.
//!
//! The pool is ours because a unit of work needs little: at most so many at once, in order of
//! arrival, a new connection made by whoever needs it (so that a failure comes back at once and
//! typed, not as a pool's timeout), and no query spent on asking whether an idle connection still
//! lives: `BEGIN`, or a question without one, finds out.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{StoreError, postgres, sqlite};

/// How long a unit of work waits for its turn, elapsed.
const TURN: Duration = Duration::from_secs(10);

/// PostgreSQL under diesel's synchronous interface.
pub(super) type PgConnection = AsyncConnectionWrapper<AsyncPgConnection, postgres::Driver>;

/// One open connection.
pub(super) enum Conn {
    Pg(Box<PgConnection>),
    Sqlite(Box<SqliteConnection>),
}

/// Runs one query body on whichever engine a [`Tx`](super::Tx) has: it is written once and compiled
/// for each, with that engine's full dialect. The body is an expression of type
/// `QueryResult<T>`; the whole is a `Result<T, StoreError>`. With
/// `|c: Db|`, `Db` names the engine's diesel backend.
macro_rules! with_conn {
    ($tx:expr, |$c:ident| $body:expr) => {
        with_conn!($tx, |$c: Engine| $body)
    };
    ($tx:expr, |$c:ident: $db:ident| $body:expr) => {{
        let result: Result<_, diesel::result::Error> = match &mut *$tx.conn {
            $crate::store::conn::Conn::Pg(connection) => {
                #[allow(dead_code, reason = "only some bodies name the backend")]
                type $db = diesel::pg::Pg;
                let $c = &mut **connection;
                $body
            }
            $crate::store::conn::Conn::Sqlite(connection) => {
                #[allow(dead_code, reason = "only some bodies name the backend")]
                type $db = diesel::sqlite::Sqlite;
                let $c = &mut **connection;
                $body
            }
        };
        result.map_err(|error| $tx.refused(error))
    }};
}

pub(super) use with_conn;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// One consistent snapshot, no writes.
    Read,
    /// One consistent snapshot, and rows that are added.
    Note,
    /// Reads and writes.
    Write,
}

#[derive(QueryableByName)]
struct Checkpoint {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    busy: i32,
}

impl Conn {
    /// SQLite takes the write lock at once, because a read that turns into a write fails with
    /// "database is locked" however long it would wait.
    pub(super) fn begin(&mut self, access: Access) -> Result<(), StoreError> {
        self.execute(match (&self, access) {
            (Self::Pg(_), Access::Read) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (Self::Pg(_), Access::Note) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            (Self::Pg(_), Access::Write) => "BEGIN ISOLATION LEVEL READ COMMITTED",
            (Self::Sqlite(_), Access::Read) => "BEGIN DEFERRED",
            (Self::Sqlite(_), Access::Note | Access::Write) => "BEGIN IMMEDIATE",
        })
    }

    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        self.execute("COMMIT")
    }

    pub(super) fn rollback(&mut self) -> Result<(), StoreError> {
        self.execute("ROLLBACK")
    }

    /// See [`Store::truncate_log`](super::Store).
    pub(super) fn truncate_log(&mut self) -> Result<bool, StoreError> {
        match self {
            Self::Pg(_) => Ok(true),
            Self::Sqlite(conn) => {
                let pragma = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)");
                Ok(pragma.get_result::<Checkpoint>(&mut **conn)?.busy == 0)
            }
        }
    }

    fn execute(&mut self, sql: &str) -> Result<(), StoreError> {
        match self {
            Self::Pg(conn) => conn.batch_execute(sql),
            Self::Sqlite(conn) => conn.batch_execute(sql),
        }
        .map_err(StoreError::from)
    }
}

/// Where connections come from.
#[derive(Clone)]
pub(super) enum Source {
    Pg(Arc<postgres::Server>),
    Sqlite(Arc<sqlite::File>, Access),
}

impl Source {
    /// A new connection; blocks, and must not be called from an async task.
    pub(super) fn connect(&self) -> Result<Conn, StoreError> {
        match self {
            Self::Pg(server) => server.connect().map(|conn| Conn::Pg(Box::new(conn))),
            Self::Sqlite(file, access) => {
                file.connect(*access).map(|conn| Conn::Sqlite(Box::new(conn)))
            }
        }
    }
}

/// Idle connections, and the right to use so many at once.
pub(super) struct Pool {
    source: Source,
    idle: Mutex<Vec<Conn>>,
    turns: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(source: Source, size: usize) -> Self {
        let turns = Arc::new(Semaphore::new(size.max(1)));
        Self { source, idle: Mutex::new(Vec::new()), turns }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Waits for a turn, first come first served.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        match tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(StoreError::Busy("no connection was free in time".to_owned())),
        }
    }

    /// A connection with an open transaction. Idle connections that died meanwhile are dropped.
    pub(super) fn begin(&self, access: Access) -> Result<Conn, StoreError> {
        self.first(|conn| conn.begin(access)).map(|(conn, ())| conn)
    }

    /// The first connection that answers, an idle one if there is any, and what it says to this, which opens a
    /// transaction or needs none. One that was idle may have died, and its server's last word, in whatever
    /// language, not be known as that: then a new one has the last word.
    pub(super) fn first<T>(
        &self,
        mut ask: impl FnMut(&mut Conn) -> Result<T, StoreError>,
    ) -> Result<(Conn, T), StoreError> {
        while let Some(mut conn) = self.take() {
            match ask(&mut conn) {
                Ok(said) => return Ok((conn, said)),
                Err(StoreError::Unavailable(_)) => {}
                Err(StoreError::Internal(_)) => break,
                Err(refused) => {
                    self.put(conn);
                    return Err(refused);
                }
            }
        }
        let mut conn = self.source.connect()?;
        let said = ask(&mut conn)?;
        Ok((conn, said))
    }

    /// Takes back a connection without an open transaction.
    pub(super) fn put(&self, conn: Conn) {
        self.lock().push(conn);
    }

    fn take(&self) -> Option<Conn> {
        self.lock().pop()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Conn>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("idle", &self.lock().len())
            .field("free", &self.turns.available_permits())
            .finish_non_exhaustive()
    }
}
