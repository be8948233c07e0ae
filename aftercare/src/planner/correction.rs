//! Setting right what was sent: one more push where an instruction turned out to end too early, or
//! to be a mistake.
//!
//! A reminder keeps what it said ([`Said`]). Where a session was corrected since, what its steps
//! would say now is held against that: a rule that ends later than the patient was told, or that
//! they were never told of, is told once more. Somebody who was told a longer time than needed is
//! not harmed and hears nothing. A session that is voided takes its instructions back, but for those
//! that another session still gives. An appointment that was announced and then cancelled is taken back,
//! too.
//!
//! Treatments that were recorded after a reminder was sent are none of its mistakes: they speak for
//! themselves.

mod past;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::chart::Chart;
use super::ends::End;
use super::{Key, Member, ReminderState, Standing, TreatmentFacts};
use crate::ids::TreatmentId;
use crate::protocol::{Clause, Moment, Rule, RuleId, RuleKind, Step, StepId, Texts, When};
use past::Longer;
pub(super) use past::Past;

/// What a reminder said, kept when it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The heading.
    pub title: String,
    /// The sentences.
    pub body: String,
    /// The rules in force that it spoke of, in the order in which they were said.
    pub rule_ids: Vec<RuleId>,
    /// The end of each rule that its steps are about, as it was then; `None` = open-ended.
    pub until: BTreeMap<RuleId, Option<Timestamp>>,
    /// When the session after each of these treatments is booked for; `None` = that it is cancelled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub appointments: BTreeMap<TreatmentId, Option<Timestamp>>,
}

/// How long a correction that ends with no rule is of use.
const OPEN_ENDED: SignedDuration = SignedDuration::from_hours(48);

/// One push that sets right what was sent.
#[derive(Debug)]
pub(super) struct Correction<'f> {
    pub(super) key: Key,
    pub(super) treatment: &'f TreatmentFacts,
    /// What it says, as a step that no protocol has.
    pub(super) step: Step,
    /// When it was found to be needed.
    pub(super) nominal_at: Timestamp,
    /// The end of the longest rule that it speaks of, or the appointment's moment.
    pub(super) use_by: Timestamp,
    /// Whether it says that the next session is cancelled.
    pub(super) cancels: bool,
}

