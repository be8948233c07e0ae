//! What was sent and turned out otherwise is set right by one more push (ADR 0008).

use std::collections::{BTreeMap, BTreeSet};

use aftercare::protocol::RuleKind;
use jiff::{SignedDuration, Timestamp};

use crate::history::{History, Key, Row};
use crate::plan::{Candidate, Correction};
use crate::rules::{Corrected, Heard, NEXT_SESSION, lasts};

/// How long a correction that ends with no rule is of use.
const OPEN_ENDED: SignedDuration = SignedDuration::from_hours(48);

impl History {
    /// The corrections that are needed now.
    pub(crate) fn corrections(&self, now: Timestamp) -> Vec<Candidate> {
        let voided = (0..self.sessions.len()).filter(|i| self.sessions[*i].voided);
        let mut needed: Vec<_> = voided.filter_map(|i| self.disregard(i, now)).collect();
        let mut too_short = self.too_short(now);
        for i in 0..self.sessions.len() {
            let rules = too_short.remove(&i).unwrap_or_default();
            needed.extend(self.change(i, &rules, now));
        }
        needed
    }

    pub(crate) fn corrected(&self, now: Timestamp) -> Corrected {
        let needed = self.corrections(now).into_iter();
        needed.filter_map(|one| Some((one.key, (one.correction?, one.use_by)))).collect()
    }

    /// The next session that the patient was told of and that is still to come, when it was cancelled since.
    /// Who withdrew consent to `recall`, or muted the rule, hears nothing of it.
    fn cancelled(&self, i: usize, now: Timestamp) -> Option<Timestamp> {
        let session = &self.sessions[i];
        let told = self.heard_of_next_session(i)?.filter(|at| *at > now)?;
        let latest = self.course(&session.protocol.slug).last() == Some(&i);
        let hears = self.recall && !self.muted.contains(NEXT_SESSION);
        (session.booked.is_none() && latest && hears).then_some(told)
    }

    /// The date of the session after this one as the patient heard it last; `Some(None)` = that it is
    /// cancelled.
    pub(crate) fn heard_of_next_session(&self, i: usize) -> Heard {
        let told = self.rows.values().filter_map(|row| {
            let (at, told) = row.sent.as_ref()?;
            Some((at, row.due, told.next.get(&i)?))
        });
        told.max_by_key(|(at, due, _)| (*at, *due)).map(|(.., date)| *date)
    }

    /// The rules that last longer than the patient heard last, with their ends, by the session they last
    /// longest for. Sessions that were recorded after a reminder was sent are none of its mistakes.
    fn too_short(&self, now: Timestamp) -> BTreeMap<usize, BTreeMap<String, Timestamp>> {
        let heard = self.heard();
        let mut longest: BTreeMap<String, (Timestamp, usize)> = BTreeMap::new();
        for (sent_at, row) in self.pushes() {
            for member in &row.members {
                if self.sessions[member.key.0].voided {
                    continue;
                }
                for rule in self.instructions(&member.key) {
                    let id = rule.id.to_string();
                    let Some((end, i)) = self.end_known_at(&id, sent_at) else { continue };
                    let told = heard.get(&id).is_some_and(|heard| lasts(end) <= *heard);
                    let over = lasts(end) <= now;
                    let known = longest.get(&id).is_some_and(|(known, _)| lasts(end) <= *known);
                    if !told && !over && !known && !self.muted.contains(&id) {
                        longest.insert(id, (lasts(end), i));
                    }
                }
            }
        }
        let mut wrong: BTreeMap<usize, BTreeMap<String, Timestamp>> = BTreeMap::new();
        for (rule, (end, i)) in longest {
            wrong.entry(i).or_default().insert(rule, end);
        }
        wrong
    }

    /// What was sent, by due moment.
    fn pushes(&self) -> Vec<(Timestamp, &Row)> {
        let mut pushes: Vec<_> =
            self.rows.values().filter_map(|row| Some((row.sent.as_ref()?.0, row))).collect();
        pushes.sort_by_key(|(_, row)| row.due);
        pushes
    }

