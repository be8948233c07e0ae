//! When the next session of a course is due: kept beside its last treatment until that is told.

use diesel::prelude::*;
use jiff::Timestamp;

use super::schema::treatments;
use super::sql::MaybeAt;
use super::{StoreError, Tx, with_conn};
use crate::ids::{PatientId, TreatmentId};

impl Tx<'_> {
    /// Writes down from when on the session after this treatment is due; `None` when that is not to be
    /// told.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_session_due(
        &mut self,
        id: TreatmentId,
        due: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let due = MaybeAt::from(due);
        with_conn!(self, |c| diesel::update(treatments::table.find(id))
            .set(treatments::session_due_at.eq(due))
            .execute(c))?;
        Ok(())
    }

    /// Writes down that it was told now that the session after this treatment is due.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_session_told(&mut self, id: TreatmentId) -> Result<(), StoreError> {
        let now = MaybeAt::from(Some(self.now));
        with_conn!(self, |c| diesel::update(treatments::table.find(id))
            .set((
                treatments::session_due_at.eq(MaybeAt::from(None)),
                treatments::session_told_at.eq(now),
            ))
            .execute(c))?;
        Ok(())
    }

    /// Up to `limit` patients, by id and beyond `after`, with a session that is due and not told.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn patients_with_due_sessions(
        &mut self,
        after: Option<PatientId>,
        limit: i64,
    ) -> Result<Vec<PatientId>, StoreError> {
        let now = MaybeAt::from(Some(self.now));
        let after = after.unwrap_or(PatientId(uuid::Uuid::nil()));
        with_conn!(self, |c| treatments::table
            .filter(treatments::session_due_at.le(now))
            .filter(treatments::patient_id.gt(after))
            .order(treatments::patient_id)
            .limit(limit)
            .select(treatments::patient_id)
            .distinct()
            .load(c))
    }
}
