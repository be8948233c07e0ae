//! What was said of sessions after they were recorded, and before: an amendment that overtook its
//! session waits for it here.
//!
//! A treatment's row is what all of these amount to; the rows are kept because one that is older
//! than what came before it must still find its place.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::conn::Conn;
use super::patients::Patient;
use super::schema::{amendments, patients};
use super::sql::At;
use super::treatments::event_hash;
use super::{StoreError, Tx, with_conn};
use crate::ids::{AmendmentId, ClinicId, PatientId, ProtocolId, TreatmentId};
use crate::protocol::Area;
use crate::seal::{DataKey, Digest, Place};
use crate::words::words;
use crate::zone::Zone;

words! {
    /// What is said of a session.
    AmendmentKind {
        /// What it was before the first amendment.
        Recorded = "recorded",
        /// Some of it was otherwise.
        Amended = "amended",
        /// It did not happen.
        Voided = "voided",
    }
}

/// A booking, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Booking {
    /// The next session is then.
    At(Timestamp),
    /// The next session has no date.
    None,
}

impl From<Option<Timestamp>> for Booking {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::None, Self::At)
    }
}

/// The fields of a session that an amendment changes; what is absent stays.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmendedFields {
    /// T.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The treatment's zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Zone>,
    /// The areas treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub areas: Option<BTreeSet<Area>>,
    /// The protocol version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ProtocolId>,
    /// The next session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_session: Option<Booking>,
    /// The clinic's own notes. Personal: never logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
}

impl std::fmt::Debug for AmendedFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmendedFields").finish_non_exhaustive()
    }
}

/// The event that said it.
#[derive(Clone, PartialEq, Eq)]
pub struct AmendingEvent {
    /// Its id. Personal: never logged.
    pub event_id: String,
    /// The event that it is about. Personal: never logged.
    pub supersedes: String,
    /// The digest of what it says.
    pub content_hash: Digest,
}

/// Something said of a session.
#[derive(Clone)]
pub struct NewAmendment {
    /// What is said.
    pub kind: AmendmentKind,
    /// Which kind of event ids these are.
    pub namespace: String,
    /// The event that said it; none when it came otherwise.
    pub event: Option<AmendingEvent>,
    /// Since when it is true: of two, the later one wins.
    pub at: Timestamp,
    /// What changes.
    pub fields: AmendedFields,
}

/// Something that was said of a session.
#[derive(Clone)]
pub struct Amendment {
    /// Its id.
    pub id: AmendmentId,
    /// The treatment; none while it has not been recorded.
    pub treatment_id: Option<TreatmentId>,
    /// What is said.
    pub kind: AmendmentKind,
    /// Of two, the later one wins, and then the greater event id.
    pub at: Timestamp,
    /// The id of the event that said it, if one did. Personal: never logged.
    pub event_id: Option<String>,
    /// What changes.
    pub fields: AmendedFields,
    /// The digest of what the event says.
    pub content_hash: Option<Digest>,
}

impl std::fmt::Debug for Amendment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Amendment").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    fields: AmendedFields,
}

#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = amendments, treat_none_as_default_value = false)]
struct Row {
    id: AmendmentId,
    clinic_id: ClinicId,
    patient_id: Option<PatientId>,
    treatment_id: Option<TreatmentId>,
    kind: AmendmentKind,
    namespace: String,
    event_hash: Option<Digest>,
    supersedes_hash: Option<Digest>,
    content_hash: Option<Digest>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    at: Timestamp,
    content_sealed: Vec<u8>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    received_at: Timestamp,
}

fn content_at(id: AmendmentId) -> Place {
    Place { column: "amendments.content_sealed", row: id.0 }
}

