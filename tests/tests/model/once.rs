//! Stories in which the store and the model once parted.

use crate::ground::{Engine, Ground};
use crate::story::{Mood, Step, Story};
use crate::tell;

fn record(ago: i64) -> Step {
    Step::Record { protocol: 0, ago, zone: None, areas: None, booked_in_days: None }
}

fn phone(which: u64, zone: &'static str) -> Step {
    Step::Phone { which, zone, notifies: true }
}

fn amend(which: u64, minutes: i64) -> Step {
    Step::Amend { which, moved: Some(minutes), zone: None, areas: None }
}

fn holds(start: &str, steps: Vec<Step>) {
    let story = Story {
        seed: 0,
        start: start.to_owned(),
        clinic_zone: "Europe/Lisbon",
        patient_zone: None,
        steps,
    };
    let mut ground = Ground::new(Engine::Sqlite).unwrap();
    assert_eq!(tell(&story, &mut ground), Ok(()));
}

#[test]
fn a_phone_that_is_gone_still_says_where_the_patient_is() {
    let steps = vec![
        record(0),
        phone(0, "Asia/Tokyo"),
        Step::Fcm(Mood::Gone),
        Step::Pass { minutes: 20 },
        Step::Consent { recall: true, granted: false },
        phone(1, "Asia/Tokyo"),
        Step::Pass { minutes: 4_000 },
    ];
    holds("2026-11-22T08:00:00Z", steps);
}

#[test]
fn what_is_said_with_a_first_instruction_keeps_to_quiet_hours() {
    // Bedtime's and the first reminder of another session are one, and sending fails until quiet hours.
    let steps = vec![
        phone(0, "Europe/Lisbon"),
        record(300),
        record(0),
        Step::Fcm(Mood::Busy(50)),
        Step::Pass { minutes: 60 },
        Step::Fcm(Mood::Well),
        Step::Pass { minutes: 3_000 },
    ];
    holds("2026-11-22T20:45:00Z", steps);
}

#[test]
fn a_correction_speaks_for_the_session_that_it_lasts_longest_for() {
    let steps = vec![
        phone(0, "Europe/Lisbon"),
        record(0),
        Step::Pass { minutes: 20 },
        record(0),
        Step::Pass { minutes: 20 },
        amend(0, 30),
        amend(1, 18),
        Step::Pass { minutes: 4_000 },
    ];
    holds("2026-11-22T12:00:00Z", steps);
}
