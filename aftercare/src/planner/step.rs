//! From a step of a treatment to a candidate for a reminder, or to the reason why there is none.

mod snooze;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::correction::{Correction, appointments};
use super::ends::{Ends, concerns, muted};
use super::quiet::{Place, exempt, in_grace, place, quiet_hours};
use super::{
    CourseState, Facts, Fate, Key, Outcome, Reason, ReminderState, Shift, ShiftCause, Standing,
    TreatmentFacts,
};
use crate::ids::TreatmentId;
use crate::protocol::{Condition, Covered, Moment, QuietHours, Step};
use crate::zone::Zone;

/// The minute of the day that a patient's hour of exercise replaces is one hour after the due
/// moment that protocols write, less the five minutes that keep it off the full hour.
const BEFORE_EXERCISE: SignedDuration = SignedDuration::from_mins(55);

/// A step that will be said.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'f> {
    pub(super) key: Key,
    pub(super) treatment: &'f TreatmentFacts,
    pub(super) step: &'f Step,
    /// Its place in the protocol.
    pub(super) order: usize,
    pub(super) nominal_at: Timestamp,
    pub(super) due_at: Timestamp,
    pub(super) use_by: Timestamp,
    pub(super) shifts: Vec<Shift>,
    /// The stored reminder that waits in the queue with it: it stays where it is.
    pub(super) queued: Option<&'f Key>,
    /// It is due where the patient put it off to, and stays there.
    pub(super) snoozed: bool,
}

impl Candidate<'_> {
    pub(super) fn shift(&mut self, cause: ShiftCause, to: Timestamp) {
        if to != self.due_at {
            self.due_at = to;
            // "Now" is another instant in each plan, and decided nothing if something moved it on.
            self.shifts.retain(|shift| shift.cause != ShiftCause::Late);
            self.shifts.push(Shift { cause, to });
        }
    }

    /// Whether pacing may move it: elapsed steps, what is in the queue and what the patient put off
    /// stay.
    pub(super) fn movable(&self) -> bool {
        self.queued.is_none() && !self.snoozed && !matches!(self.step.due, Moment::Elapsed(_))
    }
}

/// The candidates of all treatments, and the fates of all other steps.
pub(super) fn candidates<'f>(
    facts: &'f Facts,
    corrections: &'f [Correction<'f>],
    courses: &BTreeMap<TreatmentId, CourseState>,
    now: Timestamp,
) -> (Vec<Candidate<'f>>, BTreeMap<Key, Outcome>) {
    let view = View { facts, courses, ends: Ends::of(facts), standing: by_member(facts), now };
    let mut candidates: Vec<Candidate<'f>> = Vec::new();
    let mut steps = BTreeMap::new();
    for treatment in &facts.treatments {
        for (order, step) in treatment.protocol.steps.iter().enumerate() {
            let key = Key { treatment: treatment.id, step: step.id.clone() };
            let moments = view.snoozed_moments(&key).or_else(|| view.moments(treatment, step));
            match view.candidate((treatment, step, order), &key, moments, &candidates) {
                Ok(candidate) => candidates.push(candidate),
                Err(fate) => {
                    let nowhere = (treatment.completed_at, treatment.completed_at);
                    let (nominal_at, use_by) = moments.unwrap_or(nowhere);
                    steps.insert(key, Outcome { fate, nominal_at, use_by });
                }
            }
        }
    }
    for correction in corrections {
        match view.correction(correction) {
            Ok(candidate) => candidates.push(candidate),
            Err(fate) => {
                let (nominal_at, use_by) = (correction.nominal_at, correction.use_by);
                steps.insert(correction.key.clone(), Outcome { fate, nominal_at, use_by });
            }
        }
    }
    for standing in facts.standing.iter().filter(|standing| standing.is_open()) {
        if !steps.contains_key(&standing.key)
            && !candidates.iter().any(|candidate| candidate.key == standing.key)
        {
            let fate = Fate::Cancelled(Reason::Amended);
            let use_by = standing.members.first().map_or(standing.due_at, |member| member.use_by);
            let outcome = Outcome { fate, nominal_at: standing.due_at, use_by };
            steps.insert(standing.key.clone(), outcome);
        }
    }
    (candidates, steps)
}

