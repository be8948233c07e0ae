//! Pushes that are asked for to see whether they reach a phone: of each patient the last one.
//!
//! A queue of its own beside the reminders', worked off in the same way: claimed under a lease,
//! completed only by whoever holds it.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel::upsert::excluded;
use jiff::Timestamp;

use super::kept::{Keep as _, columns};
use super::queue::Outcome;
use super::schema::test_pushes;
use super::sql::{At, Count, Id, Instant, MaybeAt};
use super::{ReceiptKind, StoreError, Tx, with_conn};
use crate::ids::{ClinicId, LeaseId, PatientId, TestPushId};
use crate::planner::{Reason, ReminderState};

/// One test push.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, QueryableByName)]
#[diesel(table_name = test_pushes, treat_none_as_default_value = false)]
pub struct TestPush {
    /// Whose phones it goes to.
    pub patient_id: PatientId,
    /// Whose patient's.
    pub clinic_id: ClinicId,
    /// Its id: what the phone knows it by, where a reminder's id would stand.
    pub id: TestPushId,
    /// Where it stands: planned, claimed, sent, expired or failed.
    pub state: ReminderState,
    /// Why it stands there.
    pub reason: Option<Reason>,
    /// When it was asked for.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub requested_at: Timestamp,
    /// After this instant it is never sent.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub use_by: Timestamp,
    /// When the phone has rested from this test and those before it.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub rested_at: Timestamp,
    /// When the queue looks at it next; set while it is planned.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub attempt_at: Option<Timestamp>,
    /// How often it was claimed.
    #[diesel(serialize_as = Count, deserialize_as = Count)]
    pub attempts: u32,
    /// Whose claim it is under; set while it is claimed.
    pub lease_id: Option<LeaseId>,
    /// Until when that claim holds.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub leased_until: Option<Timestamp>,
    /// When the first device accepted it.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub sent_at: Option<Timestamp>,
    /// When a phone showed it first, by the phone's clock.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub displayed_at: Option<Timestamp>,
    /// When somebody reacted to it first, by the phone's clock.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub acknowledged_at: Option<Timestamp>,
}

