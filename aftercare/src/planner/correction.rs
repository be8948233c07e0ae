//! Setting right what was sent: one more push where an instruction turned out to end too early, or
//! to be a mistake.
//!
//! A reminder keeps what it said ([`Said`]). Where a session was corrected since, what its steps
//! would say now is held against that: a rule that ends later than the patient was told, or that
//! they were never told of, is told once more. Somebody who was told a longer time than needed is
//! not harmed and hears nothing. A session that is voided takes its instructions back, but for those
//! that another session still gives.
//!
//! Treatments that were recorded after a reminder was sent are none of its mistakes: they speak for
//! themselves.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ends::{End, Ends};
use super::{Facts, Key, ReminderState, Standing, TreatmentFacts};
use crate::protocol::{Clause, Moment, Rule, RuleId, RuleKind, Step, StepId, Texts, When};

/// What a reminder said, kept when it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The heading.
    pub title: String,
    /// The sentences.
    pub body: String,
    /// The rules in force that it spoke of, in the order in which they were said.
    pub rule_ids: Vec<RuleId>,
    /// The end of each rule that its steps are about, as it was then; `None` = open-ended. Of a rule
    /// about the next session, the date that is booked.
    pub until: BTreeMap<RuleId, Option<Timestamp>>,
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
    /// The end of the longest rule that it speaks of.
    pub(super) use_by: Timestamp,
}

/// The corrections that are due to this patient; what is planned already is among them.
pub(super) fn corrections(facts: &Facts, now: Timestamp) -> Vec<Correction<'_>> {
    // Whoever was told nothing needs nothing set right.
    if facts.standing.iter().all(|row| row.said.is_none()) {
        return Vec::new();
    }
    let mut needed: Vec<_> = facts
        .treatments
        .iter()
        .filter(|treatment| treatment.voided)
        .filter_map(|treatment| mistake(facts, treatment, now))
        .collect();
    let mut longer: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for wrong in too_short(facts, now) {
        longer.entry(wrong.treatment.id).or_default().push(wrong);
    }
    needed.extend(longer.into_values().filter_map(|wrong| change(facts, &wrong, now)));
    needed
}

/// What these steps tell of the ends of rules, and of the next session, with all that is known now.
pub(super) fn told(
    facts: &Facts,
    corrections: &[Correction<'_>],
    steps: &[Key],
) -> BTreeMap<RuleId, Option<Timestamp>> {
    let ends = Ends::of(facts);
    let mut told = BTreeMap::new();
    for key in steps {
        let correction = corrections.iter().find(|correction| &correction.key == key);
        let treatment = facts.treatment(key.treatment);
        let booked = treatment.and_then(|treatment| treatment.next_session_at);
        if let (Some(treatment), Some(booked)) = (treatment, booked)
            && let Some(step) = treatment.protocol.step(&key.step)
        {
            let rules = appointments(treatment, step);
            told.extend(rules.map(|rule| (rule.id.clone(), Some(booked))));
        }
        let rules = match (correction, treatment) {
            (Some(correction), _) => instructions(correction.treatment, &correction.step),
            (None, Some(treatment)) if !treatment.voided => rules(treatment, &key.step),
            (None, _) => continue,
        };
        for rule in rules {
            match ends.get(&rule.id) {
                Some(End::At(end)) => drop(told.insert(rule.id.clone(), Some(end))),
                Some(End::Open) => drop(told.insert(rule.id.clone(), None)),
                None => {}
            }
        }
    }
    told
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

/// What the step says of the next session.
pub(super) fn appointments<'f>(
    treatment: &'f TreatmentFacts,
    step: &'f Step,
) -> impl Iterator<Item = &'f Rule> {
    let rules = step.clauses.iter().filter_map(|clause| clause.when.rule());
    let rules = rules.filter_map(|id| treatment.protocol.rule(id));
    rules.filter(|rule| rule.kind == RuleKind::NextSession)
}

fn is_instruction(rule: &Rule) -> bool {
    matches!(rule.kind, RuleKind::Avoid | RuleKind::Do)
}

/// A rule that holds longer than the patient was told.
struct Wrong<'f> {
    /// The treatment that it holds longest for.
    treatment: &'f TreatmentFacts,
    rule: &'f Rule,
    until: End,
}

