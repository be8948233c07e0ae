//! What must hold of every plan, whatever the facts; and the corners that stories are told about.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aftercare::ids::{PatientId, TreatmentId};
use aftercare::planner::{
    Change, Facts, Fate, Key, Member, Person, Plan, Reason, ReminderState, Shift, ShiftCause,
    Standing, TreatmentFacts, Trial, courses, diff, in_force, message, plan, preview, quiet_until,
    unwanted,
};
use aftercare::protocol::{Area, Moment, Protocol, QuietHours, shipped};
use aftercare::zone::Zone;
use jiff::civil::{DateTime, Time, time};
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use uuid::Uuid;

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn at(local: &str, name: &str) -> Timestamp {
    let local: DateTime = local.parse().unwrap();
    zone(name).tz().to_ambiguous_timestamp(local).compatible().unwrap()
}

fn person(zone_name: &str) -> Person {
    Person {
        id: Some(PatientId(Uuid::from_u128(7))),
        zone: zone(zone_name),
        locale: "en".parse().unwrap(),
        quiet_hours: None,
        exercise_hour: None,
        muted: BTreeSet::new(),
        aftercare: true,
        recall: true,
        slots: BTreeMap::new(),
    }
}

fn treatment(id: u128, completed_at: Timestamp, zone_name: &str) -> TreatmentFacts {
    TreatmentFacts {
        id: TreatmentId(Uuid::from_u128(id)),
        protocol: Arc::clone(&shipped()[0].protocol),
        completed_at,
        recorded_at: completed_at,
        zone: zone(zone_name),
        areas: [Area::Face, Area::Neck].into(),
        voided: false,
        next_session_at: None,
    }
}

fn facts(treatments: Vec<TreatmentFacts>, zone_name: &str) -> Facts {
    Facts { person: person(zone_name), treatments, standing: Vec::new(), reachable: true }
}

fn key(id: u128, step: &str) -> Key {
    Key { treatment: TreatmentId(Uuid::from_u128(id)), step: step.into() }
}

fn fate<'p>(plan: &'p Plan, id: u128, step: &str) -> &'p Fate {
    &plan.steps[&key(id, step)].fate
}

fn due(plan: &Plan, id: u128, step: &str) -> Option<Timestamp> {
    let member = |reminder: &&aftercare::planner::Planned| {
        reminder.members.iter().any(|member| member.key == key(id, step))
    };
    plan.reminders.iter().find(member).map(|reminder| reminder.due_at)
}

/// Writes changes down, as the store does.
fn write(facts: &mut Facts, changes: Vec<Change>) {
    for change in changes {
        facts.standing.retain(|row| row.key != change.key);
        facts.standing.push(Standing {
            key: change.key,
            members: change.members,
            state: change.state,
            reason: change.reason,
            due_at: change.due_at,
            snoozed_until: change.snoozed_until,
            sent_at: None,
            said: None,
        });
    }
}

fn replan(facts: &mut Facts, now: Timestamp) -> Plan {
    let plan = plan(facts, now);
    let changes = diff(facts, &plan);
    write(facts, changes);
    plan
}

fn set(facts: &mut Facts, id: u128, step: &str, state: ReminderState, reason: Reason) {
    let row = facts.standing.iter_mut().find(|row| row.key == key(id, step)).unwrap();
    (row.state, row.reason) = (state, Some(reason));
}

#[test]
fn enrolling_five_hours_later_says_what_still_holds() {
    let lisbon = "Europe/Lisbon";
    let completed = at("2026-11-22T14:00", lisbon);
    let mut facts = facts(vec![treatment(1, completed, lisbon)], lisbon);
    facts.reachable = false;
    replan(&mut facts, completed);
    set(&mut facts, 1, "start", ReminderState::Planned, Reason::NoDevice);

    facts.reachable = true;
    let plan = replan(&mut facts, completed + SignedDuration::from_hours(5));
    assert_eq!(fate(&plan, 1, "start"), &Fate::Expired(Reason::NoDevice));
    assert_eq!(due(&plan, 1, "bedtime"), Some(at("2026-11-22T21:05", lisbon)));
}

#[test]
fn a_device_in_time_makes_what_waited_due_at_once() {
    let lisbon = "Europe/Lisbon";
    let completed = at("2026-11-22T15:40", lisbon);
    let mut facts = facts(vec![treatment(1, completed, lisbon)], lisbon);
    facts.reachable = false;
    replan(&mut facts, completed);
    set(&mut facts, 1, "start", ReminderState::Planned, Reason::NoDevice);
    let now = at("2026-11-22T17:00", lisbon);
    assert_eq!(diff(&facts, &plan(&facts, now)), [], "nobody to reach: it goes on waiting");

    facts.reachable = true;
    let plan = replan(&mut facts, now);
    assert_eq!(due(&plan, 1, "start"), Some(now));
}

