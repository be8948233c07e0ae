//! What makes a document that reads well still wrong: names that lead nowhere, moments that make
//! no sense, steps that can never say anything.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::document::{
    Area, Clause, Condition, Course, Moment, Rule, RuleId, RuleKind, Step, Texts, When,
};
use super::read::Read;
use super::reader::Faults;
use crate::planner::Anchor;
use crate::strict_json::member;

/// The parts of a document that name each other; what could not be read is left out.
pub(super) struct Parts<'p> {
    pub(super) title: Option<&'p Texts>,
    pub(super) areas: Option<&'p BTreeSet<Area>>,
    pub(super) default_areas: Option<&'p BTreeSet<Area>>,
    pub(super) activities: Option<&'p BTreeMap<String, Texts>>,
    pub(super) slots: Option<&'p BTreeMap<String, Option<Texts>>>,
    pub(super) course: Option<&'p Course>,
    pub(super) rules: &'p Read<Rule>,
    pub(super) steps: &'p Read<Step>,
}

/// FCM asks senders to spread a peak; more than this would make a reminder late.
const MAX_SPREAD: SignedDuration = SignedDuration::from_mins(5);

/// FCM takes 4,096 bytes for a whole message; a sentence of this length leaves room for others.
const MAX_TEXT: usize = 1_000;

/// What is filled in from the treatment; no slot is called so.
const MOMENTS: [&str; 4] = ["until", "session", "of", "appointment"];

