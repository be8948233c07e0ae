//! The dispatcher's units of work: claim, look again, settle.
//!
//! Each is a function over one open transaction; between them the dispatcher talks to FCM with no
//! transaction open. A claim is a lease until an instant of the wall clock, and only its holder can
//! settle what it claimed: whoever comes after its lease was taken back writes nothing.

mod prepare;
mod settle;

use std::ops::AddAssign;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

pub use prepare::prepare;
pub use settle::settle;

use crate::ids::{DeliveryId, DeviceId, LeaseId, PatientId, ReminderId};
use crate::planner::{Reason, Said};
use crate::store::{
    AddressKind, Delivery, DeliveryMode, Platform, PushContent, Reminder, StoreError, Tx,
};

/// Due work under a lease, not looked at again yet.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What settles it.
    pub lease: LeaseId,
    /// When it ends, wall clock.
    pub until: Timestamp,
    /// Reminders whose next attempt is due.
    reminders: Vec<Reminder>,
    /// Single devices that are still to get a reminder which another device has accepted.
    retries: Vec<Delivery>,
}

/// One claimed thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// The lease it is claimed under.
    pub lease: LeaseId,
    /// The reminder.
    pub reminder: ReminderId,
    /// Whose it is.
    pub patient: PatientId,
    /// From when on it is worthless.
    pub use_by: Timestamp,
    /// The attempt that is made again, when it is a single device's.
    pub retry_of: Option<DeliveryId>,
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
    Send(Outgoing),
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
    /// What the patient is told by it, whatever the push itself may say.
    pub said: Said,
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

    /// Whether settling it plans a patient anew. That locks the patient, so each of them is settled
    /// in a transaction of its own.
    #[must_use]
    pub fn replans(&self) -> bool {
        matches!(self.verdict, Verdict::Replan(_))
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
    /// Those whose lease was another's by then: nothing was written.
    pub lost: usize,
}

impl Tally {
    /// Names and counts, for metrics.
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
        self.lost += other.lost;
    }
}

impl Claim {
    /// How many things are claimed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reminders.len() + self.retries.len()
    }

    /// Whether nothing was due.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same claim, cut into one for each claimed thing.
    pub fn singles(&self) -> impl Iterator<Item = (Item, Self)> {
        let one = |reminders, retries| Self { reminders, retries, ..*self };
        let reminders = self
            .reminders
            .iter()
            .map(move |reminder| (self.item(reminder), one(vec![reminder.clone()], Vec::new())));
        let retries = self.retries.iter().map(move |retry| {
            // Its reminder, and so its use-by, is not known yet; a retry that cannot be read is
            // only ever dropped.
            (self.retry_item(retry, self.until), one(Vec::new(), vec![retry.clone()]))
        });
        reminders.chain(retries)
    }

    fn item(&self, reminder: &Reminder) -> Item {
        Item {
            lease: self.lease,
            reminder: reminder.id,
            patient: reminder.patient_id,
            use_by: reminder.use_by,
            retry_of: None,
            attempt: reminder.attempts,
        }
    }

    fn retry_item(&self, retry: &Delivery, use_by: Timestamp) -> Item {
        Item {
            lease: self.lease,
            reminder: retry.reminder_id,
            patient: retry.patient_id,
            use_by,
            retry_of: Some(retry.id),
            attempt: retry.attempt.saturating_add(1),
        }
    }
}

/// Claims up to `limit` things that are due now, the most overdue first, for `length`. A quarter
/// of the claim at most is single devices' retries, so that neither they nor reminders starve.
///
/// # Errors
/// The store's.
pub fn claim(
    tx: &mut Tx<'_>,
    lease: LeaseId,
    length: SignedDuration,
    limit: usize,
) -> Result<Claim, StoreError> {
    let until = tx.now().checked_add(length).unwrap_or(Timestamp::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let retries = tx.claim_retries((limit / 4).max(1), lease, until)?;
    let left = limit.saturating_sub(i64::try_from(retries.len()).unwrap_or(i64::MAX));
    let reminders = if left > 0 { tx.claim_due(left, lease, until)? } else { Vec::new() };
    Ok(Claim { lease, until, reminders, retries })
}

/// Puts reminders whose lease has run out back into the queue; gives how many.
///
/// # Errors
/// The store's.
pub fn reclaim(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    tx.release_expired_leases()
}

/// When the queue has work next: `None` when it has none, past when it is due already.
///
/// # Errors
/// The store's.
pub fn next_attempt(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    tx.next_attempt_at()
}
