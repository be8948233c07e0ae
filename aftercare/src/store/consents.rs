//! What a patient agreed to.

use diesel::prelude::*;
use diesel::upsert::excluded;
use jiff::Timestamp;

use super::kept::Keep as _;
use super::schema::consents;
use super::sql::At;
use super::{BATCH, StoreError, Tx, with_conn};
use crate::ids::PatientId;
use crate::words::words;

words! {
    /// What a consent is about.
    ConsentKind {
        /// Pushes about the care after a treatment.
        Aftercare = "aftercare",
        /// Pushes about the next session.
        Recall = "recall",
    }
}

/// A patient's latest word on one kind of push.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = consents, treat_none_as_default_value = false)]
pub struct Consent {
    /// Whose word.
    pub patient_id: PatientId,
    /// On what.
    pub kind: ConsentKind,
    /// Yes or no.
    pub granted: bool,
    /// Which text the patient was shown.
    pub notice_version: Option<String>,
    /// When it was said.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub at: Timestamp,
}

impl Tx<'_> {
    /// Keeps a patient's word, instead of an earlier one on the same kind.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_consent(&mut self, consent: &Consent) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::insert_into(consents::table)
            .values(consent.clone())
            .on_conflict((consents::patient_id, consents::kind))
            .do_update()
            .set((
                consents::granted.eq(excluded(consents::granted)),
                consents::notice_version.eq(excluded(consents::notice_version)),
                consents::at.eq(excluded(consents::at)),
            ))
            .execute(c))?;
        Ok(())
    }

    /// A patient's words, one for each kind that was spoken about.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn consents(&mut self, patient: PatientId) -> Result<Vec<Consent>, StoreError> {
        self.consents_of(&[patient])
    }

    /// The words of many patients, ordered by patient.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn consents_of(&mut self, patients: &[PatientId]) -> Result<Vec<Consent>, StoreError> {
        let mut found = Vec::new();
        for patients in patients.chunks(BATCH) {
            found.append(&mut with_conn!(self, |c| consents::table
                .filter(consents::patient_id.eq_any(patients))
                .select(Consent::as_select())
                .kept_for(patients)
                .load(c))?);
        }
        found.sort_unstable_by_key(|consent: &Consent| (consent.patient_id, consent.kind));
        Ok(found)
    }
}
