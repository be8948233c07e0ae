//! The plan, worked out anew from the whole history: what is wanted, and why the rest is not.

use std::collections::{BTreeMap, BTreeSet};

use aftercare::protocol::{Condition, Moment, Step};
use jiff::Timestamp;

use crate::history::{History, Key, Member, Row, Session, State};
use crate::rules::is_recall;

#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) wanted: BTreeMap<Key, Wanted>,
    pub(crate) out: BTreeMap<Key, Out>,
}

/// A reminder that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) due: Timestamp,
    pub(crate) use_by: Timestamp,
    pub(crate) members: Vec<Member>,
    pub(crate) snoozed: bool,
}

/// A step that is not, and why.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    pub(crate) state: State,
    pub(crate) reason: &'static str,
    pub(crate) nominal: Timestamp,
    pub(crate) use_by: Timestamp,
}

/// A step that is to be said, before it finds its place among the others.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) key: Key,
    /// Its place in the protocol.
    pub(crate) order: usize,
    pub(crate) nominal: Timestamp,
    pub(crate) due: Timestamp,
    pub(crate) use_by: Timestamp,
    /// Elapsed steps keep their moment: no pacing moves them.
    pub(crate) elapsed: bool,
    /// The reminder in which it waits in the queue: that stays as it is.
    pub(crate) queued: Option<Key>,
    /// The patient put it there.
    pub(crate) snoozed: bool,
    /// What a correction speaks of; `None` = a step of the protocol.
    pub(crate) correction: Option<Correction>,
}

#[derive(Debug, Clone)]
pub(crate) struct Correction {
    /// It takes back what was said.
    pub(crate) disregard: bool,
    /// It says that the next session is cancelled.
    pub(crate) cancels: bool,
    /// The rules that it tells anew.
    pub(crate) rules: Vec<String>,
}

/// Why a step is not to be said.
#[derive(Debug, Clone, Copy)]
pub(crate) enum No {
    /// It was, or ended otherwise.
    Settled,
    Because(State, &'static str),
}

pub(crate) const PAST: No = skipped("past-use-by");

pub(crate) const fn skipped(reason: &'static str) -> No {
    No::Because(State::Out("skipped"), reason)
}

const fn cancelled(reason: &'static str) -> No {
    No::Because(State::Out("cancelled"), reason)
}

impl History {
    pub(crate) fn plan(&self, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let mut candidates = Vec::new();
        let mut settled = BTreeSet::new();
        for (i, session) in self.sessions.iter().enumerate() {
            for (order, step) in session.protocol.steps.iter().enumerate() {
                match self.candidate(i, order, step, &candidates, now) {
                    Ok(candidate) => candidates.push(candidate),
                    Err(No::Settled) => drop(settled.insert((i, step.id.to_string()))),
                    Err(No::Because(state, reason)) => {
                        let nowhere = (session.completed_at, session.completed_at);
                        let moments = self.kept_or_new(i, step, now).unwrap_or(nowhere);
                        let (nominal, use_by) = moments;
                        let out = Out { state, reason, nominal, use_by };
                        plan.out.insert((i, step.id.to_string()), out);
                    }
                }
            }
        }
        for correction in self.corrections(now) {
            let (key, nominal, use_by) =
                (correction.key.clone(), correction.nominal, correction.use_by);
            match self.in_time(correction, now) {
                Ok(candidate) => candidates.push(candidate),
                Err(No::Settled) => drop(settled.insert(key)),
                Err(No::Because(state, reason)) => {
                    plan.out.insert(key, Out { state, reason, nominal, use_by });
                }
            }
        }
        let vanished = |(key, row): &(&Key, &Row)| {
            let open =
                row.state.is_open() || row.state == State::Out("cancelled") && row.reason.is_none();
            let known = plan.out.contains_key(*key) || settled.contains(*key);
            let leaving = row.state == State::Claimed && self.may_go_out(row);
            open && !known && !leaving && !candidates.iter().any(|one| one.key == **key)
        };
        let vanished: Vec<_> = self.rows.iter().filter(vanished).collect();
        for (key, row) in vanished {
            let (nominal, use_by) = (row.due, row.members[0].use_by);
            let (state, reason) = (State::Out("cancelled"), "amended");
            plan.out.insert(key.clone(), Out { state, reason, nominal, use_by });
        }
        plan.wanted = self.pace(candidates);
        for (lead, wanted) in &plan.wanted {
            for member in wanted.members.iter().filter(|member| member.key != *lead) {
                let (nominal, use_by) = (member.nominal, member.use_by);
                let (state, reason) = (State::Out("superseded"), "bundled");
                plan.out.insert(member.key.clone(), Out { state, reason, nominal, use_by });
            }
        }
        plan
    }

    fn candidate(
        &self,
        i: usize,
        order: usize,
        step: &Step,
        before: &[Candidate],
        now: Timestamp,
    ) -> Result<Candidate, No> {
        let key = (i, step.id.to_string());
        self.wanted(i, step, &key, now)?;
        if self.snoozed_in(&key, now).is_none() && self.covered(i, step, before) {
            return Err(skipped("covered"));
        }
        let Some((nominal, use_by)) = self.kept_or_new(i, step, now) else {
            return Err(self.worthless(&key, None));
        };
        let elapsed = matches!(step.due, Moment::Elapsed(_));
        let candidate = Candidate {
            key,
            order,
            nominal,
            due: nominal,
            use_by,
            elapsed,
            queued: None,
            snoozed: false,
            correction: None,
        };
        let candidate = self.in_time(candidate, now)?;
        // What was put off together comes together, while any of it has something to say.
        let together = || {
            let row = self.snoozed_in(&candidate.key, now)?.1;
            let mut members = row.members.iter().map(|member| &member.key);
            members.any(|key| self.still_says(key, candidate.due, now)).then_some(())
        };
        if self.speaks(i, step, candidate.due) || together().is_some() {
            Ok(candidate)
        } else {
            Err(skipped("nothing-to-say"))
        }
    }

