//! Writing down what came of claims.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Attempt, Item, Settled, Tally, Trial, Verdict, Work};
use crate::care;
use crate::care::case::reachable;
use crate::care::webhooks::{Happening, tell};
use crate::ids::{DeliveryId, LeaseId, PatientId, ReminderId, TestPushId};
use crate::planner::{Reason, ReminderState};
use crate::store::{Completion, Delivery, DeliveryState, DeviceState, Outcome, StoreError, Tx};

/// When rows that cannot be understood are looked at again.
const UNREADABLE_WAIT: SignedDuration = SignedDuration::from_mins(5);

/// Writes what came of claimed things: reminders and retries that are still under their lease, one
/// delivery row for each message, devices whose address is gone or refused. What another lease
/// holds by now is left alone and counted as lost.
///
/// # Errors
/// The store's; then nothing is written and the same outcomes can be offered again.
pub fn settle(tx: &mut Tx<'_>, outcomes: &[Settled]) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    let mut reminders: BTreeMap<LeaseId, Vec<&Settled>> = BTreeMap::new();
    let mut retries: BTreeMap<LeaseId, Vec<&Settled>> = BTreeMap::new();
    for settled in outcomes {
        match (&settled.verdict, settled.item.work) {
            (_, Work::Test) => settle_test(tx, settled, &mut tally)?,
            (Verdict::Replan(reason), Work::Reminder) => {
                replan(tx, settled.item, *reason, &mut tally)?;
            }
            (_, Work::Reminder) => {
                reminders.entry(settled.item.lease).or_default().push(settled);
            }
            (_, Work::Retry(_)) => retries.entry(settled.item.lease).or_default().push(settled),
        }
    }
    for (lease, reminders) in reminders {
        settle_reminders(tx, lease, &reminders, &mut tally)?;
    }
    for (lease, retries) in retries {
        settle_retries(tx, lease, &retries, &mut tally)?;
    }
    Ok(tally)
}

fn settle_reminders(
    tx: &mut Tx<'_>,
    lease: LeaseId,
    reminders: &[&Settled],
    tally: &mut Tally,
) -> Result<(), StoreError> {
    let now = tx.now();
    let endings: Vec<Outcome> = reminders.iter().map(|settled| ending(settled, now)).collect();
    let completions: Vec<Completion> = reminders
        .iter()
        .zip(&endings)
        .map(|(settled, outcome)| {
            let said = settled.said.as_ref().filter(|_| matches!(outcome, Outcome::Sent { .. }));
            Completion { id: settled.item.reminder, outcome: *outcome, said }
        })
        .collect();
    let mine: BTreeSet<ReminderId> = tx.complete(lease, &completions)?.into_iter().collect();
    let mut rows = Vec::new();
    let mut parked = Vec::new();
    let mut happenings = Vec::new();
    for (settled, outcome) in reminders.iter().zip(&endings) {
        if !mine.contains(&settled.item.reminder) {
            tally.lost += 1;
            continue;
        }
        count(tally, settled, outcome);
        happenings.extend(happening(settled.item, outcome));
        if matches!(outcome, Outcome::NoDevice { .. }) {
            parked.push(settled.item);
        }
        // Each device goes its own way once one of them has it.
        let apart = matches!(outcome, Outcome::Sent { .. });
        write_attempts(tx, settled, apart, &mut rows)?;
    }
    tx.insert_deliveries(&rows)?;
    tell(tx, &happenings)?;
    unpark(tx, &parked)
}

/// What a clinic may want to hear of an ending.
fn happening(item: Item, outcome: &Outcome) -> Option<Happening> {
    let Item { patient, reminder, .. } = item;
    match outcome {
        Outcome::Sent { .. } => Some(Happening::sent(patient, reminder)),
        Outcome::NoDevice { .. } => Some(Happening::unreachable(patient, reminder)),
        Outcome::Expired { reason } | Outcome::Failed { reason } => {
            Some(Happening::failed(patient, reminder, Some(*reason)))
        }
        Outcome::Retry { .. } => None,
    }
}

/// A phone that was registered while its patient's reminder was claimed found nothing that waits
/// for it: such a reminder is due at once.
fn unpark(tx: &mut Tx<'_>, parked: &[Item]) -> Result<(), StoreError> {
    let patients: BTreeSet<PatientId> = parked.iter().map(|item| item.patient).collect();
    let patients: Vec<PatientId> = patients.into_iter().collect();
    let patients = tx.patients_by_id(&patients)?;
    let devices = tx.devices_of(&patients)?;
    let reached: BTreeSet<PatientId> =
        devices.iter().filter(|device| reachable(device)).map(|device| device.patient_id).collect();
    for item in parked.iter().filter(|item| reached.contains(&item.patient)) {
        if let Some(mut row) = tx.reminder(item.patient, item.reminder)? {
            (row.attempt_at, row.reason) = (Some(tx.now()), Some(Reason::Retrying));
            tx.save_reminders(&[row])?;
        }
    }
    Ok(())
}

