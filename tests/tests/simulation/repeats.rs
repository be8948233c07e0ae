//! The observer, of what comes twice: only what may have been lost, under the same name, and not too early.

use aftercare::clock::Clock as _;
use aftercare::ids::ReminderId;

use crate::message::Message;
use crate::rows::{self, Row, Written};
use crate::watch::{Arrival, WRITTEN};
use crate::world::World;

impl World {
    /// The patient has it come again: what was sent before no longer counts.
    pub(crate) fn again(&mut self, id: ReminderId) {
        self.sent.remove(&id);
        self.fresh.insert(id, self.arrivals.len());
    }

    /// What has arrived of it, since it was put off last.
    pub(crate) fn arrivals_of(&self, id: ReminderId) -> impl DoubleEndedIterator<Item = &Arrival> {
        let first = self.fresh.get(&id).copied().unwrap_or(0);
        self.arrivals[first..].iter().filter(move |arrival| arrival.reminder == id)
    }

    pub(crate) fn judge_repeat(
        &self,
        n: usize,
        message: &Message,
        row: &Row,
        booking: bool,
    ) -> Result<(), String> {
        let now = self.clock.elapsed();
        let (id, planned) = (message.reminder, self.ledger.patients[n].planned);
        let same_phone = || self.arrivals_of(id).filter(|one| one.address == message.address);
        // The last one counts: what its sender heard too late to write it down is sent again, and what became of
        // that may not be known.
        if let Some(known) = same_phone().next_back().filter(|one| one.is_known_taken())
            && !booking
        {
            if known.written {
                return Err("it was sent there, and written down as sent".to_owned());
            }
            let over = known.until.is_none_or(|until| until <= self.clock.now());
            // What a new plan takes back while it is under way says what has changed, in the place of it.
            if !over && planned < known.at && !self.disturbed(known.at, now) {
                return Err("it was sent there, and its lease is not over".to_owned());
            }
        }
        if !booking {
            if row.state != "sent" && self.sent.contains(&id) {
                return Err("it was written down as sent, and is claimed again".to_owned());
            }
            self.judge_names(message, row)?;
        }
        // Of one attempt's phones the first that may be tried again decides for all; a phone that is still to
        // get what another one has decides for itself.
        let Some(last) = self.arrivals_of(id).next_back() else { return Ok(()) };
        let attempt =
            self.arrivals_of(id).filter(|one| one.lease.is_some() && one.lease == last.lease);
        let before: Vec<&Arrival> = match (&row.lease, &last.lease) {
            (Some(lease), Some(before)) if lease.id != before.id => attempt.collect(),
            (None, _) => same_phone().next_back().into_iter().collect(),
            _ => return Ok(()),
        };
        let waits: Option<Vec<_>> = before.iter().map(|one| one.again_from()).collect();
        let Some(from) = waits.and_then(|waits| waits.into_iter().min()) else { return Ok(()) };
        let since = before.iter().map(|one| one.at).min().unwrap_or(now);
        let alive = |one: &&Arrival| {
            self.processes.get(&one.process).is_some_and(|process| process.ended.is_none())
        };
        let counts = planned < since && before.iter().all(alive) && !self.disturbed(since, now);
        let known_taken = before.iter().any(|one| one.is_known_taken());
        if counts && !known_taken && now < from {
            let early = from.saturating_sub(now);
            return Err(format!("tried again {early:?} before FCM's word, or the usual wait"));
        }
        Ok(())
    }

    /// A step that one reminder has told a phone is not told it by another.
    fn judge_names(&self, message: &Message, row: &Row) -> Result<(), String> {
        for (treatment, step) in row.members() {
            if step.starts_with("correction-") {
                continue;
            }
            let told = self.told.get(&(message.address.clone(), treatment, step.clone()));
            if told.is_some_and(|told| *told != message.reminder && self.sent.contains(told)) {
                return Err(format!("{step} was told there under another name"));
            }
        }
        Ok(())
    }

