//! What a reminder says: rendered when it is sent, so that it never says what no longer holds.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::chart::Chart;
use super::correction::{Correction, Said};
use super::ends::{End, concerns, muted};
use super::speech::Words;
use super::{Facts, Key, TreatmentFacts};
use crate::protocol::{Clause, RuleId, RuleKind, Step, When};

/// A notification's words. They never name the patient, the clinic or the treatment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The heading.
    pub title: String,
    /// The sentences, in the order of the steps' clauses.
    pub body: String,
    /// The rules in force that it speaks of, in the order in which they are said.
    pub rule_ids: Vec<RuleId>,
}

impl From<Said> for Message {
    fn from(said: Said) -> Self {
        Self { title: said.title, body: said.body, rule_ids: said.rule_ids }
    }
}

impl<'f> Chart<'f> {
    /// What these steps say at that instant; `None` when no clause of theirs holds.
    ///
    /// A rule that several of them speak of is said once, with the later end.
    #[must_use]
    pub fn message(&self, steps: &[Key], at: Timestamp) -> Option<Message> {
        self.message_of(&self.corrections_among(steps, at), steps, at)
    }

    /// What these steps say at that instant, and what the patient is told by it; `None` as in
    /// [`Chart::message`].
    #[must_use]
    pub fn say(&self, steps: &[Key], at: Timestamp) -> Option<Said> {
        let corrections = self.corrections_among(steps, at);
        let Message { title, body, rule_ids } = self.message_of(&corrections, steps, at)?;
        let until = self.told(&corrections, steps);
        let appointments = self.announced(&corrections, steps);
        Some(Said { title, body, rule_ids, until, appointments })
    }

    /// The same, for showing what is not going to be sent: at least the heading is always there. Of a step
    /// that the protocol has no more, the protocol's name is.
    #[must_use]
    pub fn describe(&self, steps: &[Key], at: Timestamp) -> Message {
        self.message(steps, at).unwrap_or_else(|| {
            let first = steps.first();
            let step = first.and_then(|key| self.step(key)).map(|(_, step)| step);
            let treatment = first.and_then(|key| self.treatment(key.treatment));
            let of_step = step.map(|step| &step.title);
            let title = of_step.or_else(|| treatment.map(|treatment| &treatment.protocol.title));
            let locale = &self.facts.person.locale;
            Message {
                title: title.map(|title| title.get(locale).to_owned()).unwrap_or_default(),
                body: String::new(),
                rule_ids: step.map(rules_of).unwrap_or_default(),
            }
        })
    }

    /// The step of the treatment's protocol.
    pub(super) fn step(&self, key: &Key) -> Option<(&'f TreatmentFacts, &'f Step)> {
        let treatment = self.treatment(key.treatment)?;
        Some((treatment, treatment.protocol.step(&key.step)?))
    }

    fn corrections_among(&self, steps: &[Key], at: Timestamp) -> BTreeMap<Key, Correction<'f>> {
        let corrections = steps.iter().filter_map(|key| self.correction(key, at));
        corrections.map(|correction| (correction.key.clone(), correction)).collect()
    }

    fn message_of(
        &self,
        corrections: &BTreeMap<Key, Correction<'_>>,
        steps: &[Key],
        at: Timestamp,
    ) -> Option<Message> {
        let mut speech = Speech { chart: self, at, said: BTreeSet::new() };
        let locale = &self.facts.person.locale;
        let mut title = None;
        let (mut sentences, mut rule_ids) = (Vec::new(), Vec::new());
        for key in steps {
            let corrected = corrections.get(key).map(|one| (one.treatment, &one.step));
            let Some((treatment, step)) = corrected.or_else(|| self.step(key)) else { continue };
            if treatment.voided && !step.id.is_correction() {
                continue;
            }
            for clause in &step.clauses {
                let Some(sentence) = speech.say(treatment, clause) else { continue };
                title.get_or_insert_with(|| step.title.get(locale).to_owned());
                if !sentences.contains(&sentence) {
                    sentences.push(sentence);
                }
                if let When::During(rule) = &clause.when {
                    rule_ids.push(rule.clone());
                }
            }
        }
        Some(Message { title: title?, body: sentences.join(" "), rule_ids })
    }
}

/// The rules that a step speaks of while they hold.
pub(crate) fn rules_of(step: &Step) -> Vec<RuleId> {
    let during = |clause: &Clause| match &clause.when {
        When::During(rule) => Some(rule.clone()),
        When::After(_) | When::Always => None,
    };
    step.clauses.iter().filter_map(during).collect()
}

struct Speech<'c> {
    chart: &'c Chart<'c>,
    at: Timestamp,
    said: BTreeSet<RuleId>,
}

impl Speech<'_> {
    /// The clause in words, if it holds and its rule was not said before.
    fn say(&mut self, treatment: &TreatmentFacts, clause: &Clause) -> Option<String> {
        let Chart { facts, courses, ends, .. } = self.chart;
        let fits = concerns(facts, treatment, clause)
            && !muted(&facts.person.muted, clause)
            && ends.holds(clause, self.at);
        let rule = clause.when.rule().and_then(|id| treatment.protocol.rule(id));
        if !fits {
            return None;
        }
        // Each protocol speaks of its own next session.
        if let Some(rule) = rule.filter(|rule| rule.kind != RuleKind::NextSession)
            && !self.said.insert(rule.id.clone())
        {
            return None;
        }
        let locale = &facts.person.locale;
        let texts = clause.text.as_ref().or_else(|| rule.map(|rule| &rule.push))?;
        // A rule without an end is said in the words of the treatment that has it so.
        let open = clause.when.rule().and_then(|id| ends.open(id));
        let (treatment, texts) = match open.filter(|_| texts.get(locale).contains("{until}")) {
            Some((treatment, rule)) => (treatment, &rule.push),
            None => (treatment, texts),
        };
        let words = Words::of(texts.locale_for(locale));
        let zone = facts.person.zone.tz();
        let until = || match ends.get(clause.when.rule()?)? {
            End::At(end) => Some(words.moment(end, self.at, zone)),
            End::Open => None,
        };
        let course = courses.get(&treatment.id);
        Some(fill(texts.get(locale), |word| match word {
            "until" => until(),
            "session" => course.map(|course| (course.session + 1).to_string()),
            "of" => course.map(|course| course.of.to_string()),
            "appointment" => treatment.next_session_at.map(|at| words.moment(at, self.at, zone)),
            slot => slot_text(facts, treatment, slot),
        }))
    }
}

/// The clinic's words for a slot, else the protocol's.
pub(super) fn slot_text(facts: &Facts, treatment: &TreatmentFacts, slot: &str) -> Option<String> {
    let own = facts.person.slots.get(slot).cloned();
    own.or_else(|| {
        let texts = treatment.protocol.slots.get(slot)?.as_ref()?;
        Some(texts.get(&facts.person.locale).to_owned())
    })
}

/// Puts words in the place of `{word}`; one that nothing fills leaves no trace.
pub(super) fn fill(text: &str, word: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = from.split_once('}') else {
            rest = from;
            continue;
        };
        filled.push_str(&word(name).unwrap_or_default());
        rest = after;
    }
    filled.push_str(rest);
    filled
}
