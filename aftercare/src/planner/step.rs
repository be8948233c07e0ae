//! From a step of a treatment to a candidate for a reminder, or to the reason why there is none.

mod snooze;
mod timing;
mod wanted;

use std::collections::BTreeMap;

use jiff::Timestamp;

pub(super) use wanted::may_go_out;
pub use wanted::{covers, unwanted};

use super::correction::Correction;
use super::ends::Ends;
use super::{
    CourseState, Facts, Fate, Key, Outcome, Reason, ReminderState, Shift, ShiftCause, Standing,
    TreatmentFacts,
};
use crate::ids::TreatmentId;
use crate::protocol::{Moment, Step};

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
}