fn too_short(facts: &Facts, now: Timestamp) -> Vec<Wrong<'_>> {
    let told = last_told(facts);
    let mut wrong: Vec<Wrong<'_>> = Vec::new();
    for (row, sent_at) in heard(facts) {
        let ends = Ends::known_at(facts, sent_at);
        let treatments = row.members.iter().filter_map(|member| {
            let treatment = facts.treatment(member.key.treatment)?;
            let counts = !treatment.voided && !member.key.step.is_correction();
            counts.then_some((treatment, &member.key.step))
        });
        for rule in treatments.flat_map(|(treatment, step)| rules(treatment, step)) {
            let Some((until, of)) = ends.longest(&rule.id) else { continue };
            let known = told.get(&rule.id).is_some_and(|told| until <= *told);
            let seen = wrong.iter().any(|wrong| wrong.rule.id == rule.id);
            let muted = facts.person.muted.contains(&rule.id);
            if known || seen || muted || until <= End::At(now) {
                continue;
            }
            let rule = of.protocol.rule(&rule.id).unwrap_or(rule);
            wrong.push(Wrong { treatment: of, rule, until });
        }
    }
    wrong
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

/// What became of the rules of one treatment, in one push.
fn change<'f>(facts: &'f Facts, wrong: &[Wrong<'f>], now: Timestamp) -> Option<Correction<'f>> {
    let treatment = wrong.first()?.treatment;
    let before = |key: &Key| {
        key.treatment == treatment.id && key.step.is_correction() && key.step != StepId::disregard()
    };
    let over: Vec<_> = over(facts, before).collect();
    let key = Key { treatment: treatment.id, step: StepId::correction(over.len() + 1) };
    let nominal_at = needed_since(facts, &key, now);
    let use_by = wrong.iter().map(|wrong| wrong.until).max()?.instant(nominal_at);
    // One that could not be sent is not tried again under another name.
    if over.iter().any(|row| row.said.is_none() && use_by <= row.use_by()) {
        return None;
    }
    let mut rules: Vec<_> = wrong.iter().map(|wrong| wrong.rule).collect();
    let place = |id: &RuleId| treatment.protocol.rules.iter().position(|rule| &rule.id == id);
    rules.sort_by_key(|rule| place(&rule.id));
    let step = step(key.step.clone(), texts(CHANGED), None, &rules);
    Some(Correction { key, treatment, step, nominal_at, use_by })
}

/// Takes back what was said for a voided treatment, if any of it would still be followed.
fn mistake<'f>(
    facts: &'f Facts,
    treatment: &'f TreatmentFacts,
    now: Timestamp,
) -> Option<Correction<'f>> {
    let key = Key { treatment: treatment.id, step: StepId::disregard() };
    if over(facts, |before| *before == key).next().is_some() {
        return None;
    }
    let about = |row: &&Standing| {
        row.said.is_some() && row.members.iter().any(|one| one.key.treatment == treatment.id)
    };
    let ends = Ends::of(facts);
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for row in facts.standing.iter().filter(about) {
        let said = row.said.iter().flat_map(|said| &said.until);
        for (rule, until) in said {
            let until = until.map_or(End::Open, End::At);
            let rule = treatment.protocol.rule(rule).filter(|rule| is_instruction(rule));
            let Some(rule) = rule else { continue };
            if until <= End::At(now) || facts.person.muted.contains(&rule.id) {
                continue;
            }
            match ends.get(&rule.id) {
                Some(end) if until <= end => kept.push(rule),
                Some(end) if End::At(now) < end => {
                    kept.push(rule);
                    gone.push(until);
                }
                _ => gone.push(until),
            }
        }
    }
    let nominal_at = needed_since(facts, &key, now);
    let use_by = gone.into_iter().max()?.instant(nominal_at);
    let of_protocol = treatment.protocol.rules.iter();
    let kept: Vec<_> =
        of_protocol.filter(|rule| kept.iter().any(|kept| kept.id == rule.id)).collect();
    let says = texts(if kept.is_empty() { DISREGARD } else { STILL_COUNTS });
    let step = step(key.step.clone(), texts(MISTAKE), Some(says), &kept);
    Some(Correction { key, treatment, step, nominal_at, use_by })
}

/// The reminders with such a step that were sent, or never will be.
fn over(facts: &Facts, step: impl Fn(&Key) -> bool) -> impl Iterator<Item = &Standing> {
    let over = facts.standing.iter().filter(|row| is_over(row));
    over.filter(move |row| row.members.iter().any(|member| step(&member.key)))
}

/// Sent, or never to be sent.
fn is_over(row: &Standing) -> bool {
    row.said.is_some()
        || matches!(row.state, ReminderState::Sent | ReminderState::Expired | ReminderState::Failed)
}

/// A correction that waits keeps the moment at which it was found to be needed.
fn needed_since(facts: &Facts, key: &Key, now: Timestamp) -> Timestamp {
    let waits = facts
        .standing
        .iter()
        .filter(|row| matches!(row.state, ReminderState::Planned | ReminderState::Claimed));
    let mut members = waits.flat_map(|row| &row.members);
    members.find(|member| &member.key == key).map_or(now, |member| member.nominal_at)
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
