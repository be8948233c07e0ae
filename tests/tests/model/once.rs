//! Stories in which the store and the model once parted.

use crate::ground::{Engine, Ground};
use crate::story::{Mood, Step, Story};
use crate::tell;

fn record(ago: i64) -> Step {
    Step::Record { protocol: 0, ago, zone: None, areas: None, booked_in_days: None }
}

fn session(ago: i64, zone: &'static str, areas: Option<u64>) -> Step {
    Step::Record { protocol: 0, ago, zone: Some(zone), areas, booked_in_days: None }
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
fn a_correction_is_of_use_for_as_long_as_what_it_still_says() {
    // It waits for the end of quiet hours somewhere else; until then another session's first reminder says
    // the longest of it.
    let laser =
        Step::Record { protocol: 2, ago: 32, zone: None, areas: Some(355), booked_in_days: None };
    let zone = Some("Australia/Lord_Howe");
    let steps = vec![
        phone(0, "Pacific/Pago_Pago"),
        laser,
        Step::Pass { minutes: 2_447 },
        Step::Amend { which: 0, moved: Some(144), zone, areas: Some(193) },
        Step::Phone { which: 1, zone: "America/New_York", notifies: false },
        Step::Record {
            protocol: 0,
            ago: 22,
            zone: Some("Pacific/Pago_Pago"),
            areas: None,
            booked_in_days: None,
        },
        Step::Pass { minutes: 4_000 },
    ];
    holds("2026-12-30T12:39:07Z", steps);
}

#[test]
fn a_correction_reaches_the_other_phone_too() {
    let steps = vec![
        phone(0, "Europe/Lisbon"),
        phone(1, "Europe/Lisbon"),
        record(0),
        Step::Pass { minutes: 20 },
        Step::Fcm(Mood::Halves(90)),
        amend(0, -300),
        amend(0, 360),
        Step::Pass { minutes: 1 },
        Step::Fcm(Mood::Well),
        Step::Pass { minutes: 4_000 },
    ];
    holds("2026-11-22T12:00:00Z", steps);
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

#[test]
fn a_correction_that_is_held_ends_as_what_it_is_when_something_else_is_planned_anew() {
    // At midnight in New York the first instruction, which was to be said with another, is too late, and so
    // is the correction; both wait for FCM.
    let session =
        Step::Record { protocol: 0, ago: 23, zone: None, areas: Some(197), booked_in_days: None };
    let steps = vec![
        phone(0, "Europe/Lisbon"),
        session,
        Step::Pass { minutes: 143 },
        Step::Fcm(Mood::Busy(400)),
        phone(1, "Asia/Kathmandu"),
        Step::Amend { which: 0, moved: Some(-384), zone: Some("America/New_York"), areas: None },
        Step::Amend { which: 0, moved: Some(-279), zone: None, areas: Some(467) },
        Step::Quiet { hours: None },
        Step::Pass { minutes: 3_000 },
    ];
    holds("2027-01-30T19:51:07Z", steps);
}

#[test]
fn of_two_sessions_with_one_end_the_earlier_one_is_corrected() {
    // The first that was recorded is the later one by now; nothing can be said of either in quiet hours.
    let event = |zone, moved, days| Step::Event {
        which: 0,
        ago: 15,
        moved,
        zone,
        areas: None,
        booked_in_days: Some(days),
        voids: false,
    };
    let lisbon = Some("Europe/Lisbon");
    let steps = vec![
        phone(0, "Africa/Cairo"),
        record(31),
        record(21),
        Step::Pass { minutes: 82 },
        event(lisbon, None, 18),
        event(None, Some(88), 20),
        Step::Amend { which: 1, moved: None, zone: lisbon, areas: None },
    ];
    holds("2026-10-23T18:15:07Z", steps);
}

#[test]
fn what_was_put_off_says_so_wherever_it_was_said() {
    let zone = Some("America/Santiago");
    let again = Step::Record { protocol: 0, ago: 30, zone, areas: None, booked_in_days: None };
    let steps = vec![
        Step::Clinic { zone: "America/Santiago" },
        record(21),
        again,
        phone(0, "Pacific/Kiritimati"),
        amend(1, -385),
        Step::Void { which: 0 },
        Step::Meanwhile(Box::new(Step::Book { protocol: 2, after: None })),
        Step::Snooze { which: 16_144_706_019_186_878_433, minutes: 30 },
        Step::Outage { minutes: 2_000 },
    ];
    holds("2027-01-30T11:13:06Z", steps);
}

#[test]
fn whoever_has_travelled_out_of_quiet_hours_is_not_woken() {
    let steps = vec![
        Step::Clinic { zone: "Asia/Tokyo" },
        session(6, "America/Santiago", Some(254)),
        Step::Pass { minutes: 62 },
        session(16, "Pacific/Pago_Pago", None),
        Step::Meanwhile(Box::new(phone(0, "Europe/Lisbon"))),
    ];
    holds("2026-10-02T15:34:06Z", steps);
}

#[test]
fn each_protocol_s_quiet_hours_hold_for_what_is_said_with_another_s() {
    // The clinic's new version has longer quiet hours, and the patient too many reminders on one day.
    let steps = vec![
        phone(0, "Australia/Lord_Howe"),
        session(38, "Pacific/Pago_Pago", Some(384)),
        Step::Exercise { hour: Some(22) },
        Step::Publish { variant: 2 },
        session(271, "America/Santiago", None),
        Step::Pass { minutes: 39_568 },
    ];
    holds("2026-10-23T15:51:07Z", steps);
}

#[test]
fn whoever_travelled_while_a_reminder_was_held_is_told_at_their_new_hour() {
    let steps = vec![
        phone(0, "Pacific/Kiritimati"),
        record(26),
        Step::Pass { minutes: 5_761 },
        Step::Book { protocol: 0, after: Some((1, 23)) },
        Step::Meanwhile(Box::new(Step::Fcm(Mood::Busy(50)))),
        Step::Quiet { hours: Some((0, 0)) },
        Step::Meanwhile(Box::new(Step::Travel { zone: Some("Africa/Cairo") })),
        Step::Pass { minutes: 41_668 },
    ];
    holds("2026-04-22T12:30:07Z", steps);
}

#[test]
fn of_two_protocols_in_the_queue_the_first_step_s_sets_the_pace() {
    let steps =
        vec![record(12), Step::Publish { variant: 1 }, record(28), phone(0, "Pacific/Kiritimati")];
    holds("2026-03-06T15:34:07Z", steps);
}
