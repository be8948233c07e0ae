//! The rows, seen from outside.

use std::collections::BTreeMap;

use aftercare::ids::{PatientId, ReminderId, TreatmentId};
use aftercare::planner::Member;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::SqliteConnection;
use jiff::Timestamp;

#[derive(Debug, Clone, QueryableByName)]
struct Raw {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    patient: String,
    #[diesel(sql_type = BigInt)]
    due_at: i64,
    #[diesel(sql_type = BigInt)]
    use_by: i64,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Text)]
    members: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    attempt_at: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    lease: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    leased_until: Option<i64>,
}

/// A reminder as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: ReminderId,
    pub(crate) patient: PatientId,
    pub(crate) due_at: Timestamp,
    pub(crate) use_by: Timestamp,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    members: String,
    pub(crate) attempt_at: Option<Timestamp>,
    pub(crate) lease: Option<Lease>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) id: String,
    pub(crate) until: Timestamp,
}

impl Lease {
    /// Whose it is.
    pub(crate) fn process(&self) -> u8 {
        author(&self.id)
    }
}

/// The process that made an id.
fn author(id: &str) -> u8 {
    u8::from_str_radix(&id[id.len() - 2..], 16).unwrap()
}

impl Row {
    /// What it carries: each treatment's step.
    pub(crate) fn members(&self) -> Vec<(TreatmentId, String)> {
        let members: Vec<Member> = serde_json::from_str(&self.members).unwrap();
        members.into_iter().map(|one| (one.key.treatment, one.key.step.to_string())).collect()
    }

    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "planned" | "claimed")
    }
}

impl From<Raw> for Row {
    fn from(raw: Raw) -> Self {
        let at = |micros| Timestamp::from_microsecond(micros).unwrap();
        let lease = raw.lease.zip(raw.leased_until);
        Self {
            id: raw.id.parse().unwrap(),
            patient: raw.patient.parse().unwrap(),
            due_at: at(raw.due_at),
            use_by: at(raw.use_by),
            state: raw.state,
            reason: raw.reason,
            members: raw.members,
            attempt_at: raw.attempt_at.map(at),
            lease: lease.map(|(id, until)| Lease { id, until: at(until) }),
        }
    }
}

const REMINDERS: &str = "SELECT lower(hex(id)) AS id, lower(hex(patient_id)) AS patient, due_at, use_by, \
     state, reason, CAST(members AS TEXT) AS members, attempt_at, lower(hex(lease_id)) AS lease, \
     leased_until FROM reminders";

pub(crate) fn reminders(conn: &mut SqliteConnection) -> Vec<Row> {
    let rows: Vec<Raw> = sql_query(format!("{REMINDERS} ORDER BY id")).load(conn).unwrap();
    rows.into_iter().map(Row::from).collect()
}

pub(crate) fn reminder(conn: &mut SqliteConnection, id: ReminderId) -> Option<Row> {
    let id = id.0.simple();
    let found: Option<Raw> =
        sql_query(format!("{REMINDERS} WHERE id = x'{id}'")).get_result(conn).optional().unwrap();
    found.map(Row::from)
}

#[derive(Debug, Clone, QueryableByName)]
struct RawDelivery {
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    reminder: String,
    #[diesel(sql_type = Text)]
    state: String,
}

/// What a process wrote of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) process: u8,
    pub(crate) reminder: ReminderId,
    pub(crate) state: String,
}

/// What was written of attempts since the last look.
pub(crate) fn written(conn: &mut SqliteConnection, seen: &mut i64) -> Vec<Written> {
    let rows: Vec<RawDelivery> = sql_query(format!(
        "SELECT rowid AS n, lower(hex(id)) AS id, lower(hex(reminder_id)) AS reminder, state \
         FROM deliveries WHERE rowid > {seen} ORDER BY rowid"
    ))
    .load(conn)
    .unwrap();
    *seen = rows.last().map_or(*seen, |row| row.n);
    rows.into_iter()
        .map(|row| Written {
            process: author(&row.id),
            reminder: row.reminder.parse().unwrap(),
            state: row.state,
        })
        .collect()
}

#[derive(QueryableByName)]
struct RawLease {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    until: i64,
}

/// The processes that are trying single devices again for a reminder, and until when each holds the last of them.
pub(crate) fn retry_leases(conn: &mut SqliteConnection, id: ReminderId) -> BTreeMap<u8, Timestamp> {
    let sql = format!(
        "SELECT lower(hex(lease_id)) AS id, leased_until AS until FROM deliveries \
         WHERE reminder_id = x'{}' AND lease_id IS NOT NULL ORDER BY leased_until",
        id.0.simple()
    );
    let rows: Vec<RawLease> = sql_query(sql).load(conn).unwrap();
    let until = |row: &RawLease| Timestamp::from_microsecond(row.until).unwrap();
    rows.iter().map(|row| (author(&row.id), until(row))).collect()
}

#[derive(QueryableByName)]
struct Next {
    #[diesel(sql_type = Nullable<BigInt>)]
    next: Option<i64>,
}

/// When a queue that looks every second would find something: an attempt that is due, or a lease that is over.
pub(crate) fn next_moment(conn: &mut SqliteConnection) -> Option<Timestamp> {
    const NEXT: &str = "SELECT min(at) AS next FROM (
        SELECT min(attempt_at) AS at FROM reminders WHERE state = 'planned'
            AND clinic_id NOT IN (SELECT id FROM clinics WHERE paused)
            AND NOT EXISTS (SELECT 1 FROM server WHERE sending_paused)
        UNION ALL SELECT min(leased_until) FROM reminders WHERE state = 'claimed'
        UNION ALL SELECT min(max(d.retry_at, coalesce(d.leased_until, d.retry_at))) FROM deliveries d
            JOIN reminders r ON r.id = d.reminder_id
            WHERE d.state = 'retry' AND d.retry_at IS NOT NULL
            AND r.clinic_id NOT IN (SELECT id FROM clinics WHERE paused)
            AND NOT EXISTS (SELECT 1 FROM server WHERE sending_paused))";
    let next: Next = sql_query(NEXT).get_result(conn).unwrap();
    next.next.map(|micros| Timestamp::from_microsecond(micros).unwrap())
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// How many rows of a patient there are where none may be.
pub(crate) fn left_of(conn: &mut SqliteConnection, id: PatientId) -> i64 {
    let id = id.0.simple();
    let of = |table: &str, column: &str| {
        format!("SELECT count(*) AS n FROM {table} WHERE {column} = x'{id}'")
    };
    let tables = [
        of("patients", "id"),
        of("treatments", "patient_id"),
        of("reminders", "patient_id"),
        of("deliveries", "patient_id"),
        of("devices", "patient_id"),
        of("consents", "patient_id"),
    ];
    tables.iter().map(|sql| sql_query(sql).get_result::<Count>(conn).unwrap().n).sum()
}

/// Whether a scheduler has something in its hands.
pub(crate) fn is_any_claimed(conn: &mut SqliteConnection) -> bool {
    const CLAIMED: &str = "SELECT (SELECT count(*) FROM reminders WHERE state = 'claimed')
        + (SELECT count(*) FROM deliveries WHERE lease_id IS NOT NULL) AS n";
    sql_query(CLAIMED).get_result::<Count>(conn).unwrap().n > 0
}
