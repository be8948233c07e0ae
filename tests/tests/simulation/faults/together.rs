//! One, two and four schedulers on one database: together they are as fast as one may be, and no faster.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aftercare::store::{FcmLine, StoreError, Tx};
use aftercare_scheduler::{Scheduler, SchedulerConfig};
use jiff::SignedDuration;

use super::cells::{Cell, Dial, Fault, Strikes};
use super::crowd::{Crowd, Start};
use super::run::next;
use super::script::Script;
use super::wire::Wire;
use crate::dice::{Bytes, Dice};
use crate::network::MESSAGES;
use crate::time::{Machine, WallClock};

/// Messages per second.
const RATE: f64 = 100.0;
const REMINDERS: usize = 300;
/// What leaves may be this much early, and on a busy machine as much late.
const LOOSE: Duration = Duration::from_millis(30);

/// Nothing goes wrong.
const FINE: Cell = Cell {
    name: "nothing",
    fault: Fault::Dial(Dial::Refused),
    lasts: Some(Duration::ZERO),
    strikes: Strikes::All,
    start: Start::Burst,
    ends: &[],
    alarm: None,
};

/// When the messages came that so many schedulers sent, which are on a machine that is at its ease, or busy.
fn sent(crowd: &Crowd, schedulers: u8, warm: bool, busy: bool) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let clock = Arc::new(WallClock::new(FINE.start.at()));
        let database = crowd.again();
        let mut look = database.look();
        let script = Arc::new(Mutex::new(Script::new(FINE, Arc::clone(&clock))));
        let mut serving = Vec::new();
        for number in 1..=schedulers {
            let dice = Dice::of(u64::from(number), 3);
            let machine = busy.then(|| Arc::new(Machine::new(dice.clone())) as _);
            let rng = Bytes::new(dice, number);
            let store = database.open(Arc::clone(&clock) as _, rng, machine).await;
            if warm {
                let project = crowd.ground.account.project_id().to_owned();
                store.write(move |tx| warm_up(tx, &project)).await.unwrap();
            }
            let config = SchedulerConfig {
                base_url: Some(format!("http://127.0.0.1:{MESSAGES}").parse().unwrap()),
                dial: Arc::new(Wire(Arc::clone(&script))),
                rate: Some(RATE),
                heartbeat: false,
                ..SchedulerConfig::new(crowd.ground.account.clone())
            };
            let handle = Scheduler::start(store, config).unwrap();
            let task = tokio::spawn({
                let handle = handle.clone();
                async move { handle.serve().await }
            });
            serving.push((handle, task));
        }
        while let Some(wait) = next(&mut look, &clock) {
            tokio::time::sleep(wait).await;
            for (handle, _) in &serving {
                handle.wake();
            }
        }
        for (handle, task) in serving {
            handle.shutdown(Duration::from_secs(20)).await;
            task.await.unwrap();
        }
        let script = script.lock().unwrap();
        assert!(script.wrongs.is_empty(), "{:?}", script.wrongs);
        assert_eq!(script.taken.len(), crowd.size, "each reminder leaves");
        script.came.clone()
    })
}

/// The line is as if the full rate had been reached before.
fn warm_up(tx: &mut Tx<'_>, project: &str) -> Result<(), StoreError> {
    let line = tx.fcm_line(project)?;
    let ramp_began_at = tx.now() - SignedDuration::from_hours(1);
    tx.keep_fcm_line(project, FcmLine { ramp_began_at, ..line })
}

/// From the first message to the last.
fn took(came: &[Duration]) -> Duration {
    came.last().unwrap().abs_diff(came[0])
}

/// The most that came within a second.
fn most_in_a_second(came: &[Duration]) -> usize {
    let within = |from: usize| {
        let end = came[from] + Duration::from_secs(1);
        came[from..].partition_point(|at| *at < end)
    };
    (0..came.len()).map(within).max().unwrap()
}

#[test]
fn several_schedulers_share_one_rate_and_lose_nothing_of_it() {
    let crowd = Crowd::gather(REMINDERS);
    let messages = REMINDERS + REMINDERS / 5;
    for (warm, busy) in [(true, false), (true, true), (false, false), (false, true)] {
        let alone = took(&sent(&crowd, 1, warm, busy));
        for schedulers in [1, 2, 4] {
            let came = sent(&crowd, schedulers, warm, busy);
            let (most, took) = (most_in_a_second(&came), took(&came));
            println!("warm {warm}, busy {busy}: {schedulers} took {took:?}, {most} in a second");
            assert_eq!(came.len(), messages, "no message twice");
            let allowed = RATE * (Duration::from_secs(1) + LOOSE).as_secs_f64();
            assert!(f64::from(u32::try_from(most).unwrap()) <= allowed + 1.0, "{most} in a second");
            // On a busy machine one of them may stand still for seconds with the last messages.
            assert!(busy || took.mul_f64(0.9) <= alone, "{took:?}, and {alone:?} alone");
            // Nor has each a ramp of its own.
            assert!(busy || took >= alone.mul_f64(0.95), "{took:?}, and {alone:?} alone");
        }
    }
}