impl Tx<'_> {
    /// Lets nobody else of this clinic and namespace say anything of sessions until the transaction
    /// ends, so that what is said of a session and the session itself never miss each other. Those
    /// who only record sessions go side by side.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lock_events(
        &mut self,
        clinic: ClinicId,
        namespace: &str,
        alone: bool,
    ) -> Result<(), StoreError> {
        let key =
            self.master.index("amendments.lock", &[clinic.0.as_bytes(), namespace.as_bytes()]);
        let (key, _) = key.0.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        let key = i64::from_be_bytes(*key);
        if let Conn::Pg(c) = &mut *self.conn {
            let sql = if alone {
                "SELECT pg_advisory_xact_lock($1)"
            } else {
                "SELECT pg_advisory_xact_lock_shared($1)"
            };
            let locked = sql_query(sql).bind::<BigInt, _>(key).execute(&mut **c);
            locked.map_err(|error| self.refused(error))?;
        }
        Ok(())
    }

    /// What stands for a source of events where its events' ids are kept.
    #[must_use]
    pub fn source_hash(&self, clinic: ClinicId, source: &str) -> Digest {
        self.master.index("events.source", &[clinic.0.as_bytes(), source.as_bytes()])
    }

    /// Keeps something said of a session now; without a treatment it waits for one.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the event's id is taken.
    pub fn insert_amendment(
        &mut self,
        clinic: ClinicId,
        about: Option<(&Patient, TreatmentId)>,
        new: NewAmendment,
    ) -> Result<AmendmentId, StoreError> {
        let id: AmendmentId = self.env.id();
        let key = match about {
            Some((patient, _)) => patient.key.clone(),
            None => self.waiting_key(id),
        };
        let hash = |event_id: &str| event_hash(self.master, clinic, event_id);
        let event = new.event.as_ref();
        let event_hash = event.map(|event| hash(&event.event_id));
        let supersedes_hash = event.map(|event| hash(&event.supersedes));
        let content =
            Content { event_id: event.map(|event| event.event_id.clone()), fields: new.fields };
        let row = Row {
            id,
            clinic_id: clinic,
            patient_id: about.map(|(patient, _)| patient.id),
            treatment_id: about.map(|(_, treatment)| treatment),
            kind: new.kind,
            namespace: new.namespace,
            event_hash,
            supersedes_hash,
            content_hash: event.map(|event| event.content_hash),
            at: new.at,
            content_sealed: self.seal_content(&key, id, &content)?,
            received_at: self.now,
        };
        with_conn!(self, |c| diesel::insert_into(amendments::table).values(row).execute(c))?;
        Ok(id)
    }

    /// What is said under this event id; it may be waiting.
    ///
    /// # Errors
    /// When the database refuses, or what is sealed does not open.
    pub fn amendment_by_event(
        &mut self,
        clinic: ClinicId,
        namespace: &str,
        event_id: &str,
    ) -> Result<Option<Amendment>, StoreError> {
        let hash = event_hash(self.master, clinic, event_id);
        let found: Option<(Row, Option<Vec<u8>>)> = with_conn!(self, |c| amendments::table
            .left_join(patients::table)
            .filter(amendments::clinic_id.eq(clinic))
            .filter(amendments::namespace.eq(namespace))
            .filter(amendments::event_hash.eq(hash))
            .select((Row::as_select(), patients::key_wrapped.nullable()))
            .first(c)
            .optional())?;
        found.map(|found| self.open_amendment(found)).transpose()
    }

    /// What waits for the event of this id: what is said of it, and what is said of that.
    ///
    /// # Errors
    /// As [`Tx::amendment_by_event`].
    pub fn waiting_for(
        &mut self,
        clinic: ClinicId,
        namespace: &str,
        event_id: &str,
    ) -> Result<Vec<Amendment>, StoreError> {
        let mut asked = BTreeSet::new();
        let mut next = vec![event_hash(self.master, clinic, event_id)];
        let mut waiting = Vec::new();
        while let Some(hash) = next.pop() {
            if !asked.insert(hash) {
                continue;
            }
            let found: Vec<Row> = with_conn!(self, |c| amendments::table
                .filter(amendments::clinic_id.eq(clinic))
                .filter(amendments::namespace.eq(namespace))
                .filter(amendments::supersedes_hash.eq(hash))
                .filter(amendments::treatment_id.is_null())
                .order(amendments::id)
                .select(Row::as_select())
                .load(c))?;
            for row in found {
                next.extend(row.event_hash);
                waiting.push(self.open_amendment((row, None))?);
            }
        }
        Ok(waiting)
    }

    /// What waited is about this treatment.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn settle_amendment(
        &mut self,
        waiting: &Amendment,
        patient: &Patient,
        treatment: TreatmentId,
    ) -> Result<(), StoreError> {
        let content =
            Content { event_id: waiting.event_id.clone(), fields: waiting.fields.clone() };
        let sealed = self.seal_content(&patient.key, waiting.id, &content)?;
        with_conn!(self, |c| diesel::update(amendments::table.find(waiting.id))
            .set((
                amendments::patient_id.eq(Some(patient.id)),
                amendments::treatment_id.eq(Some(treatment)),
                amendments::content_sealed.eq(sealed),
            ))
            .execute(c))?;
        Ok(())
    }

    /// Lets what was said count from another moment on.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn say_amendment_again(
        &mut self,
        id: AmendmentId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::update(amendments::table.find(id))
            .set(amendments::at.eq(At(at)))
            .execute(c))?;
        Ok(())
    }

    /// All that was said of a treatment, in the order in which it counts.
    ///
    /// # Errors
    /// As [`Tx::amendment_by_event`].
    pub fn amendments(
        &mut self,
        patient: &Patient,
        treatment: TreatmentId,
    ) -> Result<Vec<Amendment>, StoreError> {
        let rows = with_conn!(self, |c| amendments::table
            .filter(amendments::treatment_id.eq(treatment))
            .select(Row::as_select())
            .load(c))?;
        in_order(rows, patient)
    }

    /// What was said of any treatment of a patient, in the order in which it counts.
    ///
    /// # Errors
    /// As [`Tx::amendment_by_event`].
    pub fn amendments_of(&mut self, patient: &Patient) -> Result<Vec<Amendment>, StoreError> {
        let rows = with_conn!(self, |c| amendments::table
            .filter(amendments::patient_id.eq(patient.id))
            .select(Row::as_select())
            .load(c))?;
        in_order(rows, patient)
    }

    /// Forgets what was received before that instant and still waits for its session.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_waiting_amendments(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        with_conn!(self, |c| diesel::delete(amendments::table)
            .filter(amendments::treatment_id.is_null())
            .filter(amendments::received_at.lt(At(before)))
            .execute(c))
    }

    fn seal_content(
        &self,
        key: &DataKey,
        id: AmendmentId,
        content: &Content,
    ) -> Result<Vec<u8>, StoreError> {
        let json =
            serde_json::to_vec(content).map_err(|error| StoreError::Internal(error.to_string()))?;
        Ok(key.seal(self.env, content_at(id), &json)?)
    }

    fn open_amendment(
        &self,
        (row, wrapped): (Row, Option<Vec<u8>>),
    ) -> Result<Amendment, StoreError> {
        let key = match (row.patient_id, wrapped) {
            (Some(patient), Some(wrapped)) => self.master.unwrap(patient, &wrapped)?,
            _ => self.waiting_key(row.id),
        };
        row.open(&key)
    }

    /// Seals what waits: whose it is, is not known yet.
    fn waiting_key(&self, id: AmendmentId) -> DataKey {
        self.master.index("amendments.waiting", &[id.0.as_bytes()]).into()
    }
}

impl Row {
    fn open(self, key: &DataKey) -> Result<Amendment, StoreError> {
        let place = content_at(self.id);
        let content: Content = serde_json::from_slice(&key.open(place, &self.content_sealed)?)
            .map_err(|_| StoreError::Corrupt(format!("{}: not an amendment", place.column)))?;
        Ok(Amendment {
            id: self.id,
            treatment_id: self.treatment_id,
            kind: self.kind,
            at: self.at,
            event_id: content.event_id,
            fields: content.fields,
            content_hash: self.content_hash,
        })
    }
}

fn in_order(rows: Vec<Row>, patient: &Patient) -> Result<Vec<Amendment>, StoreError> {
    let opened: Result<Vec<_>, _> = rows.into_iter().map(|row| row.open(&patient.key)).collect();
    let mut all = opened?;
    all.sort_by(|a, b| {
        (a.at, a.event_id.as_deref(), a.id).cmp(&(b.at, b.event_id.as_deref(), b.id))
    });
    Ok(all)
}