impl Tx<'_> {
    /// Asks for a test push now, in place of the patient's last one.
    ///
    /// The patient must be locked ([`Tx::lock_patient`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_test_push(
        &mut self,
        clinic: ClinicId,
        patient: PatientId,
        use_by: Timestamp,
        rested_at: Timestamp,
    ) -> Result<TestPush, StoreError> {
        let row = TestPush {
            patient_id: patient,
            clinic_id: clinic,
            id: self.env.id(),
            state: ReminderState::Planned,
            reason: None,
            requested_at: self.now,
            use_by,
            rested_at,
            attempt_at: Some(self.now),
            attempts: 0,
            lease_id: None,
            leased_until: None,
            sent_at: None,
            displayed_at: None,
            acknowledged_at: None,
        };
        with_conn!(self, |c| diesel::insert_into(test_pushes::table)
            .values(row.clone())
            .on_conflict(test_pushes::patient_id)
            .do_update()
            .set((
                test_pushes::id.eq(excluded(test_pushes::id)),
                test_pushes::state.eq(excluded(test_pushes::state)),
                test_pushes::reason.eq(excluded(test_pushes::reason)),
                test_pushes::requested_at.eq(excluded(test_pushes::requested_at)),
                test_pushes::use_by.eq(excluded(test_pushes::use_by)),
                test_pushes::rested_at.eq(excluded(test_pushes::rested_at)),
                test_pushes::attempt_at.eq(excluded(test_pushes::attempt_at)),
                test_pushes::attempts.eq(excluded(test_pushes::attempts)),
                test_pushes::lease_id.eq(excluded(test_pushes::lease_id)),
                test_pushes::leased_until.eq(excluded(test_pushes::leased_until)),
                test_pushes::sent_at.eq(excluded(test_pushes::sent_at)),
                test_pushes::displayed_at.eq(excluded(test_pushes::displayed_at)),
                test_pushes::acknowledged_at.eq(excluded(test_pushes::acknowledged_at)),
            ))
            .execute(c))?;
        Ok(row)
    }

    /// The last test push of a patient.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn test_push(&mut self, patient: PatientId) -> Result<Option<TestPush>, StoreError> {
        with_conn!(self, |c| test_pushes::table
            .find(patient)
            .select(TestPush::as_select())
            .first(c)
            .optional())
    }

    /// Notes what a phone reports of a test push; of two reports of one kind the earlier.
    ///
    /// The patient must be locked ([`Tx::lock_patient`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn note_test_receipt(
        &mut self,
        push: &TestPush,
        kind: ReceiptKind,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let earlier = |known: Option<Timestamp>| Some(At(known.map_or(at, |known| known.min(at))));
        let row = test_pushes::table.filter(test_pushes::id.eq(push.id));
        with_conn!(self, |c| match kind {
            ReceiptKind::Displayed => diesel::update(row)
                .set(test_pushes::displayed_at.eq(earlier(push.displayed_at)))
                .execute(c),
            ReceiptKind::Acknowledged => diesel::update(row)
                .set(test_pushes::acknowledged_at.eq(earlier(push.acknowledged_at)))
                .execute(c),
        })?;
        Ok(())
    }

    /// Claims up to `limit` test pushes that are due and still of use, until `lease_until`; as
    /// [`Tx::claim_due`].
    ///
    /// # Errors
    /// When the database refuses.
    pub fn claim_test_pushes(
        &mut self,
        limit: i64,
        lease: LeaseId,
        lease_until: Timestamp,
    ) -> Result<Vec<TestPush>, StoreError> {
        let now = At(self.now);
        let sql = format!(
            "WITH due AS MATERIALIZED (
                SELECT id FROM test_pushes
                WHERE state = 'planned' AND attempt_at <= $1 AND use_by > $1
                  AND clinic_id NOT IN (SELECT id FROM clinics WHERE paused)
                  AND NOT EXISTS (SELECT 1 FROM server WHERE sending_paused)
                ORDER BY attempt_at, id LIMIT $2 {lock})
             UPDATE test_pushes SET state = 'claimed', lease_id = $3, leased_until = $4,
                attempts = attempts + 1
             WHERE id IN (SELECT id FROM due)
             RETURNING {columns}",
            columns = columns::<TestPush>()?,
            lock = self.on_postgres("FOR UPDATE SKIP LOCKED"),
        );
        with_conn!(self, |c| sql_query(&sql)
            .bind::<Instant, _>(now)
            .bind::<BigInt, _>(limit)
            .bind::<Id, _>(lease)
            .bind::<Instant, _>(At(lease_until))
            .kept()
            .load(c))
    }

    /// Writes what became of a claimed test push, if it is still claimed under this lease; whether it
    /// was.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn complete_test_push(
        &mut self,
        lease: LeaseId,
        id: TestPushId,
        outcome: &Outcome,
    ) -> Result<bool, StoreError> {
        let (state, reason, attempt_at, sent_at) = outcome.columns();
        let done = with_conn!(self, |c| diesel::update(test_pushes::table)
            .filter(test_pushes::id.eq(id))
            .filter(test_pushes::state.eq(ReminderState::Claimed))
            .filter(test_pushes::lease_id.eq(Some(lease)))
            .set((
                test_pushes::state.eq(state),
                test_pushes::reason.eq(Some(reason)),
                test_pushes::attempt_at.eq(attempt_at.map(At)),
                test_pushes::sent_at.eq(sent_at.map(At)),
                test_pushes::lease_id.eq(None::<LeaseId>),
                test_pushes::leased_until.eq(None::<At>),
            ))
            .execute(c))?;
        Ok(done > 0)
    }

    /// Puts test pushes whose lease has run out back into the queue; gives how many.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn release_expired_test_leases(&mut self) -> Result<usize, StoreError> {
        let now = At(self.now);
        let sql = format!(
            "WITH lost AS MATERIALIZED (
                SELECT id FROM test_pushes WHERE state = 'claimed' AND leased_until <= $1 {lock})
             UPDATE test_pushes SET state = 'planned', attempt_at = coalesce(attempt_at, $1),
                lease_id = NULL, leased_until = NULL
             WHERE id IN (SELECT id FROM lost)",
            lock = self.on_postgres("FOR UPDATE SKIP LOCKED"),
        );
        with_conn!(self, |c| sql_query(&sql).bind::<Instant, _>(now).execute(c))
    }

    /// Ends the test pushes that were not sent by their use-by, so that no claim is spent on them; gives how
    /// many.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn expire_test_pushes(&mut self) -> Result<usize, StoreError> {
        let now = At(self.now);
        let sql = format!(
            "WITH late AS MATERIALIZED (
                SELECT id FROM test_pushes WHERE state = 'planned' AND use_by <= $1 {lock})
             UPDATE test_pushes SET state = 'expired', reason = 'past-use-by', attempt_at = NULL
             WHERE id IN (SELECT id FROM late)",
            lock = self.on_postgres("FOR UPDATE SKIP LOCKED"),
        );
        with_conn!(self, |c| sql_query(&sql).bind::<Instant, _>(now).execute(c))
    }
}
