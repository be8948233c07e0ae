//! The corners that stories are told about: late events, quiet hours, overlaps, courses, bookings,
//! travel and wishes.

use std::sync::Arc;

use aftercare::planner::{
    Chart, Facts, Fate, Reason, ReminderState, courses, diff, in_force, plan,
};
use aftercare::protocol::QuietHours;
use jiff::SignedDuration;
use jiff::civil::time;

use crate::support::{
    LISBON, at, due, fate, key, lisbon, planned, replan, row, sessions, set, treatment, zone,
};

#[test]
fn enrolling_five_hours_later_says_what_still_holds() {
    let mut facts = sessions(&["2026-11-22T14:00"]);
    let completed = facts.treatments[0].completed_at;
    facts.reachable = false;
    replan(&mut facts, completed);
    set(&mut facts, 1, "start", ReminderState::Planned, Reason::NoDevice);

    facts.reachable = true;
    let plan = replan(&mut facts, completed + SignedDuration::from_hours(5));
    assert_eq!(fate(&plan, 1, "start"), &Fate::Expired(Reason::NoDevice));
    assert_eq!(due(&plan, 1, "bedtime"), Some(lisbon("2026-11-22T21:05")));
}

#[test]
fn a_device_in_time_makes_what_waited_due_at_once() {
    let mut facts = sessions(&["2026-11-22T15:40"]);
    facts.reachable = false;
    replan(&mut facts, lisbon("2026-11-22T15:40"));
    set(&mut facts, 1, "start", ReminderState::Planned, Reason::NoDevice);
    let now = lisbon("2026-11-22T17:00");
    assert_eq!(diff(&facts, &plan(&facts, now)), [], "nobody to reach: it goes on waiting");

    facts.reachable = true;
    let plan = replan(&mut facts, now);
    assert_eq!(due(&plan, 1, "start"), Some(now));
}

#[test]
fn steps_already_due_become_one_notification_of_what_still_holds() {
    let mut facts = sessions(&["2026-11-22T17:30"]);
    facts.treatments[0].recorded_at = lisbon("2026-11-23T08:20");
    let plan = plan(&facts, facts.treatments[0].recorded_at);
    assert_eq!(plan.reminders[0].key, key(1, "morning"));
    assert_eq!(plan.reminders[0].due_at, facts.treatments[0].recorded_at);
    assert_eq!(fate(&plan, 1, "start"), &Fate::Skipped(Reason::PastUseBy));
    assert_eq!(fate(&plan, 1, "bedtime"), &Fate::Skipped(Reason::PastUseBy));
}

#[test]
fn quiet_hours_move_to_their_end_else_to_their_start_else_drop() {
    let mut facts = sessions(&["2026-11-22T15:40"]);
    facts.person.quiet_hours =
        Some(QuietHours { from: time(20, 0, 0, 0), until: time(8, 0, 0, 0) });
    let now = facts.treatments[0].completed_at;
    let quiet = plan(&facts, now);
    assert_eq!(due(&quiet, 1, "morning"), Some(lisbon("2026-11-23T08:00")));
    assert_eq!(due(&quiet, 1, "bedtime"), Some(lisbon("2026-11-22T20:00")));

    facts.treatments[0].recorded_at = lisbon("2026-11-22T20:10");
    let late = plan(&facts, facts.treatments[0].recorded_at);
    assert_eq!(fate(&late, 1, "bedtime"), &Fate::Skipped(Reason::QuietHours));
}

#[test]
fn what_is_said_with_a_first_instruction_keeps_to_quiet_hours() {
    let mut facts = sessions(&["2026-11-22T15:45", "2026-11-22T20:45"]);
    let plan = replan(&mut facts, lisbon("2026-11-22T20:45"));
    let bundle = planned(&plan, 2, "start");
    let steps: Vec<_> = bundle.members.iter().map(|member| &member.key).collect();
    assert_eq!(steps, [&key(2, "start"), &key(1, "bedtime")]);

    let due = (bundle.due_at, false);
    let quiet = |members| Chart::of(&facts).quiet_until(members, due, lisbon("2026-11-22T21:50"));
    assert_eq!(quiet(&bundle.members), Some(lisbon("2026-11-23T07:30")));
    assert_eq!(quiet(&bundle.members[..1]), None, "the first instruction alone is never held back");
}

#[test]
fn a_retry_does_not_wake_anybody() {
    let mut facts = sessions(&["2026-11-22T15:40"]);
    replan(&mut facts, lisbon("2026-11-22T15:40"));
    set(&mut facts, 1, "start", ReminderState::Sent, Reason::Accepted);
    let waiting = plan(&facts, lisbon("2026-11-22T21:20"));
    assert_eq!(due(&waiting, 1, "bedtime"), Some(lisbon("2026-11-22T21:05")));
    let night = plan(&facts, lisbon("2026-11-22T21:40"));
    assert_eq!(fate(&night, 1, "bedtime"), &Fate::Skipped(Reason::QuietHours));
}