#[test]
fn steps_already_due_become_one_notification_of_what_still_holds() {
    let lisbon = "Europe/Lisbon";
    let mut treatment = treatment(1, at("2026-11-22T17:30", lisbon), lisbon);
    treatment.recorded_at = at("2026-11-23T08:20", lisbon);
    let facts = facts(vec![treatment], lisbon);
    let plan = plan(&facts, facts.treatments[0].recorded_at);
    assert_eq!(plan.reminders[0].key, key(1, "morning"));
    assert_eq!(plan.reminders[0].due_at, facts.treatments[0].recorded_at);
    assert_eq!(fate(&plan, 1, "start"), &Fate::Skipped(Reason::PastUseBy));
    assert_eq!(fate(&plan, 1, "bedtime"), &Fate::Skipped(Reason::PastUseBy));
}

#[test]
fn quiet_hours_move_to_their_end_else_to_their_start_else_drop() {
    let lisbon = "Europe/Lisbon";
    let mut facts = facts(vec![treatment(1, at("2026-11-22T15:40", lisbon), lisbon)], lisbon);
    facts.person.quiet_hours =
        Some(QuietHours { from: time(20, 0, 0, 0), until: time(8, 0, 0, 0) });
    let now = facts.treatments[0].completed_at;
    let quiet = plan(&facts, now);
    assert_eq!(due(&quiet, 1, "morning"), Some(at("2026-11-23T08:00", lisbon)));
    assert_eq!(due(&quiet, 1, "bedtime"), Some(at("2026-11-22T20:00", lisbon)));

    facts.treatments[0].recorded_at = at("2026-11-22T20:10", lisbon);
    let late = plan(&facts, facts.treatments[0].recorded_at);
    assert_eq!(fate(&late, 1, "bedtime"), &Fate::Skipped(Reason::QuietHours));
}

#[test]
fn a_retry_does_not_wake_anybody() {
    let lisbon = "Europe/Lisbon";
    let mut facts = facts(vec![treatment(1, at("2026-11-22T15:40", lisbon), lisbon)], lisbon);
    replan(&mut facts, at("2026-11-22T15:40", lisbon));
    set(&mut facts, 1, "start", ReminderState::Sent, Reason::Accepted);
    let waiting = plan(&facts, at("2026-11-22T21:20", lisbon));
    assert_eq!(due(&waiting, 1, "bedtime"), Some(at("2026-11-22T21:05", lisbon)));
    let night = plan(&facts, at("2026-11-22T21:40", lisbon));
    assert_eq!(fate(&night, 1, "bedtime"), &Fate::Skipped(Reason::QuietHours));
}

#[test]
fn two_treatments_share_notifications_and_the_later_end_wins() {
    let lisbon = "Europe/Lisbon";
    let first = treatment(1, at("2026-11-22T10:00", lisbon), lisbon);
    let second = treatment(2, at("2026-11-22T16:00", lisbon), lisbon);
    let facts = facts(vec![first, second], lisbon);
    let now = at("2026-11-22T16:00", lisbon);
    let held = in_force(&facts, now);
    let makeup = held.iter().find(|held| held.rule.as_str() == "no-makeup").unwrap();
    assert_eq!(makeup.until, Some(at("2026-11-23T16:00", lisbon)));
    assert_eq!(makeup.treatment_ids.len(), 2);

    let plan = plan(&facts, now);
    let evening: Vec<_> =
        plan.reminders.iter().filter(|r| r.due_at == at("2026-11-22T21:05", lisbon)).collect();
    assert_eq!(evening.len(), 1);
    assert_eq!(evening[0].members.len(), 2);
    assert_eq!(evening[0].key, key(1, "bedtime"));
    let keys = [key(1, "morning")];
    let said = message(&facts, &courses(&facts.treatments), &keys, at("2026-11-23T07:50", lisbon));
    assert!(said.unwrap().body.contains("No makeup until today 16:00."));
}

