//! Taking what is due under a lease.

use jiff::{SignedDuration, Timestamp};

use super::{Item, Work};
use crate::ids::{LeaseId, ReminderId};
use crate::store::{Delivery, NextDue, Place, Reminder, StoreError, TestPush, Tx};

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
    pub(super) reminders: Vec<Reminder>,
    /// Single devices that are still to get a reminder which another device has accepted.
    pub(super) retries: Vec<Delivery>,
    /// Test pushes.
    pub(super) tests: Vec<TestPush>,
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

    pub(super) fn item(&self, reminder: &Reminder) -> Item {
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

    pub(super) fn retry_item(&self, retry: &Delivery, use_by: Timestamp) -> Item {
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

    pub(super) fn test_item(&self, test: &TestPush) -> Item {
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
    let (mut full, mut onward) = (false, None);
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
        let all = taken > 0 && taken == most;
        full |= all;
        if all && queue == Queue::Reminders {
            onward = reminders.last().and_then(Place::of);
        }
    }
    Ok(Claim { lease, until, onward, full, reminders, retries, tests })
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
