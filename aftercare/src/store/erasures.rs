//! Erasing a patient, and remembering that it was done.
//!
//! The patient's wrapped key goes with all their rows, so that sealed text which is still somewhere (a
//! backup, a write-ahead log) opens no more. What stays is one row with opaque ids. It is copied to a
//! file outside the database ([`ErasureFile`]): a restored backup has the patient again and the row
//! not, and whoever starts on it erases them anew.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use diesel::prelude::*;
use jiff::{SignedDuration, Timestamp};

use super::conn::Conn;
use super::erasure_file::{ErasureFile, ErasureFileError};
use super::schema::{
    deliveries, devices, erasures, patients, reminders, sessions, test_pushes, webhook_events,
};
use super::sql::At;
use super::{BATCH, Store, StoreError, Tx, with_conn};
use crate::ids::{ClinicId, DeliveryId, DeviceId, PatientId, ReminderId, SessionId, TestPushId};

/// How far back erasures are read again: a transaction that began so long ago is over by now.
const OVERLAP: SignedDuration = SignedDuration::from_mins(5);

/// One patient that is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = erasures, treat_none_as_default_value = false)]
pub struct Erasure {
    /// Who it was.
    pub patient_id: PatientId,
    /// Whose patient it was.
    pub clinic_id: ClinicId,
    /// When.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub at: Timestamp,
}

/// What this process knows of erasures.
#[derive(Debug, Default)]
pub(super) struct Erased {
    file: Option<ErasureFile>,
    seen: Mutex<Seen>,
    /// Held by whoever finishes erasures: two at once would undo each other's bookkeeping.
    finishing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The latest erasure that was read from the table, and never a later instant than it was read at.
    until: Option<Timestamp>,
    /// Those of the last few minutes: nothing more may leave for them.
    lately: HashSet<PatientId>,
    /// Whether deleted bytes may still be in the write-ahead log.
    bytes_left: bool,
}

impl Erased {
    pub(super) fn new(file: Option<ErasureFile>) -> Self {
        Self { file, ..Self::default() }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tx<'_> {
    /// Destroys a patient's key and every row of theirs, and notes that; `None` when there is no such
    /// patient. Whoever is settling a push of theirs is waited for; whoever comes later finds nothing.
    ///
    /// # Errors
    /// When the database refuses; [`StoreError::Busy`] when the wait takes too long.
    pub fn erase_patient(&mut self, id: PatientId) -> Result<Option<Erasure>, StoreError> {
        self.lock_everything_of(id)?;
        let clinic: Option<ClinicId> =
            with_conn!(self, |c| diesel::delete(patients::table.find(id))
                .returning(patients::clinic_id)
                .get_result(c)
                .optional())?;
        let Some(clinic_id) = clinic else { return Ok(None) };
        let erasure = Erasure { patient_id: id, clinic_id, at: self.now };
        self.note_erasures(&[erasure])?;
        Ok(Some(erasure))
    }

    /// Takes the locks that the deletion needs in everybody's order: the deletion itself would take
    /// them in an order of its own. Nothing has to open for it.
    ///
    /// # Errors
    /// When the database refuses; [`StoreError::Busy`] when the wait takes too long.
    pub fn lock_everything_of(&mut self, id: PatientId) -> Result<(), StoreError> {
        if let Conn::Pg(c) = &mut *self.conn {
            let c = &mut **c;
            // As whoever plans does, and not FOR UPDATE yet: whoever is settling must get its rows in.
            let locked = patients::table
                .find(id)
                .select(patients::id)
                .for_no_key_update()
                .load::<PatientId>(c)
                .and_then(|_| {
                    reminders::table
                        .filter(reminders::patient_id.eq(id))
                        .order(reminders::id)
                        .select(reminders::id)
                        .for_no_key_update()
                        .load::<ReminderId>(c)
                })
                .and_then(|theirs| {
                    deliveries::table
                        .filter(deliveries::reminder_id.eq_any(theirs))
                        .order(deliveries::id)
                        .select(deliveries::id)
                        .for_update()
                        .load::<DeliveryId>(c)
                })
                .and_then(|_| {
                    test_pushes::table
                        .find(id)
                        .select(test_pushes::id)
                        .for_update()
                        .load::<TestPushId>(c)
                })
                .and_then(|_| {
                    devices::table
                        .filter(devices::patient_id.eq(id))
                        .order(devices::id)
                        .select(devices::id)
                        .for_update()
                        .load::<DeviceId>(c)
                })
                .and_then(|_| {
                    sessions::table
                        .filter(sessions::patient_id.eq(id))
                        .order(sessions::id)
                        .select(sessions::id)
                        .for_update()
                        .load::<SessionId>(c)
                })
                .and_then(|_| {
                    webhook_events::table
                        .filter(webhook_events::patient_id.eq(id))
                        .order(webhook_events::seq)
                        .select(webhook_events::seq)
                        .for_update()
                        .load::<i64>(c)
                });
            locked.map_err(|error| self.refused(error))?;
        }
        Ok(())
    }

    /// Notes erasures; one that was noted before stays as it is.
    ///
    /// # Errors
    /// When the database refuses.
    fn note_erasures(&mut self, rows: &[Erasure]) -> Result<(), StoreError> {
        for rows in rows.chunks(BATCH) {
            with_conn!(self, |c| diesel::insert_into(erasures::table)
                .values(rows.to_vec())
                .on_conflict_do_nothing()
                .execute(c))?;
        }
        Ok(())
    }

    /// Everybody who was erased at or after this instant (all without one), the earliest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn erasures(&mut self, since: Option<Timestamp>) -> Result<Vec<Erasure>, StoreError> {
        let since = At(since.unwrap_or(Timestamp::UNIX_EPOCH));
        with_conn!(self, |c| erasures::table
            .filter(erasures::at.ge(since))
            .order((erasures::at, erasures::patient_id))
            .select(Erasure::as_select())
            .load(c))
    }

