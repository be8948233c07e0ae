//! One cell, played by the real scheduler until everything that came due has ended.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aftercare::clock::Clock as _;
use aftercare_scheduler::{Credential, Scheduler, SchedulerConfig, SchedulerHandle};
use diesel::sqlite::SqliteConnection;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;

use super::cells::{Alarm, Cell, Dial, Fault};
use super::crowd::{Crowd, over};
use super::judge::{Ended, judge};
use super::script::Script;
use super::wire::Wire;
use crate::dice::{Bytes, Dice};
use crate::network::MESSAGES;
use crate::rows;
use crate::time::WallClock;

/// What came of a cell.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) sends: usize,
    pub(crate) retries: usize,
    pub(crate) early: usize,
    pub(crate) tokens: usize,
    pub(crate) lost: usize,
    /// From the fault's end to when the last one of those that were due by then came.
    pub(crate) drained: Option<Duration>,
    pub(crate) ended: Vec<Ended>,
    pub(crate) wrongs: Vec<String>,
}

impl Report {
    pub(crate) fn wrongs(&self) -> impl Iterator<Item = String> {
        self.wrongs.iter().map(|wrong| format!("{}: {wrong}", self.name))
    }

    pub(crate) fn row(&self) -> String {
        let ended: Vec<String> = self
            .ended
            .iter()
            .map(|end| format!("{} {}: {}", end.count, end.state, end.reason))
            .collect();
        let well = self.drained.map_or("–".to_owned(), |took| format!("{} s", took.as_secs()));
        format!(
            "| {} | {} | {} | {} | {} | {} | {well} | {} |",
            self.name,
            self.sends,
            self.retries,
            self.early,
            self.lost,
            self.tokens,
            ended.join(", ")
        )
    }
}

/// What operators saw while it went wrong, and whether all is well at last.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) alarms: BTreeSet<Alarm>,
    pub(crate) well_at_last: bool,
}

impl Seen {
    fn look(&mut self, handle: &SchedulerHandle, metrics: &PrometheusHandle) {
        let status = handle.status();
        self.well_at_last = !status.paused
            && matches!(status.credential, Credential::Accepted | Credential::Untried);
        let alarm = match status.credential {
            Credential::Unreachable(_) => Alarm::NoToken,
            Credential::Refused(_) if status.paused => Alarm::Paused,
            _ => return,
        };
        let says = |line| metrics.render().contains(line);
        if alarm == Alarm::NoToken || says("aftercare_fcm_credential_ok 0") {
            self.alarms.insert(alarm);
        }
    }
}

pub(crate) fn run(crowd: &Crowd, cell: &Cell) -> Report {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(play(crowd, cell, &handle)))
}

async fn play(crowd: &Crowd, cell: &Cell, metrics: &PrometheusHandle) -> Report {
    let clock = Arc::new(WallClock::new(cell.start.at()));
    let database = crowd.again();
    let store = database.open(Arc::clone(&clock) as _, Bytes::new(Dice::of(0, 2), 1), None).await;
    let script = Arc::new(Mutex::new(Script::new(*cell, Arc::clone(&clock))));
    let tls = matches!(cell.fault, Fault::Dial(Dial::TlsClosed));
    let base = format!("{}://127.0.0.1:{MESSAGES}", if tls { "https" } else { "http" });
    let config = SchedulerConfig {
        base_url: Some(base.parse().unwrap()),
        dial: Arc::new(Wire(Arc::clone(&script))),
        heartbeat: false,
        ..SchedulerConfig::new(crowd.ground.account.clone())
    };
    let handle = Scheduler::start(store, config).unwrap();
    let serving = tokio::spawn({
        let handle = handle.clone();
        async move { handle.serve().await }
    });
    let (mut seen, mut look) = (Seen::default(), database.look());
    while let Some(wait) = next(&mut look, &clock) {
        sleep(wait).await;
        handle.wake();
        seen.look(&handle, metrics);
    }
    let none_rejected = "aftercare_pushes_total{outcome=\"rejected\"} 0";
    if !metrics.render().contains(none_rejected) {
        seen.alarms.insert(Alarm::Rejected);
    }
    handle.shutdown(Duration::from_secs(20)).await;
    serving.await.unwrap();
    let script = script.lock().unwrap();
    judge(&script, &seen, &mut look, crowd.size)
}

/// When a heart that beats every second would find something; `None`: all that came due has ended.
pub(crate) fn next(look: &mut SqliteConnection, clock: &WallClock) -> Option<Duration> {
    let beat = Duration::from_secs(1);
    if rows::is_any_claimed(look) {
        return Some(beat);
    }
    let next = rows::next_moment(look).filter(|next| *next <= over())?;
    let wait = Duration::try_from(next.duration_since(clock.now())).unwrap_or_default();
    Some(wait.max(beat))
}
