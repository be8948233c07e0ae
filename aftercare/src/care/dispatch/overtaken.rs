//! What FCM accepted of a reminder that was taken back while it was on its way.
//!
//! A session may be voided, or a consent withdrawn, in the moment in which a push leaves. The claim is taken back
//! then, but the phone shows what it was sent. The answer says so: what was accepted was sent, and the patient is
//! planned anew, as if it had been known to be sent when that was done.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::settle::{first_accepted, tried, write_attempts};
use super::{Settled, Work};
use crate::care;
use crate::care::webhooks::{Happening, tell};
use crate::clock::to_micros;
use crate::ids::ReminderId;
use crate::planner::{Reason, ReminderState};
use crate::store::{StoreError, Tx};

/// Those that FCM accepted, of which nothing is written, and whose lease still lasts.
///
/// # Errors
/// The store's.
pub fn overtaken(tx: &mut Tx<'_>, outcomes: &[Settled]) -> Result<Vec<Settled>, StoreError> {
    let now = tx.now();
    let in_time = outcomes.iter().filter(|settled| now < settled.item.until);
    let accepted: Vec<_> = in_time
        .filter_map(|one| Some((one, (one.item.reminder, accepted_at(one).map(to_micros)?))))
        .collect();
    let ids: Vec<ReminderId> = accepted.iter().map(|(one, _)| one.item.reminder).collect();
    let written = tx.deliveries_of(&ids)?.into_iter();
    let written: BTreeSet<_> = written.map(|one| (one.reminder_id, one.at)).collect();
    let unwritten = accepted.into_iter().filter(|(_, sent)| !written.contains(sent));
    Ok(unwritten.map(|(one, _)| one.clone()).collect())
}

/// Writes down that it was sent, and plans the patient anew; whether there was anything to write. One that is
/// wanted again is left alone: it is sent anew under its name, and the phone shows that in its place. So is what
/// another holds, or held since: whoever comes after the end of their lease writes nothing.
///
/// # Errors
/// The store's.
pub fn settle_overtaken(tx: &mut Tx<'_>, settled: &Settled) -> Result<bool, StoreError> {
    let item = settled.item;
    let Some(at) = accepted_at(settled).filter(|_| tx.now() < item.until) else {
        return Ok(false);
    };
    if tx.lock_patient(item.patient)?.is_none() {
        return Ok(false);
    }
    let mut rows = tx.lock_reminders(item.patient)?;
    let row = rows.iter_mut().find(|row| row.id == item.reminder && was_taken_back(row.state));
    let Some(row) = row.filter(|row| row.sent_at.is_none_or(|sent| sent < at)) else {
        return Ok(false);
    };
    (row.state, row.reason) = (ReminderState::Sent, Some(Reason::Accepted));
    (row.sent_at, row.said) = (Some(at), settled.said.clone());
    (row.attempt_at, row.updated_at) = (None, tx.now());
    tx.save_reminders(std::slice::from_ref(row))?;
    let mut deliveries = Vec::new();
    write_attempts(tx, settled, true, &mut deliveries)?;
    tx.insert_deliveries(&deliveries)?;
    tell(tx, &[Happening::sent(item.patient, item.reminder)])?;
    care::replan(tx, item.patient)?;
    Ok(true)
}

const fn was_taken_back(state: ReminderState) -> bool {
    use ReminderState::{Cancelled, Skipped, Superseded};
    matches!(state, Cancelled | Skipped | Superseded)
}

/// When the first device accepted a reminder.
fn accepted_at(settled: &Settled) -> Option<Timestamp> {
    first_accepted(tried(settled)).filter(|_| settled.item.work == Work::Reminder)
}