    /// The clinics of those of these patients who are there. Nothing has to open for it.
    fn clinics_of(
        &mut self,
        batch: &[Erasure],
    ) -> Result<HashMap<PatientId, ClinicId>, StoreError> {
        let ids: Vec<PatientId> = batch.iter().map(|erasure| erasure.patient_id).collect();
        let found: Vec<(PatientId, ClinicId)> = with_conn!(self, |c| patients::table
            .filter(patients::id.eq_any(ids))
            .select((patients::id, patients::clinic_id))
            .load(c))?;
        Ok(found.into_iter().collect())
    }

    /// Those of these erasures that this database knows nothing of.
    fn unknown_erasures(&mut self, all: &[Erasure]) -> Result<Vec<Erasure>, StoreError> {
        let mut known = HashSet::new();
        for all in all.chunks(BATCH) {
            let ids: Vec<PatientId> = all.iter().map(|erasure| erasure.patient_id).collect();
            let found: Vec<PatientId> = with_conn!(self, |c| erasures::table
                .filter(erasures::patient_id.eq_any(ids))
                .select(erasures::patient_id)
                .load(c))?;
            known.extend(found);
        }
        Ok(all.iter().filter(|erasure| !known.contains(&erasure.patient_id)).copied().collect())
    }
}

impl Store {
    /// Finishes erasures after their commit: nothing more leaves for those patients from this process,
    /// the file of erasures has them, and SQLite's write-ahead log no longer holds what was deleted.
    /// Whoever erased calls it at once, and the heartbeat calls it again for those who could not and
    /// for what other processes erased. Gives how many the file did not have.
    ///
    /// # Errors
    /// The store's, and those of the file; what is left undone is done by the next call.
    pub async fn finish_erasures(&self) -> Result<usize, ErasureError> {
        let _alone = self.0.erased.finishing.lock().await;
        let now = self.0.env.now();
        // A clock that was ahead, here or on another server, must not hide what is erased from now on.
        let since = self
            .0
            .erased
            .seen()
            .until
            .map(|until| until.min(now).checked_sub(OVERLAP).unwrap_or(Timestamp::MIN));
        let rows = self.read(move |tx| tx.erasures(since)).await?;
        let Some(latest) = rows.last().map(|row| row.at) else { return Ok(0) };
        self.remember(&rows);
        if self.0.erased.seen().bytes_left && self.truncate_log().await? {
            self.0.erased.seen().bytes_left = false;
        }
        let appended = match self.0.erased.file.clone() {
            Some(file) => blocking(move || file.append_missing(&rows)).await?,
            None => 0,
        };
        self.0.erased.seen().until = Some(latest.min(now));
        Ok(appended)
    }

