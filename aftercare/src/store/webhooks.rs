//! Where clinics want to hear of what happens. The address and the secret that signs are sealed under the
//! master key.

use std::collections::BTreeSet;

use diesel::prelude::*;
use jiff::Timestamp;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::conn::Conn;
use super::schema::{patients, webhook_events, webhooks};
use super::sql::{At, Json, MaybeAt};
use super::{BATCH, StoreError, Tx, with_conn};
use crate::ids::{ClinicId, PatientId, WebhookId};
use crate::seal::UnderMaster;
use crate::webhook::EventType;

/// One address of a clinic's, and what it wants to hear there.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Whose it is.
    pub clinic_id: ClinicId,
    /// The URL; may be a secret itself, and is never logged.
    pub url: SecretString,
    /// What signs, as the receiver has it: `whsec_…`.
    pub secret: SecretString,
    /// What it wants to hear.
    pub types: BTreeSet<EventType>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when nothing is told there, because the receiver said that it is gone.
    pub disabled_at: Option<Timestamp>,
}

/// A webhook that hears of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The patient.
    pub patient: PatientId,
    /// The webhook.
    pub webhook: WebhookId,
    /// What it wants to hear.
    pub types: BTreeSet<EventType>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = webhooks, treat_none_as_default_value = false)]
struct Row {
    id: WebhookId,
    clinic_id: ClinicId,
    target_sealed: Vec<u8>,
    #[diesel(serialize_as = Json<BTreeSet<EventType>>, deserialize_as = Json<BTreeSet<EventType>>)]
    types: BTreeSet<EventType>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    created_at: Timestamp,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    disabled_at: Option<Timestamp>,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Target<'a> {
    url: std::borrow::Cow<'a, str>,
    secret: std::borrow::Cow<'a, str>,
}

