//! The dispatcher's units of work: claim, look again, settle.
//!
//! Each is a function over one open transaction; between them the dispatcher talks to FCM with no
//! transaction open. A claim is a lease until an instant of the wall clock, and only its holder can
//! settle what it claimed: whoever comes after its lease was taken back writes nothing, but for what FCM has
//! accepted of a reminder that is not wanted any more.

mod overtaken;
mod prepare;
mod settle;

use std::ops::AddAssign;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

pub use overtaken::{overtaken, settle_overtaken};
pub use prepare::prepare;
pub use settle::settle;

use crate::ids::{DeliveryId, DeviceId, LeaseId, PatientId, ReminderId};
use crate::planner::{Reason, Said};
use crate::store::{
    AddressKind, Delivery, DeliveryMode, NextDue, Place, Platform, PushContent, Reminder,
    StoreError, TestPush, Tx,
};

/// Reminders that are shelved, or come back, at once: about a tenth of a second's work for PostgreSQL.
const SHELVED: i64 = 2_000;

/// Leases that have run out are looked for among so many at the queue's head: a few milliseconds' work for
/// PostgreSQL.
const LOST_AMONG: i64 = 5_000;

/// Due work under a lease, not looked at again yet.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What settles it.
    pub lease: LeaseId,
    /// When it ends, wall clock.
    pub until: Timestamp,
    /// Where the reminders end, if there are probably more behind them.
    pub onward: Option<Place>,
    /// Whether it took as much of a queue as it may: there is probably more that is due.
    pub full: bool,
    /// Reminders whose next attempt is due.
    reminders: Vec<Reminder>,
    /// Single devices that are still to get a reminder which another device has accepted.
    retries: Vec<Delivery>,
    /// Test pushes.
    tests: Vec<TestPush>,
}

/// Which queue a claimed thing is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The reminders'.
    Reminder,
    /// Single devices' that are still to get a reminder: the attempt that is made again.
    Retry(DeliveryId),
    /// The test pushes'.
    Test,
}

/// One claimed thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// The lease it is claimed under.
    pub lease: LeaseId,
    /// When that ends, wall clock.
    pub until: Timestamp,
    /// What the phone knows it by: the reminder, or the test push.
    pub reminder: ReminderId,
    /// Whose it is.
    pub patient: PatientId,
    /// From when on it is worthless.
    pub use_by: Timestamp,
    /// Which queue it is from.
    pub work: Work,
    /// Counts attempts, this one included: 1 is the first.
    pub attempt: u32,
}

/// What to do with one claimed thing.
#[derive(Debug)]
pub struct Job {
    /// The claimed thing.
    pub item: Item,
    /// What to do with it.
    pub decision: Decision,
}

/// The result of looking again after the claim.
#[derive(Debug)]
pub enum Decision {
    /// Send it.
    Send(Box<Outgoing>),
    /// Do not send it; settle it like this.
    Not(Verdict),
}

/// A reminder in words, and where to send it.
#[derive(Debug)]
pub struct Outgoing {
    /// The heading; neutral unless `content` is [`PushContent::Text`].
    pub title: String,
    /// The sentences, likewise.
    pub body: String,
    /// How much the push may say.
    pub content: PushContent,
    /// When it was due.
    pub due_at: Timestamp,
    /// From when on it must not be sent.
    pub use_by: Timestamp,
    /// The devices; never empty.
    pub targets: Vec<Target>,
    /// What the patient is told by it, whatever the push itself may say; none of a test.
    pub said: Option<Said>,
}

/// A device with a push address.
#[derive(Debug, Clone)]
pub struct Target {
    /// The device.
    pub device: DeviceId,
    /// What its address is.
    pub kind: AddressKind,
    /// Its address.
    pub address: SecretString,
    /// What it runs on.
    pub platform: Platform,
    /// Who shows reminders on it.
    pub mode: DeliveryMode,
}

