//! Putting a reminder off.

use jiff::{SignedDuration, Timestamp};

use super::case::cases;
use super::plan::replan;
use super::timeline::ReminderView;
use crate::ids::{PatientId, ReminderId};
use crate::planner::{Reason, ReminderState, Shift, ShiftCause};
use crate::store::{Reminder, StoreError, Tx};

/// Why a reminder is not put off.
#[derive(Debug, thiserror::Error)]
pub enum SnoozeError {
    /// The patient has no such reminder.
    #[error("no such reminder")]
    Unknown,
    /// Only what was sent can be put off; it stands there.
    #[error("only a reminder that was sent can be put off; this one is {0}")]
    NotSent(ReminderState),
    /// It sets right what was sent before: whoever reads that meanwhile follows what is wrong.
    #[error("what sets an earlier message right is not put off")]
    Correction,
    /// It would be worthless by then.
    #[error("it would come too late to help: it is of use until {0}")]
    PastUseBy(Timestamp),
    /// It would not be sent then, for that reason.
    #[error("it would not be sent then: {0}")]
    Unwanted(Reason),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Has a reminder that was sent come again, `after` from now, under the same id. Whatever is planned
/// anew meanwhile leaves it there, unless what it speaks for is taken back.
///
/// # Errors
/// [`SnoozeError`]; then nothing is to be written.
pub fn snooze(
    tx: &mut Tx<'_>,
    patient: PatientId,
    id: ReminderId,
    after: SignedDuration,
) -> Result<ReminderView, SnoozeError> {
    tx.lock_patient(patient)?.ok_or(SnoozeError::Unknown)?;
    tx.lock_reminders(patient)?;
    let row = tx.reminder(patient, id)?.ok_or(SnoozeError::Unknown)?;
    if row.state != ReminderState::Sent {
        return Err(SnoozeError::NotSent(row.shown_state()));
    }
    if row.members.iter().any(|member| member.key.step.is_correction()) {
        return Err(SnoozeError::Correction);
    }
    let until = tx.now().checked_add(after).unwrap_or(Timestamp::MAX);
    if until >= row.use_by {
        return Err(SnoozeError::PastUseBy(row.use_by));
    }
    tx.save_reminders(&[put_off(row, until, tx.now())])?;
    tx.insert_snooze(patient, id, until)?;
    tx.bump_plan_version(patient)?;
    replan(tx, patient)?;
    view(tx, patient, id)
}

fn put_off(mut row: Reminder, until: Timestamp, now: Timestamp) -> Reminder {
    for member in &mut row.members {
        member.shifts.push(Shift { cause: ShiftCause::Snoozed, to: until });
    }
    Reminder {
        state: ReminderState::Planned,
        reason: Some(Reason::Snoozed),
        due_at: until,
        attempt_at: Some(until),
        attempts: 0,
        snoozed_until: Some(until),
        updated_at: now,
        ..row
    }
}

fn view(tx: &mut Tx<'_>, patient: PatientId, id: ReminderId) -> Result<ReminderView, SnoozeError> {
    let case = cases(tx, &[patient])?.pop().ok_or(SnoozeError::Unknown)?;
    let row = case.reminders.iter().find(|row| row.id == id).ok_or(SnoozeError::Unknown)?;
    match row.state {
        ReminderState::Planned => Ok(case.reminder(row, &case.chart())),
        _ => Err(SnoozeError::Unwanted(row.reason.unwrap_or(Reason::NothingToSay))),
    }
}