fn settle_retries(
    tx: &mut Tx<'_>,
    lease: LeaseId,
    retries: &[&Settled],
    tally: &mut Tally,
) -> Result<(), StoreError> {
    // A retry that was not looked into stays claimed: its lease brings it back.
    let (released, retries): (Vec<&Settled>, Vec<&Settled>) =
        retries.iter().partition(|settled| matches!(settled.verdict, Verdict::Released));
    tally.released += released.len();
    let attempt = |settled: &Settled| match settled.item.work {
        Work::Retry(id) => Some(id),
        Work::Reminder | Work::Test => None,
    };
    let ids: Vec<DeliveryId> = retries.iter().filter_map(|settled| attempt(settled)).collect();
    let mine: BTreeSet<DeliveryId> = tx.finish_retries(lease, &ids)?.into_iter().collect();
    let mut rows = Vec::new();
    for settled in retries {
        if attempt(settled).is_none_or(|id| !mine.contains(&id)) {
            tally.lost += 1;
            continue;
        }
        let tried = tried(settled);
        if tried.is_empty() {
            tally.dropped += 1;
        }
        for attempt in tried {
            match attempt.trial {
                Trial::Accepted => tally.sent += 1,
                Trial::Again(Some(_)) => tally.retrying += 1,
                Trial::Again(None) => tally.expired += 1,
                Trial::Unsent => tally.released += 1,
                Trial::Gone | Trial::Refused | Trial::Rejected => tally.failed += 1,
            }
        }
        write_attempts(tx, settled, true, &mut rows)?;
    }
    tx.insert_deliveries(&rows)
}

/// A test waits for nobody: where there is no phone, it has failed.
fn settle_test(tx: &mut Tx<'_>, settled: &Settled, tally: &mut Tally) -> Result<(), StoreError> {
    let outcome = match ending(settled, tx.now()) {
        Outcome::NoDevice { .. } => Outcome::Failed { reason: Reason::NoDevice },
        outcome => outcome,
    };
    let id = TestPushId(settled.item.reminder.0);
    if !tx.complete_test_push(settled.item.lease, id, &outcome)? {
        tally.lost += 1;
        return Ok(());
    }
    tally.tests += 1;
    tried(settled).iter().try_for_each(|attempt| drop_dead_address(tx, attempt))
}

pub(super) fn tried(settled: &Settled) -> &[Attempt] {
    match &settled.verdict {
        Verdict::Tried(attempts) => attempts,
        Verdict::NoDevice
        | Verdict::Expired(_)
        | Verdict::Failed(_)
        | Verdict::Replan(_)
        | Verdict::Dropped
        | Verdict::Unreadable
        | Verdict::Released => &[],
    }
}

/// What becomes of a reminder.
fn ending(settled: &Settled, now: Timestamp) -> Outcome {
    let use_by = settled.item.use_by;
    match &settled.verdict {
        Verdict::Tried(attempts) => after(attempts, use_by, now),
        Verdict::NoDevice => Outcome::NoDevice { attempt_at: use_by },
        Verdict::Expired(reason) => Outcome::Expired { reason: *reason },
        Verdict::Failed(reason) => Outcome::Failed { reason: *reason },
        Verdict::Replan(_) | Verdict::Dropped | Verdict::Released => {
            Outcome::Retry { attempt_at: now }
        }
        Verdict::Unreadable if now >= use_by => Outcome::Expired { reason: Reason::PastUseBy },
        Verdict::Unreadable => {
            Outcome::Retry { attempt_at: now.checked_add(UNREADABLE_WAIT).unwrap_or(now) }
        }
    }
}

/// One device is enough for `sent`. Otherwise the last retry decides, so that none comes before FCM's
/// word; and when only retries past the use-by are left, it waits for its use-by, where it ends like
/// everything that was not sent.
fn after(attempts: &[Attempt], use_by: Timestamp, now: Timestamp) -> Outcome {
    if let Some(at) = first_accepted(attempts) {
        return Outcome::Sent { at };
    }
    let again = attempts.iter().filter_map(|attempt| match attempt.trial {
        Trial::Again(at) => at,
        Trial::Unsent => Some(now),
        Trial::Accepted | Trial::Gone | Trial::Refused | Trial::Rejected => None,
    });
    if let Some(attempt_at) = again.max() {
        return Outcome::Retry { attempt_at };
    }
    if attempts.iter().any(|attempt| attempt.trial == Trial::Again(None)) {
        return Outcome::Retry { attempt_at: use_by };
    }
    if attempts.iter().any(|attempt| attempt.trial == Trial::Rejected) {
        return Outcome::Failed { reason: Reason::Rejected };
    }
    Outcome::NoDevice { attempt_at: use_by }
}

