//! The clinic's own codes for its protocols.

use std::collections::BTreeMap;

use diesel::prelude::*;
use jiff::Timestamp;

use super::schema::protocol_aliases;
use super::sql::At;
use super::{StoreError, Tx, with_conn};
use crate::ids::{ClinicId, ProtocolId};

#[derive(Clone, Insertable)]
#[diesel(table_name = protocol_aliases, treat_none_as_default_value = false)]
struct Row {
    clinic_id: ClinicId,
    code: String,
    slug: String,
    #[diesel(serialize_as = At)]
    created_at: Timestamp,
}

impl Tx<'_> {
    /// The protocol that the clinic means by a code: the one of that name, else the one that it gave the
    /// code to; in the version that a new treatment follows.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn protocol_by_code(
        &mut self,
        clinic: ClinicId,
        code: &str,
    ) -> Result<Option<ProtocolId>, StoreError> {
        if let Some(named) = self.latest_protocol_id(clinic, code)? {
            return Ok(Some(named));
        }
        let slug: Option<String> = with_conn!(self, |c| protocol_aliases::table
            .find((clinic, code))
            .select(protocol_aliases::slug)
            .first(c)
            .optional())?;
        slug.map_or(Ok(None), |slug| self.latest_protocol_id(clinic, &slug))
    }

    /// The clinic's codes, each with the name of its protocol.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn aliases(&mut self, clinic: ClinicId) -> Result<BTreeMap<String, String>, StoreError> {
        let rows: Vec<(String, String)> = with_conn!(self, |c| protocol_aliases::table
            .filter(protocol_aliases::clinic_id.eq(clinic))
            .select((protocol_aliases::code, protocol_aliases::slug))
            .load(c))?;
        Ok(rows.into_iter().collect())
    }

    /// Gives a protocol these codes, and no others.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another protocol of the clinic has one of them.
    pub fn replace_aliases(
        &mut self,
        clinic: ClinicId,
        slug: &str,
        codes: &[String],
    ) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::delete(protocol_aliases::table)
            .filter(protocol_aliases::clinic_id.eq(clinic))
            .filter(protocol_aliases::slug.eq(slug))
            .execute(c))?;
        let row = |code: &String| Row {
            clinic_id: clinic,
            code: code.clone(),
            slug: slug.to_owned(),
            created_at: self.now,
        };
        let rows: Vec<_> = codes.iter().map(row).collect();
        with_conn!(self, |c| diesel::insert_into(protocol_aliases::table)
            .values(rows.clone())
            .execute(c))?;
        Ok(())
    }
}
