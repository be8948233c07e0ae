//! Who has been kept for as long as the operator keeps patients.

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use jiff::Timestamp;

use super::schema::{patients, reminders, treatments};
use super::sql::{At, MaybeAt};
use super::{StoreError, TreatmentState, Tx, with_conn};
use crate::ids::PatientId;
use crate::planner::ReminderState;

/// The patients of whom nothing happened after `$before` and nothing lies ahead of `$now`.
macro_rules! over {
    ($before:expr, $now:expr) => {{
        let counting = || {
            treatments::table
                .filter(treatments::patient_id.eq(patients::id))
                .filter(treatments::state.ne(TreatmentState::Voided))
        };
        let lately = counting()
            .filter(treatments::completed_at.gt($before).or(treatments::recorded_at.gt($before)));
        let booked = counting().filter(treatments::next_session_at.gt(MaybeAt::from(Some($now))));
        let planned = reminders::table
            .filter(reminders::patient_id.eq(patients::id))
            .filter(reminders::state.eq_any([ReminderState::Planned, ReminderState::Claimed]));
        patients::table
            .filter(patients::updated_at.le($before).or(exists(counting())))
            .filter(not(exists(lately)))
            .filter(not(exists(booked)))
            .filter(not(exists(planned)))
            .select(patients::id)
    }};
}

impl Tx<'_> {
    /// Up to `limit` patients, by id and beyond `after`, whose last treatment was completed and recorded
    /// at or before `before` (of one without any: who last changed then), with nothing planned and no
    /// session booked. Voided treatments do not count.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn patients_over(
        &mut self,
        before: Timestamp,
        after: Option<PatientId>,
        limit: i64,
    ) -> Result<Vec<PatientId>, StoreError> {
        let (before, now) = (At(before), self.now);
        let after = after.unwrap_or(PatientId(uuid::Uuid::nil()));
        with_conn!(self, |c| over!(before, now)
            .filter(patients::id.gt(after))
            .order(patients::id)
            .limit(limit)
            .load(c))
    }

    /// Whether [`Tx::patients_over`] counts this patient, whom nobody else can change until this
    /// transaction ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lock_if_over(&mut self, id: PatientId, before: Timestamp) -> Result<bool, StoreError> {
        self.lock_everything_of(id)?;
        let (before, now) = (At(before), self.now);
        let found: Option<PatientId> = with_conn!(self, |c| over!(before, now)
            .filter(patients::id.eq(id))
            .first(c)
            .optional())?;
        Ok(found.is_some())
    }
}
