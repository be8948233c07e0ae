//! The dispatcher's units of work: claim, look again, settle.
//!
//! Each is a function over one open transaction; between them the dispatcher talks to FCM with no
//! transaction open. A claim is a lease until an instant of the wall clock, and only its holder can
//! settle what it claimed: whoever comes after its lease was taken back writes nothing, but for what FCM has
//! accepted of a reminder that is not wanted any more.

mod claim;
mod overtaken;
mod prepare;
mod settle;

use std::ops::AddAssign;

use jiff::Timestamp;
use secrecy::SecretString;

pub use claim::{Claim, Queues, Start, claim, claim_from};
pub use overtaken::{overtaken, settle_overtaken};
pub use prepare::prepare;
pub use settle::settle;

use crate::ids::{DeliveryId, DeviceId, LeaseId, PatientId, ReminderId};
use crate::planner::{Reason, Said};
use crate::store::{AddressKind, DeliveryMode, Platform, PushContent, StoreError, Tx};

/// Reminders that are shelved, or come back, at once: about a tenth of a second's work for PostgreSQL.
const SHELVED: i64 = 2_000;

/// Leases that have run out are looked for among so many at the queue's head: a few milliseconds' work for
/// PostgreSQL.
const LOST_AMONG: i64 = 5_000;

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
