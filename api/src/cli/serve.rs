//! `aftercare serve`, and its halves `api` and `scheduler`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aftercare::care::Retention;
use aftercare::clock::{Clock, Env};
use aftercare::webhook::Reach;
use aftercare_api::{
    AndroidApp, ApiConfig, ApiHandle, Apps, Check, IosApp, Network, NothingElse, Readiness, Waker,
    start as start_api,
};
use aftercare_scheduler::push::{Endpoint, ServiceAccount};
use aftercare_scheduler::{
    Credential, Failure as PushFailure, Scheduler, SchedulerConfig, SchedulerHandle,
};
use fcm_emulator::{Emulator, EmulatorConfig, EmulatorHandle};
use jiff::SignedDuration;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::limits::LimitArgs;
use super::logging::Logging;
use super::settings::{Database, base_url};

/// How long a stop may take before what is in flight is given up.
const GRACE: Duration = Duration::from_secs(25);

/// When FCM has taken nothing for longer than this, somebody should look.
const TROUBLE_LIMIT: SignedDuration = SignedDuration::from_mins(1);

/// How often metric samples are folded together.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// A reminder that waits longer than this makes the server unready: somebody should look.
const LAG_LIMIT_SECONDS: f64 = 60.0;

/// The settings of the API.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Listen {
    /// Where the API listens; put a proxy that speaks TLS before it
    #[arg(
        long = "listen",
        env = "AFTERCARE_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:8080",
        value_name = "ADDRESS"
    )]
    address: SocketAddr,
    /// The URL that callers use: token issuer, enrolment and feed links [default: from --listen]
    #[arg(
        long,
        env = "AFTERCARE_PUBLIC_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = base_url
    )]
    public_url: Option<String>,
    /// Proxies whose X-Forwarded-For counts, separated by commas (10.0.0.0/8)
    #[arg(
        long,
        env = "AFTERCARE_TRUSTED_PROXIES",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "NETWORKS"
    )]
    trusted_proxies: Vec<Network>,
    /// Android apps that invitations open in, separated by commas: package, a colon, and the SHA-256 of
    /// the certificate that the app is signed with
    #[arg(
        long = "android-app",
        env = "AFTERCARE_ANDROID_APP",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "APPS"
    )]
    android_apps: Vec<AndroidApp>,
    /// iPhone apps that invitations open in, separated by commas: team, a dot, and the bundle's id
    #[arg(
        long = "ios-app",
        env = "AFTERCARE_IOS_APP",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "APPS"
    )]
    ios_apps: Vec<IosApp>,
    #[command(flatten)]
    limits: LimitArgs,
}

/// The settings of the scheduler.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Push {
    /// The Firebase project's service account
    #[arg(
        long = "fcm-credentials",
        env = "FCM_CREDENTIALS",
        hide_env_values = true,
        value_name = "FILE"
    )]
    credentials: Option<PathBuf>,
    /// Another base URL than Google's, for an emulator
    #[arg(long = "fcm-url", env = "AFTERCARE_FCM_URL", hide_env_values = true, value_name = "URL")]
    base_url: Option<Endpoint>,
    /// Pushes a second at most, of all schedulers on this database together; reached within a minute
    #[arg(
        long = "fcm-rate",
        env = "AFTERCARE_FCM_RATE",
        hide_env_values = true,
        default_value_t = 9000.0,
        value_name = "NUMBER"
    )]
    rate: f64,
    /// How long patients are kept after their last treatment; then they are erased. An ISO 8601
    /// duration of years, months, weeks and days
    #[arg(
        long,
        env = "AFTERCARE_RETENTION",
        hide_env_values = true,
        default_value_t = Retention::default(),
        value_name = "DURATION"
    )]
    retention: Retention,
}

