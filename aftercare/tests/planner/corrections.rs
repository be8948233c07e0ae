//! What is sent again because a session turned out otherwise: once for each change, and never about
//! what was not sent.

use std::collections::BTreeSet;

use aftercare::planner::{Chart, Facts, Key, Reason, ReminderState, Standing, TreatmentFacts};
use aftercare::protocol::{QuietHours, shipped};
use jiff::civil::time;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::support;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// A winter afternoon, in UTC.
const T: &str = "2026-11-22T15:40:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn treatment(id: u128, completed_at: Timestamp) -> TreatmentFacts {
    support::treatment(id, completed_at, "UTC")
}

/// A patient with a phone, and the clock.
pub(crate) struct World {
    pub(crate) facts: Facts,
    pub(crate) now: Timestamp,
    /// What was sent: when, under which step, heading and words.
    pub(crate) sent: Vec<(Timestamp, String, String, String)>,
}

impl World {
    pub(crate) fn new(treatments: Vec<TreatmentFacts>) -> Self {
        let facts = support::facts(treatments, "UTC");
        let mut world = Self { facts, now: at(T), sent: Vec::new() };
        world.replan();
        world
    }

    pub(crate) fn replan(&mut self) {
        support::replan(&mut self.facts, self.now);
    }

    /// Sends what is due up to then, each at its moment.
    pub(crate) fn play(&mut self, until: Timestamp) {
        loop {
            let planned = |row: &&Standing| row.state == ReminderState::Planned;
            let next = self.facts.standing.iter().filter(planned).map(|row| row.due_at).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = next.max(self.now);
            self.send();
        }
        self.now = until;
    }

    fn send(&mut self) {
        let due = |row: &Standing| row.state == ReminderState::Planned && row.due_at <= self.now;
        let row = self.facts.standing.iter().position(due).unwrap();
        support::hold_against_what_is_told(&self.facts, row, self.now);
        let keys: Vec<Key> =
            self.facts.standing[row].members.iter().map(|member| member.key.clone()).collect();
        let said = Chart::of(&self.facts).say(&keys, self.now);
        let row = &mut self.facts.standing[row];
        let Some(said) = said else {
            (row.state, row.reason) = (ReminderState::Skipped, Some(Reason::NothingToSay));
            return;
        };
        let step = row.key.step.to_string();
        self.sent.push((self.now, step, said.title.clone(), said.body.clone()));
        (row.state, row.reason) = (ReminderState::Sent, Some(Reason::Accepted));
        (row.sent_at, row.said) = (Some(self.now), Some(said));
    }

    fn change(&mut self, change: impl FnOnce(&mut TreatmentFacts)) {
        change(&mut self.facts.treatments[0]);
        let id = self.facts.treatments[0].id;
        for row in &mut self.facts.standing {
            if row.members.iter().any(|member| member.key.treatment == id) {
                row.renew();
            }
        }
        self.replan();
    }

    fn corrections(&self) -> Vec<(String, String)> {
        let sent = self.sent.iter().filter(|(_, step, ..)| step.starts_with("correction-"));
        sent.map(|(at, _, _, body)| (at.to_string(), body.clone())).collect()
    }

    pub(crate) fn planned_corrections(&self) -> usize {
        let open = |row: &&Standing| {
            row.state == ReminderState::Planned
                && row.members.iter().any(|member| member.key.step.is_correction())
        };
        self.facts.standing.iter().filter(open).count()
    }
}

/// The world after the first reminder was sent.
fn told() -> World {
    let mut world = World::new(vec![treatment(1, at(T))]);
    world.play(at(T) + HOUR);
    assert_eq!(world.sent.len(), 1);
    world
}

#[test]
fn a_longer_time_is_told_once() {
    let mut world = told();
    world.change(|session| session.completed_at += HOUR);
    assert_eq!(world.planned_corrections(), 1);
    world.play(world.now);
    let corrections = world.corrections();
    assert_eq!(corrections.len(), 1, "{corrections:?}");
    let body = &corrections[0].1;
    assert!(body.contains("tomorrow 16:40") && body.contains("Tuesday 16:40"), "{body}");
    assert!(!body.contains("midnight"), "what still ends when it was said to is not said: {body}");
    world.replan();
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.corrections().len(), 1);
}