#[test]
fn two_treatments_share_notifications_and_the_later_end_wins() {
    let facts = sessions(&["2026-11-22T10:00", "2026-11-22T16:00"]);
    let now = lisbon("2026-11-22T16:00");
    let held = in_force(&facts, now);
    let makeup = held.iter().find(|held| held.rule.as_str() == "no-makeup").unwrap();
    assert_eq!(makeup.until, Some(lisbon("2026-11-23T16:00")));
    assert_eq!(makeup.treatment_ids.len(), 2);

    let plan = plan(&facts, now);
    let evening: Vec<_> =
        plan.reminders.iter().filter(|r| r.due_at == lisbon("2026-11-22T21:05")).collect();
    assert_eq!(evening.len(), 1);
    assert_eq!(evening[0].members.len(), 2);
    assert_eq!(evening[0].key, key(1, "bedtime"));
    let keys = [key(1, "morning")];
    let said = Chart::of(&facts).message(&keys, lisbon("2026-11-23T07:50"));
    assert!(said.unwrap().body.contains("No makeup until today 16:00."));
}

#[test]
fn one_void_of_two_leaves_the_other_alone() {
    let mut facts = sessions(&["2026-11-22T10:00", "2026-11-22T16:00"]);
    let now = lisbon("2026-11-22T16:00");
    replan(&mut facts, now);
    set(&mut facts, 1, "bedtime", ReminderState::Claimed, Reason::Bundled);
    facts.treatments[0].voided = true;
    let plan = replan(&mut facts, lisbon("2026-11-22T21:05"));
    assert_eq!(due(&plan, 2, "bedtime"), Some(lisbon("2026-11-22T21:05")));
    assert_eq!(fate(&plan, 1, "bedtime"), &Fate::Cancelled(Reason::Voided));
    let row = row(&facts, &key(1, "bedtime"));
    assert_eq!(row.state, ReminderState::Cancelled);
}

#[test]
fn a_bundle_past_its_use_by_goes_on_with_what_still_holds() {
    let mut facts = sessions(&["2026-11-22T18:00"]);
    facts.person.quiet_hours = Some(QuietHours { from: time(3, 0, 0, 0), until: time(4, 0, 0, 0) });
    replan(&mut facts, lisbon("2026-11-22T18:00"));
    set(&mut facts, 1, "start", ReminderState::Sent, Reason::Accepted);
    facts.treatments.push(treatment(2, lisbon("2026-11-22T20:20"), LISBON));
    replan(&mut facts, lisbon("2026-11-22T20:20"));
    let bundle = row(&facts, &key(2, "start"));
    assert_eq!(bundle.members.len(), 2, "start at 20:35 and the bedtime step at 21:05");

    let plan = replan(&mut facts, lisbon("2026-11-22T23:20"));
    assert_eq!(fate(&plan, 2, "start"), &Fate::Expired(Reason::PastUseBy));
    assert_eq!(plan.reminders[0].key, key(1, "bedtime"));
    assert_eq!(plan.reminders[0].due_at, lisbon("2026-11-22T23:20"));
    // Its own first reminder said nothing, so the second treatment's evening is no longer covered.
    assert_eq!(fate(&plan, 2, "bedtime"), &Fate::In(key(1, "bedtime")));
}

#[test]
fn a_course_counts_days_and_restarts_after_half_a_year() {
    let days = ["2026-01-10T10:00", "2026-01-10T16:00", "2026-02-10T10:00", "2026-09-10T10:00"];
    let facts = sessions(&days);
    let states = courses(&facts.treatments);
    let counted: Vec<_> = states.values().map(|state| state.session).collect();
    assert_eq!(counted, [1, 1, 2, 1]);

    let plan = plan(&facts, lisbon("2026-09-10T10:00"));
    assert_eq!(fate(&plan, 3, "book"), &Fate::Superseded(Reason::NewerSession));
    assert_eq!(due(&plan, 4, "book"), Some(lisbon("2026-10-03T10:05")));
}

#[test]
fn the_third_session_completes_the_course() {
    let facts = sessions(&["2026-01-10T10:00", "2026-02-10T10:00", "2026-03-10T10:00"]);
    let plan = plan(&facts, lisbon("2026-03-10T10:00"));
    assert_eq!(fate(&plan, 3, "book"), &Fate::Cancelled(Reason::CourseComplete));
}

#[test]
fn a_booking_replaces_the_nudges_by_the_day_before() {
    let mut facts = sessions(&["2026-11-22T15:40"]);
    let now = lisbon("2026-11-22T15:40");
    replan(&mut facts, now);
    facts.treatments[0].next_session_at = Some(lisbon("2026-12-20T11:00"));
    let plan = replan(&mut facts, now);
    assert_eq!(due(&plan, 1, "day-before"), Some(lisbon("2026-12-19T10:05")));
    let row = row(&facts, &key(1, "book"));
    assert_eq!((row.state, row.reason), (ReminderState::Cancelled, Some(Reason::Booked)));
    let keys = [key(1, "day-before")];
    let said = Chart::of(&facts).message(&keys, lisbon("2026-12-19T10:05"));
    assert_eq!(said.unwrap().body, "Your next session: tomorrow 11:00.");
}

