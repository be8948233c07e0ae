//! What a patient agrees to: pushes about the care after a treatment, and, apart from it, pushes
//! about the next session.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::phone_clock::told;
use super::plan::replan;
use super::webhooks::{Happening, tell};
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
/// nothing, unless the known one was only implied by redeeming an enrolment code: that has the server's
/// time, and a phone's clock may be slow. Gives the word that counts, and whether it is this one.
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
    let said_now = word.at.is_none();
    let consent = Consent {
        patient_id: patient.id,
        kind,
        granted: word.granted,
        notice_version: word.notice_version,
        at,
    };
    if known.as_ref().is_some_and(|known| !outranks(&consent, known, said_now)) {
        return Ok((view(kind, known), false));
    }
    if known.as_ref() != Some(&consent) {
        tx.set_consent(&consent)?;
        if !consent.granted && known.as_ref().is_none_or(|known| known.granted) {
            tell(tx, &[Happening::withdrawn(patient.id, kind)])?;
        }
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

/// Whether a patient's word takes the place of the known one. Of words with a notice the newest counts, in
/// whatever order they come; of two said at once the withdrawal, unless the grant is said only now.
fn outranks(word: &Consent, known: &Consent, said_now: bool) -> bool {
    let explicit = !word.granted || word.notice_version.is_some();
    if is_implied(known) && explicit {
        return true;
    }
    match word.at.cmp(&known.at) {
        Ordering::Less => false,
        Ordering::Equal => said_now || known.granted || !word.granted,
        Ordering::Greater => true,
    }
}

/// Whether nobody was shown a text: so stands what redeeming implied.
fn is_implied(known: &Consent) -> bool {
    known.kind == ConsentKind::Aftercare && known.granted && known.notice_version.is_none()
}

fn view(kind: ConsentKind, word: Option<Consent>) -> ConsentView {
    let Some(word) = word else {
        return ConsentView { kind, granted: true, notice_version: None, at: None };
    };
    let Consent { granted, notice_version, at, .. } = word;
    ConsentView { kind, granted, notice_version, at: Some(at) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Env;

    fn word(granted: bool, notice: Option<&str>, second: i64) -> Consent {
        Consent {
            patient_id: Env::system().id(),
            kind: ConsentKind::Aftercare,
            granted,
            notice_version: notice.map(str::to_owned),
            at: Timestamp::new(second, 0).unwrap(),
        }
    }

    /// What counts after these words, told late.
    fn counts<'w>(words: impl IntoIterator<Item = &'w Consent>) -> &'w Consent {
        let newer = |known, word| if outranks(word, known, false) { word } else { known };
        words.into_iter().reduce(newer).unwrap()
    }

    #[test]
    fn an_explicit_word_wins_over_the_implied_one_whatever_its_clock_says() {
        let implied = word(true, None, 100);
        for explicit in
            [word(false, None, 40), word(false, Some("1"), 40), word(true, Some("1"), 40)]
        {
            assert_eq!(counts([&implied, &explicit]), &explicit);
        }
        assert_eq!(counts([&implied, &word(true, None, 40)]), &implied);
        let recall = Consent { kind: ConsentKind::Recall, ..implied };
        assert_eq!(counts([&recall, &word(false, None, 40)]), &recall, "nothing implies that one");
    }

    #[test]
    fn explicit_words_count_alike_in_any_order() {
        let implied = word(true, None, 100);
        let (no, yes) = (word(false, None, 50), word(true, Some("1"), 60));
        let (later, at_once) = (word(false, Some("1"), 70), word(true, Some("1"), 70));
        for words in [[&no, &yes], [&yes, &no]] {
            assert_eq!(counts(std::iter::once(&implied).chain(words)), &yes);
        }
        for words in [[&yes, &later], [&later, &yes], [&at_once, &later], [&later, &at_once]] {
            assert_eq!(counts(std::iter::once(&implied).chain(words)), &later);
        }
        assert!(outranks(&at_once, &later, true), "what is said now is the last word");
    }
}
