//! Statements that are prepared once.
//!
//! Diesel keeps a prepared statement when it can see that its text is always the same. It cannot see that of
//! SQL that is written out, nor of a list of values, and prepares those anew each time: a quarter of all that
//! an embedded database had to do. PostgreSQL takes a list as one array, so that its text is the same however
//! long it is.

use diesel::RunQueryDsl;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sqlite::Sqlite;

/// Longer lists are prepared each time by SQLite: a connection keeps what it once kept.
const FEW: usize = 8;

/// A query of which the prepared statement is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<Q> {
    query: Q,
    kept: bool,
}

/// Queries that have few texts, though Diesel cannot see it.
pub(super) trait Keep: Sized {
    /// Its text is one of few.
    fn kept(self) -> Kept<Self> {
        Kept { query: self, kept: true }
    }

    /// Its text hangs on how long these are.
    fn kept_for<T>(self, values: &[T]) -> Kept<Self> {
        Kept { query: self, kept: values.len() <= FEW }
    }
}

impl<Q> Keep for Q {}

impl<Q: Query> Query for Kept<Q> {
    type SqlType = Q::SqlType;
}

/// It is known by its text.
impl<Q> QueryId for Kept<Q> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q, C> RunQueryDsl<C> for Kept<Q> {}

impl<Q: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.query.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Sqlite) -> QueryResult<bool> {
        Ok(self.kept)
    }
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}