fn by_member(facts: &Facts) -> BTreeMap<&Key, &Standing> {
    let mut by_member = BTreeMap::new();
    let counts = |standing: &&Standing| {
        !matches!(
            standing.state,
            ReminderState::Cancelled | ReminderState::Superseded | ReminderState::Skipped
        )
    };
    // One that was sent may be said again by another: that one speaks for it.
    let mut rows: Vec<_> = facts.standing.iter().filter(counts).collect();
    rows.sort_by_key(|row| (row.is_open(), row.due_at));
    for standing in rows {
        by_member.extend(standing.members.iter().map(|member| (&member.key, standing)));
    }
    by_member
}

/// Whether a claimed reminder may go out as it is: one that speaks for a voided treatment, or
/// without consent, is taken back and its other steps are planned anew.
pub(super) fn may_go_out(facts: &Facts, standing: &Standing) -> bool {
    standing.members.iter().all(|member| {
        facts.treatment(member.key.treatment).is_some_and(|treatment| {
            let step = treatment.protocol.step(&member.key.step);
            let recall = step.is_some_and(|step| treatment.protocol.is_recall(step));
            (!treatment.voided || member.key.step.is_correction())
                && facts.person.aftercare
                && (!recall || facts.person.recall)
        })
    })
}

/// Why the step is not wanted, whatever the hour and whatever it would say: the session was taken
/// back, consent was withdrawn, or the course went on without it. `None` while it is wanted.
#[must_use]
pub fn unwanted(
    facts: &Facts,
    courses: &BTreeMap<TreatmentId, CourseState>,
    key: &Key,
) -> Option<Reason> {
    let Some(treatment) = facts.treatment(key.treatment) else { return Some(Reason::Voided) };
    if treatment.voided && !key.step.is_correction() {
        return Some(Reason::Voided);
    }
    if !facts.person.aftercare {
        return Some(Reason::Consent);
    }
    let step = treatment.protocol.step(&key.step)?;
    if treatment.protocol.is_recall(step) {
        if !facts.person.recall {
            return Some(Reason::Consent);
        }
        let course = courses.get(&treatment.id);
        if course.is_some_and(|course| !course.latest) {
            return Some(Reason::NewerSession);
        }
        if course.is_some_and(|course| course.session >= course.of) {
            return Some(Reason::CourseComplete);
        }
    }
    match (step.condition, treatment.next_session_at) {
        (Some(Condition::Booked), None) => Some(Reason::NotBooked),
        (Some(Condition::Unbooked), Some(_)) => Some(Reason::Booked),
        _ => None,
    }
}

struct View<'f, 'c> {
    facts: &'f Facts,
    courses: &'c BTreeMap<TreatmentId, CourseState>,
    ends: Ends<'f>,
    standing: BTreeMap<&'f Key, &'f Standing>,
    now: Timestamp,
}