impl Parts<'_> {
    pub(super) fn check(&self, faults: &mut Faults) {
        self.check_names(faults);
        self.check_areas(faults, "/default_areas", self.default_areas);
        let mut seen = BTreeSet::new();
        for (pointer, rule) in read(self.rules) {
            if !seen.insert(&rule.id) {
                faults
                    .add(&format!("{pointer}/id"), format!("the id \"{}\" stands twice", rule.id));
            }
            self.check_rule(faults, pointer, rule);
        }
        let mut seen = BTreeSet::new();
        for (pointer, step) in read(self.steps) {
            let unread = self.steps.iter().any(|(_, step)| step.is_none());
            if let Some(covered) = &step.covered
                && !seen.contains(&covered.by)
                && !unread
            {
                let detail = format!("no step before this one has the id \"{}\"", covered.by);
                faults.add(&format!("{pointer}/covered/by"), detail);
            }
            if !seen.insert(&step.id) {
                faults
                    .add(&format!("{pointer}/id"), format!("the id \"{}\" stands twice", step.id));
            }
            if step.id.is_correction() {
                let detail =
                    "ids that begin with \"correction-\" are kept for what corrects a step";
                faults.add(&format!("{pointer}/id"), detail);
            }
            self.check_step(faults, pointer, step);
        }
        self.check_limits(faults);
    }

    /// What a protocol, its activities and its slots are called and hold: words that are said as they
    /// stand.
    fn check_names(&self, faults: &mut Faults) {
        if let Some(title) = self.title {
            check_plain(faults, "/title", title);
        }
        for (name, texts) in self.activities.into_iter().flatten() {
            check_plain(faults, &member("/activities", name), texts);
        }
        for (name, texts) in self.slots.into_iter().flatten() {
            let pointer = member("/slots", name);
            if MOMENTS.contains(&name.as_str()) {
                faults.add(&pointer, format!("{{{name}}} is filled in by itself"));
            }
            if let Some(texts) = texts {
                check_plain(faults, &pointer, texts);
            }
        }
    }

    fn check_areas(&self, faults: &mut Faults, pointer: &str, areas: Option<&BTreeSet<Area>>) {
        let (Some(all), Some(areas)) = (self.areas, areas) else { return };
        for area in areas.difference(all) {
            faults.add(pointer, format!("the area \"{area}\" is not in /areas"));
        }
    }

    fn check_rule(&self, faults: &mut Faults, pointer: &str, rule: &Rule) {
        self.check_areas(faults, &format!("{pointer}/areas"), Some(&rule.areas));
        if let Some(known) = self.activities {
            for (i, activity) in rule.activities.iter().enumerate() {
                if !known.contains_key(activity) {
                    let detail = format!("the activity \"{activity}\" is not in /activities");
                    faults.add(&format!("{pointer}/activities/{i}"), detail);
                }
            }
        }
        let until = format!("{pointer}/until");
        match rule.until {
            Some(Moment::Elapsed(after)) if after.is_zero() => {
                faults.add(&until, "a rule that ends with the treatment never holds");
            }
            Some(Moment::Interval { .. } | Moment::Booking { .. } | Moment::AfterDue { .. }) => {
                faults.add(&until, "a rule ends by the clock word elapsed, wall or end-of-day");
            }
            _ => {}
        }
        if rule.kind == RuleKind::NextSession {
            if rule.until.is_some() {
                faults.add(&until, "a next-session rule has no end");
            }
            if self.course.is_none() {
                faults.add(pointer, "a next-session rule needs the field /course");
            }
        }
        let until = if rule.until.is_some() { &["until"][..] } else { &[] };
        let course: &[&str] = if rule.kind == RuleKind::NextSession {
            &["session", "of", "appointment"]
        } else {
            &[]
        };
        self.check_words(faults, &format!("{pointer}/text"), &rule.text, &[]);
        self.check_words(faults, &format!("{pointer}/push"), &rule.push, &[until, course].concat());
    }

    /// Every `{word}` of a text must be one that can be filled in there.
    fn check_words(&self, faults: &mut Faults, pointer: &str, texts: &Texts, allowed: &[&str]) {
        let Some(slots) = self.slots else { return };
        let known = |word: &str| allowed.contains(&word) || slots.contains_key(word);
        check_text(faults, pointer, texts, known);
    }

    fn check_step(&self, faults: &mut Faults, pointer: &str, step: &Step) {
        check_plain(faults, &format!("{pointer}/title"), &step.title);
        let due = format!("{pointer}/due");
        match step.due {
            Moment::AfterDue { .. } => {
                faults.add(&due, "the clock word \"after-due\" is for a use-by");
            }
            Moment::Interval { .. } if self.course.is_none() => {
                faults.add(&due, "the clock word \"interval\" needs the field /course");
            }
            _ => {}
        }
        let books = |moment| matches!(moment, Some(Moment::Booking { .. }));
        if (books(Some(step.due)) || books(step.use_by))
            && step.condition != Some(Condition::Booked)
        {
            faults.add(pointer, "the clock word \"booking\" needs \"condition\": \"booked\"");
        }
        if step.before_exercise && !matches!(step.due, Moment::Wall { .. }) {
            faults.add(&due, "a step before exercise is due by the clock word \"wall\"");
        }
        if !step.spread.is_zero() && matches!(step.due, Moment::Elapsed(_)) {
            faults.add(&format!("{pointer}/spread"), "an elapsed step is not spread");
        } else if step.spread > MAX_SPREAD {
            faults.add(&format!("{pointer}/spread"), "at most PT5M");
        }
        for (i, clause) in step.clauses.iter().enumerate() {
            self.check_clause(faults, &format!("{pointer}/clauses/{i}"), step, clause);
        }
        self.check_reach(faults, pointer, step);
    }

    fn check_clause(&self, faults: &mut Faults, pointer: &str, step: &Step, clause: &Clause) {
        if let (Some(needs), Some(slots)) = (&clause.needs, self.slots)
            && !slots.contains_key(needs)
        {
            faults.add(&format!("{pointer}/needs"), format!("\"{needs}\" is not in /slots"));
        }
        let mut allowed = vec!["session", "of"];
        if let Some(id) = clause.when.rule() {
            let field = if matches!(clause.when, When::During(_)) { "rule" } else { "after" };
            let unread = self.rules.iter().any(|(_, rule)| rule.is_none());
            let Some(rule) = self.rule(id) else {
                if !unread {
                    faults
                        .add(&format!("{pointer}/{field}"), format!("no rule has the id \"{id}\""));
                }
                return;
            };
            if matches!(clause.when, When::During(_)) && rule.until.is_some() {
                allowed.push("until");
            }
            if rule.kind != RuleKind::NextSession {
                allowed.retain(|word| *word == "until");
            } else if step.condition == Some(Condition::Booked) {
                allowed.push("appointment");
            }
            if matches!(clause.when, When::After(_)) && rule.until.is_none() {
                faults.add(&format!("{pointer}/{field}"), format!("the rule \"{id}\" never ends"));
            }
        } else {
            allowed.clear();
        }
        if let Some(text) = &clause.text {
            self.check_words(faults, &format!("{pointer}/text"), text, &allowed);
        }
    }

    /// A step must have something to say, and be due before its use-by, for some hour of the day
    /// at which a treatment can end. Tried for every quarter of an hour of a day without a change
    /// of the clocks.
    fn check_reach(&self, faults: &mut Faults, pointer: &str, step: &Step) {
        let rule_of = |clause: &Clause| clause.when.rule().map(|id| self.rule(id));
        if step.clauses.iter().any(|clause| matches!(rule_of(clause), Some(None))) {
            return;
        }
        let (mut says, mut in_time) = (false, false);
        for quarter in 0..96 {
            let anchor = Anchor {
                completed_at: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(15 * quarter),
                treatment_zone: &TimeZone::UTC,
                patient_zone: &TimeZone::UTC,
                interval: self.course.map(|course| course.interval),
                next_session_at: Some(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 60)),
            };
            let Some(due) = anchor.resolve(step.due, None) else { return };
            let ends = |rule: &Rule| rule.until.and_then(|until| anchor.resolve(until, None));
            says |= step.clauses.iter().any(|clause| match (&clause.when, rule_of(clause)) {
                (When::During(_), Some(Some(rule))) => ends(rule).is_none_or(|end| due < end),
                (When::After(_), Some(Some(rule))) => ends(rule).is_some_and(|end| end <= due),
                _ => true,
            });
            let use_by = match step.use_by {
                Some(moment) => anchor.resolve(moment, Some(due)),
                None => step.clauses.iter().filter_map(|c| ends(rule_of(c)??)).max(),
            };
            let Some(use_by) = use_by else {
                faults.add(pointer, "the field \"use_by\" is missing: none of its rules ends");
                return;
            };
            in_time |= due < use_by;
        }
        if !says {
            faults.add(pointer, "this step can never say anything: its rules end before it is due");
        }
        if !in_time {
            faults.add(
                pointer,
                "this step can never be sent: its use-by is not after its due moment",
            );
        }
    }

    pub(super) fn rule(&self, id: &RuleId) -> Option<&Rule> {
        read(self.rules).map(|(_, rule)| rule).find(|rule| &rule.id == id)
    }
}

