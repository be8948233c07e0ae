//! The real parts of the demo, on free loopback ports and a database in a temporary folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aftercare::clock::Env;
use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreOptions};
use aftercare::zone::Zone;
use aftercare_api::{ApiConfig, ApiHandle, NewClinic, Waker, create_clinic, start as start_api};
use aftercare_scheduler::push::ServiceAccount;
use aftercare_scheduler::{Scheduler, SchedulerConfig, SchedulerHandle};
use fcm_emulator::{Emulator, EmulatorConfig, EmulatorHandle};
use jiff::Timestamp;

use super::super::Failure;
use super::super::serve::PushReadiness;
use super::super::settings::migrate;
use super::clock::StoryClock;
use super::http::Http;

/// The settled parts.
pub(super) struct Stage {
    pub(super) clock: Arc<StoryClock>,
    pub(super) emulator: EmulatorHandle,
    pub(super) api: ApiHandle,
    pub(super) http: Http,
    pub(super) clinic: NewClinic,
    pub(super) scheduler: SchedulerHandle,
    _folder: Folder,
}

/// A folder of the demo's own, until it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make(env: &Env) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("aftercare-demo-{}", env.uuid()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Stage {
    /// Starts everything, with the clock at `start`.
    pub(super) async fn set(start: Timestamp, zone: &Zone) -> Result<Self, Failure> {
        let clock = Arc::new(StoryClock::new(start));
        let env = Env::with_clock(clock.clone());
        let folder = Folder::make(&env)?;
        let url = format!("sqlite:{}", folder.0.join("aftercare.db").display());
        let key = MasterKey::generate(&env);
        let store = Store::open(&url, key, env.clone(), StoreOptions::default()).await;
        let store = store.map_err(Failure::work)?;
        migrate(&store).await?;
        let config = EmulatorConfig { clock: clock.clone(), ..EmulatorConfig::default() };
        let emulator = Emulator::start(config).await.map_err(Failure::work)?;
        let account = ServiceAccount::from_json(&emulator.credentials_json());
        let base_url = Some(emulator.base_url().parse().map_err(Failure::work)?);
        let config =
            SchedulerConfig { base_url, ..SchedulerConfig::new(account.map_err(Failure::work)?) };
        let scheduler = Scheduler::start(store.clone(), config).map_err(Failure::work)?;
        let waker: Waker = {
            let scheduler = scheduler.clone();
            Arc::new(move || scheduler.wake())
        };
        let readiness =
            Arc::new(PushReadiness { scheduler: scheduler.clone(), clock: clock.clone() });
        let listen = ([127, 0, 0, 1], 0).into();
        let api = start_api(store.clone(), ApiConfig::new(listen), readiness, waker).await;
        let api = api.map_err(Failure::work)?;
        let locale = "en".parse().map_err(Failure::work)?;
        let clinic = create_clinic(&store, "Pele Nova", zone.clone(), locale).await;
        let clinic = clinic.map_err(Failure::work)?;
        let http = Http::new(api.addr());
        Ok(Self { clock, emulator, api, http, clinic, scheduler, _folder: folder })
    }

    /// Lets the clock run with the system's.
    pub(super) fn release(&self) {
        self.clock.release();
        self.scheduler.wake();
    }

    /// Stops everything and removes the database.
    pub(super) async fn strike(self) {
        let grace = Duration::from_secs(5);
        self.api.stop(grace).await;
        self.scheduler.shutdown(grace).await;
        self.emulator.stop().await;
    }
}