#[test]
fn a_correction_speaks_for_the_session_that_it_lasts_longest_for() {
    const MINUTE: SignedDuration = SignedDuration::from_mins(1);
    let mut world = told();
    world.facts.treatments.push(treatment(2, world.now));
    world.replan();
    world.play(at(T) + 80 * MINUTE);
    assert_eq!(world.sent.len(), 2);
    world.facts.treatments[1].completed_at += 20 * MINUTE;
    world.change(|session| session.completed_at += 70 * MINUTE);

    let correction = |row: &&Standing| row.members[0].key.step.is_correction();
    let planned: Vec<&Standing> = world.facts.standing.iter().filter(correction).collect();
    assert_eq!(planned.len(), 1);
    assert_eq!(planned[0].key, support::key(2, "correction-1"));
    assert_eq!(planned[0].members[0].use_by, at(T) + 80 * MINUTE + 48 * HOUR);
}

#[test]
fn a_shorter_time_harms_nobody() {
    let mut world = told();
    world.change(|session| session.completed_at -= HOUR);
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.corrections(), []);
}

#[test]
fn what_was_not_sent_is_not_corrected() {
    let mut world = World::new(vec![treatment(1, at(T))]);
    world.change(|session| session.completed_at -= HOUR);
    world.change(|session| session.completed_at += HOUR);
    world.change(|session| session.voided = true);
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.sent, []);
}

#[test]
fn an_area_that_was_forgotten_is_told() {
    let mut session = treatment(1, at(T));
    session.areas = support::areas(&["scalp"]);
    let mut world = World::new(vec![session]);
    world.play(at(T) + HOUR);
    assert!(!world.sent[0].3.contains("makeup"), "{:?}", world.sent);
    world.change(|session| session.areas = support::areas(&["scalp", "face"]));
    world.play(world.now);
    let corrections = world.corrections();
    assert!(corrections.len() == 1 && corrections[0].1.contains("makeup"), "{corrections:?}");
    world.change(|session| session.areas = support::areas(&["scalp"]));
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.corrections().len(), 1);
}

#[test]
fn changes_before_it_is_sent_are_one_correction_and_later_ones_another() {
    let mut world = told();
    // At night: it waits for the morning.
    world.play(at("2026-11-22T22:00:00Z"));
    world.change(|session| session.completed_at += HOUR);
    world.change(|session| session.completed_at += HOUR);
    assert_eq!((world.planned_corrections(), world.corrections().len()), (1, 0));
    world.play(at("2026-11-23T07:30:00Z"));
    let corrections = world.corrections();
    assert_eq!(corrections.len(), 1, "{corrections:?}");
    assert_eq!(corrections[0].0, "2026-11-23T07:30:00Z");
    assert!(corrections[0].1.contains("today 17:40"), "{corrections:?}");
    world.play(at("2026-11-23T12:00:00Z"));
    world.change(|session| session.completed_at += HOUR);
    world.play(world.now);
    assert_eq!(world.corrections().len(), 2);
}

#[test]
fn a_change_that_is_taken_back_in_time_is_not_told() {
    let mut world = told();
    world.play(at("2026-11-22T22:00:00Z"));
    world.change(|session| session.completed_at += HOUR);
    world.change(|session| session.completed_at -= HOUR);
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.corrections(), []);
}

#[test]
fn a_voided_session_is_taken_back_once() {
    let mut world = told();
    world.change(|session| session.voided = true);
    world.play(world.now);
    let corrections = world.corrections();
    assert_eq!(corrections.len(), 1, "{corrections:?}");
    assert!(corrections[0].1.contains("disregard"), "{corrections:?}");
    world.replan();
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.sent.len(), 2);
}