/// What came of one claimed thing.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The claimed thing.
    pub item: Item,
    /// What came of it.
    pub verdict: Verdict,
    /// What it said, when it was tried.
    pub said: Option<Said>,
}

impl Settled {
    /// Whether a device accepted it.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(&self.verdict, Verdict::Tried(attempts) if attempts.iter().any(Attempt::is_accepted))
    }

    /// Why it is to be tried again, in FCM's words or ours, when no device accepted it.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let Verdict::Tried(attempts) = &self.verdict else { return None };
        let again = attempts.iter().find(|attempt| matches!(attempt.trial, Trial::Again(_)))?;
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let words = format!("{} {}", word(&again.code), word(&again.detail));
        (!self.is_accepted()).then(|| words.trim().to_owned())
    }

    /// Whether it is settled in a transaction of its own, because of the locks that it takes: planning a
    /// patient anew begins with the patient, a test push goes on to the devices.
    #[must_use]
    pub fn stands_alone(&self) -> bool {
        matches!(self.verdict, Verdict::Replan(_)) || self.item.work == Work::Test
    }
}

/// What came of one claimed thing.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It was tried at these devices.
    Tried(Vec<Attempt>),
    /// The patient has no device that can be reached: it waits for one until its use-by.
    NoDevice,
    /// Its use-by has passed, unsent.
    Expired(Reason),
    /// No device can take it.
    Failed(Reason),
    /// It must not go out as it is. The patient is planned anew; what the new plan still has due
    /// unchanged ends with this reason.
    Replan(Reason),
    /// A single device's retry that has lost its point.
    Dropped,
    /// Its rows cannot be understood; looked at again in five minutes.
    Unreadable,
    /// Nothing was tried; it goes back to the queue.
    Released,
}

/// One message to one device.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The device.
    pub target: Target,
    /// When the answer came, or was given up.
    pub at: Timestamp,
    /// How it went.
    pub trial: Trial,
    /// FCM's HTTP status.
    pub status: Option<u16>,
    /// FCM's error code, or ours.
    pub code: Option<String>,
    /// FCM's words, without the address.
    pub detail: Option<String>,
}

impl Attempt {
    fn is_accepted(&self) -> bool {
        self.trial == Trial::Accepted
    }
}

/// How one message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// FCM took it.
    Accepted,
    /// The address is gone: the device is dropped.
    Gone,
    /// The address is refused for good: the device is disabled.
    Refused,
    /// The message is refused for good; the device is kept.
    Rejected,
    /// Not now; again then, or never when that would be past its use-by.
    Again(Option<Timestamp>),
    /// It did not leave: the lease or the use-by was nearly over, or the server is stopping.
    Unsent,
}

/// What became of claims, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Reminders that a device accepted, and retries that succeeded.
    pub sent: usize,
    /// Those that are tried again later.
    pub retrying: usize,
    /// Those whose use-by had passed.
    pub expired: usize,
    /// Those that nothing can be done for.
    pub failed: usize,
    /// Those that wait for a device.
    pub no_device: usize,
    /// Those that were planned anew.
    pub replanned: usize,
    /// Those that went back untried.
    pub released: usize,
    /// Single devices' retries that lost their point.
    pub dropped: usize,
    /// Test pushes, whatever became of them: none of the counts above has them.
    pub tests: usize,
    /// Those whose lease was another's by then: nothing was written.
    pub lost: usize,
}

