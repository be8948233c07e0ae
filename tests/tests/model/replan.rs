//! What a new plan makes of the reminders that there are, and what dispatching does to them.

use std::collections::BTreeSet;

use aftercare::clock::to_micros;
use jiff::Timestamp;

use crate::history::{History, Key, Member, Row, State, Told};
use crate::plan::{Out, Plan, Wanted};

/// What is said when a reminder is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// The rules in force that it speaks of.
    pub(crate) rules: BTreeSet<String>,
    pub(crate) told: Told,
}

impl History {
    /// Plans anew. Whether anything that people see has changed.
    pub(crate) fn replan(&mut self, now: Timestamp) -> bool {
        let before = self.rows.clone();
        let Plan { wanted, out } = self.plan(now);
        // Where each was put off to is read off before anything moves.
        let put_off: Vec<_> = out.keys().map(|key| self.put_off_to(key)).collect();
        for (key, wanted) in &wanted {
            self.keep(key, wanted);
        }
        for ((key, out), put_off) in out.iter().zip(put_off) {
            let over = self.rows.get(key).is_some_and(|row| row.state.is_over());
            if !wanted.contains_key(key) && !over {
                self.leave_out(key, out, put_off);
            }
        }
        before != self.rows
    }

    /// The session turned out otherwise: its unsent reminders are planned as if they were new.
    pub(crate) fn renew(&mut self, i: usize) {
        let about = |row: &&mut Row| row.members.iter().any(|member| member.key.0 == i);
        for row in self.rows.values_mut().filter(about).filter(|row| !row.state.is_over()) {
            (row.state, row.reason) = (State::Out("cancelled"), None);
        }
    }

    fn keep(&mut self, key: &Key, wanted: &Wanted) {
        let reachable = self.reachable();
        let old = self.rows.get(key).filter(|row| row.state == State::Planned);
        let stays = old
            .filter(|row| row.due == wanted.due && !(row.reason == Some("no-device") && reachable));
        if stays.is_some_and(|row| row.members == wanted.members) {
            return;
        }
        let row = Row {
            state: State::Planned,
            reason: stays.and_then(|row| row.reason),
            due: wanted.due,
            use_by: to_micros(wanted.use_by),
            members: wanted.members.clone(),
            sent: self.rows.get(key).and_then(|row| row.sent.clone()),
            snoozed: wanted.snoozed.then_some(wanted.due),
        };
        self.rows.insert(key.clone(), row);
    }

    /// Only what is skipped or has expired is worth a row of its own. Why it was left out at the time
    /// stays the reason once it would be too late anyway.
    fn leave_out(&mut self, key: &Key, out: &Out, put_off: Option<Timestamp>) {
        let row = self.rows.get(key);
        if row.is_none() && !matches!(out.state, State::Expired | State::Out("skipped")) {
            return;
        }
        let too_late = out.state == State::Out("skipped") && out.reason == "past-use-by";
        if row.is_some_and(|row| {
            row.state == out.state && (row.reason == Some(out.reason) || too_late)
        }) {
            return;
        }
        let member = Member { key: key.clone(), nominal: out.nominal, use_by: out.use_by };
        let row = Row {
            state: out.state,
            reason: Some(out.reason),
            due: out.nominal,
            use_by: to_micros(out.use_by),
            members: vec![member],
            sent: row.and_then(|row| row.sent.clone()),
            snoozed: put_off,
        };
        self.rows.insert(key.clone(), row);
    }

    /// Whether a plan that is made now, as if nobody held it, leaves a reminder that is due as it is. Claimed
    /// is what the queue has due; only this is sent.
    pub(crate) fn is_due(&self, key: &Key, now: Timestamp) -> Result<(), String> {
        let mut asked = self.clone();
        let row = asked.rows.get_mut(key).ok_or("there is no such reminder")?;
        row.state = State::Planned;
        let row = row.clone();
        match asked.plan(now).wanted.get(key) {
            Some(wanted) if wanted.due <= now && wanted.members == row.members => Ok(()),
            other => Err(format!("a plan made now has {other:?}, and not {row:?}")),
        }
    }