#[test]
fn a_duplicate_that_is_voided_takes_nothing_back() {
    let mut world = World::new(vec![treatment(1, at(T)), treatment(2, at(T))]);
    world.play(at(T) + HOUR);
    world.change(|session| session.voided = true);
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.corrections(), []);
    assert_eq!(world.sent.len(), 5);
}

#[test]
fn what_another_session_still_asks_for_is_not_taken_back() {
    let mut world = World::new(vec![treatment(1, at(T)), treatment(2, at(T) - 20 * HOUR)]);
    world.play(at(T) + HOUR);
    world.change(|session| session.voided = true);
    world.play(world.now);
    let corrections = world.corrections();
    assert_eq!(corrections.len(), 1, "{corrections:?}");
    let body = &corrections[0].1;
    assert!(body.contains("still counts") && body.contains("today 19:40"), "{body}");
}

#[test]
fn a_new_session_speaks_for_itself() {
    let mut world = told();
    world.facts.treatments.push(treatment(2, world.now));
    world.replan();
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.corrections(), []);
}

#[test]
fn a_muted_rule_is_not_corrected_and_nobody_is_told_without_consent() {
    let mut world = told();
    let protocol = &shipped()[0].protocol;
    world.facts.person.muted = protocol.rules.iter().map(|rule| rule.id.clone()).collect();
    world.change(|session| session.completed_at += HOUR);
    assert_eq!(world.planned_corrections(), 0);
    world.facts.person.muted.clear();
    world.facts.person.aftercare = false;
    world.replan();
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.sent.len(), 1);
    let skipped = world.facts.standing.iter().find(|row| row.key.step.is_correction()).unwrap();
    assert_eq!((skipped.state, skipped.reason), (ReminderState::Skipped, Some(Reason::Consent)));
}

#[test]
fn taking_back_and_instructing_are_two_pushes_and_each_comes_once() {
    let mut world = World::new(vec![treatment(1, at(T))]);
    world.play(at("2026-12-15T09:00:00Z"));
    world.facts.treatments.insert(0, treatment(2, world.now));
    world.replan();
    world.play(at("2026-12-15T12:00:00Z"));
    let before = world.sent.len();
    world.change(|session| session.voided = true);
    world.play(world.now);
    world.replan();
    world.play(at("2026-12-15T20:00:00Z"));
    let said = world.sent[before..].iter();
    let mut said: Vec<_> =
        said.map(|(_, step, _, body)| (step.as_str(), body.contains("disregard"))).collect();
    said.sort_unstable();
    assert_eq!(said, [("book", false), ("correction-disregard", true)]);
}

#[test]
fn two_sessions_that_are_taken_back_at_once_are_taken_back_once() {
    let mut world = World::new(vec![treatment(1, at(T)), treatment(2, at(T))]);
    world.play(at(T) + HOUR);
    world.facts.treatments[1].voided = true;
    world.change(|session| session.voided = true);
    world.play(world.now);
    world.replan();
    world.play(at(T) + 100 * HOUR);
    assert_eq!(world.corrections().len(), 1, "{:?}", world.sent);
}

#[test]
fn a_correction_that_is_held_up_waits_for_the_end_of_quiet_hours() {
    let mut world = told();
    world.change(|session| session.completed_at += HOUR);
    let correction = |row: &&Standing| row.key.step.is_correction();
    let row = world.facts.standing.iter().find(correction).unwrap();
    let wait =
        |now| Chart::of(&world.facts).quiet_until(&row.members, (row.due_at, false), at(now));
    assert_eq!(wait("2026-11-22T18:00:00Z"), None);
    assert_eq!(wait("2026-11-22T23:00:00Z"), Some(at("2026-11-23T07:30:00Z")));
}