#[test]
fn one_void_of_two_leaves_the_other_alone() {
    let lisbon = "Europe/Lisbon";
    let first = treatment(1, at("2026-11-22T10:00", lisbon), lisbon);
    let second = treatment(2, at("2026-11-22T16:00", lisbon), lisbon);
    let mut facts = facts(vec![first, second], lisbon);
    let now = at("2026-11-22T16:00", lisbon);
    replan(&mut facts, now);
    set(&mut facts, 1, "bedtime", ReminderState::Claimed, Reason::Bundled);
    facts.treatments[0].voided = true;
    let plan = replan(&mut facts, at("2026-11-22T21:05", lisbon));
    assert_eq!(due(&plan, 2, "bedtime"), Some(at("2026-11-22T21:05", lisbon)));
    assert_eq!(fate(&plan, 1, "bedtime"), &Fate::Cancelled(Reason::Voided));
    let row = facts.standing.iter().find(|row| row.key == key(1, "bedtime")).unwrap();
    assert_eq!(row.state, ReminderState::Cancelled);
}

#[test]
fn a_bundle_past_its_use_by_goes_on_with_what_still_holds() {
    let lisbon = "Europe/Lisbon";
    let first = treatment(1, at("2026-11-22T18:00", lisbon), lisbon);
    let second = treatment(2, at("2026-11-22T20:20", lisbon), lisbon);
    let mut facts = facts(vec![first], lisbon);
    facts.person.quiet_hours = Some(QuietHours { from: time(3, 0, 0, 0), until: time(4, 0, 0, 0) });
    replan(&mut facts, at("2026-11-22T18:00", lisbon));
    set(&mut facts, 1, "start", ReminderState::Sent, Reason::Accepted);
    facts.treatments.push(second);
    replan(&mut facts, at("2026-11-22T20:20", lisbon));
    let bundle = facts.standing.iter().find(|row| row.key == key(2, "start")).unwrap();
    assert_eq!(bundle.members.len(), 2, "start at 20:35 and the bedtime step at 21:05");

    let plan = replan(&mut facts, at("2026-11-22T23:20", lisbon));
    assert_eq!(fate(&plan, 2, "start"), &Fate::Expired(Reason::PastUseBy));
    assert_eq!(plan.reminders[0].key, key(1, "bedtime"));
    assert_eq!(plan.reminders[0].due_at, at("2026-11-22T23:20", lisbon));
    // Its own first reminder said nothing, so the second treatment's evening is no longer covered.
    assert_eq!(fate(&plan, 2, "bedtime"), &Fate::In(key(1, "bedtime")));
}

#[test]
fn a_course_counts_days_and_restarts_after_half_a_year() {
    let lisbon = "Europe/Lisbon";
    let days = ["2026-01-10T10:00", "2026-01-10T16:00", "2026-02-10T10:00", "2026-09-10T10:00"];
    let treatments: Vec<_> =
        (1..).zip(days).map(|(id, day)| treatment(id, at(day, lisbon), lisbon)).collect();
    let states = courses(&treatments);
    let sessions: Vec<_> = states.values().map(|state| state.session).collect();
    assert_eq!(sessions, [1, 1, 2, 1]);

    let plan = plan(&facts(treatments, lisbon), at("2026-09-10T10:00", lisbon));
    assert_eq!(fate(&plan, 3, "book"), &Fate::Superseded(Reason::NewerSession));
    assert_eq!(due(&plan, 4, "book"), Some(at("2026-10-03T10:05", lisbon)));
}

#[test]
fn the_third_session_completes_the_course() {
    let lisbon = "Europe/Lisbon";
    let days = ["2026-01-10T10:00", "2026-02-10T10:00", "2026-03-10T10:00"];
    let treatments: Vec<_> =
        (1..).zip(days).map(|(id, day)| treatment(id, at(day, lisbon), lisbon)).collect();
    let plan = plan(&facts(treatments, lisbon), at("2026-03-10T10:00", lisbon));
    assert_eq!(fate(&plan, 3, "book"), &Fate::Cancelled(Reason::CourseComplete));
}

#[test]
fn a_booking_replaces_the_nudges_by_the_day_before() {
    let lisbon = "Europe/Lisbon";
    let mut facts = facts(vec![treatment(1, at("2026-11-22T15:40", lisbon), lisbon)], lisbon);
    let now = at("2026-11-22T15:40", lisbon);
    replan(&mut facts, now);
    facts.treatments[0].next_session_at = Some(at("2026-12-20T11:00", lisbon));
    let plan = replan(&mut facts, now);
    assert_eq!(due(&plan, 1, "day-before"), Some(at("2026-12-19T10:05", lisbon)));
    let row = facts.standing.iter().find(|row| row.key == key(1, "book")).unwrap();
    assert_eq!((row.state, row.reason), (ReminderState::Cancelled, Some(Reason::Booked)));
    let keys = [key(1, "day-before")];
    let said = message(&facts, &courses(&facts.treatments), &keys, at("2026-12-19T10:05", lisbon));
    assert_eq!(said.unwrap().body, "Your next session: tomorrow 11:00.");
}