impl Tx<'_> {
    /// Keeps a webhook, made now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_webhook(
        &mut self,
        clinic: ClinicId,
        url: &str,
        secret: &SecretString,
        types: BTreeSet<EventType>,
    ) -> Result<Webhook, StoreError> {
        let id: WebhookId = self.env.id();
        let target = Target { url: url.into(), secret: secret.expose_secret().into() };
        let plain = serde_json::to_vec(&target).map(Zeroizing::new);
        let plain = plain.map_err(|error| StoreError::Internal(error.to_string()))?;
        let (under, what) = (self.master_key_in_use()?, UnderMaster::WebhookTarget);
        let target_sealed = self.master.seal(self.env, under, what, id.0, &plain)?;
        let row = Row {
            id,
            clinic_id: clinic,
            target_sealed,
            types: types.clone(),
            created_at: self.now,
            disabled_at: None,
        };
        with_conn!(self, |c| diesel::insert_into(webhooks::table).values(row).execute(c))?;
        Ok(Webhook {
            id,
            clinic_id: clinic,
            url: url.into(),
            secret: secret.clone(),
            types,
            created_at: self.now,
            disabled_at: None,
        })
    }

    /// The webhooks of a clinic, the oldest first.
    ///
    /// # Errors
    /// When the database refuses, or what is sealed does not open.
    pub fn webhooks(&mut self, clinic: ClinicId) -> Result<Vec<Webhook>, StoreError> {
        let rows: Vec<Row> = with_conn!(self, |c| webhooks::table
            .filter(webhooks::clinic_id.eq(clinic))
            .order((webhooks::created_at, webhooks::id))
            .select(Row::as_select())
            .load(c))?;
        rows.into_iter().map(|row| self.open_webhook(row)).collect()
    }

    /// One webhook, whosever it is.
    ///
    /// # Errors
    /// As [`Tx::webhooks`].
    pub fn webhook(&mut self, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        let row: Option<Row> = with_conn!(self, |c| webhooks::table
            .find(id)
            .select(Row::as_select())
            .first(c)
            .optional())?;
        row.map(|row| self.open_webhook(row)).transpose()
    }

    fn open_webhook(&self, row: Row) -> Result<Webhook, StoreError> {
        let plain = self.master.open(UnderMaster::WebhookTarget, row.id.0, &row.target_sealed)?;
        let target: Target<'_> = serde_json::from_slice(&plain).map_err(|_| {
            StoreError::Corrupt("webhooks.target_sealed: not an address".to_owned())
        })?;
        Ok(Webhook {
            id: row.id,
            clinic_id: row.clinic_id,
            url: target.url.into_owned().into(),
            secret: target.secret.into_owned().into(),
            types: row.types,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
        })
    }

    /// Keeps these webhooks from being deleted until the transaction ends; gives those that are there.
    /// Whoever writes into the outbox needs it, and waits for whoever is deleting.
    ///
    /// # Errors
    /// When the database refuses.
    pub(super) fn hold_webhooks(
        &mut self,
        ids: BTreeSet<WebhookId>,
    ) -> Result<BTreeSet<WebhookId>, StoreError> {
        let Conn::Pg(c) = &mut *self.conn else { return Ok(ids) };
        if ids.is_empty() {
            return Ok(ids);
        }
        let held = webhooks::table
            .filter(webhooks::id.eq_any(ids))
            .order(webhooks::id)
            .select(webhooks::id)
            .for_key_share()
            .load::<WebhookId>(&mut **c);
        Ok(held.map_err(|error| self.refused(error))?.into_iter().collect())
    }

    /// Locks a webhook and then what is kept of its events, in their order, as an erasure does too: whoever
    /// changes both does so first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lock_webhook(&mut self, id: WebhookId) -> Result<(), StoreError> {
        if let Conn::Pg(c) = &mut *self.conn {
            let c = &mut **c;
            // Not FOR UPDATE yet: whoever erases holds events and must still get the word of it in.
            let locked = webhooks::table
                .find(id)
                .select(webhooks::id)
                .for_no_key_update()
                .load::<WebhookId>(c)
                .and_then(|_| {
                    webhook_events::table
                        .filter(webhook_events::webhook_id.eq(id))
                        .order(webhook_events::seq)
                        .select(webhook_events::seq)
                        .for_update()
                        .load::<i64>(c)
                });
            locked.map_err(|error| self.refused(error))?;
        }
        Ok(())
    }

    /// The webhooks whose receivers are gone.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn disabled_webhooks(&mut self) -> Result<Vec<WebhookId>, StoreError> {
        with_conn!(self, |c| webhooks::table
            .filter(webhooks::disabled_at.is_not_null())
            .order(webhooks::id)
            .select(webhooks::id)
            .load(c))
    }

    /// Forgets a clinic's webhook and whatever was to be told there; false when there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn delete_webhook(&mut self, clinic: ClinicId, id: WebhookId) -> Result<bool, StoreError> {
        let deleted = with_conn!(self, |c| diesel::delete(webhooks::table.find(id))
            .filter(webhooks::clinic_id.eq(clinic))
            .execute(c))?;
        Ok(deleted > 0)
    }

    /// Tells nothing more there, or does so again; false when the clinic has no such webhook.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_webhook_disabled(
        &mut self,
        clinic: ClinicId,
        id: WebhookId,
        disabled: bool,
    ) -> Result<bool, StoreError> {
        let at = MaybeAt::from(disabled.then_some(self.now));
        let found = with_conn!(self, |c| diesel::update(webhooks::table.find(id))
            .filter(webhooks::clinic_id.eq(clinic))
            .set(webhooks::disabled_at.eq(at))
            .execute(c))?;
        Ok(found > 0)
    }

    /// A clinic's webhooks that want to hear of something. Nothing has to open for it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn webhooks_wanting(
        &mut self,
        clinic: ClinicId,
        kind: EventType,
    ) -> Result<Vec<WebhookId>, StoreError> {
        let rows: Vec<(WebhookId, Json<BTreeSet<EventType>>)> =
            with_conn!(self, |c| webhooks::table
                .filter(webhooks::clinic_id.eq(clinic))
                .filter(webhooks::disabled_at.is_null())
                .order(webhooks::id)
                .select((webhooks::id, webhooks::types))
                .load(c))?;
        let wanting = rows.into_iter().filter(|(_, types)| types.0.contains(&kind));
        Ok(wanting.map(|(id, _)| id).collect())
    }

    /// The webhooks that hear of these patients. One question of next to nothing where no clinic has any.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn listeners(&mut self, patients: &[PatientId]) -> Result<Vec<Listener>, StoreError> {
        let any: Option<WebhookId> = with_conn!(self, |c| webhooks::table
            .filter(webhooks::disabled_at.is_null())
            .select(webhooks::id)
            .first(c)
            .optional())?;
        let mut found = Vec::new();
        let asked = if any.is_some() { patients } else { &[] };
        for patients in asked.chunks(BATCH) {
            let rows: Vec<(PatientId, WebhookId, Json<BTreeSet<EventType>>)> =
                with_conn!(self, |c| patients::table
                    .inner_join(webhooks::table.on(webhooks::clinic_id.eq(patients::clinic_id)))
                    .filter(patients::id.eq_any(patients))
                    .filter(webhooks::disabled_at.is_null())
                    .select((patients::id, webhooks::id, webhooks::types))
                    .load(c))?;
            let listener = |(patient, webhook, types): (_, _, Json<_>)| Listener {
                patient,
                webhook,
                types: types.into(),
            };
            found.extend(rows.into_iter().map(listener));
        }
        Ok(found)
    }
}