/// A text in which nothing is filled in.
fn check_plain(faults: &mut Faults, pointer: &str, texts: &Texts) {
    check_text(faults, pointer, texts, |_| false);
}

/// A text that is short enough, and each `{word}` of which is known.
fn check_text(faults: &mut Faults, pointer: &str, texts: &Texts, known: impl Fn(&str) -> bool) {
    for (locale, text) in &texts.by_locale {
        let pointer = format!("{pointer}/{locale}");
        if text.len() > MAX_TEXT {
            faults.add(&pointer, format!("a text has at most {MAX_TEXT} bytes"));
        }
        match placeholders(text) {
            None => faults.add(&pointer, "a brace is not closed, or not opened"),
            Some(words) => {
                for word in words.into_iter().filter(|word| !known(word)) {
                    faults.add(&pointer, format!("nothing fills in {{{word}}} here"));
                }
            }
        }
    }
}

pub(super) fn read<T>(items: &Read<T>) -> impl Iterator<Item = (&str, &T)> {
    items.iter().filter_map(|(pointer, item)| Some((pointer.as_str(), item.as_ref()?)))
}

/// The words in braces; `None` when the braces do not pair.
pub(super) fn placeholders(text: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (_, from) = rest.split_at(open);
        let (word, after) = from.strip_prefix('{')?.split_once('}')?;
        if word.contains('{') {
            return None;
        }
        words.push(word);
        rest = after;
    }
    Some(words)
}