    /// Whether this process knows that the patient was erased in the last minutes: what is on its way
    /// to them must not leave.
    #[must_use]
    pub fn was_erased(&self, patient: PatientId) -> bool {
        self.0.erased.seen().lately.contains(&patient)
    }

    fn remember(&self, rows: &[Erasure]) {
        let mut seen = self.0.erased.seen();
        let late = self.0.env.now().checked_sub(OVERLAP).unwrap_or(Timestamp::MIN);
        let lately: HashSet<PatientId> =
            rows.iter().filter(|row| row.at >= late).map(|row| row.patient_id).collect();
        seen.bytes_left |= lately.iter().any(|patient| !seen.lately.contains(patient));
        seen.lately = lately;
    }

    /// Erases whoever the file of erasures names and this database does not know to be erased: after a
    /// backup was restored. Gives how many were there to be erased. Nothing may be served or sent
    /// before.
    ///
    /// # Errors
    /// The store's, and those of the file: then nobody must be served.
    pub async fn replay_erasures(&self) -> Result<usize, ErasureError> {
        let Some(file) = self.0.erased.file.clone() else { return Ok(0) };
        let now = self.0.env.now();
        let noted = blocking(move || file.read(now)).await?;
        self.replay(noted).await
    }

    /// [`Store::replay_erasures`] of another list.
    ///
    /// # Errors
    /// The store's.
    pub async fn replay(&self, noted: Vec<Erasure>) -> Result<usize, ErasureError> {
        let missing = self.read(move |tx| tx.unknown_erasures(&noted)).await?;
        let mut erased = 0;
        for batch in missing.chunks(BATCH) {
            let batch = batch.to_vec();
            erased += self.write(move |tx| replayed(tx, &batch)).await?;
        }
        self.finish_erasures().await?;
        Ok(erased)
    }
}

/// Every entry is noted with its own instant, also where the patient is not there. One that names
/// another clinic than the patient's is no erasure of ours: it is passed over.
fn replayed(tx: &mut Tx<'_>, batch: &[Erasure]) -> Result<usize, StoreError> {
    let owners = tx.clinics_of(batch)?;
    let mut ours = Vec::new();
    for erasure in batch {
        let patient = erasure.patient_id;
        if owners.get(&patient).is_none_or(|clinic| *clinic == erasure.clinic_id) {
            ours.push(*erasure);
        } else {
            tracing::warn!(%patient, "an erasure to replay names another clinic than the patient's");
        }
    }
    tx.note_erasures(&ours)?;
    let mut erased = 0;
    for erasure in &ours {
        if tx.erase_patient(erasure.patient_id)?.is_some() {
            erased += 1;
            tx.append_audit(&super::AuditEntry {
                clinic_id: Some(erasure.clinic_id),
                actor: "system",
                action: "erasure.replayed",
                subject: Some(&format!("patient:{}", erasure.patient_id)),
            })?;
        }
    }
    Ok(erased)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ErasureFileError> + Send + 'static,
) -> Result<T, ErasureError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
        Err(_) => Err(StoreError::Unavailable("the server is shutting down".to_owned()).into()),
    }
}

/// Why erasures could not be finished or replayed.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// The database's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file's.
    #[error(transparent)]
    File(#[from] ErasureFileError),
}
