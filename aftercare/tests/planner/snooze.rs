//! What the patient put off.

use aftercare::planner::{
    Chart, Facts, Fate, Key, Reason, ReminderState, Shift, ShiftCause, Standing, diff, plan,
};
use aftercare::protocol::QuietHours;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::any::{any_facts, any_time, any_zone, every_plan};
use crate::support::{
    LISBON, due, fate, key, lisbon, planned, replan, row, row_mut, sessions, set, treatment,
};

/// Puts off what was sent, as the unit of work does.
fn snooze(facts: &mut Facts, key: &Key, until: Timestamp) {
    let row = row_mut(facts, key);
    (row.state, row.reason) = (ReminderState::Planned, Some(Reason::Snoozed));
    (row.due_at, row.snoozed_until) = (until, Some(until));
    for member in &mut row.members {
        member.shifts.push(Shift { cause: ShiftCause::Snoozed, to: until });
    }
}

/// The bedtime reminder of two sessions, sent and put off, and until when.
fn one_evening_put_off() -> (Facts, Timestamp) {
    let mut facts = sessions(&["2026-11-22T10:00", "2026-11-22T16:00"]);
    replan(&mut facts, lisbon("2026-11-22T16:00"));
    set(&mut facts, 1, "bedtime", ReminderState::Sent, Reason::Accepted);
    let until = lisbon("2026-11-22T21:25");
    snooze(&mut facts, &key(1, "bedtime"), until);
    (facts, until)
}

#[test]
fn what_was_put_off_and_cancelled_returns_to_where_it_was_put() {
    let (mut facts, until) = one_evening_put_off();
    let now = lisbon("2026-11-22T21:10");
    let changes = diff(&facts, &plan(&facts, now));
    assert!(changes.iter().all(|change| change.key.step.as_str() == "start"), "{changes:?}");

    facts.person.aftercare = false;
    assert_eq!(replan(&mut facts, now).reminders, []);
    facts.person.aftercare = true;
    let back = replan(&mut facts, now);
    let bedtime = planned(&back, 1, "bedtime");
    assert_eq!((bedtime.due_at, bedtime.snoozed, bedtime.members.len()), (until, true, 2));

    facts.treatments[0].voided = true;
    let rest = replan(&mut facts, now);
    let bedtime = planned(&rest, 2, "bedtime");
    assert_eq!((bedtime.due_at, bedtime.snoozed, bedtime.members.len()), (until, true, 1));
}

#[test]
fn a_correction_leaves_all_that_was_put_off_together_where_it_was_put() {
    let (mut facts, until) = one_evening_put_off();
    let first = facts.treatments[0].id;
    let of_first =
        |row: &&mut Standing| row.members.iter().any(|member| member.key.treatment == first);
    facts.standing.iter_mut().filter(of_first).for_each(Standing::renew);
    let plan = replan(&mut facts, lisbon("2026-11-22T21:10"));
    let bedtime = planned(&plan, 1, "bedtime");
    assert_eq!((bedtime.due_at, bedtime.snoozed, bedtime.members.len()), (until, true, 2));
}

#[test]
fn what_was_said_covers_though_it_could_not_be_said_again() {
    let mut facts = sessions(&["2026-11-22T19:00"]);
    let completed = facts.treatments[0].completed_at;
    replan(&mut facts, completed);
    set(&mut facts, 1, "start", ReminderState::Failed, Reason::Rejected);
    row_mut(&mut facts, &key(1, "start")).sent_at = Some(completed + SignedDuration::from_mins(15));
    let plan = replan(&mut facts, lisbon("2026-11-22T20:00"));
    assert_eq!(fate(&plan, 1, "bedtime"), &Fate::Skipped(Reason::Covered));
}

#[test]
fn a_reminder_put_off_into_quiet_hours_comes_then_but_not_in_the_next_ones() {
    let mut facts = sessions(&["2026-11-22T15:40"]);
    replan(&mut facts, lisbon("2026-11-22T15:40"));
    set(&mut facts, 1, "book", ReminderState::Sent, Reason::Accepted);
    let until = lisbon("2026-12-15T23:00");
    snooze(&mut facts, &key(1, "book"), until);
    let quiet = |now: &str| plan(&facts, lisbon(now));
    assert_eq!(due(&quiet("2026-12-15T12:00"), 1, "book"), Some(until));
    assert_eq!(
        due(&quiet("2026-12-16T03:00"), 1, "book"),
        Some(until),
        "a retry, still that night"
    );
    let members = row(&facts, &key(1, "book")).members.clone();
    let wait =
        |now: &str, snoozed| Chart::of(&facts).quiet_until(&members, (until, snoozed), lisbon(now));
    assert_eq!(wait("2026-12-16T03:00", true), None);
    assert_eq!(wait("2026-12-16T03:00", false), Some(lisbon("2026-12-16T07:30")));
    assert_eq!(wait("2026-12-16T22:00", true), Some(lisbon("2026-12-17T07:30")));
    let next = quiet("2026-12-16T22:00");
    assert_eq!(due(&next, 1, "book"), Some(lisbon("2026-12-17T07:30")));
    assert!(next.reminders.iter().all(|reminder| !reminder.snoozed));
}

proptest! {
    #![proptest_config(every_plan())]

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
        let row = row_mut(&mut facts, &sent.key);
        row.state = ReminderState::Sent;
        snooze(&mut facts, &sent.key, until);
        // At first it may drop what it would not say any more; whether it says anything is asked then.
        let put = replan(&mut facts, asked_at);
        let Some(put) = put.reminders.iter().find(|r| r.key == sent.key).cloned() else {
            let keys: Vec<_> = sent.members.iter().map(|member| member.key.clone()).collect();
            let said = Chart::of(&facts).message(&keys, until);
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
            facts.treatments.push(treatment(9, later, LISBON));
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
}
