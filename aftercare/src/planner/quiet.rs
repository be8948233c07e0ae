//! Quiet hours.

use jiff::civil::{DateTime, Time};
use jiff::{SignedDuration, Timestamp};

use super::chart::Chart;
use super::moment::instant;
use super::{Facts, Member, TreatmentFacts};
use crate::protocol::{Moment, QuietHours, Step};
use crate::zone::Zone;

/// A reminder that was due before quiet hours began may still leave this long after it was due:
/// the time a busy queue needs. Later than that it is moved like any other.
const QUIET_GRACE: SignedDuration = SignedDuration::from_mins(5);

/// Where quiet hours put something due at `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where it is.
    Stay,
    /// To their end, or to their start.
    Move(Timestamp),
    /// Nowhere.
    Drop,
}

/// Outside quiet hours a moment stays. Inside it moves to their end if that is before `use_by`,
/// else to their start if that is not before `now`, else there is no place for it.
pub(super) fn place(
    quiet: QuietHours,
    zone: &Zone,
    at: Timestamp,
    use_by: Timestamp,
    now: Timestamp,
) -> Place {
    let Some((start, end)) = around(quiet, zone, at) else { return Place::Stay };
    if end < use_by {
        Place::Move(end)
    } else if start >= now {
        Place::Move(start)
    } else {
        Place::Drop
    }
}

/// The quiet hours that `at` falls into, as instants `[start, end)`; `None` outside them.
pub(super) fn around(
    quiet: QuietHours,
    zone: &Zone,
    at: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let local = at.to_zoned(zone.tz().clone()).datetime();
    let (today, time) = (local.date(), local.time());
    let (from, until) = (quiet.from, quiet.until);
    let (first, last) = if from <= until {
        (today, today)
    } else if time >= from {
        (today, today.tomorrow().ok()?)
    } else {
        (today.yesterday().ok()?, today)
    };
    let on = |date: jiff::civil::Date, time: Time| -> Option<Timestamp> {
        let local: DateTime = date.to_datetime(time);
        instant(local, zone.tz())
    };
    let (start, end) = (on(first, from)?, on(last, until)?);
    (start <= at && at < end).then_some((start, end))
}

impl Chart<'_> {
    /// The end of the quiet hours in which a reminder that is about to leave would wake somebody: they
    /// hold now, the patient did not put it off into them, and it has been due for longer than a busy
    /// queue explains.
    #[must_use]
    pub fn quiet_until(
        &self,
        members: &[Member],
        (due_at, snoozed): (Timestamp, bool),
        now: Timestamp,
    ) -> Option<Timestamp> {
        let zone = &self.facts.person.zone;
        let of = |member: &Member| self.treatment(member.key.treatment);
        let quiet = quiet_hours(self.facts, members.iter().find_map(of)?);
        let (_, end) = around(quiet, zone, now)?;
        // What sets right what was sent is a step of no protocol; what is said together with a first
        // instruction is none itself.
        let exempt = |member: &Member| {
            self.step(&member.key).is_some_and(|(treatment, step)| exempt(treatment, step))
        };
        let excused = in_grace(quiet, zone, due_at, now)
            || (snoozed && put_off_into(quiet, zone, due_at, now))
            || members.iter().all(exempt);
        (!excused).then_some(end)
    }
}

/// Whether `now` lies in the very quiet hours that a reminder was put off into.
pub(super) fn put_off_into(
    quiet: QuietHours,
    zone: &Zone,
    due_at: Timestamp,
    now: Timestamp,
) -> bool {
    let asked = around(quiet, zone, due_at);
    asked.is_some() && asked == around(quiet, zone, now)
}

pub(super) fn quiet_hours(facts: &Facts, treatment: &TreatmentFacts) -> QuietHours {
    facts.person.quiet_hours.unwrap_or(treatment.protocol.pacing.quiet_hours)
}

/// Due since before quiet hours began, or since they moved it to their very start, and not long.
pub(super) fn in_grace(quiet: QuietHours, zone: &Zone, due_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(due_at) <= QUIET_GRACE
        && around(quiet, zone, now).is_none_or(|(start, _)| due_at <= start)
}

/// The first instructions after a session that was recorded in time are never held back.
pub(super) fn exempt(treatment: &TreatmentFacts, step: &Step) -> bool {
    let first = treatment.protocol.steps.first().is_some_and(|first| first.id == step.id)
        && matches!(step.due, Moment::Elapsed(_));
    let delay = treatment.recorded_at.duration_since(treatment.completed_at);
    first && delay <= treatment.protocol.pacing.late_after
}
