//! When rules end, over all of a patient's treatments: where two overlap, the later end wins.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Facts, TreatmentFacts};
use crate::protocol::{Clause, Rule, RuleId, Step, When};

/// The end of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// It holds until then, not including that instant.
    At(Timestamp),
    /// It holds on: later than any instant.
    Open,
}

/// When each rule that concerns the patient ends, and how that came to be known.
#[derive(Debug)]
pub(super) struct Ends<'f>(BTreeMap<&'f RuleId, Vec<Latest<'f>>>);

/// The latest end of a rule, from when its treatment was recorded until one that holds longer was.
#[derive(Debug)]
struct Latest<'f> {
    since: Timestamp,
    end: End,
    /// The treatment's place among the patient's: of equal ends the first one's counts.
    place: usize,
    treatment: &'f TreatmentFacts,
}

impl<'f> Ends<'f> {
    /// With all that is known of the treatments now.
    pub(super) fn of(facts: &'f Facts) -> Self {
        let treatments = facts.treatments.iter().enumerate();
        let mut recorded: Vec<_> = treatments.filter(|(_, treatment)| !treatment.voided).collect();
        recorded.sort_by_key(|(_, treatment)| treatment.recorded_at);
        let mut ends: BTreeMap<_, Vec<Latest>> = BTreeMap::new();
        for (place, treatment) in recorded {
            for rule in treatment.protocol.rules.iter().filter(|rule| treatment.concerns(rule)) {
                let end = end(facts, treatment, rule).map_or(End::Open, End::At);
                let known = ends.entry(&rule.id).or_default();
                let longer =
                    |last: &Latest| (last.end, Reverse(last.place)) < (end, Reverse(place));
                if known.last().is_none_or(longer) {
                    known.push(Latest { since: treatment.recorded_at, end, place, treatment });
                }
            }
        }
        Self(ends)
    }

    /// The rule's latest end; `None` when it concerns no treatment.
    pub(super) fn get(&self, rule: &RuleId) -> Option<End> {
        self.0.get(rule)?.last().map(|latest| latest.end)
    }

    /// The treatment that the rule holds for without an end, and the rule as it has it.
    pub(super) fn open(&self, rule: &RuleId) -> Option<(&'f TreatmentFacts, &'f Rule)> {
        let last = self.0.get(rule)?.last().filter(|latest| latest.end == End::Open)?;
        Some((last.treatment, last.treatment.protocol.rule(rule)?))
    }

    /// The rule's latest end over the treatments that were recorded by then, and the treatment that it
    /// holds so long for.
    pub(super) fn known_at(
        &self,
        rule: &RuleId,
        at: Timestamp,
    ) -> Option<(End, &'f TreatmentFacts)> {
        let known = self.0.get(rule)?;
        let last = known.partition_point(|latest| latest.since <= at).checked_sub(1)?;
        known.get(last).map(|latest| (latest.end, latest.treatment))
    }

    /// Whether the step has something to say at that instant.
    pub(super) fn speaks(
        &self,
        facts: &Facts,
        treatment: &TreatmentFacts,
        step: &Step,
        at: Timestamp,
    ) -> bool {
        step.clauses.iter().any(|clause| {
            concerns(facts, treatment, clause)
                && !muted(&facts.person.muted, clause)
                && self.holds(clause, at)
        })
    }

    /// Whether the clause, which concerns its treatment, is true at that instant.
    pub(super) fn holds(&self, clause: &Clause, at: Timestamp) -> bool {
        match &clause.when {
            When::Always => true,
            When::During(rule) => self.get(rule).is_some_and(|end| End::At(at) < end),
            When::After(rule) => self.get(rule).is_some_and(|end| end <= End::At(at)),
        }
    }
}

/// The end of one treatment's rule.
pub(super) fn end(facts: &Facts, treatment: &TreatmentFacts, rule: &Rule) -> Option<Timestamp> {
    treatment.anchor(&facts.person.zone).resolve(rule.until?, None)
}

pub(super) fn later(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    Some(a?.max(b?))
}

/// Whether the clause can apply to what was treated, and its slot is filled in.
pub(super) fn concerns(facts: &Facts, treatment: &TreatmentFacts, clause: &Clause) -> bool {
    let rule = clause.when.rule().map(|id| treatment.protocol.rule(id));
    let concerned = rule.is_none_or(|rule| rule.is_some_and(|rule| treatment.concerns(rule)));
    concerned && clause.needs.as_ref().is_none_or(|slot| slot_filled(facts, treatment, slot))
}

fn slot_filled(facts: &Facts, treatment: &TreatmentFacts, slot: &str) -> bool {
    facts.person.slots.contains_key(slot)
        || treatment.protocol.slots.get(slot).is_some_and(Option::is_some)
}

pub(super) fn muted(muted: &BTreeSet<RuleId>, clause: &Clause) -> bool {
    clause.when.rule().is_some_and(|rule| muted.contains(rule))
}
