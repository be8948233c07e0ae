//! Planning a patient anew, and writing down what changed.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, key_of, locked_case};
use super::courses::keep_dues;
use super::webhooks::{Happening, tell};
use crate::ids::{PatientId, TreatmentId};
use crate::planner::{Change, Key, ReminderState, diff, plan};
use crate::store::{Reminder, StoreError, Tx};

/// Plans a patient anew with what is known now, and makes the stored reminders equal to the plan.
/// A plan that did not change writes nothing. Whether anything changed.
///
/// # Errors
/// When the database refuses.
pub fn replan(tx: &mut Tx<'_>, patient: PatientId) -> Result<bool, StoreError> {
    match locked_case(tx, patient)? {
        Some(mut case) => replan_case(tx, &mut case),
        None => Ok(false),
    }
}

/// [`replan`] for records that this transaction has locked already; they follow what is written.
///
/// # Errors
/// When the database refuses.
pub fn replan_case(tx: &mut Tx<'_>, case: &mut Case) -> Result<bool, StoreError> {
    let changes = diff(&case.facts, &plan(&case.facts, tx.now()));
    write(tx, case, changes)
}

/// Writes changes down, into the records too, and when the next sessions are due; false when there are no
/// changes.
pub(super) fn write(
    tx: &mut Tx<'_>,
    case: &mut Case,
    changes: Vec<Change>,
) -> Result<bool, StoreError> {
    keep_dues(tx, case)?;
    let stored: BTreeMap<Key, &Reminder> =
        case.reminders.iter().map(|reminder| (key_of(reminder), reminder)).collect();
    let rows = changes.into_iter().map(|change| {
        let stored = stored.get(&change.key).copied();
        row(tx, case, stored, change)
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(false);
    }
    tx.save_reminders(&rows)?;
    case.patient.plan_version = tx.bump_plan_version(case.patient.id)?;
    case.patient.updated_at = tx.now();
    let expired = rows.iter().filter(|row| row.state == ReminderState::Expired);
    let failed = expired.map(|row| Happening::failed(row.patient_id, row.id, row.reason));
    tell(tx, &failed.collect::<Vec<_>>())?;
    case.put(rows);
    Ok(true)
}

/// Plans a patient anew whose treatments turned out otherwise: their reminders are planned as if they were
/// new. What a dispatcher holds of them is taken back: it may be in words that no longer hold.
///
/// # Errors
/// When the database refuses.
pub(super) fn replan_amended(
    tx: &mut Tx<'_>,
    patient: PatientId,
    treatments: &BTreeSet<TreatmentId>,
) -> Result<(), StoreError> {
    let Some(mut case) = locked_case(tx, patient)? else { return Ok(()) };
    for standing in &mut case.facts.standing {
        if standing.members.iter().any(|member| treatments.contains(&member.key.treatment)) {
            standing.renew();
        }
    }
    replan_case(tx, &mut case)?;
    Ok(())
}

/// A change as a row. It ends whatever claim there was: who held it can complete nothing.
fn row(tx: &Tx<'_>, case: &Case, stored: Option<&Reminder>, change: Change) -> Reminder {
    let planned = change.state == ReminderState::Planned;
    let arranged = stored.filter(|_| !change.requeue);
    let attempt_at = arranged.and_then(|row| row.attempt_at).unwrap_or(change.due_at);
    Reminder {
        id: stored.map_or_else(|| tx.env().id(), |row| row.id),
        clinic_id: case.clinic.id,
        patient_id: case.patient.id,
        treatment_id: change.key.treatment,
        step_id: change.key.step,
        due_at: change.due_at,
        use_by: change.use_by,
        state: change.state,
        reason: change.reason,
        members: change.members,
        attempt_at: planned.then_some(attempt_at),
        attempts: arranged.map_or(0, |row| row.attempts),
        lease_id: None,
        leased_until: None,
        sent_at: stored.and_then(|row| row.sent_at),
        said: stored.and_then(|row| row.said.clone()),
        created_at: stored.map_or(tx.now(), |row| row.created_at),
        updated_at: tx.now(),
        snoozed_until: change.snoozed_until,
    }
}
