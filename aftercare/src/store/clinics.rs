//! Clinics, and the secrets of their API clients.

use std::collections::BTreeMap;

use diesel::prelude::*;
use jiff::Timestamp;

use super::conn::Conn;
use super::kept::Keep as _;
use super::schema::{client_secrets, clinics};
use super::sql::{At, Json, MaybeAt};
use super::{StoreError, Tx, with_conn};
use crate::ids::{ClientSecretId, ClinicId};
use crate::locale::Locale;
use crate::words::words;
use crate::zone::Zone;

words! {
    /// How much a push says on a locked screen; ordered, the later is the stricter.
    PushContent {
        /// The reminder's own text.
        Text = "text",
        /// A neutral sentence.
        Discreet = "discreet",
        /// The reminder's id only; the app fetches the text.
        Reference = "reference",
    }
}

/// A clinic: the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = clinics, treat_none_as_default_value = false)]
pub struct Clinic {
    /// Its id.
    pub id: ClinicId,
    /// What its API client calls itself; unique on the server.
    pub client_id: String,
    /// What patients see.
    pub display_name: String,
    /// Where it is: the zone of whoever has none of their own.
    pub time_zone: Zone,
    /// The language of whoever has none of their own.
    pub locale: Locale,
    /// The number that patients may call.
    pub contact_phone: Option<String>,
    /// What it filled into the slots of protocols, by slot.
    #[diesel(serialize_as = Json<BTreeMap<String, String>>, deserialize_as = Json<BTreeMap<String, String>>)]
    pub slots: BTreeMap<String, String>,
    /// How much its pushes say at most.
    pub push_content: PushContent,
    /// Whether the operator paused this clinic: nothing is sent, intake goes on.
    pub paused: bool,
    /// When it was made.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub created_at: Timestamp,
}

/// A secret of a clinic's API client.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = client_secrets, treat_none_as_default_value = false)]
pub struct ClientSecret {
    /// Its id.
    pub id: ClientSecretId,
    /// Whose it is.
    pub clinic_id: ClinicId,
    /// A password hash in PHC form, never the secret.
    pub hash: String,
    /// When it was made.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub created_at: Timestamp,
    /// Since when it counts no more.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub revoked_at: Option<Timestamp>,
}

impl Tx<'_> {
    /// Keeps a new clinic.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the client id is taken.
    pub fn insert_clinic(&mut self, clinic: &Clinic) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::insert_into(clinics::table)
            .values(clinic.clone())
            .execute(c))?;
        Ok(())
    }

    /// Keeps the hash of a new secret of a clinic's client, made now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_client_secret(
        &mut self,
        clinic: ClinicId,
        hash: &str,
    ) -> Result<ClientSecretId, StoreError> {
        let secret = ClientSecret {
            id: self.env.id(),
            clinic_id: clinic,
            hash: hash.to_owned(),
            created_at: self.now,
            revoked_at: None,
        };
        let id = secret.id;
        with_conn!(self, |c| diesel::insert_into(client_secrets::table).values(secret).execute(c))?;
        Ok(id)
    }

    /// Revokes a secret now; false when there is none or it is revoked already.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn revoke_client_secret(&mut self, id: ClientSecretId) -> Result<bool, StoreError> {
        let now = At(self.now);
        let revoked = with_conn!(self, |c| diesel::update(client_secrets::table)
            .filter(client_secrets::id.eq(id))
            .filter(client_secrets::revoked_at.is_null())
            .set(client_secrets::revoked_at.eq(now))
            .execute(c))?;
        Ok(revoked > 0)
    }

    /// Whether a secret still counts. If so it does until this transaction ends: whoever revokes it waits.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lock_client_secret(&mut self, id: ClientSecretId) -> Result<bool, StoreError> {
        let live = client_secrets::table
            .find(id)
            .filter(client_secrets::revoked_at.is_null())
            .select(client_secrets::id);
        let found = match &mut *self.conn {
            Conn::Pg(c) => live.for_share().first::<ClientSecretId>(&mut **c).optional(),
            Conn::Sqlite(c) => live.first(&mut **c).optional(),
        };
        found.map(|found| found.is_some()).map_err(|error| self.refused(error))
    }

    /// The secrets of a clinic's client that are not revoked, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn client_secrets(&mut self, clinic: ClinicId) -> Result<Vec<ClientSecret>, StoreError> {
        with_conn!(self, |c| client_secrets::table
            .filter(client_secrets::clinic_id.eq(clinic))
            .filter(client_secrets::revoked_at.is_null())
            .order(client_secrets::id)
            .select(ClientSecret::as_select())
            .load(c))
    }

    /// Makes whoever changes this clinic wait until this transaction ends; false when there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lock_clinic(&mut self, id: ClinicId) -> Result<bool, StoreError> {
        let clinic = clinics::table.find(id).select(clinics::id);
        let found = match &mut *self.conn {
            Conn::Pg(c) => clinic.for_no_key_update().first::<ClinicId>(&mut **c).optional(),
            Conn::Sqlite(c) => clinic.first(&mut **c).optional(),
        };
        found.map(|found| found.is_some()).map_err(|error| self.refused(error))
    }

    /// The clinic with this id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn clinic(&mut self, id: ClinicId) -> Result<Option<Clinic>, StoreError> {
        with_conn!(self, |c| clinics::table
            .find(id)
            .select(Clinic::as_select())
            .first(c)
            .optional())
    }

    /// The clinics with these ids, in no particular order.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn clinics_by_id(&mut self, ids: &[ClinicId]) -> Result<Vec<Clinic>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(super::BATCH) {
            found.append(&mut with_conn!(self, |c| clinics::table
                .filter(clinics::id.eq_any(ids))
                .select(Clinic::as_select())
                .kept_for(ids)
                .load(c))?);
        }
        Ok(found)
    }

    /// The clinic whose client has this id, with its secrets that are not revoked.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn clinic_by_client_id(
        &mut self,
        client_id: &str,
    ) -> Result<Option<(Clinic, Vec<ClientSecret>)>, StoreError> {
        let clinic: Option<Clinic> = with_conn!(self, |c| clinics::table
            .filter(clinics::client_id.eq(client_id))
            .select(Clinic::as_select())
            .first(c)
            .optional())?;
        let Some(clinic) = clinic else { return Ok(None) };
        let secrets = self.client_secrets(clinic.id)?;
        Ok(Some((clinic, secrets)))
    }

    /// Every clinic, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn clinics(&mut self) -> Result<Vec<Clinic>, StoreError> {
        with_conn!(self, |c| clinics::table
            .order((clinics::created_at, clinics::id))
            .select(Clinic::as_select())
            .load(c))
    }

    /// Writes a clinic that is known, as given; lock it before ([`Tx::lock_clinic`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn update_clinic(&mut self, clinic: &Clinic) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::update(clinics::table.find(clinic.id))
            .set((
                clinics::display_name.eq(&clinic.display_name),
                clinics::time_zone.eq(&clinic.time_zone),
                clinics::locale.eq(&clinic.locale),
                clinics::contact_phone.eq(&clinic.contact_phone),
                clinics::push_content.eq(clinic.push_content),
            ))
            .execute(c))?;
        Ok(())
    }

    /// Pauses or resumes sending of one clinic; false when there is none. It is paused as long as all are,
    /// too ([`Tx::set_all_paused`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_paused(&mut self, clinic: ClinicId, paused: bool) -> Result<bool, StoreError> {
        let changed = with_conn!(self, |c| diesel::update(clinics::table.find(clinic))
            .set(clinics::paused.eq(paused))
            .execute(c))?;
        Ok(changed > 0)
    }
}
