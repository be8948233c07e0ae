//! The world's time: tokio's, which jumps to whatever comes next, and the clock on the wall that is read from
//! it and can be set wrong.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use std::time::Duration;

use aftercare::clock::{Clock, to_micros};
use aftercare::store::Pace;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::dice::Dice;

/// Every process's clock: they share a machine.
#[derive(Debug)]
pub(crate) struct WallClock {
    start: Timestamp,
    origin: Instant,
    wrong_by: AtomicI64,
}

impl WallClock {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self { start, origin: Instant::now(), wrong_by: AtomicI64::new(0) }
    }

    /// Since the world began, whatever any clock says.
    pub(crate) fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Sets the clock forwards or back.
    pub(crate) fn step(&self, seconds: i64) {
        self.wrong_by.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn wrong_by(&self) -> i64 {
        self.wrong_by.load(Ordering::Relaxed)
    }

    pub(crate) async fn until(&self, elapsed: Duration) {
        tokio::time::sleep_until(self.origin + elapsed).await;
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.elapsed()).expect("90 days");
        to_micros(self.start + elapsed + SignedDuration::from_secs(self.wrong_by()))
    }
}

/// A machine that is mostly quick, sometimes busy, and now and then stands still.
#[derive(Debug)]
pub(crate) struct Machine {
    dice: Mutex<Dice>,
    standstill: Arc<Standstill>,
}

#[derive(Debug, Default)]
struct Standstill {
    until: Mutex<Option<Instant>>,
    over: Notify,
}

impl Standstill {
    fn until(&self) -> Option<Instant> {
        self.until.lock().unwrap().filter(|until| *until > Instant::now())
    }
}

impl Machine {
    pub(crate) fn new(dice: Dice) -> Self {
        Self { dice: Mutex::new(dice), standstill: Arc::default() }
    }

    /// No unit of work begins for so long.
    pub(crate) fn stall(&self, length: Duration) {
        *self.standstill.until.lock().unwrap() = Some(Instant::now() + length);
    }

    pub(crate) fn stands_still(&self) -> bool {
        self.standstill.until().is_some()
    }

    /// It goes on now.
    pub(crate) fn wake(&self) {
        *self.standstill.until.lock().unwrap() = None;
        self.standstill.over.notify_waiters();
    }
}

impl Pace for Machine {
    fn turn(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut dice = self.dice.lock().unwrap();
        let usual = match dice.below(100) {
            0..88 => None,
            88..98 => Some(dice.range(1, 60)),
            _ => Some(dice.range(60, 2_500)),
        };
        let usual = usual.map(|millis| Duration::from_millis(millis.unsigned_abs()));
        let standstill = Arc::clone(&self.standstill);
        Box::pin(async move {
            while let Some(until) = standstill.until() {
                let _ = timeout_at(until, standstill.over.notified()).await;
            }
            if let Some(wait) = usual {
                sleep(wait).await;
            }
        })
    }
}