    fn still_says(&self, key: &Key, at: Timestamp, now: Timestamp) -> bool {
        let Some(step) = self.sessions[key.0].step(&key.1) else { return false };
        self.wanted(key.0, step, key, now).is_ok() && self.speaks(key.0, step, at)
    }

    /// Whether the step is wanted at all, whatever its hour.
    fn wanted(&self, i: usize, step: &Step, key: &Key, now: Timestamp) -> Result<(), No> {
        if let Some((name, row)) = self.carrier(key)
            && row.state.is_over()
            && !self.rebooked(name, row, i, step, now)
        {
            return Err(No::Settled);
        }
        self.still_wanted(i, step)?;
        if self.is_on_its_way(key) {
            return Err(No::Settled);
        }
        let mut clauses = step.clauses.iter().filter(|one| self.concerns(i, one)).peekable();
        if clauses.peek().is_none() {
            return Err(skipped("nothing-to-say"));
        }
        let muted = |id: &aftercare::protocol::RuleId| self.muted.contains(id.as_str());
        if clauses.all(|clause| clause.when.rule().is_some_and(muted)) {
            return Err(skipped("muted"));
        }
        Ok(())
    }

    /// Whether the session, the patient and the course still ask for it, whatever it would say.
    pub(crate) fn still_wanted(&self, i: usize, step: &Step) -> Result<(), No> {
        let session = &self.sessions[i];
        if session.voided {
            return Err(cancelled("voided"));
        }
        if is_recall(session, step) {
            self.wants_next_session(i)?;
        }
        match step.condition {
            Some(Condition::Booked) if session.booked.is_none() => {
                return Err(cancelled("not-booked"));
            }
            Some(Condition::Unbooked) if session.booked.is_some() => {
                return Err(cancelled("booked"));
            }
            _ => {}
        }
        if !self.aftercare || is_recall(session, step) && !self.recall {
            return Err(skipped("consent"));
        }
        Ok(())
    }

    /// What a dispatcher holds is taken back only when it must not go out (ADR 0003).
    pub(crate) fn is_on_its_way(&self, key: &Key) -> bool {
        let carrier = self.carrier(key);
        carrier.is_some_and(|(_, row)| row.state == State::Claimed && self.may_go_out(row))
    }

    pub(crate) fn may_go_out(&self, row: &Row) -> bool {
        self.aftercare
            && row.members.iter().all(|member| {
                let session = &self.sessions[member.key.0];
                match session.step(&member.key.1) {
                    Some(step) => !session.voided && (self.recall || !is_recall(session, step)),
                    None => true,
                }
            })
    }

    /// A newer session speaks for the older ones; a complete course asks for none.
    fn wants_next_session(&self, i: usize) -> Result<(), No> {
        let session = &self.sessions[i];
        if self.course(&session.protocol.slug).last() != Some(&i) {
            return Err(No::Because(State::Out("superseded"), "newer-session"));
        }
        let of = session.protocol.course.as_ref().map_or(1, |course| course.sessions);
        if self.session_number(i) >= of { Err(cancelled("course-complete")) } else { Ok(()) }
    }

    /// Which session of its course it is, from 1: those on one local day are one session.
    pub(crate) fn session_number(&self, i: usize) -> u32 {
        let mut number = 0;
        let mut before: Option<&Session> = None;
        for j in self.course(&self.sessions[i].protocol.slug) {
            let session = &self.sessions[j];
            number = match before {
                Some(before) if session.day_0() == before.day_0() => number,
                Some(before) if !restarts(before, session) => number + 1,
                _ => 1,
            };
            if i == j {
                break;
            }
            before = Some(session);
        }
        number
    }

    /// A new date is announced by the step itself (ADR 0008): when the one that was told is another, or
    /// when it was missed and is to come now. What was said together with others under its name stays.
    fn rebooked(&self, name: &Key, row: &Row, i: usize, step: &Step, now: Timestamp) -> bool {
        let key = (i, step.id.to_string());
        let announces = matches!(step.due, Moment::Booking { .. });
        if !announces || *name == key && row.members.len() > 1 {
            return false;
        }
        if row.sent.is_some() {
            let told = self.heard_of_next_session(i);
            return told.is_some_and(|told| told != self.sessions[i].booked);
        }
        let Some((nominal, _)) = self.moments(i, step) else { return false };
        now < nominal && row.member(&key).is_some_and(|missed| missed.nominal < nominal)
    }

    /// The first reminder of a session in the evening says what a later one of that evening would, if it
    /// was or will be sent.
    fn covered(&self, i: usize, step: &Step, before: &[Candidate]) -> bool {
        let session = &self.sessions[i];
        let Some(covered) = &step.covered else { return false };
        let ended = session.completed_at.to_zoned(session.zone.tz().clone()).time();
        let said = (i, covered.by.to_string());
        let sent = |row: &Row| row.sent.is_some() || row.state == State::Claimed;
        let sent = self.carrier(&said).is_some_and(|(_, row)| sent(row));
        ended > covered.after && (sent || before.iter().any(|one| one.key == said))
    }
}

/// A gap over `restart_after` starts a new course.
fn restarts(before: &Session, after: &Session) -> bool {
    let Some(course) = &after.protocol.course else { return false };
    let limit = course.restart_after.after(before.day_0());
    limit.is_some_and(|limit| after.day_0() > limit)
}
