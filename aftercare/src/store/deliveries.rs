//! Deliveries: one row for each attempt to push one reminder to one device.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use jiff::Timestamp;

use super::conn::{Conn, PgConnection};
use super::kept::{Keep as _, columns};
use super::schema::deliveries;
use super::sql::{At, Count, Id, Instant, MaybeAt};
use super::{BATCH, StoreError, Tx, with_conn};
use crate::ids::{DeliveryId, DeviceId, LeaseId, PatientId, ReminderId};
use crate::words::words;

words! {
    /// How an attempt ended.
    DeliveryState {
        /// FCM accepted it.
        Sent = "sent",
        /// Another attempt follows, or followed.
        Retry = "retry",
        /// It failed for good.
        Failed = "failed",
        /// The address is gone.
        Gone = "gone",
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, QueryableByName)]
#[diesel(table_name = deliveries, treat_none_as_default_value = false)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The reminder that was pushed.
    pub reminder_id: ReminderId,
    /// Whose it is.
    pub patient_id: PatientId,
    /// The device it was pushed to; it may be gone since.
    pub device_id: DeviceId,
    /// Which attempt at this device it was, from 1.
    #[diesel(serialize_as = Count, deserialize_as = Count)]
    pub attempt: u32,
    /// How it ended.
    pub state: DeliveryState,
    /// FCM's HTTP status.
    pub status: Option<i32>,
    /// FCM's error code, or ours.
    pub code: Option<String>,
    /// More words from FCM; never an address.
    pub detail: Option<String>,
    /// When it was.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub at: Timestamp,
    /// When the next attempt is due; none once that one has been made or dropped.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub retry_at: Option<Timestamp>,
    /// Whose claim the retry is under.
    pub lease_id: Option<LeaseId>,
    /// Until when that claim holds.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub leased_until: Option<Timestamp>,
}

impl Tx<'_> {
    /// Writes attempts down.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_deliveries(&mut self, rows: &[Delivery]) -> Result<(), StoreError> {
        if let Conn::Pg(c) = &mut *self.conn {
            return insert_at_once(c, rows).map_err(|error| self.refused(error));
        }
        for row in rows {
            with_conn!(self, |c| diesel::insert_into(deliveries::table)
                .values(row.clone())
                .execute(c))?;
        }
        Ok(())
    }

    /// Every attempt at a reminder, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn deliveries(&mut self, reminder: ReminderId) -> Result<Vec<Delivery>, StoreError> {
        self.deliveries_of(&[reminder])
    }

    /// Every attempt at many reminders, ordered by reminder and time.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn deliveries_of(&mut self, of: &[ReminderId]) -> Result<Vec<Delivery>, StoreError> {
        let mut found = Vec::new();
        for of in of.chunks(BATCH) {
            found.append(&mut with_conn!(self, |c| deliveries::table
                .filter(deliveries::reminder_id.eq_any(of))
                .order((deliveries::reminder_id, deliveries::at, deliveries::id))
                .select(Delivery::as_select())
                .kept_for(of)
                .load(c))?);
        }
        Ok(found)
    }

    /// Claims up to `limit` attempts whose retry is due, the most overdue first, until `lease_until`. Those
    /// of paused clinics wait; those under a claim that still holds are another's.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn claim_retries(
        &mut self,
        limit: i64,
        lease: LeaseId,
        lease_until: Timestamp,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.follow_the_index()?;
        let now = At(self.now);
        let sql = format!(
            "WITH due AS MATERIALIZED (
                SELECT d.id FROM deliveries d
                JOIN reminders r ON r.id = d.reminder_id
                WHERE d.state = 'retry' AND d.retry_at <= $1
                  AND (d.lease_id IS NULL OR d.leased_until <= $1)
                  AND r.clinic_id NOT IN (SELECT id FROM clinics WHERE paused)
                  AND NOT EXISTS (SELECT 1 FROM server WHERE sending_paused)
                ORDER BY d.retry_at, d.id LIMIT $2 {lock})
             UPDATE deliveries SET lease_id = $3, leased_until = $4
             WHERE id IN (SELECT id FROM due)
             RETURNING {columns}",
            columns = columns::<Delivery>()?,
            lock = self.on_postgres("FOR UPDATE OF d SKIP LOCKED"),
        );
        let mut claimed: Vec<Delivery> = with_conn!(self, |c| sql_query(&sql)
            .bind::<Instant, _>(now)
            .bind::<BigInt, _>(limit)
            .bind::<Id, _>(lease)
            .bind::<Instant, _>(At(lease_until))
            .kept()
            .load(c))?;
        claimed.sort_by_key(|delivery| (delivery.retry_at, delivery.id));
        Ok(claimed)
    }

    /// Ends retries that this lease claimed: the next attempt was made, or will never be. Gives the
    /// ids of those that were still this lease's; what became of the others is another's to say.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn finish_retries(
        &mut self,
        lease: LeaseId,
        ids: &[DeliveryId],
    ) -> Result<Vec<DeliveryId>, StoreError> {
        let mut finished = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            finished.append(&mut with_conn!(self, |c| diesel::update(deliveries::table)
                .filter(deliveries::id.eq_any(ids))
                .filter(deliveries::lease_id.eq(Some(lease)))
                .set((
                    deliveries::retry_at.eq(None::<At>),
                    deliveries::lease_id.eq(None::<LeaseId>),
                    deliveries::leased_until.eq(None::<At>),
                ))
                .returning(deliveries::id)
                .get_results(c))?);
        }
        Ok(finished)
    }
}

/// One array for each column: the statement is the same however many rows there are, so that PostgreSQL
/// reads and plans it once.
fn insert_at_once(conn: &mut PgConnection, rows: &[Delivery]) -> QueryResult<()> {
    const INSERT: &str = "INSERT INTO deliveries (id, reminder_id, patient_id, device_id, attempt, state,
            status, code, detail, at, retry_at, lease_id, leased_until)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::integer[], $6::text[],
            $7::integer[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::uuid[],
            $13::timestamptz[])";
    fn column<T>(rows: &[Delivery], of: impl Fn(&Delivery) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    if rows.is_empty() {
        return Ok(());
    }
    sql_query(INSERT)
        .bind::<Array<Id>, _>(column(rows, |row| row.id))
        .bind::<Array<Id>, _>(column(rows, |row| row.reminder_id))
        .bind::<Array<Id>, _>(column(rows, |row| row.patient_id))
        .bind::<Array<Id>, _>(column(rows, |row| row.device_id))
        .bind::<Array<Integer>, _>(column(rows, |row| {
            i32::try_from(row.attempt).unwrap_or(i32::MAX)
        }))
        .bind::<Array<Text>, _>(column(rows, |row| row.state))
        .bind::<Array<Nullable<Integer>>, _>(column(rows, |row| row.status))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.code.clone()))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.detail.clone()))
        .bind::<Array<Instant>, _>(column(rows, |row| At(row.at)))
        .bind::<Array<Nullable<Instant>>, _>(column(rows, |row| row.retry_at.map(At)))
        .bind::<Array<Nullable<Id>>, _>(column(rows, |row| row.lease_id))
        .bind::<Array<Nullable<Instant>>, _>(column(rows, |row| row.leased_until.map(At)))
        .kept()
        .run(conn)
}
