//! When rules end and moments come, straight from the words of the protocol.

use std::collections::{BTreeMap, BTreeSet};

use aftercare::protocol::{Clause, Moment, Rule, RuleKind, Step, When};
use jiff::civil::Time;
use jiff::{SignedDuration, Span, Timestamp};

use crate::history::{History, Key, Session, Told, date, wall};
use crate::plan::Correction;

/// Protocols have the exercise step due 55 minutes before the hour that they think of.
const BEFORE_EXERCISE: SignedDuration = SignedDuration::from_mins(55);

/// What a rule's end can be; `None` = it does not concern anybody, `Some(None)` = it never ends.
pub(crate) type End = Option<Option<Timestamp>>;

/// What was heard of an appointment; `None` = nothing, `Some(None)` = that there is none.
pub(crate) type Heard = Option<Option<Timestamp>>;

/// What corrections speak of, by key, and until when that is of use.
pub(crate) type Corrected = BTreeMap<Key, (Correction, Timestamp)>;

/// The rule about the next session, by which all protocols here call it.
pub(crate) const NEXT_SESSION: &str = "next-session";

impl History {
    /// When a rule of one session ends.
    pub(crate) fn end_of(&self, i: usize, rule: &str) -> End {
        let session = &self.sessions[i];
        let rule = session.rule(rule).filter(|_| !session.voided)?;
        Some(rule.until.and_then(|moment| self.moment(session, moment, None)))
    }

    /// When a rule ends: of several sessions the later end, and whose that is (of equal ends the earlier
    /// session's); of those only that were recorded by then.
    pub(crate) fn end_known_at(
        &self,
        rule: &str,
        known: Timestamp,
    ) -> Option<(Option<Timestamp>, usize)> {
        let mut longest: Option<(Option<Timestamp>, usize)> = None;
        let mut sessions: Vec<usize> =
            (0..self.sessions.len()).filter(|i| self.sessions[*i].recorded_at <= known).collect();
        sessions.sort_by_key(|i| (self.sessions[*i].completed_at, *i));
        for i in sessions {
            let Some(end) = self.end_of(i, rule) else { continue };
            let longer = longest.is_none_or(|(known, _)| lasts(end) > lasts(known));
            longest = if longer { Some((end, i)) } else { longest };
        }
        longest
    }

    pub(crate) fn end(&self, rule: &str) -> End {
        self.end_known_at(rule, Timestamp::MAX).map(|(end, _)| end)
    }

    pub(crate) fn holds(&self, rule: &str, at: Timestamp) -> bool {
        self.end(rule).is_some_and(|end| lasts(end) > at)
    }

    /// Whether the clause can be about what was treated, and has all its words.
    pub(crate) fn concerns(&self, i: usize, clause: &Clause) -> bool {
        let session = &self.sessions[i];
        let rule = clause.when.rule().is_none_or(|id| session.rule(id.as_str()).is_some());
        let filled = |slot: &String| session.protocol.slots.get(slot).is_some_and(Option::is_some);
        rule && clause.needs.as_ref().is_none_or(filled)
    }

    /// A clause is said only while its rule holds and is not muted.
    pub(crate) fn says(&self, i: usize, clause: &Clause, at: Timestamp) -> bool {
        self.concerns(i, clause)
            && match &clause.when {
                When::Always => true,
                When::During(rule) | When::After(rule) if self.muted.contains(rule.as_str()) => {
                    false
                }
                When::During(rule) => self.holds(rule.as_str(), at),
                When::After(rule) => !self.holds(rule.as_str(), at),
            }
    }

    pub(crate) fn speaks(&self, i: usize, step: &Step, at: Timestamp) -> bool {
        step.clauses.iter().any(|clause| self.says(i, clause, at))
    }

    /// The instructions that a step gives while they hold, to be followed and so to be set right.
    pub(crate) fn instructions(&self, key: &Key) -> Vec<&Rule> {
        let session = &self.sessions[key.0];
        let Some(step) = session.step(&key.1) else { return Vec::new() };
        let rules = step.clauses.iter().filter_map(|clause| match &clause.when {
            When::During(rule) => session.rule(rule.as_str()),
            When::After(_) | When::Always => None,
        });
        rules.filter(|rule| matches!(rule.kind, RuleKind::Avoid | RuleKind::Do)).collect()
    }

    /// The rules in force that a patient hears of when these steps are said.
    pub(crate) fn spoken(
        &self,
        members: &[Key],
        corrected: &Corrected,
        at: Timestamp,
    ) -> BTreeSet<String> {
        let mut spoken = BTreeSet::new();
        for key in members {
            let session = &self.sessions[key.0];
            if let Some((correction, _)) = corrected.get(key) {
                let told = correction.rules.iter().filter(|id| session.rule(id).is_some());
                spoken.extend(told.filter(|id| self.is_heard(id, at)).cloned());
            }
            let step = session.step(&key.1).filter(|_| !session.voided);
            for clause in step.iter().flat_map(|step| &step.clauses) {
                if let When::During(rule) = &clause.when
                    && self.says(key.0, clause, at)
                {
                    spoken.insert(rule.to_string());
                }
            }
        }
        spoken
    }