    /// The end of each rule as the patient heard it last.
    fn heard(&self) -> BTreeMap<String, Timestamp> {
        let mut heard: BTreeMap<String, (Timestamp, Timestamp)> = BTreeMap::new();
        for (at, told) in self.rows.values().filter_map(|row| row.sent.as_ref()) {
            for (rule, end) in &told.until {
                let said = (*at, lasts(*end));
                heard
                    .entry(rule.clone())
                    .and_modify(|last| *last = said.max(*last))
                    .or_insert(said);
            }
        }
        heard.into_iter().map(|(rule, (_, end))| (rule, end)).collect()
    }

    /// What became of a session's rules, and of the appointment after it, is one push; one that could not be sent is not tried again under another name.
    fn change(
        &self,
        i: usize,
        rules: &BTreeMap<String, Timestamp>,
        now: Timestamp,
    ) -> Option<Candidate> {
        let before = |key: &Key| {
            key.0 == i && key.1.starts_with("correction-") && key.1 != "correction-disregard"
        };
        let over: Vec<&Row> = self.over(before).collect();
        let cancelled = self.cancelled(i, now);
        let key = (i, format!("correction-{}", over.len() + 1));
        let since = self.needed_since(&key, now);
        let end = rules.values().copied().chain(cancelled).max()?;
        let use_by = if end == Timestamp::MAX { since + OPEN_ENDED } else { end };
        let longest = |row: &Row| row.members.iter().map(|member| member.use_by).max();
        if over.iter().any(|row| row.sent.is_none() && Some(use_by) <= longest(row)) {
            return None;
        }
        let (cancels, rules) = (cancelled.is_some(), rules.keys().cloned().collect());
        Some(candidate(key, since, use_by, Correction { disregard: false, cancels, rules }))
    }

    /// Takes back, once, what was said for a voided session, if any of it would still be followed and no
    /// other session asks for all of it.
    fn disregard(&self, i: usize, now: Timestamp) -> Option<Candidate> {
        let key = (i, "correction-disregard".to_owned());
        if self.over(|before| *before == key).next().is_some() {
            return None;
        }
        let (mut gone, mut kept) = (None, BTreeSet::new());
        let about = |row: &&Row| row.members.iter().any(|member| member.key.0 == i);
        for (_, said) in self.rows.values().filter(about).filter_map(|row| row.sent.as_ref()) {
            for (id, told) in &said.until {
                let rules = &self.sessions[i].protocol.rules;
                let rule = rules.iter().find(|rule| rule.id.as_str() == id);
                let instruction =
                    rule.is_some_and(|r| matches!(r.kind, RuleKind::Avoid | RuleKind::Do));
                if !instruction || lasts(*told) <= now || self.muted.contains(id) {
                    continue;
                }
                let left = self.end(id).map(lasts).filter(|left| *left > now);
                if left.is_some() {
                    kept.insert(id.clone());
                }
                if left.is_none_or(|left| left < lasts(*told)) {
                    gone = gone.max(Some(lasts(*told)));
                }
            }
        }
        let since = self.needed_since(&key, now);
        let end = gone?;
        let use_by = if end == Timestamp::MAX { since + OPEN_ENDED } else { end };
        let rules = kept.into_iter().collect();
        Some(candidate(key, since, use_by, Correction { disregard: true, cancels: false, rules }))
    }

    /// The reminders with such a step that were sent, or never will be.
    fn over(&self, step: impl Fn(&Key) -> bool) -> impl Iterator<Item = &Row> {
        let over = self.rows.values().filter(|row| row.sent.is_some() || row.state.is_over());
        over.filter(move |row| row.members.iter().any(|member| step(&member.key)))
    }

    /// A correction that waits keeps the moment at which it was found to be needed.
    fn needed_since(&self, key: &Key, now: Timestamp) -> Timestamp {
        let mut waits = self.rows.values().filter(|row| row.state.is_open());
        waits.find_map(|row| row.member(key)).map_or(now, |member| member.nominal)
    }
}

fn candidate(key: Key, nominal: Timestamp, use_by: Timestamp, says: Correction) -> Candidate {
    Candidate {
        key,
        order: 0,
        nominal,
        due: nominal,
        use_by,
        elapsed: true,
        queued: None,
        snoozed: false,
        correction: Some(says),
    }
}
