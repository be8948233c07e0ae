//! What was promised, and whether it was kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use fcm_emulator::AcceptedPush;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::clinic::{Software, Told};
use super::field::{Fate, Field, Held};

/// What was on its way when a session was taken back arrives within this.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(12);
/// Questions at once.
const AT_ONCE: usize = 4;

/// What happened, and what is wrong with it.
#[derive(Default)]
pub(super) struct Record {
    pub(super) kills: u64,
    pub(super) crashes: u64,
    pub(super) stops: u64,
    /// Under which leases reminders were held when somebody was killed or stopped.
    held: BTreeMap<String, BTreeSet<String>>,
    sessions: usize,
    asked_again: u64,
    pushes: usize,
    expired: usize,
    /// Messages that came once more.
    duplicates: usize,
    /// Reminders that whoever stood still had in hand, and others had brought to an end.
    taken_over: usize,
    wrongs: Vec<String>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("kills", &self.kills)
            .field("crashes", &self.crashes)
            .field("stops", &self.stops)
            .field("sessions", &self.sessions)
            .field("asked_again", &self.asked_again)
            .field("pushes", &self.pushes)
            .field("expired", &self.expired)
            .field("in_flight", &self.held.values().map(BTreeSet::len).sum::<usize>())
            .field("duplicates", &self.duplicates)
            .field("taken_over", &self.taken_over)
            .field("wrongs", &self.wrongs.len())
            .finish()
    }
}

/// A push as FCM took it.
struct Sent {
    at: Timestamp,
    due_at: Timestamp,
    use_by: Timestamp,
    address: String,
    reminder: String,
    tag: String,
}

impl Sent {
    fn of(push: &AcceptedPush) -> Self {
        let text = |pointer: &str| {
            let value = push.message.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        Self {
            at: push.accepted_at,
            due_at: text("/data/due_at").parse().unwrap(),
            use_by: text("/data/use_by").parse().unwrap(),
            address: push.address.clone(),
            reminder: text("/data/reminder_id"),
            tag: text("/android/notification/tag"),
        }
    }
}

impl Record {
    pub(super) fn in_flight(&mut self, held: &Held) {
        for (id, lease) in held {
            self.held.entry(id.clone()).or_default().insert(lease.clone());
        }
    }

    /// What was over when it woke stays as it was.
    pub(super) fn judge_zombie(
        &mut self,
        held: &Held,
        before: &BTreeMap<String, Fate>,
        after: &BTreeMap<String, Fate>,
    ) {
        for id in held.iter().map(|(id, _)| id).filter(|id| before[*id].is_over()) {
            self.taken_over += 1;
            if before[id] != after[id] {
                let (before, after) = (&before[id], &after[id]);
                self.wrongs.push(format!("a zombie wrote: {id} was {before:?}, is {after:?}"));
            }
        }
    }

    pub(super) async fn judge(&mut self, field: &Field, software: &Software) {
        let (told, fates) = (software.told(), field.fates());
        let sent: Vec<Sent> = field.fcm.accepted().iter().map(Sent::of).collect();
        self.sessions = told.len();
        self.asked_again = software.again.load(Ordering::Relaxed);
        self.pushes = sent.len();
        let treatments = field.number("SELECT count(*) FROM treatments");
        if treatments != told.len() as u64 {
            self.wrongs.push(format!("{treatments} treatments of {} sessions", told.len()));
        }
        let plans = iter(told.iter().filter(|told| told.voided.is_none()));
        let repeats = plans.map(|told| software.repeat(told)).buffer_unordered(AT_ONCE);
        let others: Vec<String> = repeats.filter_map(std::future::ready).collect().await;
        self.wrongs.extend(others);
        self.judge_pushes(&sent);
        self.judge_fates(&told, &fates, &sent);
    }

    fn judge_pushes(&mut self, sent: &[Sent]) {
        let mut first: BTreeMap<(&str, &str), (&str, usize)> = BTreeMap::new();
        for push in sent {
            if push.at < push.due_at || push.at >= push.use_by {
                let Sent { at, due_at, use_by, reminder, .. } = push;
                self.wrongs
                    .push(format!("{reminder} at {at}, due {due_at}, of use until {use_by}"));
            }
            let seen = first.entry((&push.address, &push.reminder)).or_insert((&push.tag, 0));
            seen.1 += 1;
            if seen.0 != push.tag || push.tag != push.reminder {
                self.wrongs.push(format!("{} went as {}", push.reminder, push.tag));
            }
        }
        for ((_, reminder), (_, times)) in first {
            let held = self.held.get(&reminder.replace('-', "")).map_or(0, BTreeSet::len);
            self.duplicates += times - 1;
            if times - 1 > held {
                self.wrongs.push(format!("{reminder} was sent {times} times, and cut off {held}"));
            }
        }
    }

    fn judge_fates(&mut self, told: &[Told], fates: &BTreeMap<String, Fate>, sent: &[Sent]) {
        let starts: BTreeMap<&str, (&String, &Fate)> = fates
            .iter()
            .filter(|(_, fate)| fate.step == "start")
            .map(|(id, fate)| (fate.treatment.as_str(), (id, fate)))
            .collect();
        let mut arrived: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
        for push in sent {
            arrived.entry(push.reminder.replace('-', "")).or_default().push(push.at);
        }
        for told in told {
            let Some((id, fate)) = starts.get(told.treatment.replace('-', "").as_str()) else {
                self.wrongs.push(format!("{told:?} has no first reminder"));
                continue;
            };
            let times = arrived.get(*id).map_or(&[][..], Vec::as_slice);
            let fine = match fate.state.as_str() {
                "sent" => !times.is_empty(),
                // Too late, or so already when somebody lived to record it.
                "expired" | "skipped" => told.is_hasty() && !fate.reason.is_empty(),
                "cancelled" => told.voided.is_some(),
                _ => false,
            };
            self.expired += usize::from(matches!(fate.state.as_str(), "expired" | "skipped"));
            if !fine {
                self.wrongs.push(format!("{told:?}: {fate:?}, came {times:?}"));
            }
            let over = told.voided.map(|voided| voided + ON_ITS_WAY);
            if over.is_some_and(|over| times.iter().any(|at| *at > over)) {
                self.wrongs.push(format!("{told:?} was taken back, and came {times:?}"));
            }
        }
    }

    pub(super) fn assert_kept(&self) {
        assert!(self.sessions > 0 && self.pushes > 0, "nothing happened");
        let some = self.wrongs.iter().take(20).cloned().collect::<Vec<_>>();
        assert!(self.wrongs.is_empty(), "{} wrongs:\n{}", self.wrongs.len(), some.join("\n"));
    }
}
