//! A patient's calendar feed: the reminders to come and the next session, as bare appointments.
//!
//! A calendar is synced to other people's servers and shown on locked screens, so an entry says when
//! and nothing of what: no treatment, no clinic, no rule.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use uuid::Uuid;

use super::case::{Case, cases};
use super::timeline::TOMBSTONE;
use crate::ids::PatientId;
use crate::locale::Locale;
use crate::planner::{ReminderState, TreatmentFacts};
use crate::store::{AuditEntry, Calendar, Reminder, StoreError, Treatment, Tx};

/// How long a reminder stands in a calendar (elapsed).
const REMINDER_LENGTH: SignedDuration = SignedDuration::from_mins(15);
/// How long a booked session stands in a calendar (elapsed): clinics do not say how long one takes.
const SESSION_LENGTH: SignedDuration = SignedDuration::from_hours(1);

/// What a feed shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Whose it is, as an opaque id.
    pub patient: PatientId,
    /// The patient's language.
    pub locale: Locale,
    /// The entries, by id.
    pub entries: Vec<Entry>,
}

/// One entry. Its id never becomes another entry's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A reminder's id, or that of the treatment whose next session it is.
    pub id: Uuid,
    /// What kind of entry it is.
    pub kind: EntryKind,
    /// When.
    pub when: When,
    /// Stays as a cancellation for a week, so that calendars which ask daily take it away.
    pub cancelled: bool,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it last changed; grows with each change.
    pub changed_at: Timestamp,
}

/// What an entry may say of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The phone will remind.
    Reminder,
    /// The next session, booked.
    Session,
    /// The next session, due that day and not booked yet.
    SessionToBook,
}

/// When an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At an instant, for a while (elapsed).
    At(Timestamp, SignedDuration),
    /// On a day, wherever the patient is.
    On(Date),
}

/// A patient's feed; made now, under this token, when there is none. `None` when there is no such
/// patient.
///
/// # Errors
/// When the database refuses.
pub fn open_calendar(
    tx: &mut Tx<'_>,
    patient: PatientId,
    token: &SecretString,
) -> Result<Option<Calendar>, StoreError> {
    let Some(patient) = tx.patient(patient)? else { return Ok(None) };
    if let Some(known) = tx.calendar(&patient)? {
        return Ok(Some(known));
    }
    tx.insert_calendar(&patient, token)?;
    tx.append_audit(&AuditEntry {
        clinic_id: Some(patient.clinic_id),
        actor: &format!("patient:{}", patient.id),
        action: "calendar.opened",
        subject: Some(&format!("patient:{}", patient.id)),
    })?;
    tx.calendar(&patient)
}

/// Ends a patient's feed at once. Ending it again changes nothing.
///
/// # Errors
/// When the database refuses.
pub fn close_calendar(tx: &mut Tx<'_>, patient: PatientId) -> Result<(), StoreError> {
    let Some(patient) = tx.patient(patient)? else { return Ok(()) };
    if tx.delete_calendar(patient.id)? {
        tx.append_audit(&AuditEntry {
            clinic_id: Some(patient.clinic_id),
            actor: &format!("patient:{}", patient.id),
            action: "calendar.closed",
            subject: Some(&format!("patient:{}", patient.id)),
        })?;
    }
    Ok(())
}

/// What the feed of this token shows now; `None` when the token opens none.
///
/// # Errors
/// When the database refuses.
pub fn calendar_feed(tx: &mut Tx<'_>, token: &SecretString) -> Result<Option<Feed>, StoreError> {
    let Some(patient) = tx.patient_of_calendar(token)? else { return Ok(None) };
    let now = tx.now();
    Ok(cases(tx, &[patient])?.pop().map(|case| feed(&case, now)))
}

fn feed(case: &Case, now: Timestamp) -> Feed {
    let reminders = case.reminders.iter().filter_map(|row| reminder(row, now));
    let pairs = case.treatments.iter().zip(&case.facts.treatments);
    let sessions = pairs
        .zip(decided(case))
        .filter_map(|((row, facts), decided_at)| session(case, row, facts, decided_at, now));
    let mut entries: Vec<Entry> = reminders.chain(sessions).collect();
    entries.sort_by_key(|entry| entry.id);
    Feed { patient: case.patient.id, locale: case.facts.person.locale.clone(), entries }
}

/// A reminder to come, or that just came; or its cancellation, if it ever was to come.
fn reminder(row: &Reminder, now: Timestamp) -> Option<Entry> {
    let cancelled = match row.state {
        ReminderState::Planned | ReminderState::Claimed | ReminderState::Sent => {
            (now < row.use_by).then_some(false)?
        }
        ReminderState::Cancelled | ReminderState::Superseded | ReminderState::Skipped => {
            let fresh = now.duration_since(row.updated_at) <= TOMBSTONE;
            (fresh && row.created_at < row.updated_at).then_some(true)?
        }
        ReminderState::Expired | ReminderState::Failed => return None,
    };
    Some(Entry {
        id: row.id.0,
        kind: EntryKind::Reminder,
        when: When::At(row.due_at, REMINDER_LENGTH),
        cancelled,
        created_at: row.created_at,
        changed_at: row.updated_at,
    })
}

/// The session after a treatment: booked, to be booked, or no longer that treatment's to announce.
fn session(
    case: &Case,
    row: &Treatment,
    facts: &TreatmentFacts,
    changed_at: Timestamp,
    now: Timestamp,
) -> Option<Entry> {
    let person = &case.facts.person;
    let due = facts.anchor(&person.zone).next_session_on();
    let (kind, when) = match facts.next_session_at {
        Some(at) => (EntryKind::Session, When::At(at, SESSION_LENGTH)),
        None => (EntryKind::SessionToBook, When::On(due?)),
    };
    let wanted = case.courses.get(&facts.id).is_some_and(|course| {
        let nudged = person.aftercare && person.recall;
        course.latest && course.session < course.of && (kind == EntryKind::Session || nudged)
    });
    let changed_lately =
        row.recorded_at < changed_at && now.duration_since(changed_at) <= TOMBSTONE;
    let over = match when {
        When::At(at, length) => at.checked_add(length).is_ok_and(|end| end <= now),
        When::On(day) => day < now.to_zoned(facts.zone.tz().clone()).date(),
    };
    (!over && (wanted || changed_lately)).then_some(Entry {
        id: facts.id.0,
        kind,
        when,
        cancelled: !wanted,
        created_at: row.recorded_at,
        changed_at,
    })
}

/// When it was last decided what each treatment says of the next session: whenever it changed itself,
/// and whenever a later one of its course did.
fn decided(case: &Case) -> Vec<Timestamp> {
    let mut latest: BTreeMap<&str, Timestamp> = BTreeMap::new();
    // They come by completion.
    let pairs = case.treatments.iter().zip(&case.facts.treatments).rev();
    let decided = pairs.map(|(row, facts)| {
        let at = latest.entry(&facts.protocol.slug).or_insert(row.updated_at);
        *at = row.updated_at.max(*at);
        *at
    });
    let mut decided: Vec<_> = decided.collect();
    decided.reverse();
    decided
}
