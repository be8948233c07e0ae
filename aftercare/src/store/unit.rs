//! Units of work: where their connections come from, and the transaction around each.

use std::sync::Arc;

use super::conn::{Access, Conn, Pool, Source};
use super::fail_points::Side;
use super::tx::Failure;
use super::{Inner, Mode, StoreError, StoreOptions, Tx, postgres, sqlite};

pub(super) fn pools(
    url: &str,
    options: &StoreOptions,
) -> Result<(Arc<Pool>, Arc<Pool>), StoreError> {
    match url.split_once(':') {
        Some(("sqlite", rest)) => {
            let file = Arc::new(sqlite::File::parse(rest)?);
            let pool = |access, size| {
                Arc::new(Pool::new(Source::Sqlite(Arc::clone(&file), access), size))
            };
            Ok((pool(Access::Read, options.connections), pool(Access::Write, 1)))
        }
        Some(("postgres" | "postgresql", _)) if options.mode == Mode::Inline => Err(
            StoreError::Settings("PostgreSQL needs threads; only SQLite works without".to_owned()),
        ),
        Some(("postgres" | "postgresql", _)) => {
            let server = Arc::new(postgres::Server::parse(url)?);
            let pool = Arc::new(Pool::new(Source::Pg(server), options.connections));
            Ok((Arc::clone(&pool), pool))
        }
        _ => Err(StoreError::Settings(
            "unknown kind of database; it must start with sqlite: (a file, as in sqlite:aftercare.db) or \
             postgres:// (a server, as in postgres://user@host/aftercare)"
                .to_owned(),
        )),
    }
}

impl Inner {
    pub(super) fn pool(&self, access: Access) -> &Arc<Pool> {
        match access {
            Access::Read => &self.readers,
            Access::Note | Access::Write => &self.writers,
        }
    }

    /// The unit of work `F` passes the fail points, where a test has set any.
    fn pass<F>(&self, side: Side) -> Result<(), StoreError> {
        match &self.fail_points {
            Some(points) => points.pass(std::any::type_name::<F>(), side),
            None => Ok(()),
        }
    }

    fn tx<'a>(&'a self, conn: &'a mut Conn) -> Tx<'a> {
        Tx {
            conn,
            env: &self.env,
            master: &self.master,
            now: self.env.now(),
            acting: None,
            failure: None,
            follows_the_index: false,
        }
    }

    /// No transaction around `question`.
    pub(super) fn look<T>(
        &self,
        question: impl Fn(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (conn, answer) = self.readers.first(|conn| question(&mut self.tx(conn)))?;
        self.readers.put(conn);
        Ok(answer)
    }

    /// One transaction around `work`.
    pub(super) fn unit<T, E, F>(&self, access: Access, keep: bool, work: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E>,
    {
        let pool = self.pool(access);
        let mut conn = pool.begin(access)?;
        let mut tx = self.tx(&mut conn);
        let result = work(&mut tx);
        let failure = tx.failure;
        // What is not understood may lie in the connection, and what cannot be rolled back does.
        let understood = failure.as_ref().is_none_or(|failure| failure.understood);
        let end = |mut conn: Conn| {
            if conn.rollback().is_ok() && understood {
                pool.put(conn);
            }
        };
        match (result, failure) {
            // PostgreSQL would answer COMMIT with a silent rollback.
            (Ok(_), Some(Failure { says, .. })) => {
                end(conn);
                Err(StoreError::Internal(format!("went on after a failed query: {says}")).into())
            }
            (Ok(value), None) if keep => {
                self.pass::<F>(Side::BeforeCommit)?;
                conn.commit().map_err(StoreError::of_commit)?;
                pool.put(conn);
                self.pass::<F>(Side::AfterCommit)?;
                Ok(value)
            }
            (result, _) => {
                end(conn);
                result
            }
        }
    }
}
