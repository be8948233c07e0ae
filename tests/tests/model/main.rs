//! Random stories about one patient, told to the store and to a small model that was written from the rules
//! of time, planning and state alone. After every step both have the same plan, and nothing is sent that
//! the model would not send.
//!
//! `AFTERCARE_MODEL_SEQUENCES` says how many stories; `AFTERCARE_MODEL_SEED` tells the one of that seed again, or
//! with the number beside it so many from that seed on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod correct;
mod dispatch;
mod ground;
mod history;
mod once;
mod pace;
mod perform;
mod plan;
mod replan;
mod rules;
mod said;
mod sessions;
mod stage;
mod story;
mod timing;
mod variants;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ground::{Engine, Ground};
use stage::{Checked, Stage};
use story::Story;

/// What a plain `cargo test` tells; `just model` and CI tell more.
const SEQUENCES: u64 = 200;

/// PostgreSQL is told one in so many.
const FEWER: u64 = 20;

#[test]
fn the_store_agrees_with_the_model_on_sqlite() {
    agree(Engine::Sqlite, seeds(1));
}

#[test]
fn the_store_agrees_with_the_model_on_postgres() {
    agree(Engine::Postgres, seeds(FEWER));
}

fn seeds(fewer: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("AFTERCARE_MODEL_SEED");
    let many = number("AFTERCARE_MODEL_SEQUENCES").map(|many| many / fewer);
    let usual = if first.is_some() { 1 } else { SEQUENCES / fewer };
    let first = first.unwrap_or(0);
    first..first + many.unwrap_or(usual)
}

/// Tells the stories of these seeds on all cores; the first in which the two part is made as short as it can be.
fn agree(engine: Engine, seeds: Range<u64>) {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let work = || {
        let Some(mut ground) = Ground::new(engine) else { return };
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end.min(failed.load(Ordering::Relaxed)) {
                break;
            }
            if tell(&Story::from_seed(seed), &mut ground).is_err() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let seed = failed.into_inner();
    assert!(seed == u64::MAX, "{}", report(Story::from_seed(seed), engine));
}

/// Tells the story; when the two part, in which step and how.
fn tell(story: &Story, ground: &mut Ground) -> Result<(), (usize, String)> {
    let mut stage = Stage::set(story, ground);
    for (n, step) in story.steps.iter().enumerate() {
        let performed = catch_unwind(AssertUnwindSafe(|| stage.perform(step)));
        let performed: Checked = performed.unwrap_or_else(|_| Err("it panicked".to_owned()));
        performed.map_err(|why| (n, format!("at {}: {why}", stage.now())))?;
    }
    Ok(())
}

/// Leaves out every step that is not needed to fail.
fn shortest(mut story: Story, ground: &mut Ground) -> Story {
    if let Err((failed, _)) = tell(&story, ground) {
        story.steps.truncate(failed + 1);
    }
    let mut n = story.steps.len();
    while n > 0 {
        n -= 1;
        let shorter = story.without(n);
        if let Err((failed, _)) = tell(&shorter, ground) {
            story = shorter;
            story.steps.truncate(failed + 1);
            n = n.min(story.steps.len());
        }
    }
    story
}

fn report(story: Story, engine: Engine) -> String {
    let mut ground = Ground::new(engine).expect("the engine was there");
    let story = shortest(story, &mut ground);
    let steps = story.steps.iter().enumerate();
    let steps: Vec<String> = steps.map(|(n, step)| format!("  {n}. {step:?}")).collect();
    let told = tell(&story, &mut ground);
    let (step, why) = told.err().unwrap_or((0, "it does not fail again".to_owned()));
    format!(
        "\nseed {} on {engine:?}, at {}, a clinic in {}, a patient in {:?}:\n{}\nstep {step}, {why}\n\
         replay: AFTERCARE_MODEL_SEED={} cargo test --test model",
        story.seed,
        story.start,
        story.clinic_zone,
        story.patient_zone,
        steps.join("\n"),
        story.seed
    )
}
