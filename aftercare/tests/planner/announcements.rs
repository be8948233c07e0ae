//! What is told of the next session, and what becomes of that when it is booked anew or cancelled.

use std::sync::Arc;

use aftercare::planner::TreatmentFacts;
use aftercare::protocol::shipped;
use jiff::Timestamp;

use crate::corrections::World;
use crate::support;

/// A winter afternoon, in UTC.
const T: &str = "2026-11-22T15:40:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn treatment(id: u128, completed_at: Timestamp) -> TreatmentFacts {
    support::treatment(id, completed_at, "UTC")
}

/// The days on which a patient is told of a next session that is booked anew at that hour.
fn announced(booked: &str, now: &str, rebooked: &str) -> (Vec<String>, String) {
    let mut session = treatment(1, at(T));
    session.next_session_at = Some(at(booked));
    let mut world = World::new(vec![session]);
    world.play(at(now));
    world.facts.treatments[0].next_session_at = Some(at(rebooked));
    world.replan();
    world.play(at("2027-01-05T00:00:00Z"));
    let of = world.sent.iter().filter(|(_, step, ..)| step == "day-before");
    let (days, bodies): (Vec<_>, Vec<_>) =
        of.map(|(at, _, _, body)| (at.strftime("%F").to_string(), body.clone())).unzip();
    (days, bodies.last().unwrap().clone())
}

#[test]
fn a_session_that_is_booked_anew_is_announced_anew() {
    let booked = "2026-12-22T15:00:00Z";
    let (days, _) = announced(booked, "2026-12-21T11:00:00Z", "2026-12-29T15:00:00Z");
    assert_eq!(days, ["2026-12-21", "2026-12-28"]);
    let (days, body) = announced(booked, "2026-12-21T11:00:00Z", "2026-12-22T17:00:00Z");
    assert_eq!(days, ["2026-12-21", "2026-12-21"]);
    assert!(body.contains("17:00"), "{body}");
    let (days, _) = announced(booked, "2026-12-21T11:00:00Z", booked);
    assert_eq!(days, ["2026-12-21"]);
    let (days, _) = announced(booked, "2026-12-21T09:00:00Z", "2026-12-29T15:00:00Z");
    assert_eq!(days, ["2026-12-28"]);
}

/// A session booked for the next day at 15:00, of which the patient was told at 10:05.
fn told_of_tomorrow() -> World {
    let mut session = treatment(1, at(T));
    session.next_session_at = Some(at("2026-12-22T15:00:00Z"));
    let mut world = World::new(vec![session]);
    world.play(at("2026-12-21T11:00:00Z"));
    assert_eq!(world.sent.last().unwrap().1, "day-before");
    world
}

#[test]
fn a_session_that_was_announced_and_is_cancelled_is_taken_back_once() {
    let mut world = told_of_tomorrow();
    let told = world.sent.len();
    world.facts.treatments[0].next_session_at = None;
    world.replan();
    world.play(at("2026-12-21T12:00:00Z"));
    let (when, step, title, body) = world.sent[told].clone();
    assert_eq!((when, step.as_str()), (at("2026-12-21T11:00:00Z"), "correction-1"));
    assert_eq!(
        (title.as_str(), body.as_str()),
        ("Please note: a change", "Your next session is cancelled.")
    );
    world.replan();
    world.play(at("2026-12-21T18:00:00Z"));
    assert_eq!(world.sent.len(), told + 1);

    // The same date after all: the day before says it again.
    world.facts.treatments[0].next_session_at = Some(at("2026-12-22T15:00:00Z"));
    world.replan();
    world.play(at("2026-12-21T20:00:00Z"));
    assert_eq!(world.sent.last().unwrap().1, "day-before");
    world.facts.treatments[0].next_session_at = None;
    world.replan();
    world.play(at("2026-12-22T14:00:00Z"));
    assert_eq!(world.sent.last().unwrap().1, "correction-2");
}

type Silence = fn(&mut World);

#[test]
fn a_session_that_nobody_was_told_of_is_cancelled_in_silence() {
    let mut unannounced = treatment(1, at(T));
    unannounced.next_session_at = Some(at("2026-12-22T15:00:00Z"));
    let mut world = World::new(vec![unannounced]);
    world.play(at("2026-12-20T11:00:00Z"));
    world.facts.treatments[0].next_session_at = None;
    world.replan();
    assert_eq!(world.planned_corrections(), 0, "not announced yet");

    let silences: [(&str, Silence); 4] = [
        ("no recall", |world| world.facts.person.recall = false),
        ("muted", |world| world.facts.person.muted = ["next-session".into()].into()),
        ("over", |world| world.now = at("2026-12-22T15:00:00Z")),
        ("a newer session", |world| world.facts.treatments.push(treatment(2, world.now))),
    ];
    for (why, silence) in silences {
        let mut world = told_of_tomorrow();
        world.facts.treatments[0].next_session_at = None;
        silence(&mut world);
        world.replan();
        assert_eq!(world.planned_corrections(), 0, "{why}");
    }
}

/// Sessions of several protocols, each with its next one booked for then.
fn booked<const N: usize>(next: [Option<&str>; N]) -> World {
    let sessions = next.iter().zip(1_u128..).zip(shipped()).map(|((next, id), shipped)| {
        let mut session = treatment(id, at(T));
        session.protocol = Arc::clone(&shipped.protocol);
        session.areas = session.protocol.default_areas.clone();
        session.next_session_at = next.map(at);
        session
    });
    World::new(sessions.collect())
}

#[test]
fn sessions_that_are_announced_in_one_push_are_told_apart() {
    let next = ["2026-12-15T09:00:00Z", "2026-12-15T12:00:00Z", "2026-12-15T15:00:00Z"];
    let mut world = booked(next.map(Some));
    world.play(at("2026-12-14T11:00:00Z"));
    let told = world.sent.len();
    assert_eq!(world.sent[told - 1].1, "day-before");
    world.replan();
    world.play(at("2026-12-15T08:00:00Z"));
    assert_eq!(world.sent.len(), told, "{:?}", world.sent);

    // It is over by the hour at which another, announced beside it, is still to come.
    world.play(at("2026-12-15T09:30:00Z"));
    world.facts.treatments[0].next_session_at = None;
    world.replan();
    assert_eq!(world.planned_corrections(), 0);
}

#[test]
fn what_has_no_date_is_not_cancelled_by_the_date_of_another() {
    // One is to be booked on the very day on which another is announced.
    let mut world = booked([None, Some("2026-12-16T12:00:00Z")]);
    world.play(at("2026-12-15T11:00:00Z"));
    let (_, step, _, body) = world.sent.last().unwrap().clone();
    assert_eq!(step, "book", "{body}");
    assert!(body.contains("12:00"), "both are said: {body}");
    world.replan();
    assert_eq!(world.planned_corrections(), 0);
}