#[test]
fn a_correction_that_a_dispatcher_holds_stays_with_it_when_another_push_has_said_it() {
    fn correction(world: &mut World) -> &mut Standing {
        world.facts.standing.iter_mut().find(|row| row.key.step.is_correction()).unwrap()
    }
    let mut world = told();
    world.change(|session| session.completed_at += HOUR);
    correction(&mut world).state = ReminderState::Claimed;
    world.facts.treatments.push(treatment(2, at(T) + HOUR));
    world.replan();
    world.play(world.now + HOUR);
    assert_eq!(world.sent.last().unwrap().1, "start");
    world.replan();
    let held = correction(&mut world).clone();
    assert_eq!(held.state, ReminderState::Claimed);
    // Looked at again it is given back, and only then it leaves the plan.
    assert!(!Chart::of(&world.facts).corrects_as_planned(&held.members, world.now));
    correction(&mut world).state = ReminderState::Planned;
    world.replan();
    let left = correction(&mut world);
    assert_eq!((left.state, left.reason), (ReminderState::Cancelled, Some(Reason::Amended)));
}

#[test]
fn what_was_put_off_and_is_due_later_now_comes_later() {
    let mut world = World::new(vec![treatment(1, at(T))]);
    world.play(at("2026-11-24T08:30:00Z"));
    let last_day = |row: &&mut Standing| row.key.step.as_str() == "last-day";
    let row = world.facts.standing.iter_mut().find(last_day).unwrap();
    assert_eq!(row.state, ReminderState::Sent);
    let until = at("2026-11-24T09:50:00Z");
    (row.state, row.due_at, row.snoozed_until) = (ReminderState::Planned, until, Some(until));
    world.change(|session| session.completed_at += 24 * HOUR);
    let row = world.facts.standing.iter_mut().find(last_day).unwrap();
    assert_eq!(row.state, ReminderState::Planned);
    assert!(row.due_at >= at("2026-11-25T07:50:00Z"), "{row:?}");
}

#[derive(Debug, Clone)]
enum Op {
    Wait(i64),
    Complete(i64),
    Areas(Vec<&'static str>),
    Void,
    Record,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let areas = prop::sample::subsequence(vec!["face", "neck", "chest", "scalp"], 1..=4);
    let op = prop_oneof![
        4 => (1_i64..900).prop_map(Op::Wait),
        3 => (-300_i64..300).prop_map(Op::Complete),
        2 => areas.prop_map(Op::Areas),
        1 => Just(Op::Void),
        1 => Just(Op::Record),
    ];
    prop::collection::vec(op, 1..14)
}

proptest! {
    #[test]
    fn there_is_at_most_one_correction_for_each_change(ops in ops(), silent in any::<bool>()) {
        let mut world = World::new(vec![treatment(1, at(T))]);
        if !silent {
            let noon = time(12, 0, 0, 0);
            world.facts.person.quiet_hours = Some(QuietHours { from: noon, until: noon });
        }
        let mut changes = 0;
        for op in ops {
            let heard = world.sent.len();
            let before = world.planned_corrections();
            match op {
                Op::Wait(minutes) => {
                    let until = world.now + SignedDuration::from_mins(minutes);
                    world.play(until);
                    prop_assert!(world.planned_corrections() <= before, "time changes nothing");
                }
                Op::Record => {
                    // Not in the very instant of a push: whether that knew of it is anybody's guess.
                    world.now += SignedDuration::from_secs(1);
                    let id = world.facts.treatments.len() as u128 + 1;
                    let session = treatment(id, world.now);
                    world.facts.treatments.push(session);
                    world.replan();
                    prop_assert!(world.planned_corrections() <= before, "it speaks for itself");
                }
                change => {
                    changes += 1;
                    world.change(|session| match change {
                        Op::Complete(minutes) => {
                            session.completed_at += SignedDuration::from_mins(minutes);
                        }
                        Op::Areas(areas) => session.areas = support::areas(&areas),
                        _ => session.voided = true,
                    });
                    prop_assert!(world.planned_corrections() <= before + 1);
                    prop_assert!(heard > 0 || world.planned_corrections() == 0);
                }
            }
            world.replan();
            prop_assert!(world.corrections().len() + world.planned_corrections() <= changes);
        }
        let end = world.now + 200 * HOUR;
        world.play(end);
        prop_assert!(world.corrections().len() <= changes);
        let keys: BTreeSet<_> = world.facts.standing.iter().map(|row| &row.key).collect();
        prop_assert_eq!(keys.len(), world.facts.standing.len());
    }
}