#[test]
fn travel_moves_hours_of_the_day_but_neither_midnight_nor_elapsed_time() {
    let lisbon = "Europe/Lisbon";
    let completed = at("2026-11-22T15:40", lisbon);
    let mut facts = facts(vec![treatment(1, completed, lisbon)], "America/New_York");
    facts.person.exercise_hour = Some(time(19, 0, 0, 0));
    let plan = plan(&facts, completed);
    assert_eq!(due(&plan, 1, "start"), Some(completed + SignedDuration::from_mins(15)));
    assert_eq!(due(&plan, 1, "morning"), Some(at("2026-11-23T07:50", "America/New_York")));
    assert_eq!(due(&plan, 1, "before-exercise"), Some(at("2026-11-23T18:05", "America/New_York")));
    // 21:05 in New York is after midnight in Lisbon: the rule is over by then.
    assert_eq!(fate(&plan, 1, "bedtime"), &Fate::Skipped(Reason::PastUseBy));
}

#[test]
fn opting_out_and_muting_leave_reminders_out_with_a_reason() {
    let lisbon = "Europe/Lisbon";
    let now = at("2026-11-22T15:40", lisbon);
    let mut facts = facts(vec![treatment(1, now, lisbon)], lisbon);
    facts.person.recall = false;
    facts.person.muted = ["no-sweating".into()].into();
    let first = plan(&facts, now);
    assert_eq!(fate(&first, 1, "book"), &Fate::Skipped(Reason::Consent));
    assert_eq!(fate(&first, 1, "before-exercise"), &Fate::Skipped(Reason::Muted));
    let start = first.reminders.iter().find(|r| r.key == key(1, "start")).unwrap();
    assert!(!start.rule_ids.contains(&"no-sweating".into()));
    facts.person.aftercare = false;
    assert_eq!(plan(&facts, now).reminders, []);
}

/// The shipped protocol with a spread of five minutes on each of its wall-clock steps.
fn spread_out() -> Arc<Protocol> {
    let mut document: serde_json::Value = serde_json::from_str(shipped()[0].json).unwrap();
    for step in document["steps"].as_array_mut().unwrap() {
        if step["due"]["clock"] != "elapsed" {
            step["spread"] = "PT5M".into();
        }
    }
    Arc::new(Protocol::parse(&document.to_string()).unwrap())
}

/// `hash(patient, step) mod spread`, written down a second time: FNV-1a with 64 bits.
fn share(patient: PatientId, step: &str) -> SignedDuration {
    let mut hash = 14_695_981_039_346_656_037_u64;
    for byte in patient.0.as_bytes().iter().chain(step.as_bytes()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211);
    }
    SignedDuration::from_secs(i64::try_from(hash % 300).unwrap())
}

fn spread_of(member: &Member) -> Option<SignedDuration> {
    let mut shifts = member.shifts.iter();
    let spread = shifts.find(|shift| shift.cause == ShiftCause::Spread)?;
    Some(spread.to.duration_since(member.nominal_at))
}

#[test]
fn a_spread_is_the_patients_own_and_stays_when_plans_change() {
    let lisbon = "Europe/Lisbon";
    let completed = at("2026-11-22T15:40", lisbon);
    let mut facts = facts(vec![treatment(1, completed, lisbon)], lisbon);
    facts.treatments[0].protocol = spread_out();
    let patient = facts.person.id.unwrap();
    let first = replan(&mut facts, completed);
    assert_eq!(due(&first, 1, "start"), Some(completed + SignedDuration::from_mins(15)));
    for (step, nominal) in [
        ("bedtime", "2026-11-22T21:05"),
        ("morning", "2026-11-23T07:50"),
        ("before-exercise", "2026-11-23T17:05"),
        ("last-day", "2026-11-24T07:50"),
        ("book", "2026-12-15T10:05"),
    ] {
        let share = share(patient, step);
        assert!(!share.is_zero(), "{step}: a patient whose share is nothing shows nothing");
        assert_eq!(due(&first, 1, step), Some(at(nominal, lisbon) + share), "{step}");
    }
    let between = at("2026-11-23T07:50", lisbon);
    assert!(between < due(&first, 1, "morning").unwrap());
    facts.treatments[0].next_session_at = Some(at("2026-12-20T11:00", lisbon));
    let again = replan(&mut facts, between);
    assert_eq!(due(&again, 1, "morning"), due(&first, 1, "morning"));
    assert_eq!(due(&again, 1, "last-day"), due(&first, 1, "last-day"));

    facts.person.id = Some(PatientId(Uuid::from_u128(8)));
    facts.standing.clear();
    assert_ne!(due(&plan(&facts, completed), 1, "morning"), due(&first, 1, "morning"));
}

