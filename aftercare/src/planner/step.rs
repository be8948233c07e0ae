//! From a step of a treatment to a candidate for a reminder, or to the reason why there is none.

mod snooze;
mod timing;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::chart::Chart;
use super::correction::Correction;
use super::{
    Facts, Fate, Key, Member, Outcome, Reason, ReminderState, Shift, ShiftCause, Standing,
    TreatmentFacts,
};
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

/// The candidates of all treatments that are not closed, and the fates of all other steps.
pub(super) fn candidates<'f>(
    chart: &Chart<'f>,
    corrections: &'f [Correction<'f>],
    now: Timestamp,
) -> (Vec<Candidate<'f>>, BTreeMap<Key, Outcome>) {
    let view = View { chart, put_off: chart.facts.put_off(), rows: rows(chart, now), now };
    let mut candidates: Vec<Candidate<'f>> = Vec::new();
    let mut steps = BTreeMap::new();
    for treatment in chart.facts.treatments.iter().filter(|treatment| !treatment.closed) {
        let others = candidates.len();
        for (order, step) in treatment.protocol.steps.iter().enumerate() {
            let key = Key { treatment: treatment.id, step: step.id.clone() };
            let moments = view.snoozed_moments(&key).or_else(|| chart.moments(treatment, step));
            let earlier = candidates.get(others..).unwrap_or_default();
            match view.candidate((treatment, step, order), &key, moments, earlier) {
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
    let wanted: BTreeSet<&Key> = candidates.iter().map(|candidate| &candidate.key).collect();
    for standing in chart.facts.standing.iter().filter(|standing| standing.is_open()) {
        if !steps.contains_key(&standing.key) && !wanted.contains(&standing.key) {
            let leaving = chart.is_leaving(standing);
            let fate = if leaving { Fate::Settled } else { Fate::Cancelled(Reason::Amended) };
            let use_by = standing.members.first().map_or(standing.due_at, |member| member.use_by);
            let outcome = Outcome { fate, nominal_at: standing.due_at, use_by };
            steps.insert(standing.key.clone(), outcome);
        }
    }
    (candidates, steps)
}

/// The stored reminder that counts for a step.
#[derive(Debug, Clone, Copy)]
struct Row<'f> {
    standing: &'f Standing,
    /// The step in it.
    member: &'f Member,
    /// Whether a step of it is worthless by now.
    stale: bool,
    /// Whether it is claimed, and goes out as it is.
    leaving: bool,
}

/// The reminders that count, by their steps.
fn rows<'f>(chart: &Chart<'f>, now: Timestamp) -> BTreeMap<&'f Key, Row<'f>> {
    let mut by_step = BTreeMap::new();
    let counts = |standing: &&Standing| {
        !matches!(
            standing.state,
            ReminderState::Cancelled | ReminderState::Superseded | ReminderState::Skipped
        )
    };
    // One that was sent may be said again by another: that one speaks for it.
    let mut standing: Vec<_> = chart.facts.standing.iter().filter(counts).collect();
    standing.sort_by_key(|row| (row.is_open(), row.due_at));
    for standing in standing {
        let stale = standing.members.iter().any(|member| member.use_by <= now);
        let leaving = chart.is_leaving(standing);
        let row = |member: &'f Member| (&member.key, Row { standing, member, stale, leaving });
        by_step.extend(standing.members.iter().map(row));
    }
    by_step
}

struct View<'f, 'c> {
    chart: &'c Chart<'f>,
    put_off: BTreeMap<&'f Key, Timestamp>,
    rows: BTreeMap<&'f Key, Row<'f>>,
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
        if self.speaks(treatment, step, due_at)
            || snoozed.is_some_and(|row| self.any_speaks(row.standing, due_at))
        {
            Ok(candidate)
        } else {
            Err(Fate::Skipped(Reason::NothingToSay))
        }
    }

    /// What sets right what was sent keeps to the hours that all else keeps to.
    fn correction(&self, correction: &'f Correction<'f>) -> Result<Candidate<'f>, Fate> {
        if !self.facts().person.aftercare {
            return Err(Fate::Skipped(Reason::Consent));
        }
        if self.rows.get(&correction.key).is_some_and(|row| row.leaving) {
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

    fn facts(&self) -> &'f Facts {
        self.chart.facts
    }

    /// Whether the step has something to say at that instant.
    fn speaks(&self, treatment: &TreatmentFacts, step: &Step, at: Timestamp) -> bool {
        self.chart.ends.speaks(self.facts(), treatment, step, at)
    }
}
