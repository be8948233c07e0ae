//! Invitations to a patient's app: single use.

use std::fmt;

use diesel::prelude::*;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::schema::enrolments;
use super::sql::{At, MaybeAt};
use super::{StoreError, Tx, with_conn};
use crate::ids::{ClinicId, EnrolmentId, PatientId};
use crate::seal::{Digest, MasterKey};

/// An invitation; the code itself is nowhere.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = enrolments, treat_none_as_default_value = false)]
pub struct Enrolment {
    /// Its id.
    pub id: EnrolmentId,
    /// The clinic that invites.
    pub clinic_id: ClinicId,
    /// The patient who is invited.
    pub patient_id: PatientId,
    code_hash: Digest,
    /// When it was made.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub created_at: Timestamp,
    /// From this instant on it cannot be used.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub expires_at: Timestamp,
    /// When it was used.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub redeemed_at: Option<Timestamp>,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("id", &self.id)
            .field("patient_id", &self.patient_id)
            .field("redeemed_at", &self.redeemed_at)
            .finish_non_exhaustive()
    }
}

fn code_hash(master: &MasterKey, code: &SecretString) -> Digest {
    master.index("enrolments.code", &[code.expose_secret().as_bytes()])
}

impl Tx<'_> {
    /// Keeps a new invitation, made now.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the code is taken.
    pub fn insert_enrolment(
        &mut self,
        clinic: ClinicId,
        patient: PatientId,
        code: &SecretString,
        expires_at: Timestamp,
    ) -> Result<Enrolment, StoreError> {
        let row = Enrolment {
            id: self.env.id(),
            clinic_id: clinic,
            patient_id: patient,
            code_hash: code_hash(self.master, code),
            created_at: self.now,
            expires_at,
            redeemed_at: None,
        };
        with_conn!(self, |c| diesel::insert_into(enrolments::table)
            .values(row.clone())
            .execute(c))?;
        Ok(row)
    }

    /// Every invitation of a patient, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn enrolments(&mut self, patient: PatientId) -> Result<Vec<Enrolment>, StoreError> {
        with_conn!(self, |c| enrolments::table
            .filter(enrolments::patient_id.eq(patient))
            .order(enrolments::id)
            .select(Enrolment::as_select())
            .load(c))
    }

    /// Whom the invitation with this code is for, used or not; nothing is locked.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn patient_of_enrolment(
        &mut self,
        code: &SecretString,
    ) -> Result<Option<PatientId>, StoreError> {
        let hash = code_hash(self.master, code);
        with_conn!(self, |c| enrolments::table
            .filter(enrolments::code_hash.eq(hash))
            .select(enrolments::patient_id)
            .first(c)
            .optional())
    }

    /// Uses an invitation now. Of many who try, one gets it; `None` for a code that is unknown, used or
    /// expired.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn redeem_enrolment(
        &mut self,
        code: &SecretString,
    ) -> Result<Option<Enrolment>, StoreError> {
        let hash = code_hash(self.master, code);
        let now = At(self.now);
        with_conn!(self, |c| diesel::update(enrolments::table)
            .filter(enrolments::code_hash.eq(hash))
            .filter(enrolments::redeemed_at.is_null())
            .filter(enrolments::expires_at.gt(now))
            .set(enrolments::redeemed_at.eq(now))
            .returning(Enrolment::as_returning())
            .get_result(c)
            .optional())
    }
}