#[test]
fn a_preview_shows_nominal_times() {
    let lisbon = "Europe/Lisbon";
    let shown = preview(Trial {
        protocol: spread_out(),
        completed_at: at("2026-11-22T15:40", lisbon),
        recorded_at: at("2026-11-22T15:40", lisbon),
        zone: zone(lisbon),
        areas: None,
        locale: "en".parse().unwrap(),
        slots: BTreeMap::new(),
    });
    let morning = shown.reminders.iter().find(|r| r.steps == ["morning".into()]).unwrap();
    assert_eq!(morning.due_at, at("2026-11-23T07:50", lisbon));
}

/// Puts off what was sent, as the unit of work does.
fn snooze(facts: &mut Facts, key: &Key, until: Timestamp) {
    let row = facts.standing.iter_mut().find(|row| &row.key == key).unwrap();
    (row.state, row.reason) = (ReminderState::Planned, Some(Reason::Snoozed));
    (row.due_at, row.snoozed_until) = (until, Some(until));
    for member in &mut row.members {
        member.shifts.push(Shift { cause: ShiftCause::Snoozed, to: until });
    }
}

#[test]
fn what_was_put_off_and_cancelled_returns_to_where_it_was_put() {
    let lisbon = "Europe/Lisbon";
    let first = treatment(1, at("2026-11-22T10:00", lisbon), lisbon);
    let second = treatment(2, at("2026-11-22T16:00", lisbon), lisbon);
    let mut facts = facts(vec![first, second], lisbon);
    replan(&mut facts, at("2026-11-22T16:00", lisbon));
    set(&mut facts, 1, "bedtime", ReminderState::Sent, Reason::Accepted);
    let until = at("2026-11-22T21:25", lisbon);
    snooze(&mut facts, &key(1, "bedtime"), until);
    let now = at("2026-11-22T21:10", lisbon);
    let changes = diff(&facts, &plan(&facts, now));
    assert!(changes.iter().all(|change| change.key.step.as_str() == "start"), "{changes:?}");

    facts.person.aftercare = false;
    assert_eq!(replan(&mut facts, now).reminders, []);
    facts.person.aftercare = true;
    let back = replan(&mut facts, now);
    let bedtime = back.reminders.iter().find(|r| r.key == key(1, "bedtime")).unwrap();
    assert_eq!((bedtime.due_at, bedtime.snoozed, bedtime.members.len()), (until, true, 2));

    facts.treatments[0].voided = true;
    let rest = replan(&mut facts, now);
    let bedtime = rest.reminders.iter().find(|r| r.key == key(2, "bedtime")).unwrap();
    assert_eq!((bedtime.due_at, bedtime.snoozed, bedtime.members.len()), (until, true, 1));
}

#[test]
fn a_correction_leaves_all_that_was_put_off_together_where_it_was_put() {
    let lisbon = "Europe/Lisbon";
    let first = treatment(1, at("2026-11-22T10:00", lisbon), lisbon);
    let second = treatment(2, at("2026-11-22T16:00", lisbon), lisbon);
    let mut facts = facts(vec![first, second], lisbon);
    replan(&mut facts, at("2026-11-22T16:00", lisbon));
    set(&mut facts, 1, "bedtime", ReminderState::Sent, Reason::Accepted);
    let until = at("2026-11-22T21:25", lisbon);
    snooze(&mut facts, &key(1, "bedtime"), until);
    let of_first = |row: &&mut Standing| {
        row.members.iter().any(|member| member.key.treatment == key(1, "start").treatment)
    };
    facts.standing.iter_mut().filter(of_first).for_each(Standing::renew);
    let plan = replan(&mut facts, at("2026-11-22T21:10", lisbon));
    let bedtime = plan.reminders.iter().find(|r| r.key == key(1, "bedtime")).unwrap();
    assert_eq!((bedtime.due_at, bedtime.snoozed, bedtime.members.len()), (until, true, 2));
}

#[test]
fn what_was_said_covers_though_it_could_not_be_said_again() {
    let lisbon = "Europe/Lisbon";
    let completed = at("2026-11-22T19:00", lisbon);
    let mut facts = facts(vec![treatment(1, completed, lisbon)], lisbon);
    replan(&mut facts, completed);
    set(&mut facts, 1, "start", ReminderState::Failed, Reason::Rejected);
    facts.standing.iter_mut().find(|row| row.key == key(1, "start")).unwrap().sent_at =
        Some(completed + SignedDuration::from_mins(15));
    let plan = replan(&mut facts, at("2026-11-22T20:00", lisbon));
    assert_eq!(fate(&plan, 1, "bedtime"), &Fate::Skipped(Reason::Covered));
}