    /// Who writes of an attempt holds the reminder, or another's lease on it is over.
    pub(crate) fn see_writes(&mut self) {
        let written = rows::written(&mut self.look, &mut self.seen);
        for one in written {
            if one.state == "sent" {
                self.note_written(&one);
            }
            let holder = self.holders.get(&one.reminder).cloned().flatten();
            if holder.as_ref().is_some_and(|lease| lease.process() == one.process) {
                // Whoever writes of what they hold lets go of it.
                self.holders.insert(one.reminder, None);
            } else if let Some(lease) = holder
                && lease.until > self.clock.now()
                && one.state != "gone"
            {
                self.wrong(format!(
                    "process {} wrote of {} while process {} held it",
                    one.process,
                    one.reminder,
                    lease.process()
                ));
            }
        }
    }

    /// The process has written down one of the answers that it got under its last lease.
    fn note_written(&mut self, row: &Written) {
        let of_it = |one: &Arrival| {
            (one.process, one.reminder) == (row.process, row.reminder)
                && one.is_known_taken()
                && !one.written
        };
        let last = self.arrivals.iter().filter(|one| of_it(one)).map(|one| one.until).next_back();
        let of_last = |one: &&mut Arrival| of_it(one) && Some(one.until) == last;
        if let Some(first) = self.arrivals.iter_mut().filter(of_last).min_by_key(|one| one.answered)
        {
            first.written = true;
        }
    }

    /// Notes what the rows are now, and what has become of those that were.
    pub(crate) fn refresh(&mut self) {
        let now = self.clock.elapsed();
        self.see_writes();
        let rows = rows::reminders(&mut self.look);
        for row in &rows {
            self.holders.insert(row.id, row.lease.clone());
            let known = self.rows.get(&row.id).and_then(|known| known.attempt_at);
            if row.state == "planned" && known != row.attempt_at && self.dice.chance(30) {
                self.ambush(row);
            }
            if row.state == "sent" {
                self.note_sent(row);
            } else if self.sent.contains(&row.id) && !self.is_of_a_booking(row) {
                self.wrong(format!("{} was sent, and is {} again", row.id, row.state));
            }
            if row.state == "expired"
                && self.rows.get(&row.id).is_none_or(|old| old.state != "expired")
            {
                self.judge_expired(row);
            }
            if row.is_over() && row.reason.is_none() {
                self.wrong(format!("{} is {} for no reason", row.id, row.state));
            }
        }
        self.rows = rows.into_iter().map(|row| (row.id, row)).collect();
        let lost: Vec<String> = self
            .arrivals
            .iter()
            .filter(|one| {
                one.is_known_taken() && one.at + WRITTEN * 2 > now && one.at + WRITTEN < now
            })
            .filter(|one| self.is_forgotten(one))
            .map(|one| format!("FCM took {} for {}, and nobody knows", one.reminder, one.address))
            .collect();
        for why in lost {
            self.wrong(why);
        }
    }

    /// Whether a known answer has left no trace.
    fn is_forgotten(&self, one: &Arrival) -> bool {
        let Some(row) = self.rows.get(&one.reminder) else { return false };
        let fresh = self
            .fresh
            .get(&one.reminder)
            .is_some_and(|first| self.arrivals.get(*first).is_none_or(|first| first.at > one.at));
        let planned = self.ledger.by_id(row.patient).map(|n| self.ledger.patients[n].planned);
        row.state != "sent"
            && !fresh
            && planned.is_none_or(|planned| planned + WRITTEN < one.at)
            && !self.is_of_a_booking(row)
            && !self.disturbed(one.at, one.at + WRITTEN)
    }

    fn note_sent(&mut self, row: &Row) {
        if !self.sent.insert(row.id) {
            return;
        }
        let taken: Vec<String> = self
            .arrivals_of(row.id)
            .filter(|one| one.reply.taken)
            .map(|one| one.address.clone())
            .collect();
        if taken.is_empty() {
            self.wrong(format!("{} is sent, and no phone got it", row.id));
        }
        for address in taken {
            for (treatment, step) in row.members() {
                self.told.insert((address.clone(), treatment, step), row.id);
            }
        }
    }

    pub(crate) fn is_of_a_booking(&self, row: &Row) -> bool {
        row.members().iter().any(|(id, step)| {
            let session = self.ledger.sessions.get(id);
            let step = session.and_then(|session| self.rules.step(&session.slug, step));
            step.is_some_and(crate::rules::Step::is_of_a_booking)
        })
    }
}
