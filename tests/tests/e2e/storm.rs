//! The real binary, killed again and again under load, and judged from outside: by what FCM took, by what the
//! clinic was told, and by the rows. What it promises is in `docs/survival.md`.
//!
//! `cargo test` raises a breeze; `just storm` says how many are killed, and from which seed.

mod clinic;
mod field;
mod judge;
mod weather;

use clinic::WAVE;
use field::Field;
use weather::Weather;

/// How much befalls whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Processes that are killed.
    kills: u64,
    /// How often PostgreSQL's server is.
    crashes: u64,
    /// Schedulers that stand still for longer than their leases.
    stops: u64,
    /// Of whom, when and in which order.
    seed: u64,
    /// Whether leases last as long as they do: a minute. A breeze does not wait for it.
    real_leases: bool,
}

impl Scale {
    /// What the environment says, or else this.
    fn read(engine: &str, breeze: Self) -> Option<Self> {
        let number = |name: &str| {
            let text = std::env::var(format!("AFTERCARE_STORM_{name}")).ok();
            text.map(|text| text.parse::<u64>().unwrap())
        };
        let Some(kills) = number(&format!("{engine}_KILLS")) else { return Some(breeze) };
        let seed = number("SEED").unwrap_or(breeze.seed);
        let mut scale = Self { kills, crashes: 0, stops: 0, seed, real_leases: true };
        // SQLite has neither a server nor a second scheduler.
        if engine == "POSTGRES" {
            scale.crashes = number("CRASHES").unwrap_or(0);
            scale.stops = number("STOPS").unwrap_or(0);
        }
        (kills > 0).then_some(scale)
    }

    /// One for each session.
    fn patients(self) -> u64 {
        u64::from(WAVE) * (self.kills + self.crashes + self.stops)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_again_and_again_keeps_its_promises() {
    let breeze = Scale { kills: 6, crashes: 0, stops: 0, seed: 1, real_leases: false };
    let Some(scale) = Scale::read("SQLITE", breeze) else { return };
    let field = Field::sqlite(scale.patients()).await;
    Weather::new(field, scale).blow(&["serve"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_and_their_database_that_are_killed_again_and_again_keep_their_promises() {
    let breeze = Scale { kills: 4, crashes: 1, stops: 1, seed: 1, real_leases: false };
    let Some(scale) = Scale::read("POSTGRES", breeze) else { return };
    let Some(field) = Field::postgres(scale.patients()).await else { return };
    Weather::new(field, scale).blow(&["api", "scheduler", "scheduler", "scheduler"]).await;
}