    /// A rule is heard of only while it holds and is not muted.
    fn is_heard(&self, rule: &str, at: Timestamp) -> bool {
        !self.muted.contains(rule) && self.holds(rule, at)
    }

    /// Whether a correction has something to say: a sentence of its own, or a rule.
    pub(crate) fn sets_right(&self, correction: &Correction, at: Timestamp) -> bool {
        let sentence = correction.disregard || correction.cancels;
        sentence || correction.rules.iter().any(|rule| self.is_heard(rule, at))
    }

    /// What a patient hears of ends and of appointments when these steps are said.
    pub(crate) fn told(&self, members: &[Key], corrected: &Corrected) -> Told {
        let mut told = Told::default();
        for key in members {
            let session = &self.sessions[key.0];
            let step = session.step(&key.1);
            if step.is_some_and(|step| is_recall(session, step)) && session.booked.is_some() {
                told.next.insert(key.0, session.booked);
            }
            let corrected = corrected.get(key).map(|(correction, _)| correction);
            if corrected.is_some_and(|correction| correction.cancels) {
                told.next.insert(key.0, None);
            }
            let rules: Vec<String> = match corrected {
                Some(Correction { rules, .. }) => {
                    rules.iter().filter(|id| session.rule(id).is_some()).cloned().collect()
                }
                None if session.voided => continue,
                None => self.instructions(key).iter().map(|rule| rule.id.to_string()).collect(),
            };
            for rule in rules {
                if let Some(end) = self.end(&rule) {
                    told.until.insert(rule, end);
                }
            }
        }
        told
    }

    /// The restrictions that are not over: rule, end, and the sessions behind it.
    pub(crate) fn restrictions(
        &self,
        now: Timestamp,
    ) -> BTreeMap<String, (Option<Timestamp>, Vec<usize>)> {
        let mut held = BTreeMap::new();
        for rule in self.sessions.iter().flat_map(|session| &session.protocol.rules) {
            let open =
                |i: &usize| self.end_of(*i, rule.id.as_str()).is_some_and(|end| lasts(end) > now);
            let behind: Vec<usize> = (0..self.sessions.len()).filter(open).collect();
            if rule.kind != RuleKind::NextSession && !behind.is_empty() {
                let end = self.end(rule.id.as_str()).flatten();
                held.insert(rule.id.to_string(), (end, behind));
            }
        }
        held
    }

    /// A step's due moment and its use-by. A patient's hour of exercise moves both alike (the texts of the
    /// preferences).
    pub(crate) fn moments(&self, i: usize, step: &Step) -> Option<(Timestamp, Timestamp)> {
        let session = &self.sessions[i];
        let moved = |moment: Moment| match (step.due, moment, self.exercise) {
            (Moment::Wall { at: usual, .. }, Moment::Wall { day, at }, Some(hour))
                if step.before_exercise =>
            {
                let by = hour.duration_since(usual) - BEFORE_EXERCISE;
                Moment::Wall { day, at: at.saturating_add(by) }
            }
            (_, moment, _) => moment,
        };
        let due = self.moment(session, moved(step.due), None)?;
        let use_by = if let Some(moment) = step.use_by {
            self.moment(session, moved(moment), Some(due))?
        } else {
            let rules = step.clauses.iter().filter_map(|clause| clause.when.rule());
            let rules = rules.filter_map(|id| session.rule(id.as_str())?.until);
            rules.filter_map(|until| self.moment(session, until, None)).max()?
        };
        Some((due, use_by))
    }

    /// Days are counted in the session's zone, hours are read off the patient's wall. `None`: there is
    /// no appointment to count from.
    fn moment(
        &self,
        session: &Session,
        moment: Moment,
        due: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let day = |days: i32| session.day_0().saturating_add(Span::new().days(days));
        let zone = self.zone();
        Some(match moment {
            Moment::Elapsed(after) => session.completed_at + after,
            Moment::Wall { day: days, at } => wall(day(days), at, zone),
            Moment::EndOfDay { day: days } => wall(day(days + 1), Time::midnight(), &session.zone),
            Moment::Interval { days, at } => {
                let interval = session.protocol.course.as_ref()?.interval;
                let next = interval.after(session.day_0())?;
                wall(next.saturating_add(Span::new().days(days)), at, zone)
            }
            Moment::Booking { days, at } => {
                let booked = date(session.booked?, &session.zone);
                wall(booked.saturating_add(Span::new().days(days)), at, zone)
            }
            Moment::AfterDue { days } => {
                let due = due?.to_zoned(zone.tz().clone());
                wall(due.date().saturating_add(Span::new().days(days)), due.time(), zone)
            }
        })
    }
}

/// Never is later than any instant.
pub(crate) fn lasts(end: Option<Timestamp>) -> Timestamp {
    end.unwrap_or(Timestamp::MAX)
}

pub(crate) fn is_recall(session: &Session, step: &Step) -> bool {
    let mut rules = step.clauses.iter().filter_map(|clause| clause.when.rule());
    rules.any(|id| {
        let rule = session.protocol.rules.iter().find(|rule| rule.id == *id);
        rule.is_some_and(|rule| rule.kind == RuleKind::NextSession)
    })
}
