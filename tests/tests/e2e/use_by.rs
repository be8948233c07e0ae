//! Whatever FCM and the clock do: nothing leaves at or after its use-by, nothing for a treatment that
//! was voided, and nothing in the quiet hours but what was asked for right after the session.

use std::collections::BTreeMap;

use aftercare_tests::bed::Bed;
use fcm_emulator::{Fault, FaultKind, RetryAfter};
use jiff::civil::time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::http::Body;
use crate::stage::{Push, Stage, at, done};

const ZONES: [&str; 4] =
    ["Europe/Lisbon", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati"];

/// Something that happens while reminders come due.
#[derive(Debug, Clone)]
enum Event {
    /// Time passes, from due moment to due moment.
    Minutes(i64),
    /// Time passes in one leap, as when a machine sleeps.
    Leap(i64),
    /// The clock is put right, backwards.
    Back(i64),
    Faults(FaultKind, f64, Option<u32>),
    Well,
    Void,
}

fn event() -> impl Strategy<Value = Event> {
    let kinds = prop::sample::select(vec![
        FaultKind::Unavailable,
        FaultKind::QuotaExceeded,
        FaultKind::Internal,
        FaultKind::Html503,
        FaultKind::DropBefore,
        FaultKind::DropAfter,
        FaultKind::Unauthenticated,
    ]);
    let faults = (kinds, 0.3..1.0, prop::option::of(1_u32..5_000));
    prop_oneof![
        5 => (1_i64..300).prop_map(Event::Minutes),
        3 => (1_i64..900).prop_map(Event::Leap),
        1 => (1_i64..30).prop_map(Event::Back),
        4 => faults.prop_map(|(kind, chance, after)| Event::Faults(kind, chance, after)),
        2 => Just(Event::Well),
        1 => Just(Event::Void),
    ]
}

/// A session, and what happens in the days after it.
#[derive(Debug, Clone)]
struct Scenario {
    zone: &'static str,
    /// Minutes after the midnight that begins 22 November in UTC.
    done: i64,
    events: Vec<Event>,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let parts =
        (prop::sample::select(&ZONES[..]), 0_i64..1440, prop::collection::vec(event(), 5..25));
    parts.prop_map(|(zone, done, events)| Scenario { zone, done, events })
}

#[test]
fn whatever_happens_nothing_is_sent_that_must_not_be() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 16, max_shrink_iters: 200, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..config });
    let ran = runner.run(&scenario(), |scenario| {
        runtime.block_on(play(&scenario));
        Ok(())
    });
    ran.unwrap();
}

async fn play(scenario: &Scenario) {
    let bed = Bed::sqlite().await;
    let start = at("2026-11-22T00:00:00Z") + SignedDuration::from_mins(scenario.done);
    bed.clock.set(start);
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let app = stage.app("ana", "ana").await;
    let mut device = crate::stage::device("ana");
    device["time_zone"] = json!(scenario.zone);
    stage.register(&app, "ana", &device).await.expect(204);
    let mut event = done("visit-1", "ana", start);
    event["time_zone"] = json!(scenario.zone);
    let treated = stage.post(&event).await.expect(201);
    let mut voided_at = None;
    for event in &scenario.events {
        match event {
            Event::Minutes(minutes) => {
                let until = stage.now() + SignedDuration::from_mins(*minutes);
                stage.play(&until.to_string()).await;
            }
            Event::Leap(minutes) => {
                stage.bed.clock.advance(SignedDuration::from_mins(*minutes));
                stage.run().await;
            }
            Event::Back(minutes) => {
                stage.bed.clock.advance(-SignedDuration::from_mins(*minutes));
                stage.run().await;
            }
            Event::Faults(kind, chance, after) => {
                let fault = Fault::new(*kind).with_probability(*chance);
                let fault =
                    after.map_or(fault.clone(), |s| fault.retry_after(RetryAfter::Seconds(s)));
                stage.fcm.set_fault(fault);
            }
            Event::Well => stage.fcm.clear_faults(),
            Event::Void => {
                voided_at = voided_at.or(Some(stage.pushes().len()));
                stage.void(&treated).await.expect(200);
            }
        }
    }
    stage.fcm.clear_faults();
    let end = stage.now().max(at("2026-12-26T00:00:00Z"));
    stage.play(&end.to_string()).await;
    check(&stage, scenario, &treated["treatment"]["id"], voided_at).await;
}

async fn check(
    stage: &Stage,
    scenario: &Scenario,
    treatment: &serde_json::Value,
    voided_at: Option<usize>,
) {
    let rows = stage.reminders(treatment.as_str().unwrap()).await;
    let steps: BTreeMap<_, _> =
        rows.iter().map(|row| (row.id.to_string(), row.step_id.to_string())).collect();
    let pushes = stage.pushes();
    let after = &pushes[voided_at.unwrap_or(pushes.len())..];
    // More than once where FCM's answer was lost: under one tag, so that the phone shows it once.
    let taken_back = |push: &Push| steps[&push.reminder] == "correction-disregard";
    assert!(after.iter().all(taken_back), "sent after the void: {pushes:?}");
    for push in &pushes {
        assert!(push.at < push.use_by, "past its use-by: {push:?}");
        assert!(push.ttl <= push.use_by.duration_since(push.at), "kept past it: {push:?}");
        let step = &steps[&push.reminder];
        assert!(step == "start" || !in_quiet_hours(push.at, scenario.zone), "{step}: {push:?}");
    }
    // What was sent before, under the same id, was due when the plan was another.
    let last: BTreeMap<_, _> = pushes.iter().map(|push| (&push.reminder, push)).collect();
    for push in last.values() {
        assert!(push.at >= due(&rows, push), "before its time: {push:?}");
    }
    let path = format!("/v1/treatments/{}", treatment.as_str().unwrap());
    let answer = stage.clinic("GET", &path, Body::None).await.expect(200);
    for reminder in answer["reminders"].as_array().unwrap() {
        let open = reminder["state"] == "planned";
        let future = at(reminder["due_at"].as_str().unwrap()) > stage.now();
        assert!(!open || future, "left lying: {reminder}");
    }
}

fn due(rows: &[aftercare::store::Reminder], push: &Push) -> Timestamp {
    rows.iter().find(|row| row.id.to_string() == push.reminder).unwrap().due_at
}

fn in_quiet_hours(at: Timestamp, zone: &str) -> bool {
    let wall = at.to_zoned(TimeZone::get(zone).unwrap()).time();
    wall >= time(21, 30, 0, 0) || wall < time(7, 30, 0, 0)
}
