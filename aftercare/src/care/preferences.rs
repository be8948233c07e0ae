//! What a patient wishes for.

use std::collections::BTreeSet;

use jiff::civil::Time;

use super::case::{Case, locked_case};
use super::plan::replan;
use super::protocols::protocol_of;
use crate::ids::PatientId;
use crate::locale::Locale;
use crate::patch::Patch;
use crate::protocol::{QuietHours, RuleId};
use crate::store::{AuditEntry, Preferences, PushContent, StoreError, Tx};
use crate::zone::Zone;

/// Changes of a patient's wishes.
#[derive(Debug, Clone, Default)]
pub struct PreferencesPatch {
    /// The zone of delivery hours, instead of the phone's.
    pub time_zone: Patch<Zone>,
    /// The language, instead of the phone's.
    pub locale: Patch<Locale>,
    /// When to be left alone, on the patient's wall.
    pub quiet_hours: Patch<QuietHours>,
    /// When the patient usually exercises, on their wall.
    pub exercise_hour: Patch<Time>,
    /// How much a push may say.
    pub push_content: Patch<PushContent>,
    /// The rules that the patient does not want to be reminded of: all of them.
    pub muted_rules: Patch<Vec<RuleId>>,
}

/// Why wishes are not taken.
#[derive(Debug, thiserror::Error)]
pub enum PreferencesError {
    /// No such patient.
    #[error("no such patient")]
    UnknownPatient,
    /// Rules that nobody could ever hear of.
    #[error("no protocol has this rule; known are {}", .known.join(", "))]
    UnknownRules {
        /// Where they stand in the list that was sent.
        at: Vec<usize>,
        /// What could stand there.
        known: Vec<String>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Merges wishes into those that are known, and plans anew: what is not sent yet follows them. Gives
/// them as they are then.
///
/// # Errors
/// [`PreferencesError`]; then nothing is to be written.
pub fn change_preferences(
    tx: &mut Tx<'_>,
    patient: PatientId,
    patch: PreferencesPatch,
) -> Result<Preferences, PreferencesError> {
    let case = locked_case(tx, patient)?.ok_or(PreferencesError::UnknownPatient)?;
    if let Patch::Set(rules) = &patch.muted_rules {
        demand_known(rules, &known_rules(tx, &case)?)?;
    }
    let mut patient = case.patient;
    let wishes = &mut patient.preferences;
    let before = wishes.clone();
    patch.time_zone.apply(&mut wishes.time_zone);
    patch.locale.apply(&mut wishes.locale);
    patch.quiet_hours.apply(&mut wishes.quiet_hours);
    patch.exercise_hour.apply(&mut wishes.exercise_hour);
    patch.push_content.apply(&mut wishes.push_content);
    match patch.muted_rules {
        Patch::Keep => {}
        Patch::Clear => wishes.muted_rules.clear(),
        Patch::Set(rules) => wishes.muted_rules = rules.into_iter().collect(),
    }
    if patient.preferences != before {
        tx.update_patient(&patient)?;
        replan(tx, patient.id)?;
        tx.append_audit(&AuditEntry {
            clinic_id: Some(patient.clinic_id),
            actor: &format!("patient:{}", patient.id),
            action: "preferences.changed",
            subject: Some(&format!("patient:{}", patient.id)),
        })?;
    }
    Ok(patient.preferences)
}

/// The rules that a patient can be told of: those of the clinic's protocols and of the versions that
/// the patient was treated under. What is muted already may stay so, whatever became of its protocol.
fn known_rules(tx: &mut Tx<'_>, case: &Case) -> Result<BTreeSet<RuleId>, StoreError> {
    let mut known = case.patient.preferences.muted_rules.clone();
    for record in tx.protocols(case.clinic.id)? {
        known.extend(protocol_of(&record)?.rules.iter().map(|rule| rule.id.clone()));
    }
    let treated = case.facts.treatments.iter().flat_map(|treatment| &treatment.protocol.rules);
    known.extend(treated.map(|rule| rule.id.clone()));
    Ok(known)
}

fn demand_known(rules: &[RuleId], known: &BTreeSet<RuleId>) -> Result<(), PreferencesError> {
    let unknown = rules.iter().enumerate().filter(|(_, rule)| !known.contains(*rule));
    let at: Vec<usize> = unknown.map(|(index, _)| index).collect();
    if at.is_empty() {
        return Ok(());
    }
    let known = known.iter().map(ToString::to_string).collect();
    Err(PreferencesError::UnknownRules { at, known })
}
