//! A clock that is moved by hand until it is set free.

use std::sync::atomic::{AtomicBool, Ordering};

use aftercare::clock::{Clock, ManualClock, SystemClock};
use jiff::Timestamp;

/// Stands still until moved; runs with the system's clock once released.
#[derive(Debug)]
pub(super) struct StoryClock {
    story: ManualClock,
    released: AtomicBool,
}

impl StoryClock {
    pub(super) fn new(start: Timestamp) -> Self {
        Self { story: ManualClock::new(start), released: AtomicBool::new(false) }
    }

    pub(super) fn set(&self, to: Timestamp) {
        self.story.set(to);
    }

    pub(super) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }
}

impl Clock for StoryClock {
    fn now(&self) -> Timestamp {
        if self.released.load(Ordering::Acquire) { SystemClock.now() } else { self.story.now() }
    }
}
