//! Restrictions: the intervals in which rules hold. Timelines and answers are read off them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::ends::{end, later};
use super::message::{fill, slot_text};
use super::{Facts, TreatmentFacts};
use crate::ids::TreatmentId;
use crate::protocol::{Area, Rule, RuleId, RuleKind};

/// A rule in force, from `from` until `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restriction {
    /// The rule.
    pub rule: RuleId,
    /// What it asks for.
    pub kind: RuleKind,
    /// What not to do.
    pub activities: Vec<String>,
    /// Where.
    pub areas: BTreeSet<Area>,
    /// Since when.
    pub from: Timestamp,
    /// Until when, not including that instant; `None` = open-ended.
    pub until: Option<Timestamp>,
    /// The rule in the patient's language, without its hours.
    pub text: String,
    /// The treatments behind it, in order of completion.
    pub treatment_ids: Vec<TreatmentId>,
}

/// The restrictions of one treatment, in protocol order; none when it is voided.
#[must_use]
pub fn of_treatment(facts: &Facts, treatment: &TreatmentFacts) -> Vec<Restriction> {
    let held = held(facts, treatment);
    held.map(|(rule, until)| restriction(facts, treatment, rule, until)).collect()
}

/// The restrictions of all treatments that are not over at `at`, merged by rule: where two
/// overlap, they are one, from the earlier start to the later end.
#[must_use]
pub fn in_force(facts: &Facts, at: Timestamp) -> Vec<Restriction> {
    let mut treatments: Vec<_> = facts.treatments.iter().collect();
    treatments.sort_by_key(|treatment| (treatment.completed_at, treatment.id));
    let mut merged: Vec<Restriction> = Vec::new();
    let mut last: BTreeMap<&RuleId, usize> = BTreeMap::new();
    for treatment in treatments {
        let current = held(facts, treatment);
        for (rule, until) in current.filter(|(_, until)| until.is_none_or(|until| at < until)) {
            let next = restriction(facts, treatment, rule, until);
            // Those of one rule come one after another: only the last can overlap.
            let known = last.get(&rule.id).and_then(|place| merged.get_mut(*place));
            let overlaps =
                |known: &&mut Restriction| known.until.is_none_or(|until| next.from <= until);
            if let Some(known) = known.filter(overlaps) {
                absorb(known, next);
            } else {
                last.insert(&rule.id, merged.len());
                merged.push(next);
            }
        }
    }
    merged
}

/// The rules of a treatment that restrict something, and until when; `None` = open-ended.
fn held<'f>(
    facts: &Facts,
    treatment: &'f TreatmentFacts,
) -> impl Iterator<Item = (&'f Rule, Option<Timestamp>)> {
    let rules = treatment.protocol.rules.iter().filter(|_| !treatment.voided);
    let rules = rules.filter(|rule| rule.kind != RuleKind::NextSession && treatment.concerns(rule));
    rules
        .map(|rule| (rule, end(facts, treatment, rule)))
        .filter(|(_, until)| until.is_none_or(|until| treatment.completed_at < until))
}

/// Treatments come in order of completion, so the later one's words are the newer ones.
fn absorb(known: &mut Restriction, next: Restriction) {
    let until = later(known.until, next.until);
    if until == next.until {
        known.text = next.text;
    }
    known.until = until;
    known.areas.extend(next.areas);
    known.treatment_ids.extend(next.treatment_ids);
    for activity in next.activities {
        if !known.activities.contains(&activity) {
            known.activities.push(activity);
        }
    }
}

/// A rule of a treatment in the patient's language, without its hours.
#[must_use]
pub fn rule_text(facts: &Facts, treatment: &TreatmentFacts, rule: &Rule) -> String {
    fill(rule.text.get(&facts.person.locale), |slot| slot_text(facts, treatment, slot))
}

fn restriction(
    facts: &Facts,
    treatment: &TreatmentFacts,
    rule: &Rule,
    until: Option<Timestamp>,
) -> Restriction {
    Restriction {
        rule: rule.id.clone(),
        kind: rule.kind,
        activities: rule.activities.clone(),
        areas: rule.areas.intersection(&treatment.areas).cloned().collect(),
        from: treatment.completed_at,
        until,
        text: rule_text(facts, treatment, rule),
        treatment_ids: vec![treatment.id],
    }
}
