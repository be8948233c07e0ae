//! What a patient agrees to: pushes about the care after a treatment, and, apart from it, pushes
//! about the next session.

use jiff::Timestamp;

use super::phone_clock::told;
use super::plan::replan;
use crate::ids::PatientId;
use crate::store::{AuditEntry, Consent, ConsentKind, StoreError, Tx};

/// A patient's word on one kind of push, as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentView {
    /// On what.
    pub kind: ConsentKind,
    /// Yes or no; yes until the patient says no.
    pub granted: bool,
    /// Which text the patient was shown.
    pub notice_version: Option<String>,
    /// When it was said; `None` when the patient never spoke of it.
    pub at: Option<Timestamp>,
}

/// A word that a phone brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentWord {
    /// Yes or no.
    pub granted: bool,
    /// Which text the patient was shown.
    pub notice_version: Option<String>,
    /// When it was said, by the phone's clock; `None` = now.
    pub at: Option<Timestamp>,
}

/// Why a word is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// No such patient.
    #[error("no such patient")]
    UnknownPatient,
    /// It will only be said.
    #[error("lies in the future")]
    InFuture,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The patient's word on one kind of push.
///
/// # Errors
/// When the database refuses.
pub fn consent(
    tx: &mut Tx<'_>,
    patient: PatientId,
    kind: ConsentKind,
) -> Result<ConsentView, StoreError> {
    let word = tx.consents(patient)?.into_iter().find(|consent| consent.kind == kind);
    Ok(view(kind, word))
}

/// Takes a patient's word and plans anew: without consent what is not sent yet is skipped, with it it
/// returns. A word that is older than the one that is known, from a phone that was offline, changes
/// nothing. Gives the word that counts, and whether it is this one.
///
/// # Errors
/// [`ConsentError`].
pub fn tell_consent(
    tx: &mut Tx<'_>,
    patient: PatientId,
    kind: ConsentKind,
    word: ConsentWord,
) -> Result<(ConsentView, bool), ConsentError> {
    let patient = tx.lock_patient(patient)?.ok_or(ConsentError::UnknownPatient)?;
    let now = tx.now();
    let at = told(word.at.unwrap_or(now), now).ok_or(ConsentError::InFuture)?;
    let known = tx.consents(patient.id)?.into_iter().find(|consent| consent.kind == kind);
    if known.as_ref().is_some_and(|known| at < known.at) {
        return Ok((view(kind, known), false));
    }
    let consent = Consent {
        patient_id: patient.id,
        kind,
        granted: word.granted,
        notice_version: word.notice_version,
        at,
    };
    if known.as_ref() != Some(&consent) {
        tx.set_consent(&consent)?;
        let deed = if consent.granted { "granted" } else { "withdrawn" };
        tx.append_audit(&AuditEntry {
            clinic_id: Some(patient.clinic_id),
            actor: &format!("patient:{}", patient.id),
            action: &format!("consent.{kind}.{deed}"),
            subject: Some(&format!("patient:{}", patient.id)),
        })?;
        replan(tx, patient.id)?;
    }
    Ok((view(kind, Some(consent)), true))
}

fn view(kind: ConsentKind, word: Option<Consent>) -> ConsentView {
    let Some(word) = word else {
        return ConsentView { kind, granted: true, notice_version: None, at: None };
    };
    let Consent { granted, notice_version, at, .. } = word;
    ConsentView { kind, granted, notice_version, at: Some(at) }
}
