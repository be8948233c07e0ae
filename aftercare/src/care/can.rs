//! "Can I …?": which rule speaks, never permission.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::case::cases;
use super::protocols::protocol_of;
use crate::ids::{PatientId, TreatmentId};
use crate::planner::{in_force, local};
use crate::protocol::RuleId;
use crate::store::{StoreError, Tx};
use crate::words::words;

words! {
    /// What the rules say of an activity. There is no "allowed": rules are known, skin is not.
    Verdict {
        /// A rule says not to.
        Avoid = "avoid",
        /// No rule speaks of it.
        NoRule = "no_rule",
    }
}

/// The rules' answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanAnswer {
    /// What was asked about.
    pub activity: String,
    /// What the rules say.
    pub verdict: Verdict,
    /// Until when; `None` when no rule speaks, or it is open-ended.
    pub until: Option<Timestamp>,
    /// The same on the patient's wall.
    pub until_local: Option<String>,
    /// The rules that say so, and the treatments behind them.
    pub because: Vec<(RuleId, TreatmentId)>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CanError {
    /// No protocol knows the activity.
    #[error("no protocol knows this activity; known are {}", .known.join(", "))]
    UnknownActivity {
        /// What could be asked about.
        known: Vec<String>,
    },
    /// No such patient.
    #[error("no such patient")]
    UnknownPatient,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a rule says not to do `activity` at `at` (now, when not given).
///
/// # Errors
/// [`CanError`].
pub fn can(
    tx: &mut Tx<'_>,
    patient: PatientId,
    activity: &str,
    at: Option<Timestamp>,
) -> Result<CanAnswer, CanError> {
    let case = cases(tx, &[patient])?.pop().ok_or(CanError::UnknownPatient)?;
    let mut known: Vec<String> = Vec::new();
    for record in tx.protocols(case.clinic.id)? {
        known.extend(protocol_of(&record)?.activities.keys().cloned());
    }
    known.extend(case.facts.treatments.iter().flat_map(|t| t.protocol.activities.keys().cloned()));
    known.sort_unstable();
    known.dedup();
    if !known.iter().any(|name| name == activity) {
        return Err(CanError::UnknownActivity { known });
    }
    let at = at.unwrap_or_else(|| tx.now());
    let mut held = in_force(&case.facts, at);
    held.retain(|held| held.from <= at && held.activities.iter().any(|name| name == activity));
    let began = case.facts.treatments.iter().filter(|treatment| treatment.completed_at <= at);
    let began: BTreeSet<TreatmentId> = began.map(|treatment| treatment.id).collect();
    let because = held.iter().flat_map(|held| {
        let behind = held.treatment_ids.iter().filter(|id| began.contains(id));
        behind.map(|id| (held.rule.clone(), *id))
    });
    let open_ended = held.iter().any(|held| held.until.is_none());
    let until = held.iter().filter_map(|held| held.until).max().filter(|_| !open_ended);
    Ok(CanAnswer {
        activity: activity.to_owned(),
        verdict: if held.is_empty() { Verdict::NoRule } else { Verdict::Avoid },
        until,
        until_local: until.map(|until| local(until, &case.facts.person.zone)),
        because: because.collect(),
    })
}