    /// Whether what a dispatcher holds may leave now, and what is said by it. It is taken back only when it
    /// must not go out (ADR 0003), or when its moment is still to come by now.
    pub(crate) fn may_leave(&self, key: &Key, now: Timestamp) -> Result<Words, String> {
        let row = self.rows.get(key).ok_or("there is no such reminder")?;
        let later = row.members.iter().any(|member| self.comes_later(member, now));
        if later && row.snoozed != Some(row.due) {
            return Err("its moment is still to come".to_owned());
        }
        self.still_holds(key, now)
    }

    fn still_holds(&self, key: &Key, now: Timestamp) -> Result<Words, String> {
        let row = self.rows.get(key).ok_or("there is no such reminder")?;
        if row.state != State::Claimed || row.due > now || row.use_by <= now {
            return Err(format!("it is not due: {row:?}"));
        }
        if !self.reachable() {
            return Err("nobody can be reached".to_owned());
        }
        if self.wakes_somebody(row, now) {
            return Err("of quiet hours".to_owned());
        }
        let corrected = self.corrected(now);
        let mut speaks = false;
        for member in &row.members {
            let (i, id) = &member.key;
            let Some(step) = self.sessions[*i].step(id) else {
                if !self.aftercare {
                    return Err("consent to it was withdrawn".to_owned());
                }
                // What another push has said since, it does not say; then it is of use for another time.
                match corrected.get(&member.key) {
                    Some((says, use_by)) if *use_by == member.use_by => {
                        speaks |= self.sets_right(says, now);
                    }
                    other => return Err(format!("of {:?} there is left {other:?}", member.key)),
                }
                continue;
            };
            self.still_wanted(*i, step)
                .map_err(|no| format!("of {:?} it is {no:?}", member.key))?;
            // Rendered when it is sent: what no longer holds is not said.
            speaks |= self.speaks(*i, step, now);
        }
        if !speaks {
            return Err("it has nothing to say".to_owned());
        }
        let members: Vec<Key> = row.members.iter().map(|member| member.key.clone()).collect();
        let rules = self.spoken(&members, &corrected, now);
        Ok(Words { rules, told: self.told(&members, &corrected) })
    }

    fn comes_later(&self, member: &Member, now: Timestamp) -> bool {
        let (i, id) = &member.key;
        let moments = self.sessions[*i].step(id).and_then(|step| self.moments(*i, step));
        moments.is_some_and(|(nominal, _)| now < nominal && member.nominal < nominal)
    }

    /// Whether another phone is still to get what one has, and what is said by it: as if none had it.
    pub(crate) fn may_repeat(&self, key: &Key, now: Timestamp) -> Result<Words, String> {
        let mut unheard = self.clone();
        let row = unheard.rows.get_mut(key).ok_or("there is no such reminder")?;
        if row.state != State::Sent {
            return Err(format!("it was not sent: {row:?}"));
        }
        (row.state, row.sent) = (State::Claimed, None);
        unheard.still_holds(key, now)
    }

    pub(crate) fn hold(&mut self, key: &Key) {
        if let Some(row) = self.rows.get_mut(key) {
            row.state = State::Claimed;
        }
    }

    pub(crate) fn sent(&mut self, key: &Key, at: Timestamp, told: Told) {
        if let Some(row) = self.rows.get_mut(key) {
            (row.state, row.reason, row.sent) = (State::Sent, Some("accepted"), Some((at, told)));
        }
    }

    pub(crate) fn stands(&mut self, key: &Key, state: State, reason: &'static str) {
        if let Some(row) = self.rows.get_mut(key) {
            (row.state, row.reason) = (state, Some(reason));
        }
    }
}