#[test]
fn travel_moves_hours_of_the_day_but_neither_midnight_nor_elapsed_time() {
    let mut facts = sessions(&["2026-11-22T15:40"]);
    let completed = facts.treatments[0].completed_at;
    facts.person.zone = zone("America/New_York");
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
    let mut facts = sessions(&["2026-11-22T15:40"]);
    let now = facts.treatments[0].completed_at;
    facts.person.recall = false;
    facts.person.muted = ["no-sweating".into()].into();
    let first = plan(&facts, now);
    assert_eq!(fate(&first, 1, "book"), &Fate::Skipped(Reason::Consent));
    assert_eq!(fate(&first, 1, "before-exercise"), &Fate::Skipped(Reason::Muted));
    let start = planned(&first, 1, "start");
    assert!(!start.rule_ids.contains(&"no-sweating".into()));
    facts.person.aftercare = false;
    let second = plan(&facts, now);
    assert_eq!(second.reminders, []);
    assert_eq!(fate(&second, 1, "book"), &Fate::Skipped(Reason::Consent));
    // Nobody would hear of a session that is not booked: it is not left out for want of consent.
    assert_eq!(fate(&second, 1, "day-before"), &Fate::Cancelled(Reason::NotBooked));
}

#[test]
fn what_a_booking_makes_needless_is_unwanted_though_it_was_sent() {
    let mut facts = sessions(&["2026-11-22T15:40"]);
    let unwanted = |facts: &Facts, step| Chart::of(facts).unwanted(&key(1, step));
    assert_eq!(unwanted(&facts, "book"), None);
    assert_eq!(unwanted(&facts, "day-before"), Some(Reason::NotBooked));
    facts.treatments[0].next_session_at = Some(lisbon("2026-12-22T15:00"));
    assert_eq!(unwanted(&facts, "book"), Some(Reason::Booked));
    assert_eq!(unwanted(&facts, "day-before"), None);
    facts.treatments.push(treatment(2, lisbon("2026-12-15T15:40"), LISBON));
    assert_eq!(unwanted(&facts, "day-before"), Some(Reason::NewerSession));
    assert_eq!(unwanted(&facts, "start"), None);
}

#[test]
fn what_waits_in_the_queue_leaves_as_one_though_versions_keep_quiet_differently() {
    let mut facts = sessions(&["2026-11-22T11:00", "2026-11-22T12:00"]);
    let later = Arc::make_mut(&mut facts.treatments[1].protocol);
    later.pacing.quiet_hours.from = time(21, 10, 0, 0);
    let together = [key(1, "bedtime"), key(2, "bedtime")];
    for now in ["2026-11-22T12:00", "2026-11-22T21:05", "2026-11-22T21:20"] {
        let plan = replan(&mut facts, lisbon(now));
        let bedtime = planned(&plan, 1, "bedtime");
        let members: Vec<_> = bedtime.members.iter().map(|member| member.key.clone()).collect();
        assert_eq!(
            (bedtime.due_at, &members[..]),
            (lisbon("2026-11-22T21:05"), &together[..]),
            "{now}"
        );
    }
}

#[test]
fn what_is_said_together_is_said_when_each_version_lets_it() {
    let mut facts = sessions(&["2026-11-22T11:00", "2026-11-22T12:00"]);
    let later = Arc::make_mut(&mut facts.treatments[1].protocol);
    later.pacing.quiet_hours.until = time(8, 30, 0, 0);
    let plan = replan(&mut facts, lisbon("2026-11-22T12:00"));
    let of = |id| due(&plan, id, "morning");
    assert_eq!(of(1), Some(lisbon("2026-11-23T07:50")));
    // Near enough, but quiet until half past eight; then two hours after the other.
    assert_eq!(of(2), Some(lisbon("2026-11-23T09:50")));
}

#[test]
fn what_is_closed_counts_on_and_plans_nothing() {
    let mut facts = sessions(&["2026-09-22T15:40", "2026-11-22T15:40"]);
    let (first, second) = (facts.treatments[0].id, facts.treatments[1].id);
    let later = facts.treatments.remove(1);
    let then = facts.treatments[0].completed_at;
    replan(&mut facts, then);
    facts.treatments.push(later);
    let now = facts.treatments[1].completed_at;
    let open = replan(&mut facts, now);
    facts.standing.retain(|row| row.key.treatment != first);
    let brought_back = diff(&facts, &plan(&facts, now));
    assert!(brought_back.iter().any(|change| change.key.treatment == first));

    facts.treatments[0].closed = true;
    let closed = plan(&facts, now);
    assert_eq!(closed.reminders, open.reminders);
    assert_eq!(diff(&facts, &closed), []);
    assert_eq!(courses(&facts.treatments)[&second].session, 2);
}
