//! Telling clinics how a patient's courses go on: a session was recorded, the next one is due, the last one
//! is done.

use std::sync::Arc;

use jiff::Timestamp;

use super::case::{Case, locked_case};
use super::webhooks::{Happening, tell};
use crate::ids::{PatientId, TreatmentId};
use crate::planner::{TreatmentFacts, complete};
use crate::protocol::Protocol;
use crate::store::{StoreError, Treatment, Tx};

/// Tells that a session was recorded, and whether its course is complete with it.
///
/// # Errors
/// When the database refuses.
pub(super) fn tell_recorded(
    tx: &mut Tx<'_>,
    case: &Case,
    recorded: TreatmentId,
) -> Result<(), StoreError> {
    let patient = case.patient.id;
    let mut happenings = vec![Happening::planned(patient, recorded)];
    let now = complete(&case.facts.treatments);
    let without = case.facts.treatments.iter().filter(|treatment| treatment.id != recorded);
    let without: Vec<TreatmentFacts> = without.cloned().collect();
    if !now.is_subset(&complete(&without)) {
        happenings.push(Happening::completed(patient, recorded));
    }
    tell(tx, &happenings)
}

/// Brings up to date when a patient's next sessions are due; writes only what changed.
///
/// # Errors
/// When the database refuses.
pub(super) fn keep_dues(tx: &mut Tx<'_>, case: &mut Case) -> Result<(), StoreError> {
    let dues: Vec<_> = dues(case, tx.now()).map(|(_, due)| due).collect();
    for (treatment, due) in case.treatments.iter_mut().zip(dues) {
        if treatment.session_due_at != due {
            tx.set_session_due(treatment.id, due)?;
            treatment.session_due_at = due;
        }
    }
    Ok(())
}

/// Counts a session in that is about to be recorded, with the moment from which on the next one is due.
pub(super) fn count_in(
    case: &mut Case,
    session: &mut Treatment,
    protocol: Arc<Protocol>,
    now: Timestamp,
) {
    let id = session.id;
    case.add(session.clone(), protocol);
    let due = dues(case, now).find(|(treatment, _)| treatment.id == id);
    session.session_due_at = due.and_then(|(_, due)| due);
    let counted = case.treatments.iter_mut().filter(|treatment| treatment.id == id);
    counted.for_each(|treatment| treatment.session_due_at = session.session_due_at);
}

/// Tells of a patient's sessions that are due by now, each once; gives how many.
///
/// # Errors
/// When the database refuses, or what is sealed does not open.
pub fn tell_due_sessions(tx: &mut Tx<'_>, patient: PatientId) -> Result<usize, StoreError> {
    let Some(case) = locked_case(tx, patient)? else { return Ok(0) };
    let now = tx.now();
    let mut happenings = Vec::new();
    for (treatment, due) in dues(&case, now) {
        if due.is_some_and(|due| due <= now) {
            happenings.push(Happening::session_due(patient, treatment.id));
            tx.set_session_told(treatment.id)?;
        } else if treatment.session_due_at != due {
            tx.set_session_due(treatment.id, due)?;
        }
    }
    tell(tx, &happenings)?;
    Ok(happenings.len())
}

/// Each treatment, and from when on the session after it is due. One that was told is told again only where
/// a correction moved the day behind the telling.
fn dues(case: &Case, now: Timestamp) -> impl Iterator<Item = (&Treatment, Option<Timestamp>)> {
    let facts = case.treatments.iter().zip(&case.facts.treatments);
    facts.map(move |(treatment, facts)| {
        let state = case.courses.get(&treatment.id);
        let due = state.and_then(|state| facts.session_due(state, now));
        let told = treatment.session_told_at;
        (treatment, due.filter(|due| told.is_none_or(|told| told < *due)))
    })
}
