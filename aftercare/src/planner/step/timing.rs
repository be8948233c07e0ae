//! When a step is said: its nominal moment, and where lateness, the spread and quiet hours move it.

use jiff::{SignedDuration, Timestamp};

use super::super::chart::Chart;
use super::super::quiet::{Place, exempt, in_grace, place, quiet_hours};
use super::super::{Fate, Key, Member, Reason, ShiftCause, Standing, TreatmentFacts};
use super::{Candidate, Row, View};
use crate::protocol::{Moment, QuietHours, Step};
use crate::zone::Zone;

/// The minute of the day that a patient's hour of exercise replaces is one hour after the due
/// moment that protocols write, less the five minutes that keep it off the full hour.
const BEFORE_EXERCISE: SignedDuration = SignedDuration::from_mins(55);

impl Chart<'_> {
    /// The nominal due moment and the use-by; `None` where the protocol's moments lead nowhere.
    pub(in super::super) fn moments(
        &self,
        treatment: &TreatmentFacts,
        step: &Step,
    ) -> Option<(Timestamp, Timestamp)> {
        let anchor = treatment.anchor(&self.facts.person.zone);
        let due = anchor.resolve(self.preferred(step, step.due), None)?;
        let ends = || {
            let rules = step.clauses.iter().filter_map(|clause| clause.when.rule());
            let concerned = rules
                .filter_map(|id| treatment.protocol.rule(id))
                .filter(|rule| treatment.concerns(rule));
            concerned.filter_map(|rule| anchor.resolve(rule.until?, None)).max()
        };
        let use_by = match step.use_by {
            Some(moment) => anchor.resolve(self.preferred(step, moment), Some(due))?,
            None => ends()?,
        };
        Some((due, use_by))
    }

    /// The moment, moved by as much as the patient's hour of exercise is from the protocol's.
    fn preferred(&self, step: &Step, moment: Moment) -> Moment {
        let (Moment::Wall { at: usual, .. }, Moment::Wall { day, at }) = (step.due, moment) else {
            return moment;
        };
        let Some(exercise) = self.facts.person.exercise_hour.filter(|_| step.before_exercise)
        else {
            return moment;
        };
        let moved = exercise.duration_since(usual) - BEFORE_EXERCISE;
        Moment::Wall { day, at: at.saturating_add(moved) }
    }

    /// Whether a step of a reminder that is about to leave has another moment by now, later and still to come:
    /// the session was corrected while it was held, or the patient has travelled.
    #[must_use]
    pub fn comes_later(&self, members: &[Member], now: Timestamp) -> bool {
        members.iter().any(|member| {
            let moments = self.step(&member.key).and_then(|(of, step)| self.moments(of, step));
            moments.is_some_and(|(nominal_at, _)| is_postponed(member, nominal_at, now))
        })
    }
}

/// What waits is due later than it was planned for.
fn is_postponed(member: &Member, nominal_at: Timestamp, now: Timestamp) -> bool {
    nominal_at > now && member.nominal_at < nominal_at
}