impl<'f> View<'f, '_> {
    fn candidate(
        &self,
        (treatment, step, order): (&'f TreatmentFacts, &'f Step, usize),
        key: &Key,
        moments: Option<(Timestamp, Timestamp)>,
        earlier: &[Candidate],
    ) -> Result<Candidate<'f>, Fate> {
        self.wanted(treatment, step, key)?;
        let snoozed = self.snoozed(key);
        if snoozed.is_none() && self.covered(treatment, step, earlier) {
            return Err(Fate::Skipped(Reason::Covered));
        }
        let (nominal_at, use_by) = moments.ok_or_else(|| self.worthless(key, None))?;
        let mut candidate = Candidate {
            key: key.clone(),
            treatment,
            step,
            order,
            nominal_at,
            due_at: nominal_at,
            use_by,
            shifts: Vec::new(),
            queued: None,
            snoozed: false,
        };
        self.time(&mut candidate)?;
        let due_at = candidate.due_at;
        if self.ends.speaks(self.facts, treatment, step, due_at)
            || snoozed.is_some_and(|standing| self.any_speaks(standing, due_at))
        {
            Ok(candidate)
        } else {
            Err(Fate::Skipped(Reason::NothingToSay))
        }
    }

    /// What sets right what was sent keeps to the hours that all else keeps to.
    fn correction(&self, correction: &'f Correction<'f>) -> Result<Candidate<'f>, Fate> {
        if !self.facts.person.aftercare {
            return Err(Fate::Skipped(Reason::Consent));
        }
        let standing = self.standing.get(&correction.key);
        if standing.is_some_and(|standing| {
            standing.state == ReminderState::Claimed && may_go_out(self.facts, standing)
        }) {
            return Err(Fate::Settled);
        }
        let mut candidate = Candidate {
            key: correction.key.clone(),
            treatment: correction.treatment,
            step: &correction.step,
            order: 0,
            nominal_at: correction.nominal_at,
            due_at: correction.nominal_at,
            use_by: correction.use_by,
            shifts: Vec::new(),
            queued: None,
            snoozed: false,
        };
        self.time(&mut candidate)?;
        Ok(candidate)
    }

    /// Whether the step is wanted at all, whatever the hour.
    fn wanted(&self, treatment: &TreatmentFacts, step: &Step, key: &Key) -> Result<(), Fate> {
        let over = self.standing.get(key).filter(|standing| {
            matches!(
                standing.state,
                ReminderState::Sent | ReminderState::Expired | ReminderState::Failed
            )
        });
        if over.is_some_and(|standing| !self.rebooked(standing, treatment, step)) {
            return Err(Fate::Settled);
        }
        if let Some(reason) = unwanted(self.facts, self.courses, key) {
            return Err(match reason {
                Reason::Consent => Fate::Skipped(reason),
                Reason::NewerSession => Fate::Superseded(reason),
                _ => Fate::Cancelled(reason),
            });
        }
        let claimed = |standing: &&&Standing| standing.state == ReminderState::Claimed;
        let claimed = self.standing.get(key).filter(claimed);
        if claimed.is_some_and(|standing| may_go_out(self.facts, standing)) {
            return Err(Fate::Settled);
        }
        let mut clauses =
            step.clauses.iter().filter(|c| concerns(self.facts, treatment, c)).peekable();
        if clauses.peek().is_none() {
            return Err(Fate::Skipped(Reason::NothingToSay));
        }
        if clauses.all(|clause| muted(&self.facts.person.muted, clause)) {
            return Err(Fate::Skipped(Reason::Muted));
        }
        Ok(())
    }

    /// Whether the next session has another date than the one that this reminder told, or was to
    /// tell, the patient. One that said more under its name stays as it was sent.
    fn rebooked(&self, row: &Standing, treatment: &TreatmentFacts, step: &Step) -> bool {
        let key = Key { treatment: treatment.id, step: step.id.clone() };
        let booking = matches!(step.due, Moment::Booking { .. });
        if !booking || (row.key == key && row.members.len() > 1) {
            return false;
        }
        if let Some(said) = &row.said {
            return appointments(treatment, step).any(|rule| {
                said.until.get(&rule.id).is_some_and(|told| *told != treatment.next_session_at)
            });
        }
        let Some((nominal_at, _)) = self.moments(treatment, step) else { return false };
        let missed = row.members.iter().find(|member| member.key == key);
        row.sent_at.is_none()
            && self.now < nominal_at
            && missed.is_some_and(|missed| missed.nominal_at < nominal_at)
    }

    /// An evening treatment's first reminder says what a later one of that evening would; but only
    /// if it was, or will be, sent.
    fn covered(&self, treatment: &TreatmentFacts, step: &Step, earlier: &[Candidate]) -> bool {
        let Some(covered) = step.covered.as_ref().filter(|covered| late_enough(treatment, covered))
        else {
            return false;
        };
        let said = Key { treatment: treatment.id, step: covered.by.clone() };
        let sent = self.standing.get(&said).is_some_and(|standing| {
            matches!(standing.state, ReminderState::Sent | ReminderState::Claimed)
                || standing.is_snoozed()
                // It was, though what it was put off to could not be met.
                || standing.sent_at.is_some()
        });
        sent || earlier.iter().any(|candidate| candidate.key == said)
    }

    /// The nominal due moment and the use-by; `None` where the protocol's moments lead nowhere.
    fn moments(&self, treatment: &TreatmentFacts, step: &Step) -> Option<(Timestamp, Timestamp)> {
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

    /// What becomes of a step whose use-by is over: one that was planned has expired, unless the
    /// treatment was corrected and its use-by is another now.
    fn worthless(&self, key: &Key, use_by: Option<Timestamp>) -> Fate {
        let waited = self.standing.get(key).filter(|standing| {
            let member = standing.members.iter().find(|member| &member.key == key);
            use_by.is_none_or(|use_by| member.is_some_and(|member| member.use_by == use_by))
        });
        match waited {
            Some(standing) if standing.reason == Some(Reason::NoDevice) => {
                Fate::Expired(Reason::NoDevice)
            }
            Some(_) => Fate::Expired(Reason::PastUseBy),
            None => Fate::Skipped(Reason::PastUseBy),
        }
    }

    /// Finds the moment at which the step will be said: now if it is overdue, and out of quiet
    /// hours. What already waits in the queue keeps its moment.
    fn time(&self, candidate: &mut Candidate<'f>) -> Result<(), Fate> {
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
            .standing
            .get(&candidate.key)
            .filter(|standing| self.queued(standing) && !self.is_postponed(standing, candidate));
        if let Some(standing) = snoozed.or(queued.copied()) {
            candidate.due_at = standing.due_at;
            candidate.queued = Some(&standing.key);
            candidate.snoozed = snoozed.is_some();
            candidate.shifts.clone_from(&shifts_of(standing, &candidate.key));
        } else if let Some(until) = self.snoozed_before(candidate) {
            candidate.shift(ShiftCause::Snoozed, until);
            candidate.snoozed = true;
        } else if candidate.nominal_at < now {
            candidate.shift(ShiftCause::Late, now);
        } else {
            let spread = candidate.nominal_at.checked_add(self.spread(candidate));
            if let Some(at) = spread.ok().filter(|at| *at < use_by) {
                candidate.shift(ShiftCause::Spread, at);
            }
        }
        if exempt(candidate.treatment, candidate.step) || self.in_grace(candidate) {
            return Ok(());
        }
        let at = candidate.due_at.max(now);
        if candidate.snoozed && self.put_off_into_quiet(candidate, at) {
            return Ok(());
        }
        match place(self.quiet_hours(candidate.treatment), self.zone(), at, use_by, now) {
            Place::Stay => Ok(()),
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
    fn queued(&self, standing: &Standing) -> bool {
        matches!(standing.state, ReminderState::Planned | ReminderState::Claimed)
            && standing.due_at <= self.now
            && !self.is_stale(standing)
            && !self.waited(standing)
    }

    fn is_stale(&self, standing: &Standing) -> bool {
        standing.members.iter().any(|member| member.use_by <= self.now)
    }

    /// Whether it waited for a device that is there now.
    fn waited(&self, standing: &Standing) -> bool {
        standing.reason == Some(Reason::NoDevice) && self.facts.reachable
    }

    /// What waits is due later than it was planned for: its treatment was corrected.
    fn is_postponed(&self, standing: &Standing, candidate: &Candidate) -> bool {
        let member = standing.members.iter().find(|member| member.key == candidate.key);
        candidate.nominal_at > self.now
            && member.is_some_and(|member| member.nominal_at < candidate.nominal_at)
    }

    /// What waits in the queue may leave a little into quiet hours that began meanwhile.
    fn in_grace(&self, candidate: &Candidate) -> bool {
        let quiet = self.quiet_hours(candidate.treatment);
        candidate.queued.is_some() && in_grace(quiet, self.zone(), candidate.due_at, self.now)
    }

    fn quiet_hours(&self, treatment: &TreatmentFacts) -> QuietHours {
        quiet_hours(self.facts, treatment)
    }

    fn zone(&self) -> &Zone {
        &self.facts.person.zone
    }

    /// A part of the step's spread that is always the same for this patient and step.
    fn spread(&self, candidate: &Candidate) -> SignedDuration {
        let seconds = u64::try_from(candidate.step.spread.as_secs()).unwrap_or(0);
        let Some(patient) = self.facts.person.id.filter(|_| seconds > 0) else {
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

fn shifts_of(standing: &Standing, key: &Key) -> Vec<Shift> {
    let member = standing.members.iter().find(|member| &member.key == key);
    member.map(|member| member.shifts.clone()).unwrap_or_default()
}

/// Whether the step says, for this treatment, what another one therefore leaves out.
#[must_use]
pub fn covers(facts: &Facts, key: &Key) -> bool {
    let Some(treatment) = facts.treatment(key.treatment) else { return false };
    let covered = treatment.protocol.steps.iter().filter_map(|step| step.covered.as_ref());
    covered.filter(|covered| covered.by == key.step).any(|covered| late_enough(treatment, covered))
}

/// Whether the treatment ended after the hour from which on one step covers another.
fn late_enough(treatment: &TreatmentFacts, covered: &Covered) -> bool {
    treatment.completed_at.to_zoned(treatment.zone.tz().clone()).time() > covered.after
}
