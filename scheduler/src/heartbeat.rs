//! The heartbeat: cron jobs that wake the dispatcher, finish erasures, move treatments to new versions of
//! their protocols and seal the audit trail every second, and one that tidies up every hour.
//!
//! What is due is decided by the tables, so a tick that comes late, twice or never loses nothing.
//! The cron scheduler reads the system's wall clock and can fall silent when that is set back; a
//! watchdog on the monotonic clock notices, says so, wakes the dispatcher itself and starts the
//! cron scheduler anew. A tick only leaves a note for the dispatcher's own loop, which takes one
//! at a time: ticks never overlap, and draining is the dispatcher's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aftercare::care;
use aftercare::store::Store;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::keeper::Keeper;
use crate::metrics;
use crate::sealing::Sealing;

/// Every second of every minute.
const EVERY_SECOND: &str = "* * * * * *";
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
    let beats = Arc::clone(pulse);
    let job = Job::new_async(EVERY_SECOND, move |_, _| {
        let beats = Arc::clone(&beats);
        Box::pin(async move { beats.beat() })
    })?;
    cron.add(job).await?;
    let erasing =
        Arc::new(Erasing { store: keeper.store.clone(), busy: tokio::sync::Mutex::new(()) });
    let job = Job::new_async(EVERY_SECOND, move |_, _| {
        let erasing = Arc::clone(&erasing);
        Box::pin(async move { erasing.finish().await })
    })?;
    cron.add(job).await?;
    let moving =
        Arc::new(Moving { store: keeper.store.clone(), busy: tokio::sync::Mutex::new(()) });
    let job = Job::new_async(EVERY_SECOND, move |_, _| {
        let moving = Arc::clone(&moving);
        Box::pin(async move { moving.go_on().await })
    })?;
    cron.add(job).await?;
    let sealing = Arc::clone(sealing);
    let job = Job::new_async(EVERY_SECOND, move |_, _| {
        let sealing = Arc::clone(&sealing);
        Box::pin(async move { sealing.tick().await })
    })?;
    cron.add(job).await?;
    let keeper = keeper.clone();
    let job = Job::new_async(HOURLY, move |_, _| {
        let keeper = keeper.clone();
        Box::pin(async move { keeper.tidy().await })
    })?;
    cron.add(job).await?;
    cron.start().await?;
    Ok(cron)
}

/// Hears of erasures by other processes, and finishes what they could not; one tick at a time.
struct Erasing {
    store: Store,
    busy: tokio::sync::Mutex<()>,
}

impl Erasing {
    async fn finish(&self) {
        let Ok(_alone) = self.busy.try_lock() else { return };
        if let Err(error) = self.store.finish_erasures().await {
            tracing::warn!(%error, "could not finish erasures; trying again");
        }
    }
}

/// Moves treatments to the versions that their clinics published for them; one tick at a time.
struct Moving {
    store: Store,
    busy: tokio::sync::Mutex<()>,
}

impl Moving {
    async fn go_on(&self) {
        let Ok(_alone) = self.busy.try_lock() else { return };
        match care::move_running(&self.store).await {
            Ok(0) => {}
            Ok(moved) => tracing::info!(moved, "moved patients to new versions of their protocols"),
            Err(error) => {
                tracing::warn!(%error, "could not move patients to a new protocol version; trying again");
            }
        }
    }
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
