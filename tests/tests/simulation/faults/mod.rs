//! Whatever FCM, the token endpoint or the way there does to a crowd of messages: nothing is tried again too
//! early, nothing goes to an address that is gone, and each reminder is sent or ends with a reason.
//!
//! The real dispatcher, token provider, pool and HTTP/2 client on tokio's paused clock, with a script at the
//! other end of a pipe: one cell for each thing that can go wrong. `AFTERCARE_FCM_FAULTS` says how many
//! reminders each meets; `just fcm-faults` has ten thousand.

mod cells;
mod crowd;
mod judge;
mod run;
mod script;
mod together;
mod wire;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crowd::Crowd;
use run::{Report, run};

const HEAD: &str = "\
| what goes wrong | sends | retries | too early | lost | tokens | well again in | ended |
|---|--:|--:|--:|--:|--:|--:|---|";
/// Of a plain `cargo test`.
const REMINDERS: usize = 10;

#[test]
fn whatever_fcm_does_each_reminder_ends_and_none_is_tried_too_early() {
    let reminders = std::env::var("AFTERCARE_FCM_FAULTS").ok();
    let reminders = reminders.map_or(REMINDERS, |text| text.parse().unwrap());
    let crowd = Crowd::gather(reminders);
    let cells = cells::all();
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    println!("{HEAD}");
    let work = || {
        while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = run(&crowd, cell);
            println!("{}", report.row());
            reports.lock().unwrap().push(report);
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let reports = reports.into_inner().unwrap();
    let wrongs: Vec<String> = reports.iter().flat_map(Report::wrongs).collect();
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}