impl<'f> Chart<'f> {
    /// The corrections that are due to this patient; what is planned already is among them.
    pub(super) fn corrections(&self, now: Timestamp) -> Vec<Correction<'f>> {
        let voided = self.facts.treatments.iter().filter(|treatment| treatment.voided);
        let mut needed: Vec<_> =
            voided.filter_map(|treatment| self.mistake(treatment, now)).collect();
        let mut longer: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for one in self.past.longer(now) {
            longer.entry(one.treatment.id).or_default().push(one);
        }
        needed.extend(self.facts.treatments.iter().filter_map(|treatment| {
            let longer = longer.remove(&treatment.id).unwrap_or_default();
            self.change(treatment, &longer, now)
        }));
        needed
    }

    /// The correction of that name, if it is due then.
    pub(super) fn correction(&self, key: &Key, now: Timestamp) -> Option<Correction<'f>> {
        if !key.step.is_correction() {
            return None;
        }
        let treatment = self.treatment(key.treatment)?;
        let found = if key.step == StepId::disregard() {
            self.mistake(treatment, now).filter(|_| treatment.voided)
        } else {
            let mut longer = self.past.longer(now);
            longer.retain(|longer| longer.treatment.id == key.treatment);
            self.change(treatment, &longer, now)
        };
        found.filter(|found| found.key == *key)
    }

    /// Whether the corrections among these steps are still needed, and for as long as they were planned to
    /// be: another push may have said some of it since.
    #[must_use]
    pub fn corrects_as_planned(&self, members: &[Member], now: Timestamp) -> bool {
        let mut corrections = members.iter().filter(|member| member.key.step.is_correction());
        corrections.all(|member| {
            let needed = self.correction(&member.key, now);
            needed.is_some_and(|needed| needed.use_by == member.use_by)
        })
    }

    /// What these steps tell of the ends of rules, with all that is known now.
    pub(super) fn told(
        &self,
        corrections: &BTreeMap<Key, Correction<'_>>,
        steps: &[Key],
    ) -> BTreeMap<RuleId, Option<Timestamp>> {
        let mut told = BTreeMap::new();
        for key in steps {
            let rules = match (corrections.get(key), self.treatment(key.treatment)) {
                (Some(correction), _) => instructions(correction.treatment, &correction.step),
                (None, Some(treatment)) if !treatment.voided => rules(treatment, &key.step),
                (None, _) => continue,
            };
            for rule in rules {
                match self.ends.get(&rule.id) {
                    Some(End::At(end)) => drop(told.insert(rule.id.clone(), Some(end))),
                    Some(End::Open) => drop(told.insert(rule.id.clone(), None)),
                    None => {}
                }
            }
        }
        told
    }

    /// What these steps tell of the session after each of their treatments, likewise.
    pub(super) fn announced(
        &self,
        corrections: &BTreeMap<Key, Correction<'_>>,
        steps: &[Key],
    ) -> BTreeMap<TreatmentId, Option<Timestamp>> {
        let mut announced = BTreeMap::new();
        for key in steps {
            let about = self.step(key).filter(|(of, step)| of.protocol.is_recall(step));
            if let Some(booked) = about.and_then(|(treatment, _)| treatment.next_session_at) {
                announced.insert(key.treatment, Some(booked));
            }
            if corrections.get(key).is_some_and(|correction| correction.cancels) {
                announced.insert(key.treatment, None);
            }
        }
        announced
    }

    /// What became of the rules of one treatment, and of the appointment after it, in one push.
    fn change(
        &self,
        treatment: &'f TreatmentFacts,
        longer: &[Longer<'f>],
        now: Timestamp,
    ) -> Option<Correction<'f>> {
        let cancelled = self.cancelled(treatment, now);
        let ends = longer.iter().map(|longer| longer.until);
        let until = ends.chain(cancelled.map(End::At)).max()?;
        let before = |key: &Key| {
            key.treatment == treatment.id
                && key.step.is_correction()
                && key.step != StepId::disregard()
        };
        let over: Vec<_> = self.over(treatment.id, before).collect();
        let key = Key { treatment: treatment.id, step: StepId::correction(over.len() + 1) };
        let nominal_at = self.past.waiting(&key).unwrap_or(now);
        let use_by = until.instant(nominal_at);
        // One that could not be sent is not tried again under another name.
        if over.iter().any(|row| row.said.is_none() && use_by <= row.use_by()) {
            return None;
        }
        let mut rules: Vec<_> = longer.iter().map(|longer| longer.rule).collect();
        let place = |id: &RuleId| treatment.protocol.rules.iter().position(|rule| &rule.id == id);
        rules.sort_by_key(|rule| place(&rule.id));
        let says = cancelled.map(|_| texts(CANCELLED));
        let step = step(key.step.clone(), texts(CHANGED), says, &rules);
        let cancels = cancelled.is_some();
        Some(Correction { key, treatment, step, nominal_at, use_by, cancels })
    }

    /// The appointment that the patient was told of, is still to come, and was cancelled.
    fn cancelled(&self, treatment: &TreatmentFacts, now: Timestamp) -> Option<Timestamp> {
        let at = self.past.announced(treatment.id)?.at.filter(|at| now < *at)?;
        let person = &self.facts.person;
        let mut rules = treatment.protocol.rules.iter();
        let about = rules.find(|rule| rule.kind == RuleKind::NextSession)?;
        let heard_of = person.recall && !person.muted.contains(&about.id);
        let latest = self.courses.get(&treatment.id).is_some_and(|course| course.latest);
        (heard_of && latest && treatment.next_session_at.is_none()).then_some(at)
    }

    /// Takes back what was said for a voided treatment, if any of it would still be followed.
    fn mistake(&self, treatment: &'f TreatmentFacts, now: Timestamp) -> Option<Correction<'f>> {
        let key = Key { treatment: treatment.id, step: StepId::disregard() };
        if self.over(treatment.id, |before| *before == key).next().is_some() {
            return None;
        }
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        let said = self.past.about(treatment.id).filter_map(|row| row.said.as_ref());
        for (rule, until) in said.flat_map(|said| &said.until) {
            let until = until.map_or(End::Open, End::At);
            let rule = treatment.protocol.rule(rule).filter(|rule| is_instruction(rule));
            let Some(rule) = rule else { continue };
            if until <= End::At(now) || self.facts.person.muted.contains(&rule.id) {
                continue;
            }
            match self.ends.get(&rule.id) {
                Some(end) if until <= end => kept.push(rule),
                Some(end) if End::At(now) < end => {
                    kept.push(rule);
                    gone.push(until);
                }
                _ => gone.push(until),
            }
        }
        // A correction that waits keeps the moment at which it was found to be needed.
        let nominal_at = self.past.waiting(&key).unwrap_or(now);
        let use_by = gone.into_iter().max()?.instant(nominal_at);
        let of_protocol = treatment.protocol.rules.iter();
        let kept: Vec<_> =
            of_protocol.filter(|rule| kept.iter().any(|kept| kept.id == rule.id)).collect();
        let says = texts(if kept.is_empty() { DISREGARD } else { STILL_COUNTS });
        let step = step(key.step.clone(), texts(MISTAKE), Some(says), &kept);
        Some(Correction { key, treatment, step, nominal_at, use_by, cancels: false })
    }

    /// The reminders about the treatment, with such a step, that were sent or never will be.
    fn over(
        &self,
        treatment: TreatmentId,
        step: impl Fn(&Key) -> bool,
    ) -> impl Iterator<Item = &'f Standing> {
        let over = self.past.about(treatment).filter(|row| is_over(row));
        over.filter(move |row| row.members.iter().any(|member| step(&member.key)))
    }
}

