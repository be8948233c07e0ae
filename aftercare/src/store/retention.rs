//! Who has been kept for as long as the operator keeps patients, and what.

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use jiff::Timestamp;

use super::schema::{patients, reminders, treatments};
use super::sql::{At, MaybeAt};
use super::{StoreError, TreatmentState, Tx, with_conn};
use crate::ids::{PatientId, TreatmentId};
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

    /// Up to `limit` patients, by id and beyond `after`, with a treatment that is not closed, was completed
    /// and recorded at or before `before`, and is not known to be worth anything after it ([`Tx::set_over`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn patients_to_close(
        &mut self,
        before: Timestamp,
        after: Option<PatientId>,
        limit: i64,
    ) -> Result<Vec<PatientId>, StoreError> {
        let (before, at) = (At(before), MaybeAt::from(Some(before)));
        let after = after.unwrap_or(PatientId(uuid::Uuid::nil()));
        with_conn!(self, |c| treatments::table
            .filter(treatments::patient_id.gt(after))
            .filter(treatments::closed_at.is_null())
            .filter(treatments::completed_at.le(before))
            .filter(treatments::recorded_at.le(before))
            .filter(treatments::over_at.is_null().or(treatments::over_at.le(at)))
            .order(treatments::patient_id)
            .select(treatments::patient_id)
            .distinct()
            .limit(limit)
            .load(c))
    }

    /// Notes from when on nothing of a treatment is worth anything. Changing the treatment forgets it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_over(&mut self, id: TreatmentId, at: Timestamp) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::update(treatments::table.find(id))
            .set(treatments::over_at.eq(Some(At(at))))
            .execute(c))?;
        Ok(())
    }

    /// Deletes the reminders of a treatment, with all that hangs on them, and keeps none of it any more from
    /// now on. Lock what is the patient's before ([`Tx::lock_everything_of`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn close_treatment(&mut self, id: TreatmentId) -> Result<(), StoreError> {
        let now = At(self.now);
        with_conn!(self, |c| diesel::delete(reminders::table)
            .filter(reminders::treatment_id.eq(id))
            .execute(c))?;
        with_conn!(self, |c| diesel::update(treatments::table.find(id))
            .set(treatments::closed_at.eq(Some(now)))
            .execute(c))?;
        Ok(())
    }

    /// Lets a treatment that was closed be planned again.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn reopen_treatment(&mut self, id: TreatmentId) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::update(treatments::table.find(id))
            .set(treatments::closed_at.eq(None::<At>))
            .execute(c))?;
        Ok(())
    }
}