/// When the first device took it.
pub(super) fn first_accepted(attempts: &[Attempt]) -> Option<Timestamp> {
    attempts.iter().filter(|attempt| attempt.is_accepted()).map(|attempt| attempt.at).min()
}

fn count(tally: &mut Tally, settled: &Settled, outcome: &Outcome) {
    let left = tried(settled).iter().any(|attempt| attempt.trial != Trial::Unsent);
    match outcome {
        Outcome::Sent { .. } => tally.sent += 1,
        Outcome::Retry { .. } if left => tally.retrying += 1,
        Outcome::Retry { .. } => tally.released += 1,
        Outcome::NoDevice { .. } => tally.no_device += 1,
        Outcome::Expired { .. } => tally.expired += 1,
        Outcome::Failed { .. } => tally.failed += 1,
    }
}

/// One row for each message that left, and for each that is owed to a single device; drops the
/// addresses that FCM no longer takes. `apart`: whether this reminder's retries are each device's
/// own.
pub(super) fn write_attempts(
    tx: &mut Tx<'_>,
    settled: &Settled,
    apart: bool,
    rows: &mut Vec<Delivery>,
) -> Result<(), StoreError> {
    let now = tx.now();
    for attempt in tried(settled) {
        if attempt.trial == Trial::Unsent && !apart {
            continue;
        }
        drop_dead_address(tx, attempt)?;
        let (state, retry_at) = match attempt.trial {
            Trial::Accepted => (DeliveryState::Sent, None),
            Trial::Gone => (DeliveryState::Gone, None),
            Trial::Refused | Trial::Rejected => (DeliveryState::Failed, None),
            Trial::Again(None) if apart => (DeliveryState::Failed, None),
            Trial::Again(at) => (DeliveryState::Retry, at.filter(|_| apart)),
            Trial::Unsent => (DeliveryState::Retry, Some(now)),
        };
        rows.push(Delivery {
            id: tx.env().id(),
            reminder_id: settled.item.reminder,
            patient_id: settled.item.patient,
            device_id: attempt.target.device,
            attempt: settled.item.attempt.max(1),
            state,
            status: attempt.status.map(i32::from),
            code: attempt.code.clone(),
            detail: attempt.detail.clone(),
            at: attempt.at,
            retry_at,
            lease_id: None,
            leased_until: None,
        });
    }
    Ok(())
}

/// Drops an address that FCM no longer takes.
fn drop_dead_address(tx: &mut Tx<'_>, attempt: &Attempt) -> Result<(), StoreError> {
    let state = match attempt.trial {
        Trial::Gone => DeviceState::Gone,
        Trial::Refused => DeviceState::Refused,
        Trial::Accepted | Trial::Rejected | Trial::Again(_) | Trial::Unsent => return Ok(()),
    };
    let target = &attempt.target;
    let reason = attempt.code.as_deref().unwrap_or(state.as_str());
    tx.retire_device(target.device, target.kind, &target.address, state, reason)?;
    Ok(())
}

/// Gives a reminder back and plans its patient anew. If that changes nothing, looking again would
/// go round in circles: it ends with `reason`.
fn replan(
    tx: &mut Tx<'_>,
    item: Item,
    reason: Reason,
    tally: &mut Tally,
) -> Result<(), StoreError> {
    let now = tx.now();
    let late = matches!(reason, Reason::PastUseBy | Reason::NoDevice);
    tx.lock_patient(item.patient)?;
    // The plan still tells who waited for a phone from who was merely late.
    let outcome = match reason {
        Reason::NoDevice => Outcome::NoDevice { attempt_at: now },
        _ => Outcome::Retry { attempt_at: now },
    };
    let released = Completion { id: item.reminder, outcome, said: None };
    if tx.complete(item.lease, &[released])?.is_empty() {
        tally.lost += 1;
        return Ok(());
    }
    let changed = care::replan(tx, item.patient)?;
    let Some(mut row) = tx.reminder(item.patient, item.reminder)? else { return Ok(()) };
    if !changed && row.state == ReminderState::Planned {
        row.state = if late { ReminderState::Expired } else { ReminderState::Skipped };
        row.reason = Some(reason);
        row.attempt_at = None;
        row.updated_at = now;
        tx.save_reminders(std::slice::from_ref(&row))?;
        if late {
            tell(tx, &[Happening::failed(item.patient, item.reminder, row.reason)])?;
        }
    }
    tally.replanned += 1;
    if row.state == ReminderState::Expired {
        tally.expired += 1;
    }
    Ok(())
}
