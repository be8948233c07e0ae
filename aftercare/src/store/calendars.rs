//! Calendar feeds: a secret address for each patient who asked for one.

use std::fmt;

use diesel::prelude::*;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::patients::Patient;
use super::schema::calendars;
use super::sql::At;
use super::{StoreError, Tx, with_conn};
use crate::ids::PatientId;
use crate::seal::{Digest, MasterKey, Place};

/// A patient's calendar feed.
#[derive(Clone)]
pub struct Calendar {
    /// Whose it is.
    pub patient_id: PatientId,
    /// Whoever has it may read the feed.
    pub token: SecretString,
    /// When it was made.
    pub created_at: Timestamp,
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calendar").field("patient_id", &self.patient_id).finish_non_exhaustive()
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = calendars, treat_none_as_default_value = false)]
struct Row {
    patient_id: PatientId,
    token_hash: Digest,
    token_sealed: Vec<u8>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    created_at: Timestamp,
}

fn token_hash(master: &MasterKey, token: &SecretString) -> Digest {
    master.index("calendars.token", &[token.expose_secret().as_bytes()])
}

fn token_at(patient: PatientId) -> Place {
    Place { column: "calendars.token_sealed", row: patient.0 }
}

impl Tx<'_> {
    /// Makes a patient's feed under this token now; one that is there already stays as it is.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_calendar(
        &mut self,
        patient: &Patient,
        token: &SecretString,
    ) -> Result<(), StoreError> {
        let sealed =
            patient.key.seal(self.env, token_at(patient.id), token.expose_secret().as_bytes())?;
        let row = Row {
            patient_id: patient.id,
            token_hash: token_hash(self.master, token),
            token_sealed: sealed,
            created_at: self.now,
        };
        with_conn!(self, |c| diesel::insert_into(calendars::table)
            .values(row)
            .on_conflict(calendars::patient_id)
            .do_nothing()
            .execute(c))?;
        Ok(())
    }

    /// A patient's feed, if there is one.
    ///
    /// # Errors
    /// When the database refuses, or what is sealed does not open.
    pub fn calendar(&mut self, patient: &Patient) -> Result<Option<Calendar>, StoreError> {
        let row: Option<Row> = with_conn!(self, |c| calendars::table
            .find(patient.id)
            .select(Row::as_select())
            .first(c)
            .optional())?;
        let Some(row) = row else { return Ok(None) };
        let token = patient.key.open_text(token_at(patient.id), &row.token_sealed)?;
        Ok(Some(Calendar {
            patient_id: row.patient_id,
            token: token.into(),
            created_at: row.created_at,
        }))
    }

    /// Whose feed the token opens.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn patient_of_calendar(
        &mut self,
        token: &SecretString,
    ) -> Result<Option<PatientId>, StoreError> {
        let hash = token_hash(self.master, token);
        with_conn!(self, |c| calendars::table
            .filter(calendars::token_hash.eq(hash))
            .select(calendars::patient_id)
            .first(c)
            .optional())
    }

    /// Ends a patient's feed: its token opens nothing from now on. Whether there was one.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn delete_calendar(&mut self, patient: PatientId) -> Result<bool, StoreError> {
        let deleted =
            with_conn!(self, |c| diesel::delete(calendars::table.find(patient)).execute(c))?;
        Ok(deleted > 0)
    }
}
