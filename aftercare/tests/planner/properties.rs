//! What must hold of every plan, whatever the facts.

use aftercare::planner::{Chart, Facts, Key, diff, in_force, plan};
use aftercare::protocol::Condition;
use aftercare::protocol::shipped;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;

use crate::any::{any_facts, any_zone, every_plan};
use crate::support::{facts, key, replan, treatment};

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
    #![proptest_config(every_plan())]

    #[test]
    fn every_plan_is_sound((facts, now) in any_facts()) {
        let plan = plan(&facts, now);
        let chart = Chart::of(&facts);
        let steps: usize = facts.treatments.iter().map(|t| t.protocol.steps.len()).sum();
        prop_assert_eq!(plan.steps.len(), steps, "every step has a fate");
        for reminder in &plan.reminders {
            prop_assert!(reminder.due_at >= now && reminder.due_at < reminder.use_by);
            prop_assert_eq!(&reminder.key, &reminder.members[0].key);
            let keys: Vec<_> = reminder.members.iter().map(|m| m.key.clone()).collect();
            prop_assert!(chart.message(&keys, reminder.due_at).is_some());
            for member in &reminder.members {
                prop_assert!(reminder.use_by <= member.use_by);
                prop_assert!(!chart.treatment(member.key.treatment).unwrap().voided);
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

    /// Whatever treatments overlap, also one that has a rule without an end that others have with one.
    #[test]
    fn every_sentence_is_whole((facts, now) in any_facts(), open in any::<bool>(), later in 0..72_i64) {
        let mut facts = facts;
        if let Some(last) = facts.treatments.last_mut().filter(|_| open) {
            let protocol = std::sync::Arc::make_mut(&mut last.protocol);
            for rule in protocol.rules.iter_mut().filter(|rule| rule.until.is_some()) {
                rule.until = None;
                rule.push = rule.text.clone();
            }
            for clause in protocol.steps.iter_mut().flat_map(|step| &mut step.clauses) {
                clause.text = clause.text.take().filter(|text| !text.get(&"en".parse().unwrap()).contains("{until}"));
            }
        }
        for locale in ["en", "es", "pt", "fr"] {
            facts.person.locale = locale.parse().unwrap();
            let chart = Chart::of(&facts);
            for treatment in &facts.treatments {
                for step in treatment.protocol.steps.iter().filter(|step| step.condition != Some(Condition::Booked)) {
                    let key = Key { treatment: treatment.id, step: step.id.clone() };
                    let at = now + SignedDuration::from_hours(later);
                    let Some(message) = chart.message(&[key], at) else { continue };
                    for broken in ["  ", " .", "until.", "{", "}"] {
                        prop_assert!(!message.body.contains(broken), "{}: {}", step.id, message.body);
                    }
                }
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
}