#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Without FCM_CREDENTIALS, an SQLite database and a loopback address start the \
FCM emulator beside the server, and let webhooks lead to this machine, so that everything can be \
tried; anything else refuses to start."
)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    push: Push,
    #[command(flatten)]
    logging: Logging,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct ApiArgs {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    logging: Logging,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct SchedulerArgs {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    push: Push,
    #[command(flatten)]
    logging: Logging,
}

/// The API and the scheduler in one process.
pub(super) async fn serve(args: ServeArgs) -> Result<(), Failure> {
    args.logging.start()?;
    let metrics = metrics()?;
    let loopback = args.listen.address.ip().is_loopback();
    args.database.check()?;
    let tried_out = args.database.is_sqlite() && loopback;
    let push = args.push.prepare(tried_out).await?;
    let webhooks = reach(push.emulator.is_some(), args.listen.public_url.is_some());
    let store = args.database.open_current(Env::system()).await?;
    let config = SchedulerConfig { webhooks, ..push.config };
    let scheduler = Scheduler::start(store.clone(), config).map_err(Failure::work)?;
    let waker: Waker = {
        let scheduler = scheduler.clone();
        Arc::new(move || scheduler.wake())
    };
    let clock = Arc::clone(&store.env().clock);
    let readiness = Arc::new(PushReadiness { scheduler: scheduler.clone(), clock });
    let config = ApiConfig { webhooks, ..args.listen.config(Some(metrics)) };
    let api = start_api(store, config, readiness, waker).await.map_err(Failure::work)?;
    stopped().await?;
    stop(Some(api), Some(scheduler), push.emulator).await;
    Ok(())
}

/// Where webhooks may lead. Behind a proxy a server listens on this machine, too, and there what else listens
/// here is nobody's business: only one that is being tried out, with an emulator of its own and no address
/// for others, posts to this machine.
fn reach(emulated: bool, has_public_url: bool) -> Reach {
    if emulated && !has_public_url { Reach::LoopbackToo } else { Reach::Internet }
}

/// The API alone; another process runs the scheduler.
pub(super) async fn api(args: ApiArgs) -> Result<(), Failure> {
    args.logging.start()?;
    let metrics = metrics()?;
    let store = args.database.open_current(Env::system()).await?;
    let config = args.listen.config(Some(metrics));
    let waker: Waker = Arc::new(|| {});
    let api =
        start_api(store, config, Arc::new(NothingElse), waker).await.map_err(Failure::work)?;
    stopped().await?;
    stop(Some(api), None, None).await;
    Ok(())
}

/// The scheduler alone; another process runs the API.
pub(super) async fn scheduler(args: SchedulerArgs) -> Result<(), Failure> {
    args.logging.start()?;
    args.database.check()?;
    let push = args.push.prepare(false).await?;
    let store = args.database.open_current(Env::system()).await?;
    let scheduler = Scheduler::start(store, push.config).map_err(Failure::work)?;
    tracing::info!("the scheduler runs");
    stopped().await?;
    stop(None, Some(scheduler), push.emulator).await;
    Ok(())
}

impl Listen {
    fn config(&self, metrics: Option<PrometheusHandle>) -> ApiConfig {
        self.limits.of(ApiConfig {
            public_url: self.public_url.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            apps: Apps { android: self.android_apps.clone(), ios: self.ios_apps.clone() },
            metrics,
            ..ApiConfig::new(self.address)
        })
    }
}

/// What pushes go out with.
struct Prepared {
    config: SchedulerConfig,
    emulator: Option<EmulatorHandle>,
}

impl Push {
    /// Google with the credentials given; the emulator without, where nobody can take that for
    /// the real thing.
    async fn prepare(&self, may_emulate: bool) -> Result<Prepared, Failure> {
        if !(self.rate.is_finite() && self.rate >= 1.0) {
            return Err(Failure::Usage("--fcm-rate is at least 1 a second".to_owned()));
        }
        let (account, emulator) = match &self.credentials {
            Some(file) => (service_account(file)?, None),
            None if may_emulate && self.base_url.is_some() => {
                return Err(Failure::Usage(
                    "AFTERCARE_FCM_URL is set, but not FCM_CREDENTIALS: give the service-account \
                     file that goes with that server"
                        .to_owned(),
                ));
            }
            None if may_emulate => {
                let emulator = Emulator::start(EmulatorConfig::default()).await;
                let emulator = emulator.map_err(Failure::work)?;
                let account = ServiceAccount::from_json(&emulator.credentials_json());
                let inbox = format!("{}/inbox", emulator.base_url());
                tracing::warn!(
                    inbox,
                    "FCM_CREDENTIALS is not set: pushes go to the FCM emulator, not to phones; read \
                     them at its inbox"
                );
                (account.map_err(Failure::work)?, Some(emulator))
            }
            None => {
                return Err(Failure::Usage(
                    "FCM_CREDENTIALS is not set: give the service-account file of your Firebase \
                     project (Project settings > Service accounts). To try things out without one, \
                     use an SQLite database and listen on a loopback address: the FCM emulator \
                     then starts by itself"
                        .to_owned(),
                ));
            }
        };
        let emulated = emulator.as_ref().map(|emulator| emulator.base_url().parse());
        let base_url = match (&self.base_url, emulated) {
            (_, Some(emulated)) => Some(emulated.map_err(Failure::work)?),
            (url, None) => url.clone(),
        };
        let rate = Some(self.rate);
        let retention = self.retention;
        let config = SchedulerConfig { base_url, rate, retention, ..SchedulerConfig::new(account) };
        Ok(Prepared { config, emulator })
    }
}

/// The account in this file, or which file it is that cannot be used, and why.
fn service_account(file: &Path) -> Result<ServiceAccount, Failure> {
    let unusable = |error| Failure::Work(format!("FCM_CREDENTIALS={}: {error}", file.display()));
    ServiceAccount::from_file(file).map_err(unusable)
}

/// What `/readyz` says of the scheduler in this process.
pub(super) struct PushReadiness {
    pub(super) scheduler: SchedulerHandle,
    pub(super) clock: Arc<dyn Clock>,
}

impl Readiness for PushReadiness {
    fn checks(&self) -> Vec<Check> {
        let status = self.scheduler.status();
        let (ok, detail) = match status.credential {
            Credential::Untried => (true, "not tried yet".to_owned()),
            Credential::Accepted => (true, "accepted".to_owned()),
            Credential::Refused(why) => (false, format!("FCM refuses our credential: {why}")),
            Credential::Unreachable(why) => {
                (false, format!("the token endpoint cannot be reached: {why}"))
            }
        };
        let lag = status.lag_seconds.max(0.0);
        let fine = lag <= LAG_LIMIT_SECONDS && status.last_error.is_none();
        let late = format!("the oldest due reminder has waited {lag:.1} s");
        let dispatch = status.last_error.map_or(late, |error| error.message);
        vec![
            Check { name: "push_credential", ok, detail },
            self.sending(status.trouble),
            Check { name: "dispatch_lag", ok: fine, detail: dispatch },
        ]
    }
}

impl PushReadiness {
    fn sending(&self, trouble: Option<PushFailure>) -> Check {
        let name = "push_sending";
        let Some(trouble) = trouble else {
            return Check { name, ok: true, detail: "nothing failed lately".to_owned() };
        };
        let lasted = self.clock.now().duration_since(trouble.at);
        let detail = format!("none accepted since {}: {}", trouble.at, trouble.message);
        Check { name, ok: lasted <= TROUBLE_LIMIT, detail }
    }
}

/// Starts counting. Samples are folded together every few seconds, also when nobody reads them.
fn metrics() -> Result<PrometheusHandle, Failure> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(Failure::work)?;
    let counted = handle.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(METRICS_UPKEEP);
        loop {
            every.tick().await;
            counted.run_upkeep();
        }
    });
    Ok(handle)
}

/// Returns when the process is asked to stop.
pub(super) async fn stopped() -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::work)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::work)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: finishing what is in flight");
    Ok(())
}

async fn stop(
    api: Option<ApiHandle>,
    scheduler: Option<SchedulerHandle>,
    emulator: Option<EmulatorHandle>,
) {
    let api = async {
        if let Some(api) = api {
            api.stop(GRACE).await;
        }
    };
    let scheduler = async {
        if let Some(scheduler) = scheduler {
            scheduler.shutdown(GRACE).await;
        }
    };
    tokio::join!(api, scheduler);
    if let Some(emulator) = emulator {
        emulator.stop().await;
    }
    tracing::info!("stopped");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_is_tried_out_posts_to_this_machine() {
        assert_eq!(reach(true, false), Reach::LoopbackToo);
        for (emulated, has_public_url) in [(true, true), (false, false), (false, true)] {
            assert_eq!(reach(emulated, has_public_url), Reach::Internet);
        }
    }
}