/// What a step of the treatment's protocol is about. A protocol that replaced another may have no
/// such step; then what it says first stands for it.
fn rules<'f>(treatment: &'f TreatmentFacts, step: &StepId) -> Vec<&'f Rule> {
    let protocol = &treatment.protocol;
    let step = protocol.step(step).or_else(|| protocol.steps.first());
    step.map(|step| instructions(treatment, step)).unwrap_or_default()
}

/// The instructions that the step gives while they hold.
fn instructions<'f>(treatment: &'f TreatmentFacts, step: &Step) -> Vec<&'f Rule> {
    let during = |clause: &Clause| match &clause.when {
        When::During(rule) => treatment.protocol.rule(rule),
        When::After(_) | When::Always => None,
    };
    let rules = step.clauses.iter().filter_map(during);
    rules.filter(|rule| is_instruction(rule) && treatment.concerns(rule)).collect()
}

fn is_instruction(rule: &Rule) -> bool {
    matches!(rule.kind, RuleKind::Avoid | RuleKind::Do)
}

/// Sent, or never to be sent.
fn is_over(row: &Standing) -> bool {
    row.said.is_some()
        || matches!(row.state, ReminderState::Sent | ReminderState::Expired | ReminderState::Failed)
}

fn step(id: StepId, title: Texts, says: Option<Texts>, rules: &[&Rule]) -> Step {
    let says = says.map(|text| Clause { when: When::Always, needs: None, text: Some(text) });
    let during = rules.iter().map(|rule| Clause {
        when: When::During(rule.id.clone()),
        needs: None,
        text: None,
    });
    Step {
        id,
        due: Moment::Elapsed(SignedDuration::ZERO),
        use_by: None,
        clauses: says.into_iter().chain(during).collect(),
        title,
        condition: None,
        covered: None,
        before_exercise: false,
        spread: SignedDuration::ZERO,
    }
}

impl Standing {
    fn use_by(&self) -> Timestamp {
        self.members.iter().map(|member| member.use_by).max().unwrap_or(self.due_at)
    }
}

impl End {
    fn instant(self, since: Timestamp) -> Timestamp {
        match self {
            Self::At(end) => end,
            Self::Open => since.checked_add(OPEN_ENDED).unwrap_or(since),
        }
    }
}

/// A sentence in English, Spanish, Portuguese and French.
type Sentence = [&'static str; 4];

const CHANGED: Sentence = [
    "Please note: a change",
    "Atención: hay un cambio",
    "Atenção: há uma alteração",
    "Attention\u{a0}: un changement",
];
const CANCELLED: Sentence = [
    "Your next session is cancelled.",
    "Tu próxima sesión se ha cancelado.",
    "A sua próxima sessão foi cancelada.",
    "Votre prochaine séance est annulée.",
];
const MISTAKE: Sentence = [
    "Please note: a correction",
    "Atención: una corrección",
    "Atenção: uma correção",
    "Attention\u{a0}: une correction",
];
const DISREGARD: Sentence = [
    "Our last messages were sent to you by mistake. Please disregard them.",
    "Nuestros últimos mensajes se enviaron por error. No los tengas en cuenta.",
    "As nossas últimas mensagens foram enviadas por engano. Não as tenha em conta.",
    "Nos derniers messages vous ont été envoyés par erreur. N’en tenez pas compte.",
];
const STILL_COUNTS: Sentence = [
    "Some of our last messages were sent to you by mistake. This is what still counts:",
    "Algunos de nuestros últimos mensajes se enviaron por error. Esto es lo que sigue valiendo:",
    "Algumas das nossas últimas mensagens foram enviadas por engano. Isto é o que continua a valer:",
    "Certains de nos derniers messages vous ont été envoyés par erreur. Voici ce qui reste valable\u{a0}:",
];

fn texts(sentence: Sentence) -> Texts {
    Texts::shared(["en", "es", "pt", "fr"].into_iter().zip(sentence))
}