impl Tally {
    /// Names and counts of what became of reminders, for metrics.
    pub fn for_each(&self, mut each: impl FnMut(&'static str, usize)) {
        for (name, count) in [
            ("sent", self.sent),
            ("retrying", self.retrying),
            ("expired", self.expired),
            ("failed", self.failed),
            ("no-device", self.no_device),
            ("replanned", self.replanned),
            ("released", self.released),
            ("dropped", self.dropped),
        ] {
            if count > 0 {
                each(name, count);
            }
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.retrying += other.retrying;
        self.expired += other.expired;
        self.failed += other.failed;
        self.no_device += other.no_device;
        self.replanned += other.replanned;
        self.released += other.released;
        self.dropped += other.dropped;
        self.tests += other.tests;
        self.lost += other.lost;
    }
}

impl Claim {
    /// How many things are claimed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reminders.len() + self.retries.len() + self.tests.len()
    }

    /// Whether nothing was due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same claim, cut into one for each claimed thing.
    pub fn singles(&self) -> impl Iterator<Item = (Item, Self)> {
        let none =
            || Self { reminders: Vec::new(), retries: Vec::new(), tests: Vec::new(), ..*self };
        let reminders = self.reminders.iter().map(move |reminder| {
            (self.item(reminder), Self { reminders: vec![reminder.clone()], ..none() })
        });
        let retries = self.retries.iter().map(move |retry| {
            // Its reminder, and so its use-by, is not known yet; a retry that cannot be read is
            // only ever dropped.
            (self.retry_item(retry, self.until), Self { retries: vec![retry.clone()], ..none() })
        });
        let tests = self
            .tests
            .iter()
            .map(move |test| (self.test_item(test), Self { tests: vec![test.clone()], ..none() }));
        reminders.chain(retries).chain(tests)
    }

    fn item(&self, reminder: &Reminder) -> Item {
        Item {
            lease: self.lease,
            until: self.until,
            reminder: reminder.id,
            patient: reminder.patient_id,
            use_by: reminder.use_by,
            work: Work::Reminder,
            attempt: reminder.attempts,
        }
    }

    fn retry_item(&self, retry: &Delivery, use_by: Timestamp) -> Item {
        Item {
            lease: self.lease,
            until: self.until,
            reminder: retry.reminder_id,
            patient: retry.patient_id,
            use_by,
            work: Work::Retry(retry.id),
            attempt: retry.attempt.saturating_add(1),
        }
    }

    fn test_item(&self, test: &TestPush) -> Item {
        Item {
            lease: self.lease,
            until: self.until,
            reminder: ReminderId(test.id.0),
            patient: test.patient_id,
            use_by: test.use_by,
            work: Work::Test,
            attempt: test.attempts,
        }
    }
}

/// Where a claim begins.
#[derive(Debug, Clone, Copy)]
pub enum Start {
    /// At the head of these queues.
    Head(Queues),
    /// Among the reminders behind the place where an earlier claim ended ([`Claim::onward`]), and at the head of
    /// the other queues. What came due ahead of that place meanwhile waits for a claim from the head.
    Behind(Place),
}

/// Which queues a claim takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// The reminders'.
    pub reminders: bool,
    /// Single devices' retries.
    pub retries: bool,
    /// The test pushes'.
    pub tests: bool,
}

impl Queues {
    /// All of them.
    pub const ALL: Self = Self { reminders: true, retries: true, tests: true };

    /// Those that have something due by now.
    #[must_use]
    pub fn due(next: &NextDue, now: Timestamp) -> Self {
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        Self { reminders: due(next.reminder), retries: due(next.retry), tests: due(next.test) }
    }
}

/// Claims up to `limit` things that are due now, of every queue: see [`claim_from`].
///
/// # Errors
/// The store's.
pub fn claim(
    tx: &mut Tx<'_>,
    lease: LeaseId,
    length: SignedDuration,
    limit: usize,
) -> Result<Claim, StoreError> {
    claim_from(tx, lease, length, limit, Start::Head(Queues::ALL))
}

/// One of the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Tests,
    Retries,
    Reminders,
}

