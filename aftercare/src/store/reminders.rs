//! Reminders as the plan knows them; how they are worked off is in [`super::queue`].

use diesel::prelude::*;
use diesel::upsert::excluded;
use jiff::Timestamp;

use super::conn::Conn;
use super::kept::Keep as _;
use super::schema::reminders;
use super::sql::{At, Count, Json, MaybeAt, MaybeSaid};
use super::{BATCH, StoreError, Tx, with_conn};
use crate::ids::{ClinicId, LeaseId, PatientId, ReminderId, TreatmentId};
use crate::planner::{Member, Reason, ReminderState, Said};
use crate::protocol::StepId;

/// One planned notification.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, QueryableByName)]
#[diesel(table_name = reminders, treat_none_as_default_value = false)]
pub struct Reminder {
    /// Its id: stable across re-plans, and what the phone knows it by.
    pub id: ReminderId,
    /// Whose patient's.
    pub clinic_id: ClinicId,
    /// Whose it is.
    pub patient_id: PatientId,
    /// With `step_id` the key: unique, and kept for as long as the reminder is.
    pub treatment_id: TreatmentId,
    /// The protocol's step; of a bundle its first.
    pub step_id: StepId,
    /// When it is due: what people see.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub due_at: Timestamp,
    /// After this instant it is never sent.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub use_by: Timestamp,
    /// Where it stands.
    pub state: ReminderState,
    /// Why it stands there.
    pub reason: Option<Reason>,
    /// The steps it carries.
    #[diesel(serialize_as = Json<Vec<Member>>, deserialize_as = Json<Vec<Member>>)]
    pub members: Vec<Member>,
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
    /// When it was first planned.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub updated_at: Timestamp,
    /// Where its last snooze put it. While it is planned for that very instant it is snoozed; when it
    /// was cancelled since, it is wanted again there.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub snoozed_until: Option<Timestamp>,
    /// What it said when it was sent last, if that is known.
    #[diesel(serialize_as = MaybeSaid, deserialize_as = MaybeSaid)]
    pub said: Option<Said>,
}

impl Reminder {
    /// Where it stands as people see it: a claim is the dispatcher's own affair.
    #[must_use]
    pub fn shown_state(&self) -> ReminderState {
        match self.state {
            ReminderState::Claimed => ReminderState::Planned,
            state => state,
        }
    }

    /// When it was said, or will be.
    #[must_use]
    pub fn spoken_at(&self) -> Timestamp {
        self.sent_at.filter(|_| self.state == ReminderState::Sent).unwrap_or(self.due_at)
    }
}

/// Writes what is known by its id over what was there.
macro_rules! saving {
    ($rows:expr) => {
        diesel::insert_into(reminders::table)
            .values($rows)
            .on_conflict(reminders::id)
            .do_update()
            .set((
                reminders::due_at.eq(excluded(reminders::due_at)),
                reminders::use_by.eq(excluded(reminders::use_by)),
                reminders::state.eq(excluded(reminders::state)),
                reminders::reason.eq(excluded(reminders::reason)),
                reminders::members.eq(excluded(reminders::members)),
                reminders::attempt_at.eq(excluded(reminders::attempt_at)),
                reminders::attempts.eq(excluded(reminders::attempts)),
                reminders::lease_id.eq(excluded(reminders::lease_id)),
                reminders::leased_until.eq(excluded(reminders::leased_until)),
                reminders::sent_at.eq(excluded(reminders::sent_at)),
                reminders::updated_at.eq(excluded(reminders::updated_at)),
                reminders::snoozed_until.eq(excluded(reminders::snoozed_until)),
                reminders::said.eq(excluded(reminders::said)),
                reminders::shelved.eq(false),
            ))
    };
}

/// By patient and due time. PostgreSQL, asked for an order, would go through an index that has it.
fn in_order(mut reminders: Vec<Reminder>) -> Vec<Reminder> {
    reminders.sort_unstable_by_key(|one| (one.patient_id, one.due_at, one.id));
    reminders
}