impl<'f> View<'f, '_> {
    /// What becomes of a step whose use-by is over: one that was planned has expired, unless the
    /// treatment was corrected and its use-by is another now.
    pub(super) fn worthless(&self, key: &Key, use_by: Option<Timestamp>) -> Fate {
        let waited =
            self.rows.get(key).filter(|row| use_by.is_none_or(|it| it == row.member.use_by));
        match waited {
            Some(row) if row.standing.reason == Some(Reason::NoDevice) => {
                Fate::Expired(Reason::NoDevice)
            }
            Some(_) => Fate::Expired(Reason::PastUseBy),
            None => Fate::Skipped(Reason::PastUseBy),
        }
    }

    /// Finds the moment at which the step will be said: now if it is overdue, and out of quiet
    /// hours. What already waits in the queue keeps its moment.
    pub(super) fn time(&self, candidate: &mut Candidate<'f>) -> Result<(), Fate> {
        let (now, use_by) = (self.now, candidate.use_by);
        if use_by <= now {
            return Err(self.worthless(&candidate.key, Some(use_by)));
        }
        if use_by <= candidate.nominal_at {
            // Where the patient is; somewhere else it may come in time again.
            return Err(Fate::Skipped(Reason::PastUseBy));
        }
        let snoozed = self.snoozed(&candidate.key);
        let queued = self
            .rows
            .get(&candidate.key)
            .filter(|row| self.queued(row))
            .filter(|row| !is_postponed(row.member, candidate.nominal_at, now))
            .filter(|row| candidate.nominal_at <= now || self.is_led(row.standing, &candidate.key));
        if let Some(row) = snoozed.or(queued) {
            candidate.due_at = row.standing.due_at;
            candidate.queued = Some(&row.standing.key);
            candidate.snoozed = snoozed.is_some();
            candidate.shifts.clone_from(&row.member.shifts);
        } else {
            self.first_moment(candidate);
        }
        self.out_of_quiet_hours(candidate)
    }

    /// The moment of what does not wait in the queue.
    fn first_moment(&self, candidate: &mut Candidate<'f>) {
        if let Some(until) = self.snoozed_before(candidate) {
            candidate.shift(ShiftCause::Snoozed, until);
            candidate.snoozed = true;
        } else if candidate.nominal_at < self.now {
            candidate.shift(ShiftCause::Late, self.now);
        } else {
            let spread = candidate.nominal_at.checked_add(self.spread(candidate));
            if let Some(at) = spread.ok().filter(|at| *at < candidate.use_by) {
                candidate.shift(ShiftCause::Spread, at);
            }
        }
    }

    fn out_of_quiet_hours(&self, candidate: &mut Candidate<'f>) -> Result<(), Fate> {
        if exempt(candidate.treatment, candidate.step) || self.in_grace(candidate) {
            return Ok(());
        }
        let at = candidate.due_at.max(self.now);
        if candidate.snoozed && self.put_off_into_quiet(candidate, at) {
            return Ok(());
        }
        let quiet = self.quiet_hours_of(candidate);
        match place(quiet, self.zone(), at, candidate.use_by, self.now) {
            Place::Stay => Ok(()),
            Place::Move(_) if candidate.queued.is_some() && !candidate.snoozed => {
                // It leaves the queue. What brought it there is forgotten, as the next plan would.
                (candidate.queued, candidate.due_at) = (None, candidate.nominal_at);
                candidate.shifts.clear();
                self.first_moment(candidate);
                self.out_of_quiet_hours(candidate)
            }
            Place::Move(to) => {
                (candidate.queued, candidate.snoozed) = (None, false);
                candidate.shift(ShiftCause::QuietHours, to);
                Ok(())
            }
            Place::Drop => Err(Fate::Skipped(Reason::QuietHours)),
        }
    }

    /// Due, and waiting for its turn or for the next attempt; not for a device that is there now,
    /// and not with a member that is worthless by now: what is left of that is planned anew.
    fn queued(&self, row: &Row) -> bool {
        let standing = row.standing;
        standing.state.is_to_come()
            && standing.due_at <= self.now
            && !row.stale
            && !self.waited(standing)
    }

    /// Whether the first step of the reminder, which set its moment, is this one or still wanted. What comes with
    /// it ahead of its own moment goes back to that when it is not: its treatment was voided, say.
    fn is_led(&self, standing: &Standing, key: &Key) -> bool {
        let first = standing.members.first().map(|member| &member.key);
        first.is_none_or(|first| first == key || self.chart.unwanted(first).is_none())
    }

    /// Whether it waited for a device that is there now.
    pub(super) fn waited(&self, standing: &Standing) -> bool {
        standing.reason == Some(Reason::NoDevice) && self.facts().reachable
    }

    /// What waits in the queue may leave a little into quiet hours that began meanwhile.
    fn in_grace(&self, candidate: &Candidate) -> bool {
        let quiet = self.quiet_hours_of(candidate);
        candidate.queued.is_some() && in_grace(quiet, self.zone(), candidate.due_at, self.now)
    }

    /// The quiet hours that the step keeps to. What waits in the queue leaves as one, and so keeps to those
    /// of its first step.
    pub(super) fn quiet_hours_of(&self, candidate: &Candidate) -> QuietHours {
        let row = candidate.queued.and_then(|_| self.rows.get(&candidate.key));
        let first = row.and_then(|row| row.standing.members.first());
        let treatment = first.and_then(|member| self.chart.treatment(member.key.treatment));
        quiet_hours(self.facts(), treatment.unwrap_or(candidate.treatment))
    }

    pub(super) fn zone(&self) -> &'f Zone {
        &self.facts().person.zone
    }

    /// A part of the step's spread that is always the same for this patient and step.
    fn spread(&self, candidate: &Candidate) -> SignedDuration {
        let seconds = u64::try_from(candidate.step.spread.as_secs()).unwrap_or(0);
        let Some(patient) = self.facts().person.id.filter(|_| seconds > 0) else {
            return SignedDuration::ZERO;
        };
        let bytes = patient.0.as_bytes().iter().chain(candidate.step.id.as_str().as_bytes());
        // FNV-1a: stable across releases, which the hashers of the standard library are not.
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        SignedDuration::from_secs(i64::try_from(hash % seconds).unwrap_or(0))
    }
}
