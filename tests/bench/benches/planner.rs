//! What planning costs, without a database: the plan after one session and in the midst of a course, and what
//! the dispatcher asks again before a reminder leaves.

#![expect(clippy::unwrap_used, reason = "a harness that cannot go on must stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::sync::Arc;

use aftercare::ids::{PatientId, TreatmentId};
use aftercare::planner::{
    Chart, Facts, Person, ReminderState, Standing, TreatmentFacts, diff, plan,
};
use aftercare::protocol::shipped;
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// Sessions are a month apart.
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A patient in Lisbon after so many sessions; the last has just ended, and of the others all was sent.
fn course(sessions: u32) -> (Facts, Timestamp) {
    let protocol = &shipped().first().unwrap().protocol;
    let first: Timestamp = "2026-01-15T15:40:00Z".parse().unwrap();
    let mut facts = Facts {
        person: Person {
            id: Some(PatientId(Uuid::from_u128(7))),
            zone: "Europe/Lisbon".parse().unwrap(),
            locale: "en".parse().unwrap(),
            quiet_hours: None,
            exercise_hour: None,
            muted: BTreeSet::new(),
            aftercare: true,
            recall: true,
            slots: BTreeMap::new(),
        },
        treatments: Vec::new(),
        standing: Vec::new(),
        reachable: true,
    };
    let mut now = first;
    for n in 1..=sessions {
        now = first + MONTH * i32::try_from(n).unwrap();
        let untold = Facts { standing: Vec::new(), ..facts.clone() };
        for row in &mut facts.standing {
            let keys: Vec<_> = row.members.iter().map(|member| member.key.clone()).collect();
            let said = row.state == ReminderState::Planned && row.due_at < now;
            if said {
                row.said = Chart::of(&untold).say(&keys, row.due_at);
                (row.state, row.sent_at) = (ReminderState::Sent, Some(row.due_at));
            }
        }
        facts.treatments.push(TreatmentFacts {
            id: TreatmentId(Uuid::from_u128(u128::from(n))),
            protocol: Arc::clone(protocol),
            completed_at: now,
            recorded_at: now,
            zone: "Europe/Lisbon".parse().unwrap(),
            areas: protocol.default_areas.clone(),
            voided: false,
            next_session_at: None,
            closed: false,
        });
        if n < sessions {
            write_down(&mut facts, now);
        }
    }
    (facts, now)
}

/// Plans, and keeps the rows.
fn write_down(facts: &mut Facts, now: Timestamp) {
    for change in diff(facts, &plan(facts, now)) {
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

fn planner(criterion: &mut Criterion) {
    for sessions in [1, 6] {
        let (facts, now) = course(sessions);
        criterion.bench_function(&format!("plan, session {sessions} of a course"), |bench| {
            bench.iter(|| {
                let facts = black_box(&facts);
                diff(facts, &plan(facts, now)).len()
            });
        });
        let mut planned = facts.clone();
        write_down(&mut planned, now);
        let waits = |row: &&Standing| row.state == ReminderState::Planned;
        let first = planned.standing.iter().filter(waits).min_by_key(|row| row.due_at).unwrap();
        let keys: Vec<_> = first.members.iter().map(|member| member.key.clone()).collect();
        let (due, members) = (first.due_at, first.members.clone());
        // As the dispatcher loads them: without what only waits.
        let mut told = planned.clone();
        told.standing.retain(|row| row.state != ReminderState::Planned || row.said.is_some());
        criterion.bench_function(&format!("say, session {sessions} of a course"), |bench| {
            bench.iter(|| {
                let chart = Chart::of(black_box(&told));
                let wanted = keys.iter().all(|key| chart.unwanted(key).is_none());
                (wanted, chart.comes_later(&members, due), chart.say(&keys, due))
            });
        });
    }
}

criterion_group!(benches, planner);
criterion_main!(benches);
