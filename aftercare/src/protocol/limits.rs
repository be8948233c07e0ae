//! How much a document may hold, so that each of its steps can be sent.

use std::collections::BTreeMap;

use super::check::{Parts, placeholders, read};
use super::document::{RuleId, RuleKind, Step, Texts};
use super::reader::Faults;
use crate::locale::Locale;

/// The most bytes that a push says with its title, as JSON writes them. FCM takes 4,096 for a whole
/// message; ids, moments and what each platform wants stand beside the words.
pub const WORDS_MAX: usize = 3_000;

const MAX_RULES: usize = 64;
const MAX_STEPS: usize = 64;
const MAX_CLAUSES: usize = 32;

/// The longest way to say a moment, in any language.
const MOMENT: usize = 64;
/// The longest number of a session.
const NUMBER: usize = 10;
/// A clinic's phone number has at most 40 characters, which goes before the slot of that name.
const PHONE: usize = 160;

/// How many bytes a text takes in a message.
#[must_use]
pub fn bytes_in_json(text: &str) -> usize {
    serde_json::to_string(text).map_or(text.len(), |json| json.len().saturating_sub(2))
}

impl Parts<'_> {
    pub(super) fn check_limits(&self, faults: &mut Faults) {
        at_most(faults, "/rules", self.rules.len(), MAX_RULES);
        at_most(faults, "/steps", self.steps.len(), MAX_STEPS);
        for (pointer, step) in read(self.steps).take(MAX_STEPS) {
            let clauses = step.clauses.len();
            at_most(faults, &format!("{pointer}/clauses"), clauses, MAX_CLAUSES);
            if clauses <= MAX_CLAUSES && self.rules.len() <= MAX_RULES {
                self.check_size(faults, pointer, step);
            }
        }
    }

    fn check_size(&self, faults: &mut Faults, pointer: &str, step: &Step) {
        for locale in step.title.by_locale.keys() {
            let bytes = self.longest(step, locale);
            if bytes > WORDS_MAX {
                let detail = format!(
                    "with its title this step says up to {bytes} bytes in \"{locale}\", and a push holds \
                     {WORDS_MAX}"
                );
                faults.add(pointer, detail);
            }
        }
    }

    /// The bytes of the step where all of it is said. A rule is said once, but the next session is spoken
    /// of as often as the step does.
    fn longest(&self, step: &Step, locale: &Locale) -> usize {
        let mut bytes = bytes_in_json(step.title.get(locale));
        let mut of_rules: BTreeMap<&RuleId, usize> = BTreeMap::new();
        for clause in &step.clauses {
            let rule = clause.when.rule().and_then(|id| self.rule(id));
            let texts = clause.text.as_ref().or_else(|| rule.map(|rule| &rule.push));
            let sentence = texts.map_or(0, |texts| 1 + self.filled(texts, locale));
            match rule.filter(|rule| rule.kind != RuleKind::NextSession) {
                Some(rule) => {
                    let longest = of_rules.entry(&rule.id).or_default();
                    *longest = sentence.max(*longest);
                }
                None => bytes += sentence,
            }
        }
        bytes + of_rules.into_values().sum::<usize>()
    }

    /// The bytes of a text with what is filled in.
    fn filled(&self, texts: &Texts, locale: &Locale) -> usize {
        let text = texts.get(locale);
        let words = placeholders(text).unwrap_or_default();
        bytes_in_json(text) + words.into_iter().map(|word| self.room(word, locale)).sum::<usize>()
    }

    fn room(&self, word: &str, locale: &Locale) -> usize {
        let slot = self.slots.and_then(|slots| slots.get(word)?.as_ref());
        let slot = slot.map_or(0, |texts| bytes_in_json(texts.get(locale)));
        match word {
            "until" | "appointment" => MOMENT,
            "session" | "of" => NUMBER,
            "contact_phone" => slot.max(PHONE),
            _ => slot,
        }
    }
}

fn at_most(faults: &mut Faults, pointer: &str, count: usize, most: usize) {
    if count > most {
        faults.add(pointer, format!("at most {most}, not {count}"));
    }
}
