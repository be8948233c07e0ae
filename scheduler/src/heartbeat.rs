//! The heartbeat: cron jobs that wake the dispatcher, finish erasures, move treatments to new versions of
//! their protocols and seal the audit trail every second, one that looks at what clinics send every minute,
//! and one that tidies up every hour.
//!
//! What is due is decided by the tables, so a tick that comes late, twice or never loses nothing.
//! The cron scheduler reads the system's wall clock and can fall silent when that is set back; a
//! watchdog on the monotonic clock notices, says so, wakes the dispatcher itself and starts the
//! cron scheduler anew. A tick only leaves a note for the dispatcher's own loop, which takes one
//! at a time: ticks never overlap, and draining is the dispatcher's.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aftercare::care;
use aftercare::store::Store;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::intake::IntakeWatch;
use crate::keeper::Keeper;
use crate::metrics;
use crate::sealing::Sealing;

/// Every second of every minute.
const EVERY_SECOND: &str = "* * * * * *";
/// Every minute, off the minute at which everything else happens.
const EVERY_MINUTE: &str = "37 * * * * *";
/// Once an hour, off the hours at which everything else happens.
const HOURLY: &str = "0 23 * * * *";
/// Ticks come up to half a second late; silence for longer than this is a fault.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How often the watchdog looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shared by the cron job and the watchdog.
struct Pulse {
    wake: Arc<Notify>,
    last: Mutex<Instant>,
}

impl Pulse {
    fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.wake.notify_one();
    }

    fn silent_for(&self) -> Duration {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Beats until `stop` turns true or its sender is gone.
pub(crate) async fn run(wake: Arc<Notify>, keeper: Keeper, mut stop: watch::Receiver<bool>) {
    let pulse = Arc::new(Pulse { wake, last: Mutex::new(Instant::now()) });
    let sealing = Arc::new(Sealing::new(keeper.store.clone()));
    while !*stop.borrow() {
        let mut cron = match start(&pulse, &keeper, &sealing).await {
            Ok(cron) => Some(cron),
            Err(error) => {
                tracing::error!(%error, "the heartbeat could not be started; trying again");
                None
            }
        };
        watch_over(&pulse, &mut stop).await;
        if let Some(cron) = &mut cron
            && let Err(error) = cron.shutdown().await
        {
            tracing::warn!(%error, "the heartbeat could not be stopped");
        }
    }
}

async fn start(
    pulse: &Arc<Pulse>,
    keeper: &Keeper,
    sealing: &Arc<Sealing>,
) -> Result<JobScheduler, JobSchedulerError> {
    let cron = JobScheduler::new().await?;
    let (beats, store) = (Arc::clone(pulse), keeper.store.clone());
    let sealing = Arc::clone(sealing);
    let watch = Arc::new(IntakeWatch::new(store.clone()));
    let (moved, keeper) = (store.clone(), keeper.clone());
    let beat = move || {
        beats.beat();
        ready(())
    };
    add(&cron, EVERY_SECOND, beat).await?;
    add(&cron, EVERY_SECOND, move || finish_erasures(store.clone())).await?;
    add(&cron, EVERY_SECOND, move || move_on(moved.clone())).await?;
    add(&cron, EVERY_SECOND, move || seal(Arc::clone(&sealing))).await?;
    add(&cron, EVERY_MINUTE, move || look(Arc::clone(&watch))).await?;
    add(&cron, HOURLY, move || tidy(keeper.clone())).await?;
    cron.start().await?;
    Ok(cron)
}

/// Adds a job. A tick that comes while the one before is still at work is dropped.
async fn add<F>(
    cron: &JobScheduler,
    when: &str,
    work: impl Fn() -> F + Send + Sync + 'static,
) -> Result<(), JobSchedulerError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let alone = Arc::new(tokio::sync::Mutex::new(()));
    let job = Job::new_async(when, move |_, _| {
        let turn = Arc::clone(&alone).try_lock_owned();
        let work = turn.is_ok().then(&work);
        Box::pin(async move {
            if let Some(work) = work {
                work.await;
            }
            drop(turn);
        })
    })?;
    cron.add(job).await.map(|_| ())
}

/// Hears of erasures by other processes, and finishes what they could not.
async fn finish_erasures(store: Store) {
    if let Err(error) = store.finish_erasures().await {
        tracing::warn!(%error, "could not finish erasures; trying again");
    }
}

/// Moves treatments to the versions that their clinics published for them.
async fn move_on(store: Store) {
    match care::move_running(&store).await {
        Ok(0) => {}
        Ok(moved) => tracing::info!(moved, "moved patients to new versions of their protocols"),
        Err(error) => {
            tracing::warn!(%error, "could not move patients to a new protocol version; trying again");
        }
    }
}

async fn seal(sealing: Arc<Sealing>) {
    sealing.tick().await;
}

async fn look(watch: Arc<IntakeWatch>) {
    watch.look().await;
}

async fn tidy(keeper: Keeper) {
    keeper.tidy().await;
}

/// Returns when it is time to stop, or to start the cron scheduler anew.
async fn watch_over(pulse: &Pulse, stop: &mut watch::Receiver<bool>) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = stop.changed() => {
                if changed.is_err() || *stop.borrow() {
                    return;
                }
            }
            _ = look.tick() => {
                let silence = pulse.silent_for();
                if silence > SILENCE_MAX {
                    tracing::error!(silent_seconds = silence.as_secs(), "the heartbeat stopped; restarting it");
                    metrics::heartbeat_restarted();
                    pulse.beat();
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aftercare::care::Retention;
    use aftercare::clock::Env;
    use aftercare::seal::MasterKey;
    use aftercare::store::{AuditEntry, StoreOptions};

    use super::*;

    async fn store(folder: &std::path::Path) -> Store {
        let env = Env::system();
        let url = format!("sqlite:{}", folder.join("aftercare.db").display());
        let key = MasterKey::generate(&env);
        let store = Store::open(&url, key, env, StoreOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    #[tokio::test]
    async fn beats_seals_and_stops() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path()).await;
        let entry =
            AuditEntry { clinic_id: None, actor: "system", action: "x.done", subject: None };
        store.write(move |tx| tx.append_audit(&entry)).await.unwrap();
        let keeper = Keeper { store: store.clone(), retention: Retention::default() };
        let wake = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(false);
        let beating = tokio::spawn(run(Arc::clone(&wake), keeper, stopped));
        wake.notified().await;
        while store.verify_audit(None).await.unwrap().unsealed > 0 {
            wake.notified().await;
        }
        stop.send(true).unwrap();
        beating.await.unwrap();
    }

    #[tokio::test]
    async fn silence_is_noticed_and_the_dispatcher_is_woken() {
        let wake = Arc::new(Notify::new());
        let long_ago = Instant::now().checked_sub(SILENCE_MAX + LOOK_EVERY).unwrap();
        let pulse = Pulse { wake: Arc::clone(&wake), last: Mutex::new(long_ago) };
        let (_stop, mut stopped) = watch::channel(false);
        watch_over(&pulse, &mut stopped).await;
        assert!(pulse.silent_for() < LOOK_EVERY);
        wake.notified().await;
    }
}
