//! Why a reminder is what it is: everything that is known of it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::case::{Case, Source, cases, key_of};
use super::timeline::ReminderView;
use crate::ids::{DeviceId, PatientId, ReminderId, TreatmentId};
use crate::planner::{
    Chart, Member, ReminderState, ShiftCause, explain, explain_shift, in_force, local, rule_text,
};
use crate::protocol::{RuleId, RuleKind, StepId};
use crate::store::{Delivery, Platform, Receipt, Reminder, Snooze, StoreError, TreatmentState, Tx};

/// Everything that is known of one reminder.
#[derive(Debug)]
pub struct Why {
    /// The reminder.
    pub reminder: ReminderView,
    /// Why it stands where it stands, in the patient's language.
    pub explanation: &'static str,
    /// The reminder that says what this one would have said.
    pub said_by: Option<ReminderId>,
    /// The zone of its hours, by IANA name.
    pub time_zone: String,
    /// Who says so.
    pub time_zone_source: Source,
    /// The language of its words.
    pub locale: String,
    /// Who says so.
    pub locale_source: Source,
    /// The rules it speaks of, in the order in which it does.
    pub rules: Vec<RuleBehind>,
    /// The steps it says, the first one first.
    pub steps: Vec<StepBehind>,
    /// Every treatment behind its rules and steps, by completion.
    pub treatments: Vec<TreatmentBehind>,
    /// When it is tried next, while it waits.
    pub next_attempt_at: Option<Timestamp>,
    /// Every attempt to push it, the oldest first, and what the device runs, if it is still known.
    pub deliveries: Vec<(Delivery, Option<Platform>)>,
    /// What phones reported of it.
    pub receipts: Vec<Receipt>,
    /// How often it was put off, the first time first.
    pub snoozes: Vec<Snooze>,
}

/// A rule behind a reminder.
#[derive(Debug)]
pub struct RuleBehind {
    /// The rule.
    pub rule: RuleId,
    /// What it asks for.
    pub kind: RuleKind,
    /// Its text in the patient's language.
    pub text: String,
    /// What the clinic's own page says, word for word.
    pub quote: Option<String>,
    /// The protocol that it is read in.
    pub protocol: String,
    /// Its version.
    pub protocol_version: u32,
    /// Until when it holds; the latest end of all treatments behind it, as it was said once it was.
    pub until: Option<Timestamp>,
    /// The treatments it holds for.
    pub treatment_ids: Vec<TreatmentId>,
}

/// A step behind a reminder.
#[derive(Debug)]
pub struct StepBehind {
    /// The step of the protocol.
    pub step: StepId,
    /// Of which treatment.
    pub treatment: TreatmentId,
    /// When the protocol has it due.
    pub nominal_at: Timestamp,
    /// The same on the patient's wall.
    pub nominal_local: String,
    /// From when on it is worthless.
    pub use_by: Timestamp,
    /// How it got from there to where it is.
    pub shifts: Vec<ShiftBehind>,
}

/// One move of a step.
#[derive(Debug)]
pub struct ShiftBehind {
    /// What moved it.
    pub cause: ShiftCause,
    /// The same in the patient's language.
    pub explanation: &'static str,
    /// Where to.
    pub to: Timestamp,
    /// The same on the patient's wall.
    pub to_local: String,
}

/// A treatment behind a reminder.
#[derive(Debug)]
pub struct TreatmentBehind {
    /// The treatment.
    pub id: TreatmentId,
    /// The protocol's slug.
    pub protocol: String,
    /// The version it was recorded under.
    pub protocol_version: u32,
    /// When the session ended.
    pub completed_at: Timestamp,
    /// The same on the wall of the treatment's zone.
    pub completed_local: String,
    /// Whether it counts.
    pub state: TreatmentState,
}