#[test]
fn what_a_booking_makes_needless_is_unwanted_though_it_was_sent() {
    let lisbon = "Europe/Lisbon";
    let mut facts = facts(vec![treatment(1, at("2026-11-22T15:40", lisbon), lisbon)], lisbon);
    let unwanted =
        |facts: &Facts, step| unwanted(facts, &courses(&facts.treatments), &key(1, step));
    assert_eq!(unwanted(&facts, "book"), None);
    assert_eq!(unwanted(&facts, "day-before"), Some(Reason::NotBooked));
    facts.treatments[0].next_session_at = Some(at("2026-12-22T15:00", lisbon));
    assert_eq!(unwanted(&facts, "book"), Some(Reason::Booked));
    assert_eq!(unwanted(&facts, "day-before"), None);
    facts.treatments.push(treatment(2, at("2026-12-15T15:40", lisbon), lisbon));
    assert_eq!(unwanted(&facts, "day-before"), Some(Reason::NewerSession));
    assert_eq!(unwanted(&facts, "start"), None);
}

#[test]
fn a_reminder_put_off_into_quiet_hours_comes_then_but_not_in_the_next_ones() {
    let lisbon = "Europe/Lisbon";
    let mut facts = facts(vec![treatment(1, at("2026-11-22T15:40", lisbon), lisbon)], lisbon);
    replan(&mut facts, at("2026-11-22T15:40", lisbon));
    set(&mut facts, 1, "book", ReminderState::Sent, Reason::Accepted);
    let until = at("2026-12-15T23:00", lisbon);
    snooze(&mut facts, &key(1, "book"), until);
    let quiet = |now: &str| plan(&facts, at(now, lisbon));
    assert_eq!(due(&quiet("2026-12-15T12:00"), 1, "book"), Some(until));
    assert_eq!(
        due(&quiet("2026-12-16T03:00"), 1, "book"),
        Some(until),
        "a retry, still that night"
    );
    let members = facts.standing.iter().find(|r| r.key == key(1, "book")).unwrap().members.clone();
    let wait =
        |now: &str, snoozed| quiet_until(&facts, &members, (until, snoozed), at(now, lisbon));
    assert_eq!(wait("2026-12-16T03:00", true), None);
    assert_eq!(wait("2026-12-16T03:00", false), Some(at("2026-12-16T07:30", lisbon)));
    assert_eq!(wait("2026-12-16T22:00", true), Some(at("2026-12-17T07:30", lisbon)));
    let next = quiet("2026-12-16T22:00");
    assert_eq!(due(&next, 1, "book"), Some(at("2026-12-17T07:30", lisbon)));
    assert!(next.reminders.iter().all(|reminder| !reminder.snoozed));
}

const ZONES: &[&str] = &[
    "Europe/Lisbon",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Pacific/Chatham",
    "America/St_Johns",
    "America/Havana",
    "Asia/Tehran",
    "Antarctica/Troll",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
    "UTC",
];

fn any_zone() -> impl Strategy<Value = Zone> {
    prop::sample::select(ZONES).prop_map(zone)
}

fn any_time() -> impl Strategy<Value = Time> {
    (0..24_i8, 0..60_i8).prop_map(|(hour, minute)| time(hour, minute, 0, 0))
}

prop_compose! {
    fn any_facts()(
        start in 1_704_067_200_i64..2_145_916_800,
        zones in (any_zone(), any_zone()),
        gaps in prop::collection::vec((0_i64..40 * 24 * 3600, 0_i64..60 * 3600, 0..15_u8, any::<bool>()), 1..4),
        quiet in prop::option::of((any_time(), any_time())),
        exercise in prop::option::of(6..22_i8),
        recall in any::<bool>(),
    ) -> (Facts, Timestamp) {
        let mut completed = Timestamp::from_second(start).unwrap();
        let mut treatments = Vec::new();
        for (id, (gap, late, areas, voided)) in (1..).zip(gaps) {
            completed += SignedDuration::from_secs(gap);
            let mut treatment = treatment(id, completed, zones.0.name());
            treatment.recorded_at = completed + SignedDuration::from_secs(late);
            treatment.voided = voided && id > 1;
            let chosen = Area::ALL.iter().enumerate().filter(|(i, _)| areas & (1 << i) != 0);
            let chosen: BTreeSet<_> = chosen.map(|(_, area)| *area).collect();
            if !chosen.is_empty() {
                treatment.areas = chosen;
            }
            treatments.push(treatment);
        }
        let now = treatments.iter().map(|treatment| treatment.recorded_at).max().unwrap();
        let mut facts = facts(treatments, zones.1.name());
        facts.person.quiet_hours = quiet.map(|(from, until)| QuietHours { from, until });
        facts.person.exercise_hour = exercise.map(|hour| time(hour, 0, 0, 0));
        facts.person.recall = recall;
        (facts, now)
    }
}

