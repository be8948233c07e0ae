//! The log of what was accepted, and counts of everything that was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// One message that FCM took responsibility for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AcceptedPush {
    /// The name given to the sender, `projects/P/messages/…`. After a
    /// [`DropAfter`](crate::FaultKind::DropAfter) the sender never learns it.
    pub name: String,
    /// The token, FID, `/topics/…` or condition it is for.
    pub address: String,
    /// When, by the emulator's clock.
    pub accepted_at: Timestamp,
    /// Whether the sender gets the answer; false for
    /// [`DropAfter`](crate::FaultKind::DropAfter).
    pub answered: bool,
    /// The message, with proto field names and without nulls.
    pub message: Value,
}

/// Counts since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests to `messages:send`, whatever came of them.
    pub sends: u64,
    /// Messages accepted; `validate_only` ones are not.
    pub accepted: u64,
    /// Sends that were refused, by `errorCode` or, without one, by status.
    pub refused: BTreeMap<String, u64>,
    /// Sends whose connection was cut, before or after acceptance.
    pub dropped: u64,
    /// Access tokens given.
    pub tokens: u64,
}

/// The log and the counts.
pub(crate) struct History {
    kept: usize,
    log: Mutex<VecDeque<AcceptedPush>>,
    stats: Mutex<Stats>,
}

impl History {
    /// An empty history that keeps the last `kept` messages.
    pub(crate) fn new(kept: usize) -> Self {
        Self { kept, log: Mutex::default(), stats: Mutex::default() }
    }

    /// Adds an accepted message.
    pub(crate) fn add(&self, push: AcceptedPush) {
        self.count(|stats| stats.accepted += 1);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= self.kept {
            log.pop_front();
        }
        if self.kept > 0 {
            log.push_back(push);
        }
    }

    /// The accepted messages that are kept, oldest first.
    pub(crate) fn accepted(&self) -> Vec<AcceptedPush> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The counts.
    pub(crate) fn stats(&self) -> Stats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the counts.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts a refused send.
    pub(crate) fn count_refused(&self, code: &str) {
        self.count(|stats| {
            if let Some(count) = stats.refused.get_mut(code) {
                *count += 1;
            } else {
                stats.refused.insert(code.to_owned(), 1);
            }
        });
    }

    /// Empties the log and starts counting anew.
    pub(crate) fn clear(&self) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.count(|stats| *stats = Stats::default());
    }
}
