//! Statements that are prepared once.
//!
//! Diesel keeps a prepared statement when it can see that its text is always the same. It cannot see that of
//! SQL that is written out, nor of a list of values, and prepares those anew each time: a quarter of all that
//! an embedded database had to do. PostgreSQL takes a list as one array, so that the text of a query by it is the
//! same however long it is; rows that are inserted together are not a list.

use diesel::backend::Backend;
use diesel::deserialize::{self, QueryableByName};
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{AstPass, Query, QueryBuilder as _, QueryFragment, QueryId};
use diesel::query_dsl::LoadQuery;
use diesel::result::QueryResult;
use diesel::row::NamedRow;
use diesel::sql_types::Untyped;
use diesel::sqlite::Sqlite;
use diesel::{RunQueryDsl, Selectable};

use super::StoreError;

/// Longer lists are prepared each time: a connection keeps what it once kept.
const FEW: usize = 16;

/// A query of which the prepared statement is kept. `execute` does not see that it may be; what gives no rows is
/// run with [`Kept::run`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<Q> {
    query: Q,
    kept: ByWhom,
}

#[derive(Debug, Clone, Copy)]
struct ByWhom {
    sqlite: bool,
    postgres: bool,
}

/// Queries that have few texts, though Diesel cannot see it.
pub(super) trait Keep: Sized {
    /// Its text is one of few.
    fn kept(self) -> Kept<Self> {
        Kept { query: self, kept: ByWhom { sqlite: true, postgres: true } }
    }

    /// Its text hangs on how long this list is; not PostgreSQL's, for which it is one array.
    fn kept_for<T>(self, values: &[T]) -> Kept<Self> {
        Kept { query: self, kept: ByWhom { sqlite: values.len() <= FEW, postgres: true } }
    }

    /// Its text hangs on how many rows these are, PostgreSQL's too.
    fn kept_for_rows<T>(self, rows: &[T]) -> Kept<Self> {
        let few = rows.len() <= FEW;
        Kept { query: self, kept: ByWhom { sqlite: few, postgres: few } }
    }
}

impl<Q> Keep for Q {}

/// The columns of a row, as a kept statement must name them: PostgreSQL refuses one that has `*` once a migration
/// has added a column.
pub(super) fn columns<T>() -> Result<String, StoreError>
where
    T: Selectable<Pg, SelectExpression: QueryFragment<Pg>>,
{
    let mut text = PgQueryBuilder::new();
    T::construct_selection().to_sql(&mut text, &Pg)?;
    Ok(text.finish())
}

/// What a statement gives that gives no rows.
pub(super) struct NoRow;

impl<DB: Backend> QueryableByName<DB> for NoRow {
    fn build<'a>(_: &impl NamedRow<'a, DB>) -> deserialize::Result<Self> {
        Ok(Self)
    }
}

/// A statement that gives no rows, as Diesel would have a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Silent<Q>(Q);

impl<Q> Query for Silent<Q> {
    type SqlType = Untyped;
}

impl<Q: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for Silent<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

impl<Q> Kept<Q> {
    /// Runs a statement that gives no rows.
    pub(super) fn run<'q, C>(self, conn: &mut C) -> QueryResult<()>
    where
        Kept<Silent<Q>>: LoadQuery<'q, C, NoRow>,
    {
        let silent = Kept { query: Silent(self.query), kept: self.kept };
        silent.load::<NoRow>(conn).map(drop)
    }
}

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
        Ok(self.kept.sqlite)
    }
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.query.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(self.kept.postgres)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use diesel::connection::InstrumentationEvent;
    use diesel::prelude::*;
    use diesel::sql_query;
    use diesel::sql_types::BigInt;

    use super::*;

    diesel::table! {
        numbers (n) {
            n -> BigInt,
        }
    }

    /// How many statements a connection keeps.
    fn kept_by(run: impl FnOnce(&mut SqliteConnection)) -> usize {
        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        sql_query("CREATE TABLE numbers (n INTEGER PRIMARY KEY)").execute(&mut conn).unwrap();
        let kept = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&kept);
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if matches!(event, InstrumentationEvent::CacheQuery { .. }) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        run(&mut conn);
        kept.load(Ordering::Relaxed)
    }

    #[test]
    fn what_is_written_out_is_prepared_once() {
        let kept = kept_by(|conn| {
            for n in 0..3 {
                let insert = sql_query("INSERT INTO numbers VALUES ($1)").bind::<BigInt, _>(n);
                assert_eq!(insert.kept().run(conn), Ok(()));
            }
        });
        assert_eq!(kept, 1);
    }

    #[test]
    fn short_lists_are_prepared_once_for_each_length_and_long_ones_each_time() {
        let kept = kept_by(|conn| {
            for end in [1, 2, 2, 50, 60, 60] {
                let some: Vec<i64> = (0..end).collect();
                let found = numbers::table.select(numbers::n).filter(numbers::n.eq_any(&some));
                assert_eq!(found.kept_for(&some).load::<i64>(conn), Ok(Vec::new()));
            }
        });
        assert_eq!(kept, 2);
    }
}
