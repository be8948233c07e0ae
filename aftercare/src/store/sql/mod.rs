//! How our values look in the two engines.
//!
//! | here | PostgreSQL | SQLite |
//! |---|---|---|
//! | [`Instant`]: `jiff::Timestamp` | `timestamptz` | INTEGER, microseconds since 1970 UTC |
//! | [`Id`]: the ids | `uuid` | BLOB, 16 bytes |
//! | [`Doc`]: JSON documents and sets | `jsonb` | TEXT |
//! | names, states, codes | `text` | TEXT |

use std::io::Write;
use std::str::FromStr;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Binary, Integer, Nullable, SqlType, Text};
use diesel::sqlite::Sqlite;
use uuid::Uuid;

use crate::ids::{
    AmendmentId, AuditId, ClientSecretId, ClinicId, DeliveryId, DeviceId, EnrolmentId, LeaseId,
    PatientId, ProtocolId, RefreshTokenId, ReminderId, SessionId, SigningSecretId, SnoozeId,
    StaffId, StaffSessionId, TestPushId, TreatmentId, WebhookEventId, WebhookId,
};
use crate::locale::Locale;
use crate::planner::{Reason, ReminderState};
use crate::protocol::StepId;
use crate::seal::Digest;
use crate::zone::Zone;

/// An instant, to the microsecond.
#[derive(Debug, Clone, Copy, SqlType, QueryId)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185))]
#[diesel(sqlite_type(name = "Long"))]
pub struct Instant;

/// A UUID.
#[derive(Debug, Clone, Copy, SqlType, QueryId)]
#[diesel(postgres_type(oid = 2950, array_oid = 2951))]
#[diesel(sqlite_type(name = "Binary"))]
pub struct Id;

/// A JSON document.
#[derive(Debug, Clone, Copy, SqlType, QueryId)]
#[diesel(postgres_type(oid = 3802, array_oid = 3807))]
#[diesel(sqlite_type(name = "Text"))]
pub struct Doc;

/// Lets values of a type stand in queries.
macro_rules! expressions {
    ($sql:ty: $($rust:ty),+ $(,)?) => {$(
        impl AsExpression<$sql> for $rust {
            type Expression = Bound<$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl<'a> AsExpression<$sql> for &'a $rust {
            type Expression = Bound<$sql, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }
    )+};
}

/// Lets values of a type come out of rows.
macro_rules! columns {
    ($sql:ty: $($rust:ty),+ $(,)?) => {$(
        impl<DB: Backend> Queryable<$sql, DB> for $rust
        where
            Self: FromSql<$sql, DB>,
        {
            type Row = Self;

            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }
    )+};
}

/// The same for a nullable column; only for types of our own.
macro_rules! nullable_expressions {
    ($sql:ty: $($rust:ty),+ $(,)?) => {$(
        impl AsExpression<Nullable<$sql>> for $rust {
            type Expression = Bound<Nullable<$sql>, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl<'a> AsExpression<Nullable<$sql>> for &'a $rust {
            type Expression = Bound<Nullable<$sql>, Self>;

            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl<DB> ToSql<Nullable<$sql>, DB> for $rust
        where
            DB: Backend,
            Self: ToSql<$sql, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
                ToSql::<$sql, DB>::to_sql(self, out)
            }
        }
    )+};
}

mod documents;
mod instants;

pub(super) use documents::{Json, MaybeSaid};
pub(super) use instants::{At, MaybeAt};

macro_rules! ids {
    ($($name:ident),+ $(,)?) => {
        expressions!(Id: $($name),+);
        columns!(Id: $($name),+);
        nullable_expressions!(Id: $($name),+);
        $(
            impl ToSql<Id, Pg> for $name {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                    out.write_all(self.0.as_bytes())?;
                    Ok(IsNull::No)
                }
            }

            impl ToSql<Id, Sqlite> for $name {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                    out.set_value(self.0.as_bytes().as_slice());
                    Ok(IsNull::No)
                }
            }

            impl FromSql<Id, Pg> for $name {
                fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                    Ok(Self(Uuid::from_slice(value.as_bytes())?))
                }
            }

            impl FromSql<Id, Sqlite> for $name {
                fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                    let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
                    Ok(Self(Uuid::from_slice(&bytes)?))
                }
            }
        )+
    };
}

