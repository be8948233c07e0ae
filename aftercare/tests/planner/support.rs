//! A patient, their treatments, and a store that is a list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aftercare::ids::{PatientId, TreatmentId};
use aftercare::planner::{
    Chart, Facts, Fate, Key, Person, Plan, Planned, Reason, ReminderState, Standing,
    TreatmentFacts, diff, plan,
};
use aftercare::protocol::{Area, shipped};
use aftercare::zone::Zone;
use jiff::Timestamp;
use jiff::civil::DateTime;
use uuid::Uuid;

pub(crate) const LISBON: &str = "Europe/Lisbon";

pub(crate) fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

pub(crate) fn at(local: &str, name: &str) -> Timestamp {
    let local: DateTime = local.parse().unwrap();
    zone(name).tz().to_ambiguous_timestamp(local).compatible().unwrap()
}

pub(crate) fn lisbon(local: &str) -> Timestamp {
    at(local, LISBON)
}

/// A patient with a phone and no wishes of their own.
pub(crate) fn facts(treatments: Vec<TreatmentFacts>, zone_name: &str) -> Facts {
    let person = Person {
        id: Some(PatientId(Uuid::from_u128(7))),
        zone: zone(zone_name),
        locale: "en".parse().unwrap(),
        quiet_hours: None,
        exercise_hour: None,
        muted: BTreeSet::new(),
        aftercare: true,
        recall: true,
        slots: BTreeMap::new(),
    };
    Facts { person, treatments, standing: Vec::new(), reachable: true }
}

/// Microneedling of face and neck, recorded at once.
pub(crate) fn treatment(id: u128, completed_at: Timestamp, zone_name: &str) -> TreatmentFacts {
    TreatmentFacts {
        id: TreatmentId(Uuid::from_u128(id)),
        protocol: Arc::clone(&shipped()[0].protocol),
        completed_at,
        recorded_at: completed_at,
        zone: zone(zone_name),
        areas: areas(&["face", "neck"]),
        voided: false,
        next_session_at: None,
        closed: false,
    }
}

/// A patient in Lisbon, with a session at each of these hours there; their ids count from 1.
pub(crate) fn sessions(completed: &[&str]) -> Facts {
    let treatments = (1..).zip(completed).map(|(id, local)| treatment(id, lisbon(local), LISBON));
    facts(treatments.collect(), LISBON)
}

pub(crate) fn areas(words: &[&str]) -> BTreeSet<Area> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

pub(crate) fn key(id: u128, step: &str) -> Key {
    Key { treatment: TreatmentId(Uuid::from_u128(id)), step: step.into() }
}

pub(crate) fn fate<'p>(plan: &'p Plan, id: u128, step: &str) -> &'p Fate {
    &plan.steps[&key(id, step)].fate
}

/// When the reminder that carries the step is due.
pub(crate) fn due(plan: &Plan, id: u128, step: &str) -> Option<Timestamp> {
    let carries = |one: &&Planned| one.members.iter().any(|member| member.key == key(id, step));
    plan.reminders.iter().find(carries).map(|one| one.due_at)
}

/// The reminder that is named after the step.
pub(crate) fn planned<'p>(plan: &'p Plan, id: u128, step: &str) -> &'p Planned {
    plan.reminders.iter().find(|one| one.key == key(id, step)).unwrap()
}

/// What is stored under the key.
pub(crate) fn row<'f>(facts: &'f Facts, key: &Key) -> &'f Standing {
    facts.standing.iter().find(|row| &row.key == key).unwrap()
}

pub(crate) fn row_mut<'f>(facts: &'f mut Facts, key: &Key) -> &'f mut Standing {
    facts.standing.iter_mut().find(|row| &row.key == key).unwrap()
}

pub(crate) fn set(facts: &mut Facts, id: u128, step: &str, state: ReminderState, reason: Reason) {
    let row = row_mut(facts, &key(id, step));
    (row.state, row.reason) = (state, Some(reason));
}

/// Plans, and writes down what that changes, as the store does.
pub(crate) fn replan(facts: &mut Facts, now: Timestamp) -> Plan {
    let plan = plan(facts, now);
    for change in diff(facts, &plan) {
        let known = facts.standing.iter().position(|row| row.key == change.key);
        let known = known.map(|row| facts.standing.remove(row));
        facts.standing.push(Standing {
            key: change.key,
            members: change.members,
            state: change.state,
            reason: change.reason,
            due_at: change.due_at,
            snoozed_until: change.snoozed_until,
            sent_at: known.as_ref().and_then(|row| row.sent_at),
            said: known.and_then(|row| row.said),
        });
    }
    plan
}

/// What only waits and was never said makes no difference to a reminder that is about to leave: a dispatcher
/// need not look at it.
pub(crate) fn hold_against_what_is_told(facts: &Facts, row: usize, now: Timestamp) {
    let mut all = facts.clone();
    all.standing[row].state = ReminderState::Claimed;
    let leaving = all.standing[row].clone();
    let mut told = all.clone();
    told.standing.retain(|row| row.state != ReminderState::Planned || row.said.is_some());
    let keys: Vec<Key> = leaving.members.iter().map(|member| member.key.clone()).collect();
    let judge = |facts: &Facts| {
        let chart = Chart::of(facts);
        (
            chart.say(&keys, now),
            keys.iter().map(|key| (chart.unwanted(key), chart.covers(key))).collect::<Vec<_>>(),
            chart.corrects_as_planned(&leaving.members, now),
            chart.comes_later(&leaving.members, now),
            chart.quiet_until(&leaving.members, (leaving.due_at, false), now),
        )
    };
    assert_eq!(judge(&told), judge(&all));
}