fn in_quiet_hours(facts: &Facts, at: Timestamp) -> bool {
    let quiet = facts.person.quiet_hours.unwrap_or(shipped()[0].protocol.pacing.quiet_hours);
    let wall = at.to_zoned(facts.person.zone.tz().clone()).time();
    let (from, until) = (quiet.from, quiet.until);
    if from <= until { from <= wall && wall < until } else { wall >= from || wall < until }
}

/// A change of the clocks within a day: hours of the wall are then not what arithmetic says.
fn clocks_change_near(facts: &Facts, at: Timestamp) -> bool {
    let tz = facts.person.zone.tz();
    tz.to_offset(at - 26.hours()) != tz.to_offset(at + 26.hours())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_is_sound((facts, now) in any_facts()) {
        let plan = plan(&facts, now);
        let courses = courses(&facts.treatments);
        let steps: usize = facts.treatments.iter().map(|t| t.protocol.steps.len()).sum();
        prop_assert_eq!(plan.steps.len(), steps, "every step has a fate");
        for reminder in &plan.reminders {
            prop_assert!(reminder.due_at >= now && reminder.due_at < reminder.use_by);
            prop_assert_eq!(&reminder.key, &reminder.members[0].key);
            let keys: Vec<_> = reminder.members.iter().map(|m| m.key.clone()).collect();
            prop_assert!(message(&facts, &courses, &keys, reminder.due_at).is_some());
            for member in &reminder.members {
                prop_assert!(reminder.use_by <= member.use_by);
                prop_assert!(!facts.treatment(member.key.treatment).unwrap().voided);
            }
            let exempt = reminder.members.iter().any(|m| m.key.step.as_str() == "start");
            let start = facts.person.quiet_hours.unwrap_or(shipped()[0].protocol.pacing.quiet_hours).from;
            let wall = reminder.due_at.to_zoned(facts.person.zone.tz().clone()).time();
            prop_assert!(
                exempt || wall == start || !in_quiet_hours(&facts, reminder.due_at)
                    || clocks_change_near(&facts, reminder.due_at),
                "{reminder:?} in quiet hours"
            );
        }
    }

    #[test]
    fn a_rule_is_not_spoken_of_once_it_ended((facts, now) in any_facts()) {
        for reminder in plan(&facts, now).reminders {
            let held = in_force(&facts, reminder.due_at);
            for rule in reminder.rule_ids.iter().filter(|rule| rule.as_str() != "next-session") {
                prop_assert!(held.iter().any(|held| &held.rule == rule), "{rule} at {}", reminder.due_at);
            }
        }
    }

    #[test]
    fn planning_again_changes_nothing((facts, now) in any_facts(), later in 0..600_i64) {
        let mut facts = facts;
        let first = replan(&mut facts, now);
        prop_assert_eq!(diff(&facts, &plan(&facts, now)), vec![]);
        let next = first.reminders.iter().map(|reminder| reminder.due_at).min();
        let limit = facts.standing.iter().map(|row| row.due_at).filter(|due| *due > now).min();
        let later = now + SignedDuration::from_secs(later);
        if next.is_some_and(|next| next > later) && limit.is_none_or(|limit| limit > later) {
            let again = plan(&facts, later);
            prop_assert_eq!(
                again.reminders.iter().map(|r| &r.key).collect::<Vec<_>>(),
                first.reminders.iter().map(|r| &r.key).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_snoozed_reminder_stays_where_it_was_put(
        (facts, now) in any_facts(),
        chosen in any::<prop::sample::Index>(),
        (waited, minutes) in (0_i64..600, 5_i64..1440),
        elsewhere in any_zone(),
        (gap, muted, quiet) in (0_i64..1440, any::<bool>(), prop::option::of((any_time(), any_time()))),
    ) {
        let mut facts = facts;
        let first = replan(&mut facts, now);
        prop_assume!(!first.reminders.is_empty());
        let sent = chosen.get(&first.reminders).clone();
        let asked_at = sent.due_at + SignedDuration::from_secs(waited);
        let until = asked_at + SignedDuration::from_mins(minutes);
        prop_assume!(until < sent.use_by);
        let row = facts.standing.iter_mut().find(|row| row.key == sent.key).unwrap();
        row.state = ReminderState::Sent;
        snooze(&mut facts, &sent.key, until);
        // At first it may drop what it would not say any more; whether it says anything is asked then.
        let put = replan(&mut facts, asked_at);
        let Some(put) = put.reminders.iter().find(|r| r.key == sent.key).cloned() else {
            let keys: Vec<_> = sent.members.iter().map(|member| member.key.clone()).collect();
            let said = message(&facts, &courses(&facts.treatments), &keys, until);
            let recall = facts.person.recall;
            prop_assert!(said.is_none() || !recall, "lost: {said:?}");
            return Ok(());
        };
        prop_assert_eq!((put.due_at, put.snoozed), (until, true));
        prop_assert_eq!(diff(&facts, &plan(&facts, asked_at)), vec![], "nothing more to change");

        // Travel, other quiet hours, another session of another day's course, a muted rule.
        let later = asked_at + SignedDuration::from_secs(until.duration_since(asked_at).as_secs() * gap / 1440);
        facts.person.zone = elsewhere;
        facts.person.quiet_hours = quiet.map(|(from, until)| QuietHours { from, until });
        if muted {
            facts.person.muted = ["expect-reaction".into()].into();
        }
        let recall = put.members.iter().any(|m| ["book", "nudge", "day-before"].contains(&m.key.step.as_str()));
        if !recall {
            facts.treatments.push(treatment(9, later, "Europe/Lisbon"));
        }
        let again = replan(&mut facts, later);
        let kept = again.reminders.iter().find(|r| r.key == sent.key);
        prop_assert_eq!(kept.map(|r| (r.due_at, r.use_by, r.snoozed)), Some((until, put.use_by, true)), "{:?} {:?}", again.steps.get(&sent.key), put);
        prop_assert_eq!(diff(&facts, &plan(&facts, later)), vec![], "nothing more to change");

        for treatment in &mut facts.treatments {
            treatment.voided = true;
        }
        prop_assert_eq!(replan(&mut facts, later).reminders, vec![]);
    }

    #[test]
    fn one_treatment_interrupts_at_most_five_times_in_two_days(
        start in 1_704_067_200_i64..2_145_916_800, zone in any_zone(),
    ) {
        let completed = Timestamp::from_second(start).unwrap();
        let facts = facts(vec![treatment(1, completed, zone.name())], zone.name());
        let plan = plan(&facts, completed);
        let horizon = completed + SignedDuration::from_hours(72);
        let soon = plan.reminders.iter().filter(|reminder| reminder.due_at < horizon).count();
        prop_assert!(soon <= 5, "{soon}");
        prop_assert!(plan.reminders.iter().any(|reminder| reminder.key == key(1, "start")));
    }

    #[test]
    fn a_spread_is_always_the_same_share_and_never_past_use_by(
        (facts, now) in any_facts(), patient in any::<u128>(), later in 0..40 * 3600_i64,
    ) {
        let mut facts = facts;
        let protocol = spread_out();
        facts.treatments.iter_mut().for_each(|treatment| treatment.protocol = Arc::clone(&protocol));
        let patient = PatientId(Uuid::from_u128(patient));
        facts.person.id = Some(patient);
        for now in [now, now + SignedDuration::from_secs(later)] {
            let plan = replan(&mut facts, now);
            for reminder in &plan.reminders {
                prop_assert!(reminder.due_at < reminder.use_by);
                for member in &reminder.members {
                    let step = protocol.step(&member.key.step).unwrap();
                    let Some(spread) = spread_of(member) else { continue };
                    prop_assert!(!matches!(step.due, Moment::Elapsed(_)), "{step:?}");
                    prop_assert_eq!(spread, share(patient, step.id.as_str()));
                    prop_assert!(member.nominal_at + spread < member.use_by);
                }
            }
            let alone = plan.reminders.iter().filter(|reminder| reminder.members.len() == 1);
            for (reminder, member) in alone.map(|reminder| (reminder, &reminder.members[0])) {
                let step = protocol.step(&member.key.step).unwrap();
                let wall = !matches!(step.due, Moment::Elapsed(_));
                let wanted = share(patient, step.id.as_str());
                if wall && member.shifts.is_empty() {
                    prop_assert!(wanted.is_zero(), "{reminder:?} is not spread");
                }
            }
        }
    }
}