/// In what order a claim looks into the queues, and how much it takes of each. A quarter at most is test pushes,
/// for which somebody waits, and a quarter single devices' retries, so that none of them starves, nor reminders. A
/// claim that is too small to be shared is one queue's first; which one, `die` decides.
fn shares(limit: i64, die: u8) -> [(Queue, i64); 3] {
    use Queue::{Reminders, Retries, Tests};
    let quarter = limit / 4;
    if quarter > 0 {
        return [(Tests, quarter), (Retries, quarter), (Reminders, limit)];
    }
    let order = match die % 3 {
        0 => [Tests, Retries, Reminders],
        1 => [Retries, Reminders, Tests],
        _ => [Reminders, Tests, Retries],
    };
    order.map(|queue| (queue, limit))
}

/// Claims up to `limit` things that are due now, the most overdue first, for `length`.
///
/// # Errors
/// The store's.
pub fn claim_from(
    tx: &mut Tx<'_>,
    lease: LeaseId,
    length: SignedDuration,
    limit: usize,
    start: Start,
) -> Result<Claim, StoreError> {
    let (of, place) = match start {
        Start::Head(queues) => (queues, None),
        Start::Behind(place) => (Queues::ALL, Some(place)),
    };
    let until = tx.now().checked_add(length).unwrap_or(Timestamp::MAX);
    let mut left = i64::try_from(limit).unwrap_or(i64::MAX);
    let (mut tests, mut retries, mut reminders) = (Vec::new(), Vec::new(), Vec::new());
    let mut full = false;
    let [die] = tx.env().random();
    for (queue, share) in shares(left, die) {
        let most = share.min(left);
        let taken = match queue {
            _ if most == 0 => 0,
            Queue::Tests if of.tests => {
                tests = tx.claim_test_pushes(most, lease, until)?;
                tests.len()
            }
            Queue::Retries if of.retries => {
                retries = tx.claim_retries(most, lease, until)?;
                retries.len()
            }
            Queue::Reminders if of.reminders => {
                reminders = tx.claim_due(most, place, lease, until)?;
                reminders.len()
            }
            Queue::Tests | Queue::Retries | Queue::Reminders => 0,
        };
        let taken = i64::try_from(taken).unwrap_or(i64::MAX);
        left = left.saturating_sub(taken);
        full |= taken > 0 && taken == most;
    }
    let onward = reminders.last().filter(|_| left == 0).and_then(Place::of);
    Ok(Claim { lease, until, onward, full, reminders, retries, tests })
}

/// What the queues were put in order by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Claims whose lease had run out.
    pub leases: usize,
    /// Whether there is probably more to be shelved, or to come back.
    pub unfinished: bool,
}

/// Puts reminders and test pushes whose lease has run out back into the queue, and ends the tests that are of
/// no use any more. Takes reminders of paused clinics out of it, and puts those back whose clinics go on: some
/// thousands at once.
///
/// # Errors
/// The store's.
pub fn reclaim(tx: &mut Tx<'_>) -> Result<Reclaimed, StoreError> {
    let leases = tx.release_expired_leases(LOST_AMONG)? + tx.release_expired_test_leases()?;
    tx.expire_test_pushes()?;
    let unfinished = tx.minds_shelf()? && {
        let (back, shelved) = (tx.unshelve(SHELVED)?, tx.shelve(SHELVED)?);
        back > 0 || i64::try_from(shelved).is_ok_and(|shelved| shelved == SHELVED)
    };
    Ok(Reclaimed { leases, unfinished })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_queue_starves_whatever_the_claim() {
        for limit in [1, 3, 4, 500] {
            let firsts = |die| {
                let mut left = limit;
                let each = shares(limit, die).map(|(queue, share)| {
                    let most = share.min(left);
                    left -= most;
                    (queue, most)
                });
                assert_eq!(left, 0);
                each
            };
            for queue in [Queue::Tests, Queue::Retries, Queue::Reminders] {
                let served =
                    (0..3).any(|die| firsts(die).iter().any(|one| one.0 == queue && one.1 > 0));
                assert!(served, "{queue:?} of {limit}");
            }
        }
        let (_, reminders) = shares(500, 7)[2];
        assert_eq!(reminders, 500);
    }
}
