//! Instants: microseconds since 1970 UTC in SQLite, since 2000 UTC on PostgreSQL's wire.

use std::io::Write;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Nullable};
use diesel::sqlite::Sqlite;
use jiff::Timestamp;

use super::Instant;

/// PostgreSQL counts its microseconds from 2000-01-01 UTC.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// An instant in a query or a row; the wrapper is there because neither trait nor type is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub(in crate::store) Timestamp);

expressions!(Instant: At);
nullable_expressions!(Instant: At);
columns!(Instant: At);

impl From<Timestamp> for At {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl From<At> for Timestamp {
    fn from(At(at): At) -> Self {
        at
    }
}

impl ToSql<Instant, Pg> for At {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&(self.0.as_microsecond() - POSTGRES_EPOCH).to_be_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<Instant, Pg> for At {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let micros = <i64 as FromSql<BigInt, Pg>>::from_sql(value)?;
        let since_1970 = micros.checked_add(POSTGRES_EPOCH).ok_or("an infinite instant")?;
        Ok(Self(Timestamp::from_microsecond(since_1970)?))
    }
}

impl ToSql<Instant, Sqlite> for At {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.as_microsecond());
        Ok(IsNull::No)
    }
}

impl FromSql<Instant, Sqlite> for At {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Timestamp::from_microsecond(<i64 as FromSql<BigInt, Sqlite>>::from_sql(value)?)?))
    }
}

/// An instant that may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaybeAt(Option<At>);

expressions!(Nullable<Instant>: MaybeAt);
columns!(Nullable<Instant>: MaybeAt);

impl From<Option<Timestamp>> for MaybeAt {
    fn from(at: Option<Timestamp>) -> Self {
        Self(at.map(At))
    }
}

impl From<MaybeAt> for Option<Timestamp> {
    fn from(MaybeAt(at): MaybeAt) -> Self {
        at.map(Into::into)
    }
}

impl<DB: Backend> ToSql<Nullable<Instant>, DB> for MaybeAt
where
    At: ToSql<Instant, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        ToSql::<Nullable<Instant>, DB>::to_sql(&self.0, out)
    }
}

impl<DB: Backend> FromSql<Nullable<Instant>, DB> for MaybeAt
where
    At: FromSql<Instant, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Some(At::from_sql(value)?)))
    }

    fn from_nullable_sql(value: Option<DB::RawValue<'_>>) -> deserialize::Result<Self> {
        value.map_or(Ok(Self(None)), Self::from_sql)
    }
}
