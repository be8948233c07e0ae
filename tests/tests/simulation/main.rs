//! A little world played through ninety days: clinics, patients, phones and FCM around the real planner, store
//! and dispatcher, on a clock that jumps from event to event. The same seed plays the same world, to the byte.
//! An observer that knows nothing of what the product decides judges every message in the moment it arrives,
//! and the rows after every event.
//!
//! `AFTERCARE_SIMULATION_SEEDS` says how many worlds; `AFTERCARE_SIMULATION_SEED` plays the one of that seed, or
//! with the number beside it so many from that seed on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

mod acts;
mod checks;
mod dice;
mod faults;
mod fcm;
mod ground;
mod history;
mod ledger;
mod message;
mod network;
mod phones;
mod plan;
mod play;
mod process;
mod repeats;
mod rows;
mod rules;
mod story;
mod time;
mod watch;
mod world;
mod zones;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use ground::Ground;
use play::{Played, play};
use rules::Rules;

/// What a plain `cargo test` plays; `just simulate` and CI play more.
const SEEDS: u64 = 20;

#[test]
fn every_reminder_comes_once_and_in_time_or_says_why_not() {
    let seeds = seeds();
    let (ground, rules) = (Ground::new(), Arc::new(Rules::read()));
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let messages = AtomicUsize::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end.min(failed.load(Ordering::Relaxed)) {
                break;
            }
            let played = attempt(&ground, &rules, seed);
            messages.fetch_add(played.messages, Ordering::Relaxed);
            let (lines, hash) = (played.story.lines.len(), played.story.hash());
            println!("seed {seed}: {lines} lines, {hash:016x}");
            if !played.wrongs.is_empty() {
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
    println!("{} messages in the worlds of {seeds:?}", messages.into_inner());
    let seed = failed.into_inner();
    assert!(seed == u64::MAX, "{}", report(&attempt(&ground, &rules, seed), seed));
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let (ground, rules, seed) = (Ground::new(), Arc::new(Rules::read()), seeds().start);
    let [first, second] = [0, 1].map(|_| attempt(&ground, &rules, seed).story);
    let parted = first.lines.iter().zip(&second.lines).find(|(one, other)| one != other);
    assert_eq!(parted, None, "seed {seed}");
    assert_eq!(first.hash(), second.hash());
    println!("the story of seed {seed}: {} lines, {:016x}", first.lines.len(), first.hash());
}

fn seeds() -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("AFTERCARE_SIMULATION_SEED");
    let usual = if first.is_some() { 1 } else { SEEDS };
    let first = first.unwrap_or(0);
    first..first + number("AFTERCARE_SIMULATION_SEEDS").unwrap_or(usual)
}

fn attempt(ground: &Ground, rules: &Arc<Rules>, seed: u64) -> Played {
    let played = catch_unwind(AssertUnwindSafe(|| play(ground, rules, seed)));
    played.unwrap_or_else(|_| Played {
        story: story::Story::default(),
        wrongs: vec!["it panicked".to_owned()],
        messages: 0,
    })
}

fn report(played: &Played, seed: u64) -> String {
    format!(
        "\n{}\nseed {seed}: {}\nstory {:016x}; replay: AFTERCARE_SIMULATION_SEED={seed} cargo test --test simulation",
        played.story.lines.join("\n"),
        played.wrongs.join("\n"),
        played.story.hash(),
    )
}
