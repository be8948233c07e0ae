//! Snoozes: that a patient put a reminder off, and until when.

use diesel::prelude::*;
use jiff::Timestamp;

use super::schema::snoozes;
use super::sql::At;
use super::{StoreError, Tx, with_conn};
use crate::ids::{PatientId, ReminderId, SnoozeId};

/// One snooze.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = snoozes, treat_none_as_default_value = false)]
pub struct Snooze {
    /// Its id.
    pub id: SnoozeId,
    /// The reminder.
    pub reminder_id: ReminderId,
    /// Whose it is.
    pub patient_id: PatientId,
    /// When the patient asked for it.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub at: Timestamp,
    /// When the reminder is due again.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub until: Timestamp,
}

impl Tx<'_> {
    /// Notes that a reminder was put off, now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_snooze(
        &mut self,
        patient: PatientId,
        reminder: ReminderId,
        until: Timestamp,
    ) -> Result<Snooze, StoreError> {
        let row = Snooze {
            id: self.env.id(),
            reminder_id: reminder,
            patient_id: patient,
            at: self.now,
            until,
        };
        with_conn!(self, |c| diesel::insert_into(snoozes::table).values(row.clone()).execute(c))?;
        Ok(row)
    }

    /// The snoozes of a reminder, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn snoozes(&mut self, reminder: ReminderId) -> Result<Vec<Snooze>, StoreError> {
        with_conn!(self, |c| snoozes::table
            .filter(snoozes::reminder_id.eq(reminder))
            .order((snoozes::at, snoozes::id))
            .select(Snooze::as_select())
            .load(c))
    }

    /// Every snooze of a patient's, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn snoozes_of(&mut self, patient: PatientId) -> Result<Vec<Snooze>, StoreError> {
        with_conn!(self, |c| snoozes::table
            .filter(snoozes::patient_id.eq(patient))
            .order((snoozes::at, snoozes::id))
            .select(Snooze::as_select())
            .load(c))
    }
}
