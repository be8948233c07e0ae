//! Stored protocol versions: those shipped with the binary, and each clinic's own.

use diesel::prelude::*;
use jiff::Timestamp;

use super::kept::Keep as _;
use super::schema::protocols;
use super::sql::{At, Count, Json};
use super::{BATCH, StoreError, Tx, with_conn};
use crate::ids::{ClinicId, ProtocolId};

/// One version of a protocol, as stored. Versions never change once they are.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = protocols, treat_none_as_default_value = false)]
pub struct ProtocolRecord {
    /// Its id.
    pub id: ProtocolId,
    /// Whose it is; none for one that ships with the binary.
    pub clinic_id: Option<ClinicId>,
    /// The protocol's name.
    pub slug: String,
    /// The version, from 1.
    #[diesel(serialize_as = Count, deserialize_as = Count)]
    pub version: u32,
    /// The checked document.
    #[diesel(serialize_as = Json<serde_json::Value>, deserialize_as = Json<serde_json::Value>)]
    pub document: serde_json::Value,
    /// When it was stored.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub created_at: Timestamp,
}

impl Tx<'_> {
    /// Stores a version that ships with the binary, unless it is stored already; gives whether it
    /// was not.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn seed_protocol(
        &mut self,
        slug: &str,
        version: u32,
        document: &serde_json::Value,
    ) -> Result<bool, StoreError> {
        let known: Option<ProtocolId> = with_conn!(self, |c| protocols::table
            .filter(protocols::clinic_id.is_null())
            .filter(protocols::slug.eq(slug))
            .filter(protocols::version.eq(Count::from(version)))
            .select(protocols::id)
            .first(c)
            .optional())?;
        if known.is_some() {
            return Ok(false);
        }
        let record = self.protocol_record(None, slug, version, document);
        // Another server that starts at this moment may be first.
        let stored = with_conn!(self, |c| diesel::insert_into(protocols::table)
            .values(record)
            .on_conflict_do_nothing()
            .execute(c))?;
        Ok(stored > 0)
    }

    /// Stores a version of a clinic's own protocol.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the clinic has this version already.
    pub fn insert_protocol(
        &mut self,
        clinic: ClinicId,
        slug: &str,
        version: u32,
        document: &serde_json::Value,
    ) -> Result<ProtocolRecord, StoreError> {
        let record = self.protocol_record(Some(clinic), slug, version, document);
        with_conn!(self, |c| diesel::insert_into(protocols::table)
            .values(record.clone())
            .execute(c))?;
        Ok(record)
    }

    fn protocol_record(
        &self,
        clinic_id: Option<ClinicId>,
        slug: &str,
        version: u32,
        document: &serde_json::Value,
    ) -> ProtocolRecord {
        ProtocolRecord {
            id: self.env.id(),
            clinic_id,
            slug: slug.to_owned(),
            version,
            document: document.clone(),
            created_at: self.now,
        }
    }

    /// The version of a protocol that a new treatment in this clinic follows: the latest of its own
    /// ones, else the latest shipped.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn latest_protocol(
        &mut self,
        clinic: ClinicId,
        slug: &str,
    ) -> Result<Option<ProtocolRecord>, StoreError> {
        let id = self.latest_protocol_id(clinic, slug)?;
        id.map_or(Ok(None), |id| self.protocol(id))
    }

    /// The id of [`Tx::latest_protocol`], for whoever knows the document.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn latest_protocol_id(
        &mut self,
        clinic: ClinicId,
        slug: &str,
    ) -> Result<Option<ProtocolId>, StoreError> {
        with_conn!(self, |c| protocols::table
            .filter(protocols::slug.eq(slug))
            .filter(protocols::clinic_id.is_null().or(protocols::clinic_id.eq(Some(clinic))))
            .order((protocols::clinic_id.is_null(), protocols::version.desc()))
            .select(protocols::id)
            .first(c)
            .optional())
    }

    /// The latest version of each protocol that this clinic can use, by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn protocols(&mut self, clinic: ClinicId) -> Result<Vec<ProtocolRecord>, StoreError> {
        let mut all: Vec<ProtocolRecord> = with_conn!(self, |c| protocols::table
            .filter(protocols::clinic_id.is_null().or(protocols::clinic_id.eq(Some(clinic))))
            .order((protocols::slug, protocols::version.desc()))
            .select(ProtocolRecord::as_select())
            .load(c))?;
        // Stable: within a name the clinic's own come first, each by falling version.
        all.sort_by(|a, b| {
            a.slug.cmp(&b.slug).then(a.clinic_id.is_none().cmp(&b.clinic_id.is_none()))
        });
        all.dedup_by(|later, kept| later.slug == kept.slug);
        Ok(all)
    }

    /// The version with this id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn protocol(&mut self, id: ProtocolId) -> Result<Option<ProtocolRecord>, StoreError> {
        Ok(self.protocols_by_id(&[id])?.pop())
    }

    /// The versions with these ids, in no particular order.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn protocols_by_id(
        &mut self,
        ids: &[ProtocolId],
    ) -> Result<Vec<ProtocolRecord>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            found.append(&mut with_conn!(self, |c| protocols::table
                .filter(protocols::id.eq_any(ids))
                .select(ProtocolRecord::as_select())
                .kept_for(ids)
                .load(c))?);
        }
        Ok(found)
    }
}
