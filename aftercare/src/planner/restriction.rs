//! Restrictions: the intervals in which rules hold. Timelines and answers are read off them.

use std::collections::BTreeSet;

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
    if treatment.voided {
        return Vec::new();
    }
    let rules = treatment.protocol.rules.iter();
    rules
        .filter(|rule| rule.kind != RuleKind::NextSession && treatment.concerns(rule))
        .map(|rule| restriction(facts, treatment, rule))
        .filter(|restriction| restriction.until.is_none_or(|until| restriction.from < until))
        .collect()
}

/// The restrictions of all treatments that are not over at `at`, merged by rule: where two
/// overlap, they are one, from the earlier start to the later end.
#[must_use]
pub fn in_force(facts: &Facts, at: Timestamp) -> Vec<Restriction> {
    let mut treatments: Vec<_> = facts.treatments.iter().collect();
    treatments.sort_by_key(|treatment| (treatment.completed_at, treatment.id));
    let mut merged: Vec<Restriction> = Vec::new();
    let current = treatments.into_iter().flat_map(|treatment| of_treatment(facts, treatment));
    for next in current.filter(|restriction| restriction.until.is_none_or(|until| at < until)) {
        let same = |known: &&mut Restriction| {
            known.rule == next.rule && known.until.is_none_or(|until| next.from <= until)
        };
        match merged.iter_mut().find(same) {
            Some(known) => absorb(known, next),
            None => merged.push(next),
        }
    }
    merged
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

fn restriction(facts: &Facts, treatment: &TreatmentFacts, rule: &Rule) -> Restriction {
    Restriction {
        rule: rule.id.clone(),
        kind: rule.kind,
        activities: rule.activities.clone(),
        areas: rule.areas.intersection(&treatment.areas).cloned().collect(),
        from: treatment.completed_at,
        until: end(facts, treatment, rule),
        text: rule_text(facts, treatment, rule),
        treatment_ids: vec![treatment.id],
    }
}