impl Tx<'_> {
    /// Writes reminders as given: new ones, and known ones (by id) over what was there, except their
    /// key, owner and `created_at`.
    ///
    /// Write only known ones that this transaction has locked ([`Tx::lock_reminders`]): otherwise a
    /// claim in between is lost.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another reminder has the same key.
    pub fn save_reminders(&mut self, rows: &[Reminder]) -> Result<(), StoreError> {
        for rows in rows.chunks(BATCH) {
            let saved = match &mut *self.conn {
                Conn::Pg(c) => saving!(rows.to_vec()).kept_for_rows(rows).run(&mut **c),
                // There and back is no way at all, and one statement is prepared for whatever number.
                Conn::Sqlite(c) => {
                    rows.iter().try_for_each(|row| saving!(row.clone()).execute(&mut **c).map(drop))
                }
            };
            saved.map_err(|error| self.refused(error))?;
        }
        Ok(())
    }

    /// Every reminder of a patient, whatever its state, by due time.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn reminders(&mut self, patient: PatientId) -> Result<Vec<Reminder>, StoreError> {
        self.reminders_of(&[patient])
    }

    /// Every reminder of many patients, ordered by patient and due time.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn reminders_of(&mut self, patients: &[PatientId]) -> Result<Vec<Reminder>, StoreError> {
        let mut found = Vec::new();
        for patients in patients.chunks(BATCH) {
            found.append(&mut with_conn!(self, |c| reminders::table
                .filter(reminders::patient_id.eq_any(patients))
                .select(Reminder::as_select())
                .kept_for(patients)
                .load(c))?);
        }
        Ok(in_order(found))
    }

    /// Of [`Tx::reminders_of`] those that count when something goes out: what was said, is held, or is over.
    /// What only waits, or was never to be said, is left out.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn reminders_told_or_held(
        &mut self,
        patients: &[PatientId],
    ) -> Result<Vec<Reminder>, StoreError> {
        let mut found = Vec::new();
        for patients in patients.chunks(BATCH) {
            found.append(&mut with_conn!(self, |c| reminders::table
                .filter(reminders::patient_id.eq_any(patients))
                .filter(
                    reminders::state.ne(ReminderState::Planned).or(reminders::said.is_not_null())
                )
                .select(Reminder::as_select())
                .kept_for(patients)
                .load(c))?);
        }
        Ok(in_order(found))
    }

    /// [`Tx::reminders`] that nobody else can claim, complete or change until this transaction ends.
    ///
    /// # Errors
    /// When the database refuses; [`StoreError::Busy`] when the wait takes too long.
    pub fn lock_reminders(&mut self, patient: PatientId) -> Result<Vec<Reminder>, StoreError> {
        self.lock_reminders_of(&[patient])
    }

    /// [`Tx::reminders_of`], locked as [`Tx::lock_reminders`] does, in the order of their ids.
    ///
    /// # Errors
    /// As [`Tx::lock_reminders`].
    pub fn lock_reminders_of(
        &mut self,
        patients: &[PatientId],
    ) -> Result<Vec<Reminder>, StoreError> {
        let Conn::Pg(c) = &mut *self.conn else { return self.reminders_of(patients) };
        // What somebody else changed meanwhile is read as it is once the lock is had.
        let locked = reminders::table
            .filter(reminders::patient_id.eq_any(patients))
            .order(reminders::id)
            .select(Reminder::as_select())
            .for_no_key_update()
            .kept_for(patients)
            .load(&mut **c);
        locked.map(in_order).map_err(|error| self.refused(error))
    }

    /// The reminder with this id, if it is this patient's.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn reminder(
        &mut self,
        patient: PatientId,
        id: ReminderId,
    ) -> Result<Option<Reminder>, StoreError> {
        with_conn!(self, |c| reminders::table
            .filter(reminders::id.eq(id))
            .filter(reminders::patient_id.eq(patient))
            .select(Reminder::as_select())
            .first(c)
            .optional())
    }
}
