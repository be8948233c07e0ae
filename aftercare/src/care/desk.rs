//! What the people at a clinic's desk look at, and what they may take back.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::case::{Case, cases};
use super::reachability::Unheard;
use super::timeline::{TreatmentCard, TreatmentView, treatment};
use super::treatments::{Namespace, void_treatment};
use crate::ids::{ClinicId, PatientId, TreatmentId};
use crate::store::{StoreError, Treatment, Tx};

/// How long after it was recorded a treatment can be taken back at the desk, in elapsed time: as long
/// as nothing of it is sent.
pub const UNDO: SignedDuration = SignedDuration::from_mins(15);

/// How many treatments of a patient the desk shows.
const SHOWN: usize = 10;

/// A treatment in one line.
#[derive(Debug)]
pub struct DeskTreatment {
    /// The treatment.
    pub card: TreatmentCard,
    /// What its protocol is called, in the clinic's language.
    pub title: String,
}

/// A patient as the desk sees them.
#[derive(Debug)]
pub struct DeskPatient {
    /// The patient.
    pub id: PatientId,
    /// What the clinic calls the patient. Personal: never logged.
    pub reference: String,
    /// Why no push is heard at present; empty while one would be.
    pub unheard: Vec<Unheard>,
    /// The treatments that were recorded last, the last of them first.
    pub treatments: Vec<DeskTreatment>,
}

/// A treatment with all that follows from it.
#[derive(Debug)]
pub struct DeskSession {
    /// The treatment and its plan.
    pub view: TreatmentView,
    /// What its protocol is called, in the clinic's language.
    pub title: String,
    /// Why no push is heard at present; empty while one would be.
    pub unheard: Vec<Unheard>,
}

impl Case {
    fn desk_treatment(&self, of: &Treatment) -> Option<DeskTreatment> {
        let facts = self.facts.treatments.iter().find(|known| known.id == of.id)?;
        let title = facts.protocol.title.get(&self.clinic.locale).to_owned();
        Some(DeskTreatment { card: self.card(of.clone(), facts), title })
    }

    /// Why the patient hears no instructions at present; empty while they would.
    pub(super) fn unheard_at_all(&self, all_paused: bool) -> Vec<Unheard> {
        let withdrawn = (!self.facts.person.aftercare).then_some(Unheard::ConsentWithdrawn);
        withdrawn.into_iter().chain(self.deaf(all_paused)).collect()
    }
}

/// The patient that a clinic calls so; `None` when it has none.
///
/// # Errors
/// When the database refuses.
pub fn desk_patient(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    reference: &str,
) -> Result<Option<DeskPatient>, StoreError> {
    let Some(id) = tx.patient_id_by_ref(clinic, reference)? else { return Ok(None) };
    let Some(case) = cases(tx, &[id])?.pop() else { return Ok(None) };
    let all_paused = tx.all_paused()?;
    let mut last: Vec<&Treatment> = case.treatments.iter().collect();
    last.sort_by_key(|treatment| std::cmp::Reverse((treatment.recorded_at, treatment.id)));
    let treatments = last.into_iter().take(SHOWN).filter_map(|of| case.desk_treatment(of));
    Ok(Some(DeskPatient {
        id,
        reference: case.patient.reference.clone(),
        unheard: case.unheard_at_all(all_paused),
        treatments: treatments.collect(),
    }))
}

/// The treatment of that id; `None` when the clinic has none.
///
/// # Errors
/// When the database refuses.
pub fn desk_session(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: TreatmentId,
) -> Result<Option<DeskSession>, StoreError> {
    let Some(view) = treatment(tx, clinic, id)? else { return Ok(None) };
    let case = cases(tx, &[view.card.treatment.patient_id])?.pop();
    let all_paused = tx.all_paused()?;
    Ok(case.and_then(|case| {
        let title = case.desk_treatment(&view.card.treatment)?.title;
        Some(DeskSession { title, unheard: case.unheard_at_all(all_paused), view })
    }))
}

/// The treatments that a clinic recorded last, the last of them first.
///
/// # Errors
/// When the database refuses.
pub fn last_recorded(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    limit: u32,
) -> Result<Vec<DeskTreatment>, StoreError> {
    let last = tx.last_treatments(clinic, i64::from(limit))?;
    let mut patients: Vec<_> = last.iter().map(|treatment| treatment.patient_id).collect();
    patients.sort_unstable();
    patients.dedup();
    let cases: BTreeMap<PatientId, Case> =
        cases(tx, &patients)?.into_iter().map(|case| (case.patient.id, case)).collect();
    let line = |of: &Treatment| cases.get(&of.patient_id)?.desk_treatment(of);
    Ok(last.iter().filter_map(line).collect())
}

/// When what was recorded with the desk's form of this name ended, if it was sent before. The patient is
/// locked: of two forms at once, the second sees what the first recorded.
///
/// # Errors
/// When the database refuses.
pub fn recorded_at_desk(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    reference: &str,
    form: &str,
) -> Result<Option<Timestamp>, StoreError> {
    tx.lock_patient_by_ref(clinic, reference)?;
    let namespace = Namespace::Desk.name(tx, clinic);
    Ok(tx.treatment_by_event(clinic, &namespace, form)?.map(|known| known.completed_at))
}

/// Why a treatment is not taken back at the desk.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// It was recorded too long ago: something of it may have been sent.
    #[error("a treatment can be undone for 15 minutes")]
    TooLate,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes back a treatment that was recorded by mistake less than 15 minutes ago. Doing it again changes
/// nothing. `None` when the clinic has no such treatment.
///
/// # Errors
/// [`UndoError`]; then nothing is to be written.
pub fn undo_treatment(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: TreatmentId,
) -> Result<Option<TreatmentView>, UndoError> {
    let Some(known) = tx.treatment(clinic, id)? else { return Ok(None) };
    if tx.now().duration_since(known.recorded_at) >= UNDO {
        return Err(UndoError::TooLate);
    }
    Ok(void_treatment(tx, clinic, id)?)
}