ids!(
    AmendmentId,
    AuditId,
    ClientSecretId,
    ClinicId,
    DeliveryId,
    DeviceId,
    EnrolmentId,
    LeaseId,
    PatientId,
    ProtocolId,
    RefreshTokenId,
    ReminderId,
    RowId,
    SessionId,
    SigningSecretId,
    SnoozeId,
    StaffId,
    StaffSessionId,
    TestPushId,
    TreatmentId,
    WebhookEventId,
    WebhookId,
);

/// The id of a row of whichever table.
#[derive(Debug, Clone, Copy)]
pub struct RowId(pub Uuid);

expressions!(Binary: Digest);
columns!(Binary: Digest);
nullable_expressions!(Binary: Digest);

impl<DB: Backend> ToSql<Binary, DB> for Digest
where
    [u8]: ToSql<Binary, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        ToSql::<Binary, DB>::to_sql(self.0.as_slice(), out)
    }
}

impl<DB: Backend> FromSql<Binary, DB> for Digest
where
    Vec<u8>: FromSql<Binary, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let bytes = <Vec<u8> as FromSql<Binary, DB>>::from_sql(value)?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| "a digest is 32 bytes")?;
        Ok(Self(bytes))
    }
}

/// A count or a version: unsigned here, a signed integer in both engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(i32);

expressions!(Integer: Count);
columns!(Integer: Count);

impl From<u32> for Count {
    /// What does not fit stays at the largest that does: nobody counts that far.
    fn from(count: u32) -> Self {
        Self(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

impl From<Count> for u32 {
    fn from(Count(count): Count) -> Self {
        count.unsigned_abs()
    }
}

impl<DB: Backend> ToSql<Integer, DB> for Count
where
    i32: ToSql<Integer, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.0.to_sql(out)
    }
}

impl<DB: Backend> FromSql<Integer, DB> for Count
where
    i32: FromSql<Integer, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let count = i32::from_sql(value)?;
        if count < 0 { Err("a negative count".into()) } else { Ok(Self(count)) }
    }
}

/// Types kept as text, through `Display` and a way back.
macro_rules! texts {
    ($parse:path: $($rust:ty),+ $(,)?) => {
        expressions!(Text: $($rust),+);
        columns!(Text: $($rust),+);
        nullable_expressions!(Text: $($rust),+);
        $(
            impl ToSql<Text, Pg> for $rust {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                    write!(out, "{self}")?;
                    Ok(IsNull::No)
                }
            }

            impl ToSql<Text, Sqlite> for $rust {
                fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                    out.set_value(self.to_string());
                    Ok(IsNull::No)
                }
            }

            impl<DB: Backend> FromSql<Text, DB> for $rust
            where
                String: FromSql<Text, DB>,
            {
                fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
                    Ok($parse(<String as FromSql<Text, DB>>::from_sql(value)?.as_str())?)
                }
            }
        )+
    };
}

texts!(
    FromStr::from_str:
    Locale,
    Zone,
    Reason,
    ReminderState,
    crate::store::PushContent,
    crate::store::ConsentKind,
    crate::store::DeliveryState,
    crate::store::AddressKind,
    crate::store::DeliveryMode,
    crate::store::DeviceState,
    crate::store::Platform,
    crate::store::ReceiptKind,
    crate::store::TreatmentState,
    crate::store::AmendmentKind,
    crate::store::WebhookEventState,
    crate::webhook::EventType,
);
texts!(TryFrom::try_from: StepId);
