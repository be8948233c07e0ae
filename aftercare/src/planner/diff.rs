//! From the stored reminders to the planned ones.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Facts, Fate, Key, Member, Outcome, Plan, Planned, Reason, ReminderState, Standing};

/// What a stored reminder is to become; one that is not stored yet is inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub key: Key,
    /// Where it is to stand.
    pub state: ReminderState,
    /// Why.
    pub reason: Option<Reason>,
    /// Its steps.
    pub members: Vec<Member>,
    /// When it is due.
    pub due_at: Timestamp,
    /// From when on it is worthless.
    pub use_by: Timestamp,
    /// Where its last snooze put it, if that still counts.
    pub snoozed_until: Option<Timestamp>,
    /// The queue looks at it at `due_at`; otherwise an attempt that is arranged already stays.
    pub requeue: bool,
}

/// The changes that make the stored reminders of these facts equal to the plan, by key. What was
/// sent, has expired or failed is history and changes only when the plan says it again.
#[must_use]
pub fn diff(facts: &Facts, plan: &Plan) -> Vec<Change> {
    let stored: BTreeMap<_, _> = facts.standing.iter().map(|row| (&row.key, row)).collect();
    let planned: BTreeMap<_, _> = plan.reminders.iter().map(|row| (&row.key, row)).collect();
    let put_off = facts.put_off();
    let changes = plan.steps.iter().filter_map(|(key, outcome)| {
        let row = stored.get(key).copied();
        match (planned.get(key), &outcome.fate) {
            (Some(planned), _) => keep(planned, row, facts.reachable),
            (None, _) if row.is_some_and(|row| settled(row.state)) => None,
            (None, fate) => end(key, fate, outcome, row, put_off.get(key).copied()),
        }
    });
    changes.collect()
}

const fn settled(state: ReminderState) -> bool {
    matches!(state, ReminderState::Sent | ReminderState::Expired | ReminderState::Failed)
}

fn keep(planned: &Planned, row: Option<&Standing>, reachable: bool) -> Option<Change> {
    let waits = row.filter(|row| row.state == ReminderState::Planned);
    let parked = waits.is_some_and(|row| row.reason == Some(Reason::NoDevice));
    let moved = waits.is_none_or(|row| row.due_at != planned.due_at) || (parked && reachable);
    let same = |row: &Standing| row.members == planned.members;
    if !moved && waits.is_some_and(same) {
        return None;
    }
    Some(Change {
        key: planned.key.clone(),
        state: ReminderState::Planned,
        reason: waits.filter(|_| !moved).and_then(|row| row.reason),
        members: planned.members.clone(),
        due_at: planned.due_at,
        use_by: planned.use_by,
        snoozed_until: planned.snoozed.then_some(planned.due_at),
        requeue: moved,
    })
}

fn end(
    key: &Key,
    fate: &Fate,
    outcome: &Outcome,
    row: Option<&Standing>,
    snoozed_until: Option<Timestamp>,
) -> Option<Change> {
    let (state, reason) = match fate {
        Fate::Settled => return None,
        Fate::In(_) => (ReminderState::Superseded, Reason::Bundled),
        Fate::Skipped(reason) => (ReminderState::Skipped, *reason),
        Fate::Expired(reason) => (ReminderState::Expired, *reason),
        Fate::Cancelled(reason) => (ReminderState::Cancelled, *reason),
        Fate::Superseded(reason) => (ReminderState::Superseded, *reason),
    };
    // Why it was left out at the time stays the reason once it would be too late anyway.
    let too_late = *fate == Fate::Skipped(Reason::PastUseBy);
    // Only what was left out is worth a row of its own: the rest was never a reminder.
    let worth_a_row = matches!(state, ReminderState::Skipped | ReminderState::Expired);
    if row.is_none() && !worth_a_row {
        return None;
    }
    if row.is_some_and(|row| row.state == state && (row.reason == Some(reason) || too_late)) {
        return None;
    }
    Some(Change {
        key: key.clone(),
        state,
        reason: Some(reason),
        members: vec![Member {
            key: key.clone(),
            nominal_at: outcome.nominal_at,
            use_by: outcome.use_by,
            shifts: Vec::new(),
        }],
        due_at: outcome.nominal_at,
        use_by: outcome.use_by,
        snoozed_until,
        requeue: false,
    })
}
