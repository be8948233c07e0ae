//! JSON documents: jsonb on PostgreSQL, text in SQLite.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Nullable, Text};
use diesel::sqlite::Sqlite;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Doc;
use crate::planner::{Member, Said};
use crate::protocol::Area;

/// A value kept as JSON, through serde.
#[derive(Debug, Clone, PartialEq)]
pub struct Json<T>(pub(in crate::store) T);

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

macro_rules! documents {
    ($($rust:ty),+ $(,)?) => {
        expressions!(Doc: $(Json<$rust>),+);
        columns!(Doc: $(Json<$rust>),+);
        $(
            impl From<Json<$rust>> for $rust {
                fn from(Json(value): Json<$rust>) -> Self {
                    value
                }
            }
        )+
    };
}

documents!(
    serde_json::Value,
    BTreeMap<String, String>,
    BTreeSet<Area>,
    BTreeSet<crate::webhook::EventType>,
    crate::webhook::EventData,
    Vec<Member>,
    crate::store::Preferences,
    Said,
);

impl<T: Serialize + std::fmt::Debug> ToSql<Doc, Pg> for Json<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        // The version of PostgreSQL's binary form of jsonb.
        out.write_all(&[1])?;
        serde_json::to_writer(out, &self.0)?;
        Ok(IsNull::No)
    }
}

impl<T: Serialize + std::fmt::Debug> ToSql<Doc, Sqlite> for Json<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(serde_json::to_string(&self.0)?);
        Ok(IsNull::No)
    }
}

impl<T: DeserializeOwned> FromSql<Doc, Pg> for Json<T> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let json = value.as_bytes().strip_prefix(&[1]).ok_or("unknown form of jsonb")?;
        Ok(Self(serde_json::from_slice(json).map_err(unreadable)?))
    }
}

impl<T: DeserializeOwned> FromSql<Doc, Sqlite> for Json<T> {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let json = <String as FromSql<Text, Sqlite>>::from_sql(value)?;
        Ok(Self(serde_json::from_str(&json).map_err(unreadable)?))
    }
}

/// What a reminder said, if it said anything.
#[derive(Debug, Clone, PartialEq)]
pub struct MaybeSaid(Option<Json<Said>>);

expressions!(Nullable<Doc>: MaybeSaid);
columns!(Nullable<Doc>: MaybeSaid);

impl From<Option<Said>> for MaybeSaid {
    fn from(said: Option<Said>) -> Self {
        Self(said.map(Json))
    }
}

impl From<MaybeSaid> for Option<Said> {
    fn from(MaybeSaid(said): MaybeSaid) -> Self {
        said.map(Into::into)
    }
}

impl<DB: Backend> ToSql<Nullable<Doc>, DB> for MaybeSaid
where
    Json<Said>: ToSql<Doc, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        ToSql::<Nullable<Doc>, DB>::to_sql(&self.0, out)
    }
}

impl<DB: Backend> FromSql<Nullable<Doc>, DB> for MaybeSaid
where
    Json<Said>: FromSql<Doc, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Some(FromSql::<Doc, DB>::from_sql(value)?)))
    }

    fn from_nullable_sql(value: Option<DB::RawValue<'_>>) -> deserialize::Result<Self> {
        value.map_or(Ok(Self(None)), Self::from_sql)
    }
}

/// Where a document is not as it should be; never what stands there, which may be about somebody.
#[expect(clippy::needless_pass_by_value, reason = "to be handed to map_err as it is")]
fn unreadable(error: serde_json::Error) -> String {
    format!("a document is not as it should be, at line {} column {}", error.line(), error.column())
}
