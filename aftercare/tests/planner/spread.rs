//! The patient's own part of a step's spread.

use std::collections::BTreeMap;
use std::sync::Arc;

use aftercare::ids::PatientId;
use aftercare::planner::{Member, ShiftCause, Trial, plan, preview};
use aftercare::protocol::{Moment, Protocol, shipped};
use jiff::SignedDuration;
use proptest::prelude::*;
use uuid::Uuid;

use crate::any::{any_facts, every_plan};
use crate::support::{LISBON, due, lisbon, replan, sessions, zone};

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
    let mut facts = sessions(&["2026-11-22T15:40"]);
    let completed = facts.treatments[0].completed_at;
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
        assert_eq!(due(&first, 1, step), Some(lisbon(nominal) + share), "{step}");
    }
    let between = lisbon("2026-11-23T07:50");
    assert!(between < due(&first, 1, "morning").unwrap());
    facts.treatments[0].next_session_at = Some(lisbon("2026-12-20T11:00"));
    let again = replan(&mut facts, between);
    assert_eq!(due(&again, 1, "morning"), due(&first, 1, "morning"));
    assert_eq!(due(&again, 1, "last-day"), due(&first, 1, "last-day"));

    facts.person.id = Some(PatientId(Uuid::from_u128(8)));
    facts.standing.clear();
    assert_ne!(due(&plan(&facts, completed), 1, "morning"), due(&first, 1, "morning"));
}

#[test]
fn a_preview_shows_nominal_times() {
    let shown = preview(Trial {
        protocol: spread_out(),
        completed_at: lisbon("2026-11-22T15:40"),
        recorded_at: lisbon("2026-11-22T15:40"),
        zone: zone(LISBON),
        areas: None,
        locale: "en".parse().unwrap(),
        slots: BTreeMap::new(),
    });
    let morning = shown.reminders.iter().find(|r| r.steps == ["morning".into()]).unwrap();
    assert_eq!(morning.due_at, lisbon("2026-11-23T07:50"));
}

proptest! {
    #![proptest_config(every_plan())]

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
