//! The dispatcher, stepped: claim, look again, ask the model, push, settle.

use aftercare::care::dispatch::{
    self, Attempt, Claim, Decision, Item, Job, Outgoing, Settled, Target, Trial, Verdict, Work,
};
use aftercare::ids::ReminderId;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;

use crate::history::{Key, Phone, State, Told};
use crate::replan::Words;
use crate::stage::{Checked, SECOND, Stage};
use crate::story::{Mood, Step};

const LEASE: SignedDuration = SignedDuration::from_mins(1);

impl Stage<'_> {
    /// Time passes: whenever something is due, it is sent; nothing is forgotten.
    pub(crate) fn pass(&mut self, until: Timestamp) -> Checked {
        for _ in 0..2_000 {
            let next = self.read(|tx| tx.next_due()).first().map(|next| next.max(self.now()));
            let due = self.next_due().map(|due| due.max(self.now()));
            if let Some(due) = due.filter(|due| *due <= until)
                && next.is_none_or(|next| due < next)
            {
                return Err(format!("due at {due}, but the queue looks again only at {next:?}"));
            }
            let Some(next) = next.filter(|next| *next <= until) else {
                self.clock.set(until);
                return Ok(());
            };
            self.clock.set(next);
            self.round()?;
        }
        Err("the queue never empties".to_owned())
    }

    /// What waits for a phone or for its next attempt is not expected at its due moment.
    fn next_due(&self) -> Option<Timestamp> {
        let held_up = |reason| matches!(reason, Some("no-device" | "retrying"));
        let planned = self.model.rows.values().filter(|row| row.state == State::Planned);
        planned.filter(|row| !held_up(row.reason)).map(|row| row.due).min()
    }

    /// Sends all that is due now.
    pub(crate) fn run(&mut self) -> Checked {
        for _ in 0..100 {
            if !self.round()? {
                let late = self.next_due().filter(|due| *due <= self.now());
                return late.map_or(Ok(()), |due| Err(format!("due at {due}, but not claimed")));
            }
        }
        Err("the same is claimed for ever".to_owned())
    }

    /// Whether anything was claimed.
    fn round(&mut self) -> Checked<bool> {
        let claim = self.claim()?;
        let some = !claim.is_empty();
        // What is sent changes nothing else; whatever is planned anew may.
        if some && self.look_again(claim)? {
            self.compare()?;
        }
        Ok(some)
    }

    /// What is due next is claimed, something happens, and only then the dispatcher looks again.
    pub(crate) fn meanwhile(&mut self, step: &Step) -> Checked {
        self.to_next();
        let claim = self.claim()?;
        self.compare()?;
        self.clock.advance(SECOND);
        self.act(step)?;
        self.compare()?;
        self.look_again(claim)?;
        self.compare()?;
        self.run()
    }

    /// What was claimed and never settled is due again when its lease is over.
    pub(crate) fn crash(&mut self) -> Checked {
        self.to_next();
        self.claim()?;
        self.clock.advance(LEASE);
        self.write(dispatch::reclaim).map_err(|error| error.to_string())?;
        for row in self.model.rows.values_mut().filter(|row| row.state == State::Claimed) {
            row.state = State::Planned;
        }
        self.compare()?;
        self.run()
    }

    /// To the moment at which something is due next, if that is within two days.
    fn to_next(&self) {
        let next = self.read(|tx| tx.next_due()).first();
        let soon = self.now() + SignedDuration::from_hours(48);
        if let Some(next) = next.filter(|next| *next <= soon) {
            self.clock.set(next.max(self.now()));
        }
    }

    fn claim(&mut self) -> Checked<Claim> {
        let (lease, now) = (self.lease(), self.now());
        let claim = self.write(move |tx| dispatch::claim(tx, lease, LEASE, 100));
        let claim = claim.map_err(|error| error.to_string())?;
        let mut claimed = Vec::new();
        for (item, _) in claim.singles().filter(|(item, _)| item.work == Work::Reminder) {
            let key = self.key_of(item.reminder)?;
            let row = self.model.rows.get(&key).ok_or("an unknown reminder is claimed")?;
            if row.state != State::Planned || row.due > now {
                return Err(format!("{key:?} is claimed: {row:?}"));
            }
            // Whether it would wake somebody counts when it leaves: by then they may be somewhere else.
            let wakes = self.model.wakes_somebody(row, now);
            let due = if wakes { Ok(()) } else { self.model.is_due(&key, now) };
            self.due.insert(key.clone(), due);
            claimed.push(key);
        }
        for key in claimed {
            self.model.hold(&key);
        }
        Ok(claim)
    }

    fn key_of(&self, id: ReminderId) -> Checked<Key> {
        self.keys.get(&id).cloned().ok_or_else(|| "an unknown reminder is claimed".to_owned())
    }

    /// All that was claimed is put in words before any of it is sent, and so the model is asked of all first.
    /// Whether the patient was planned anew.
    fn look_again(&mut self, claim: Claim) -> Checked<bool> {
        let (mut asked, mut anew) = (Vec::new(), false);
        for job in self.read(move |tx| dispatch::prepare(tx, &claim)) {
            let key = self.key_of(job.item.reminder)?;
            let again = job.item.work != Work::Reminder;
            let would =
                if again { self.model.may_repeat(&key, self.now()) } else { self.would_send(&key) };
            if let Decision::Send(outgoing) = &job.decision {
                let phones = if again { 1 } else { self.phones().count() };
                if phones != outgoing.targets.len() || outgoing.body.is_empty() {
                    return Err(format!("{key:?}: to whom, and in what words? {outgoing:?}"));
                }
                self.says_the_same(outgoing, &would).map_err(|why| format!("{key:?}: {why}"))?;
            }
            anew |= matches!(job.decision, Decision::Not(Verdict::Replan(_)));
            asked.push((job, key, would));
        }
        for (job, key, would) in asked {
            self.work_off(job, &key, would).map_err(|why| format!("{key:?}: {why}"))?;
        }
        Ok(anew)
    }

    fn work_off(&mut self, job: Job, key: &Key, would: Checked<Words>) -> Checked {
        let Job { item, decision } = job;
        match decision {
            Decision::Send(outgoing) if item.work != Work::Reminder => self.retry(item, *outgoing),
            Decision::Send(outgoing) => self.send(item, key, *outgoing, would?.told),
            Decision::Not(verdict) if item.work != Work::Reminder => {
                self.do_not_repeat(item, key, verdict, &would)
            }
            Decision::Not(verdict) => self.do_not_send(item, key, verdict, would.is_ok()),
        }
    }

    fn settle(
        &self,
        item: Item,
        verdict: Verdict,
        said: Option<aftercare::planner::Said>,
    ) -> Checked {
        let taken_back = matches!(verdict, Verdict::Released);
        let settled = Settled { item, verdict, said };
        let tally = self.write(move |tx| dispatch::settle(tx, &[settled]));
        let tally = tally.map_err(|error| error.to_string())?;
        if (tally.lost > 0) == taken_back { Ok(()) } else { Err(format!("{tally:?}")) }
    }

    fn would_send(&self, key: &Key) -> Checked<Words> {
        self.due.get(key).cloned().ok_or("it was not claimed")??;
        self.model.may_leave(key, self.now())
    }

    /// Would the model send this now, and say so?
    fn says_the_same(&self, outgoing: &Outgoing, would: &Checked<Words>) -> Checked {
        let words = would.as_ref().map_err(|why| format!("sent, though {why}"))?;
        let said = outgoing.said.as_ref().ok_or("it says nothing")?;
        let said = Words {
            rules: said.rule_ids.iter().map(ToString::to_string).collect(),
            told: self.told(said),
        };
        if said != *words {
            return Err(format!("it says {said:?}, and the model {words:?}"));
        }
        Ok(())
    }

    fn phones(&self) -> impl Iterator<Item = &Phone> {
        self.model.phones.values().filter(|phone| phone.active && phone.notifies)
    }

    fn send(&mut self, item: Item, key: &Key, outgoing: Outgoing, told: Told) -> Checked {
        let now = self.now();
        let attempts = self.push(&outgoing);
        let trials: Vec<Trial> = attempts.iter().map(|attempt| attempt.trial).collect();
        self.settle(item, Verdict::Tried(attempts), outgoing.said)?;
        if trials.contains(&Trial::Accepted) {
            self.first_sent.entry(key.clone()).or_insert(now);
            self.model.sent(key, now, told);
        } else if trials.iter().any(|trial| matches!(trial, Trial::Again(_))) {
            self.model.stands(key, State::Planned, "retrying");
        } else if trials.contains(&Trial::Rejected) {
            self.model.stands(key, State::Failed, "rejected");
        } else {
            self.model.stands(key, State::Planned, "no-device");
        }
        Ok(())
    }

    /// Another phone has it already, this one is still to get it.
    fn retry(&mut self, item: Item, outgoing: Outgoing) -> Checked {
        let attempts = self.push(&outgoing);
        self.settle(item, Verdict::Tried(attempts), outgoing.said)
    }

    /// The other phone does not get it: it has lost its point, quiet hours came, or the phone is not there.
    fn do_not_repeat(
        &mut self,
        item: Item,
        key: &Key,
        verdict: Verdict,
        would: &Checked<Words>,
    ) -> Checked {
        let row = self.model.rows.get(key).ok_or("there is no such reminder")?;
        // A phone that was to get it again when it was first sent, and was lost since, is not waited for.
        let since = self.first_sent.get(key);
        let same_phones = since.is_some_and(|since| self.phones_changed_at < *since);
        let in_order = match &verdict {
            Verdict::Dropped => would.is_err() || !same_phones,
            Verdict::Tried(_) => self.model.wakes_somebody(row, self.now()),
            _ => false,
        };
        if !in_order {
            return Err(format!("not sent to another phone, but {verdict:?}: {would:?}"));
        }
        self.settle(item, verdict, None)
    }

    fn do_not_send(&mut self, item: Item, key: &Key, verdict: Verdict, wanted: bool) -> Checked {
        let now = self.now();
        let row = self.model.rows.get(key).cloned().ok_or("there is no such reminder")?;
        let over = row.use_by <= now;
        let late = if row.reason == Some("no-device") { "no-device" } else { "past-use-by" };
        match &verdict {
            Verdict::Released if row.state != State::Claimed => self.settle(item, verdict, None)?,
            _ if wanted => return Err(format!("not sent, but {verdict:?}")),
            Verdict::NoDevice if !over && !self.model.reachable() => {
                self.settle(item, verdict, None)?;
                self.model.stands(key, State::Planned, "no-device");
            }
            Verdict::Expired(reason) if over && reason.as_str() == late => {
                self.settle(item, verdict, None)?;
                self.model.stands(key, State::Expired, late);
            }
            Verdict::Replan(reason) => {
                let reason = reason.as_str();
                self.settle(item, verdict, None)?;
                let why = if reason == "no-device" { "no-device" } else { "retrying" };
                self.model.stands(key, State::Planned, why);
                let changed = self.model.replan(now);
                if !changed {
                    let state = if over { State::Expired } else { State::Out("skipped") };
                    self.model.stands(key, state, reason);
                }
            }
            _ => return Err(format!("{verdict:?} for {row:?}")),
        }
        Ok(())
    }

    /// What FCM says of each message.
    fn push(&mut self, outgoing: &Outgoing) -> Vec<Attempt> {
        let now = self.now();
        let mut attempts = Vec::new();
        for (n, target) in outgoing.targets.iter().enumerate() {
            let trial = match self.mood {
                Mood::Well => Trial::Accepted,
                Mood::Halves(_) if n == 0 => Trial::Accepted,
                Mood::Busy(minutes) | Mood::Halves(minutes) => {
                    let again = now + SignedDuration::from_mins(minutes);
                    Trial::Again(Some(again).filter(|again| *again < outgoing.use_by))
                }
                Mood::Gone => {
                    self.mood = Mood::Well;
                    self.forget(target);
                    Trial::Gone
                }
                Mood::Rejects => Trial::Rejected,
            };
            let target = target.clone();
            attempts.push(Attempt {
                target,
                at: now,
                trial,
                status: None,
                code: None,
                detail: None,
            });
        }
        attempts
    }

    fn forget(&mut self, target: &Target) {
        let address = target.address.expose_secret();
        let number = address.trim_start_matches("phone-").parse().expect("a phone's number");
        self.phones_changed_at = self.now();
        if let Some(phone) = self.model.phones.get_mut(&number) {
            phone.active = false;
        }
    }
}
