//! What the patient was told so far, and where that is less than holds: looked through once.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::ends::{End, Ends};
use super::super::{Facts, Key, Standing, TreatmentFacts};
use super::rules;
use crate::ids::TreatmentId;
use crate::protocol::{Rule, RuleId};

/// A patient's reminders, as corrections look at them.
#[derive(Debug, Default)]
pub(in super::super) struct Past<'f> {
    about: BTreeMap<TreatmentId, Vec<&'f Standing>>,
    waiting: BTreeMap<&'f Key, Timestamp>,
    longer: Vec<Longer<'f>>,
    announced: BTreeMap<TreatmentId, Announced>,
}

/// What a patient was told last of the session after a treatment.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Announced {
    told_at: Timestamp,
    /// When it is; `None` = that it is cancelled.
    pub(in super::super) at: Option<Timestamp>,
}

/// A rule that holds longer than the patient was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Longer<'f> {
    /// The treatment that it holds longest for.
    pub(super) treatment: &'f TreatmentFacts,
    pub(super) rule: &'f Rule,
    pub(super) until: End,
}

impl<'f> Past<'f> {
    pub(in super::super) fn of(
        facts: &'f Facts,
        treatments: &BTreeMap<TreatmentId, &'f TreatmentFacts>,
        ends: &Ends<'f>,
    ) -> Self {
        // Whoever was told nothing needs nothing set right.
        if facts.standing.iter().all(|row| row.said.is_none()) {
            return Self::default();
        }
        let (mut about, mut waiting) = (BTreeMap::<_, Vec<&Standing>>::new(), BTreeMap::new());
        for row in &facts.standing {
            let waits = row.state.is_to_come();
            for member in &row.members {
                let rows = about.entry(member.key.treatment).or_default();
                if rows.last().is_none_or(|last| !std::ptr::eq(*last, row)) {
                    rows.push(row);
                }
                if waits {
                    waiting.entry(&member.key).or_insert(member.nominal_at);
                }
            }
        }
        Self {
            about,
            waiting,
            longer: longer(facts, treatments, ends),
            announced: last_announced(facts),
        }
    }

    /// The reminders with a step of the treatment.
    pub(super) fn about(&self, treatment: TreatmentId) -> impl Iterator<Item = &'f Standing> {
        self.about.get(&treatment).into_iter().flatten().copied()
    }

    /// When the step was due by itself, while it waits.
    pub(super) fn waiting(&self, step: &Key) -> Option<Timestamp> {
        self.waiting.get(step).copied()
    }

    /// What the patient was told last of the session after the treatment.
    pub(in super::super) fn announced(&self, treatment: TreatmentId) -> Option<Announced> {
        self.announced.get(&treatment).copied()
    }

    /// Each rule that still holds then, and longer than the patient was told: of several reminders that
    /// should have told it, as the one has it that knew of the longest.
    pub(super) fn longer(&self, now: Timestamp) -> Vec<Longer<'f>> {
        let mut found: Vec<Longer> = Vec::new();
        for longer in self.longer.iter().filter(|longer| End::At(now) < longer.until) {
            match found.iter_mut().find(|known| known.rule.id == longer.rule.id) {
                Some(known) => *known = *longer,
                None => found.push(*longer),
            }
        }
        found
    }
}

/// In the order of the reminders that should have told it; of one rule each ends later than those before.
fn longer<'f>(
    facts: &'f Facts,
    treatments: &BTreeMap<TreatmentId, &'f TreatmentFacts>,
    ends: &Ends<'f>,
) -> Vec<Longer<'f>> {
    let told = last_told(facts);
    let mut latest: BTreeMap<&RuleId, End> = BTreeMap::new();
    let mut longer = Vec::new();
    for (row, sent_at) in heard(facts) {
        let told_of = row.members.iter().filter_map(|member| {
            let treatment = *treatments.get(&member.key.treatment)?;
            let counts = !treatment.voided && !member.key.step.is_correction();
            counts.then_some((treatment, &member.key.step))
        });
        for rule in told_of.flat_map(|(treatment, step)| rules(treatment, step)) {
            let Some((until, treatment)) = ends.known_at(&rule.id, sent_at) else { continue };
            let known = [told.get(&rule.id), latest.get(&rule.id)].into_iter().flatten();
            if known.max().is_some_and(|known| until <= *known)
                || facts.person.muted.contains(&rule.id)
            {
                continue;
            }
            latest.insert(&rule.id, until);
            let rule = treatment.protocol.rule(&rule.id).unwrap_or(rule);
            longer.push(Longer { treatment, rule, until });
        }
    }
    longer
}

fn last_announced(facts: &Facts) -> BTreeMap<TreatmentId, Announced> {
    let mut last: BTreeMap<TreatmentId, Announced> = BTreeMap::new();
    for (row, told_at) in heard(facts) {
        for (treatment, at) in row.said.iter().flat_map(|said| &said.appointments) {
            let known = last.get(treatment).is_some_and(|last| told_at < last.told_at);
            if !known {
                last.insert(*treatment, Announced { told_at, at: *at });
            }
        }
    }
    last
}

/// The end of each rule as the patient heard it last.
fn last_told(facts: &Facts) -> BTreeMap<&RuleId, End> {
    let mut told: BTreeMap<&RuleId, (Timestamp, End)> = BTreeMap::new();
    for row in &facts.standing {
        let (Some(said), Some(at)) = (&row.said, row.sent_at) else { continue };
        for (rule, until) in &said.until {
            let heard = (at, until.map_or(End::Open, End::At));
            told.entry(rule).and_modify(|last| *last = heard.max(*last)).or_insert(heard);
        }
    }
    told.into_iter().map(|(rule, (_, end))| (rule, end)).collect()
}

/// The reminders that were sent, and when.
fn heard(facts: &Facts) -> impl Iterator<Item = (&Standing, Timestamp)> {
    let said = facts.standing.iter().filter(|row| row.said.is_some());
    said.filter_map(|row| Some((row, row.sent_at?)))
}