/// Everything that is known of a reminder of the patient's, whatever became of it. `None` when the
/// patient has no such reminder.
///
/// # Errors
/// When the database refuses.
pub fn why(tx: &mut Tx<'_>, patient: PatientId, id: ReminderId) -> Result<Option<Why>, StoreError> {
    let Some(case) = cases(tx, &[patient])?.pop() else { return Ok(None) };
    let Some(row) = case.reminders.iter().find(|row| row.id == id) else { return Ok(None) };
    let platform = |device: DeviceId| {
        case.devices.iter().find(|known| known.id == device).map(|known| known.platform)
    };
    let deliveries = tx.deliveries(id)?.into_iter();
    let deliveries = deliveries.map(|one| {
        let platform = platform(one.device_id);
        (one, platform)
    });
    let deliveries = deliveries.collect();
    let chart = case.chart();
    let reminder = case.reminder(row, &chart);
    let rules = case.rules_behind(row, &reminder.rule_ids, &chart);
    let waits = row.shown_state() == ReminderState::Planned;
    let person = &case.facts.person;
    Ok(Some(Why {
        explanation: explain(row.shown_state(), row.reason, &person.locale),
        said_by: case.said_by(row),
        time_zone: person.zone.to_string(),
        time_zone_source: case.zone_source,
        locale: person.locale.to_string(),
        locale_source: case.locale_source,
        steps: row.members.iter().map(|member| case.step_behind(member)).collect(),
        treatments: case.treatments_behind(row, &rules),
        rules,
        next_attempt_at: row.attempt_at.filter(|_| waits),
        deliveries,
        receipts: tx.receipts_of(&[id])?,
        snoozes: tx.snoozes(id)?,
        reminder,
    }))
}

impl Case {
    /// The reminder that carries the step of one that says nothing itself.
    fn said_by(&self, row: &Reminder) -> Option<ReminderId> {
        let key = key_of(row);
        let says = |other: &&Reminder| {
            let left_out =
                [ReminderState::Cancelled, ReminderState::Superseded, ReminderState::Skipped];
            other.id != row.id
                && !left_out.contains(&other.state)
                && other.members.iter().any(|member| member.key == key)
        };
        self.reminders.iter().find(says).map(|other| other.id)
    }

    fn rules_behind(
        &self,
        row: &Reminder,
        rule_ids: &[RuleId],
        chart: &Chart<'_>,
    ) -> Vec<RuleBehind> {
        let said = row.said.as_ref().filter(|_| row.state == ReminderState::Sent);
        let held = in_force(&self.facts, row.spoken_at());
        let behind = rule_ids.iter().filter_map(|id| {
            let speaking =
                row.members.iter().filter_map(|member| chart.treatment(member.key.treatment));
            let speaking: Vec<_> =
                speaking.filter(|treatment| treatment.protocol.rule(id).is_some()).collect();
            let treatment = speaking.first()?;
            let rule = treatment.protocol.rule(id)?;
            let merged = held.iter().find(|held| held.rule == *id);
            let mut own: Vec<_> = speaking.iter().map(|treatment| treatment.id).collect();
            own.dedup();
            Some(RuleBehind {
                kind: rule.kind,
                text: rule_text(&self.facts, treatment, rule),
                quote: rule.quote.clone(),
                protocol: treatment.protocol.slug.clone(),
                protocol_version: treatment.protocol.version,
                until: said
                    .and_then(|said| match rule.kind {
                        RuleKind::NextSession => said.appointments.get(&treatment.id).copied(),
                        _ => said.until.get(id).copied(),
                    })
                    .unwrap_or_else(|| merged.and_then(|held| held.until)),
                treatment_ids: merged.map_or(own, |held| held.treatment_ids.clone()),
                rule: id.clone(),
            })
        });
        behind.collect()
    }

    fn step_behind(&self, member: &Member) -> StepBehind {
        let person = &self.facts.person;
        let shifts = member.shifts.iter().map(|shift| ShiftBehind {
            cause: shift.cause,
            explanation: explain_shift(shift.cause, &person.locale),
            to: shift.to,
            to_local: local(shift.to, &person.zone),
        });
        StepBehind {
            step: member.key.step.clone(),
            treatment: member.key.treatment,
            nominal_at: member.nominal_at,
            nominal_local: local(member.nominal_at, &person.zone),
            use_by: member.use_by,
            shifts: shifts.collect(),
        }
    }

    fn treatments_behind(&self, row: &Reminder, rules: &[RuleBehind]) -> Vec<TreatmentBehind> {
        let of_steps = row.members.iter().map(|member| member.key.treatment);
        let of_rules = rules.iter().flat_map(|rule| rule.treatment_ids.iter().copied());
        let ids: BTreeSet<TreatmentId> = of_steps.chain(of_rules).collect();
        let pairs = self.treatments.iter().zip(&self.facts.treatments);
        let behind = pairs.filter(|(treatment, _)| ids.contains(&treatment.id));
        let mut all: Vec<_> = behind
            .map(|(treatment, facts)| TreatmentBehind {
                id: treatment.id,
                protocol: facts.protocol.slug.clone(),
                protocol_version: facts.protocol.version,
                completed_at: treatment.completed_at,
                completed_local: local(treatment.completed_at, &treatment.time_zone),
                state: treatment.state,
            })
            .collect();
        all.sort_by_key(|treatment| (treatment.completed_at, treatment.id));
        all
    }
}
