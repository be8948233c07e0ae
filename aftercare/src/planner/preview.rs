//! What would be planned for a treatment that nobody recorded: for `aftercare plan` and for
//! clinics that try out a protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::message::rules_of;
use super::{Chart, Facts, Fate, Key, Person, Planned, Reason, TreatmentFacts, of_treatment, plan};
use crate::ids::TreatmentId;
use crate::locale::Locale;
use crate::protocol::{Area, Protocol, RuleId, RuleKind, Step, StepId};
use crate::zone::Zone;

/// A plan as it is shown. Instants are UTC; `…_local` is the same instant on the wall.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// What was planned for.
    pub treatment: PreviewTreatment,
    /// What holds, and until when.
    pub restrictions: Vec<PreviewRestriction>,
    /// What would be sent.
    pub reminders: Vec<PreviewReminder>,
    /// What would be left out.
    pub skipped: Vec<PreviewSkip>,
}

/// The treatment of a preview.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewTreatment {
    /// The protocol's slug.
    pub protocol: String,
    /// The protocol's version.
    pub protocol_version: u32,
    /// What is to be said beside it: `draft, not reviewed` until somebody approved its texts.
    pub notice: Option<&'static str>,
    /// `T`.
    pub completed_at: Timestamp,
    /// `T` on the wall.
    pub completed_local: String,
    /// The treatment's and the patient's zone.
    pub time_zone: Zone,
    /// Where it was applied.
    pub areas: BTreeSet<Area>,
}

/// A restriction of a preview.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewRestriction {
    /// The rule.
    pub rule: RuleId,
    /// What it asks for.
    pub kind: RuleKind,
    /// What not to do.
    pub activities: Vec<String>,
    /// Where.
    pub areas: BTreeSet<Area>,
    /// Since when.
    pub from: Timestamp,
    /// Until when; `None` = open-ended.
    pub until: Option<Timestamp>,
    /// The end on the wall.
    pub until_local: Option<String>,
    /// The rule in words.
    pub text: String,
}

/// A reminder of a preview.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewReminder {
    /// The steps it says.
    pub steps: Vec<StepId>,
    /// The rules it speaks of.
    pub rule_ids: Vec<RuleId>,
    /// When it is due.
    pub due_at: Timestamp,
    /// When it is due, on the wall.
    pub due_local: String,
    /// From when on it is worthless.
    pub use_by: Timestamp,
    /// The same on the wall.
    pub use_by_local: String,
    /// The heading.
    pub title: String,
    /// The text.
    pub body: String,
}

/// A step that would be left out.
#[derive(Debug, Clone, Serialize)]
pub struct PreviewSkip {
    /// The step.
    pub step: StepId,
    /// The rules it would speak of.
    pub rule_ids: Vec<RuleId>,
    /// Why it is left out.
    pub reason: Reason,
}

/// A treatment to be tried out.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The protocol.
    pub protocol: Arc<Protocol>,
    /// `T`.
    pub completed_at: Timestamp,
    /// When it would be recorded, and planned.
    pub recorded_at: Timestamp,
    /// The treatment's and the patient's zone.
    pub zone: Zone,
    /// Where; `None` = the protocol's default.
    pub areas: Option<BTreeSet<Area>>,
    /// The language of the texts.
    pub locale: Locale,
    /// The clinic's words for the protocol's slots.
    pub slots: BTreeMap<String, String>,
}

/// The instant as the wall of `zone` shows it, with its offset and the zone's name.
#[must_use]
pub fn local(at: Timestamp, zone: &Zone) -> String {
    at.to_zoned(zone.tz().clone()).to_string()
}

/// Plans a treatment nobody recorded, for a patient with no preferences. Due moments are nominal:
/// without the part of a step's spread that depends on the patient.
#[must_use]
pub fn preview(trial: Trial) -> Preview {
    let treatment = TreatmentFacts {
        id: TreatmentId(Uuid::nil()),
        areas: trial.areas.unwrap_or_else(|| trial.protocol.default_areas.clone()),
        protocol: trial.protocol,
        completed_at: trial.completed_at,
        recorded_at: trial.recorded_at,
        zone: trial.zone.clone(),
        voided: false,
        next_session_at: None,
        closed: false,
    };
    let person = Person {
        id: None,
        zone: trial.zone,
        locale: trial.locale,
        quiet_hours: None,
        exercise_hour: None,
        muted: BTreeSet::new(),
        aftercare: true,
        recall: true,
        slots: trial.slots,
    };
    let facts = Facts {
        person,
        treatments: vec![treatment.clone()],
        standing: Vec::new(),
        reachable: true,
    };
    let plan = plan(&facts, trial.recorded_at);
    let chart = Chart::of(&facts);
    let skip = |step: &Step| {
        let key = Key { treatment: treatment.id, step: step.id.clone() };
        match plan.steps.get(&key)?.fate {
            Fate::Skipped(reason) => Some(skipped(&treatment, step, reason)),
            _ => None,
        }
    };
    Preview {
        skipped: treatment.protocol.steps.iter().filter_map(skip).collect(),
        reminders: plan.reminders.iter().map(|planned| reminder(&chart, planned)).collect(),
        restrictions: restrictions(&facts, &treatment),
        treatment: PreviewTreatment {
            protocol: treatment.protocol.slug.clone(),
            protocol_version: treatment.protocol.version,
            notice: treatment.protocol.notice(),
            completed_at: treatment.completed_at,
            completed_local: local(treatment.completed_at, &treatment.zone),
            time_zone: treatment.zone.clone(),
            areas: treatment.areas.clone(),
        },
    }
}

/// A step left out, with the rules it would speak of: those that concern what was treated, or all
/// of them when none does.
fn skipped(treatment: &TreatmentFacts, step: &Step, reason: Reason) -> PreviewSkip {
    let all = rules_of(step);
    let concerns =
        |id: &&RuleId| treatment.protocol.rule(id).is_some_and(|rule| treatment.concerns(rule));
    let concerned: Vec<_> = all.iter().filter(concerns).cloned().collect();
    let rule_ids = if concerned.is_empty() { all } else { concerned };
    PreviewSkip { step: step.id.clone(), rule_ids, reason }
}

fn reminder(chart: &Chart<'_>, planned: &Planned) -> PreviewReminder {
    let zone = &chart.facts.person.zone;
    let keys: Vec<_> = planned.members.iter().map(|member| member.key.clone()).collect();
    let said = chart.describe(&keys, planned.due_at);
    PreviewReminder {
        steps: keys.into_iter().map(|key| key.step).collect(),
        rule_ids: planned.rule_ids.clone(),
        due_at: planned.due_at,
        due_local: local(planned.due_at, zone),
        use_by: planned.use_by,
        use_by_local: local(planned.use_by, zone),
        title: said.title,
        body: said.body,
    }
}

fn restrictions(facts: &Facts, treatment: &TreatmentFacts) -> Vec<PreviewRestriction> {
    let restrictions = of_treatment(facts, treatment).into_iter();
    let shown = restrictions.map(|restriction| PreviewRestriction {
        until_local: restriction.until.map(|until| local(until, &facts.person.zone)),
        rule: restriction.rule,
        kind: restriction.kind,
        activities: restriction.activities,
        areas: restriction.areas,
        from: restriction.from,
        until: restriction.until,
        text: restriction.text,
    });
    shown.collect()
}
