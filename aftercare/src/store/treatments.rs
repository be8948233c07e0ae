//! Treatments: one row for each session-done event, found again by the event's id.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use diesel::prelude::*;
use jiff::Timestamp;

use super::kept::Keep as _;
use super::patients::Patient;
use super::schema::{patients, treatments};
use super::sql::{At, Json, MaybeAt};
use super::{BATCH, StoreError, Tx, with_conn};
use crate::clock::to_micros;
use crate::ids::{ClinicId, PatientId, ProtocolId, TreatmentId};
use crate::protocol::Area;
use crate::seal::{DataKey, Digest, MasterKey, Place};
use crate::words::words;
use crate::zone::Zone;

words! {
    /// Whether a treatment counts.
    TreatmentState {
        /// It does.
        Active = "active",
        /// The clinic took it back.
        Voided = "voided",
    }
}

/// A completed session.
#[derive(Clone, PartialEq)]
pub struct Treatment {
    /// Its id.
    pub id: TreatmentId,
    /// Where it was recorded.
    pub clinic_id: ClinicId,
    /// Whose it is.
    pub patient_id: PatientId,
    /// Which kind of event ids `event_id` is one of.
    pub namespace: String,
    /// What the clinic's system calls the event. Personal: never logged.
    pub event_id: String,
    /// The digest of the event's content ([`Tx::content_hash`]).
    pub content_hash: Digest,
    /// The protocol version it follows.
    pub protocol_id: ProtocolId,
    /// T: when the session was completed.
    pub completed_at: Timestamp,
    /// The treatment's zone; day 0 is T's calendar day in it.
    pub time_zone: Zone,
    /// The areas treated.
    pub areas: BTreeSet<Area>,
    /// Whether it counts.
    pub state: TreatmentState,
    /// The next booked session.
    pub next_session_at: Option<Timestamp>,
    /// The clinic's own notes on it. Personal: never logged, never pushed.
    pub metadata: Option<BTreeMap<String, String>>,
    /// When we were told.
    pub recorded_at: Timestamp,
    /// When it was taken back.
    pub voided_at: Option<Timestamp>,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// From when on the next session of its course is due, as long as that is to be told.
    pub session_due_at: Option<Timestamp>,
    /// When it was last told that the next session is due.
    pub session_told_at: Option<Timestamp>,
    /// Since when what was told about it is no longer kept: its time is over.
    pub closed_at: Option<Timestamp>,
}

impl fmt::Debug for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Treatment")
            .field("id", &self.id)
            .field("patient_id", &self.patient_id)
            .field("state", &self.state)
            .field("completed_at", &self.completed_at)
            .finish_non_exhaustive()
    }
}

/// A session to be recorded.
#[derive(Clone)]
pub struct NewTreatment {
    /// Which kind of event ids `event_id` is one of.
    pub namespace: String,
    /// What the clinic's system calls the event.
    pub event_id: String,
    /// The digest of the event's content ([`Tx::content_hash`]).
    pub content_hash: Digest,
    /// The protocol version it follows.
    pub protocol_id: ProtocolId,
    /// T: when the session was completed.
    pub completed_at: Timestamp,
    /// The treatment's zone.
    pub time_zone: Zone,
    /// The areas treated.
    pub areas: BTreeSet<Area>,
    /// The next booked session.
    pub next_session_at: Option<Timestamp>,
    /// The clinic's own notes on it.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl fmt::Debug for NewTreatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTreatment")
            .field("completed_at", &self.completed_at)
            .finish_non_exhaustive()
    }
}

/// Which treatments of a clinic are wanted; all that are set must hold.
#[derive(Clone, Default)]
pub struct TreatmentFilter {
    /// Recorded at or after this instant.
    pub since: Option<Timestamp>,
    /// With this event id, in whatever namespace.
    pub event_id: Option<String>,
    /// Of this patient.
    pub patient: Option<PatientId>,
}

#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = treatments, treat_none_as_default_value = false)]
struct Row {
    id: TreatmentId,
    clinic_id: ClinicId,
    patient_id: PatientId,
    namespace: String,
    event_hash: Digest,
    event_sealed: Vec<u8>,
    content_hash: Digest,
    protocol_id: ProtocolId,
    #[diesel(serialize_as = At, deserialize_as = At)]
    completed_at: Timestamp,
    time_zone: Zone,
    #[diesel(serialize_as = Json<BTreeSet<Area>>, deserialize_as = Json<BTreeSet<Area>>)]
    areas: BTreeSet<Area>,
    state: TreatmentState,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    next_session_at: Option<Timestamp>,
    metadata_sealed: Option<Vec<u8>>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    recorded_at: Timestamp,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    voided_at: Option<Timestamp>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    updated_at: Timestamp,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    session_due_at: Option<Timestamp>,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    session_told_at: Option<Timestamp>,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    closed_at: Option<Timestamp>,
}

impl Row {
    fn open(self, key: &DataKey) -> Result<Treatment, StoreError> {
        let metadata = match &self.metadata_sealed {
            Some(sealed) => {
                let place = metadata_at(self.id);
                let json = key.open(place, sealed)?;
                Some(serde_json::from_slice(&json).map_err(|_| {
                    StoreError::Corrupt(format!("{}: not a map of texts", place.column))
                })?)
            }
            None => None,
        };
        Ok(Treatment {
            id: self.id,
            clinic_id: self.clinic_id,
            patient_id: self.patient_id,
            namespace: self.namespace,
            event_id: key.open_text(event_at(self.id), &self.event_sealed)?,
            content_hash: self.content_hash,
            protocol_id: self.protocol_id,
            completed_at: self.completed_at,
            time_zone: self.time_zone,
            areas: self.areas,
            state: self.state,
            next_session_at: self.next_session_at,
            metadata,
            recorded_at: self.recorded_at,
            voided_at: self.voided_at,
            updated_at: self.updated_at,
            session_due_at: self.session_due_at,
            session_told_at: self.session_told_at,
            closed_at: self.closed_at,
        })
    }
}

fn event_at(id: TreatmentId) -> Place {
    Place { column: "treatments.event_sealed", row: id.0 }
}

fn metadata_at(id: TreatmentId) -> Place {
    Place { column: "treatments.metadata_sealed", row: id.0 }
}

/// The namespace is a column of its own, so an event id has one hash in all of them.
pub(super) fn event_hash(master: &MasterKey, clinic: ClinicId, event_id: &str) -> Digest {
    master.index("treatments.event", &[clinic.0.as_bytes(), event_id.as_bytes()])
}

/// What one treatment of a clinic is found by.
enum Name<'a> {
    Id(TreatmentId),
    Event { namespace: &'a str, hash: Digest },
}

impl Tx<'_> {
    /// The keyed digest of an event's content, in whatever canonical form the caller gives it: two
    /// events say the same when their digests are equal.
    #[must_use]
    pub fn content_hash(&self, content: &[u8]) -> Digest {
        self.master.index("treatments.content", &[content])
    }

    /// A session as it would be recorded now, to the microsecond; nothing is written.
    #[must_use]
    pub fn draft_treatment(&self, patient: &Patient, new: NewTreatment) -> Treatment {
        Treatment {
            id: self.env.id(),
            clinic_id: patient.clinic_id,
            patient_id: patient.id,
            namespace: new.namespace,
            event_id: new.event_id,
            content_hash: new.content_hash,
            protocol_id: new.protocol_id,
            completed_at: to_micros(new.completed_at),
            time_zone: new.time_zone,
            areas: new.areas,
            state: TreatmentState::Active,
            next_session_at: new.next_session_at.map(to_micros),
            metadata: new.metadata,
            recorded_at: self.now,
            voided_at: None,
            updated_at: self.now,
            session_due_at: None,
            session_told_at: None,
            closed_at: None,
        }
    }

    /// Records a session ([`Tx::draft_treatment`]); false when the clinic has an event by its id in its
    /// namespace already, also one that another transaction recorded at the same time: look it up then
    /// ([`Tx::treatment_by_event`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_treatment(
        &mut self,
        patient: &Patient,
        treatment: &Treatment,
    ) -> Result<bool, StoreError> {
        let row = self.seal_treatment(patient, treatment)?;
        let recorded = with_conn!(self, |c| diesel::insert_into(treatments::table)
            .values(row)
            .on_conflict((treatments::clinic_id, treatments::namespace, treatments::event_hash))
            .do_nothing()
            .execute(c))?;
        Ok(recorded > 0)
    }

    fn seal_treatment(&self, patient: &Patient, treatment: &Treatment) -> Result<Row, StoreError> {
        let Treatment { id, clinic_id, .. } = *treatment;
        let event_id = &treatment.event_id;
        Ok(Row {
            id,
            clinic_id,
            patient_id: treatment.patient_id,
            namespace: treatment.namespace.clone(),
            event_hash: event_hash(self.master, clinic_id, event_id),
            event_sealed: patient.key.seal(self.env, event_at(id), event_id.as_bytes())?,
            content_hash: treatment.content_hash,
            protocol_id: treatment.protocol_id,
            completed_at: treatment.completed_at,
            time_zone: treatment.time_zone.clone(),
            areas: treatment.areas.clone(),
            state: treatment.state,
            next_session_at: treatment.next_session_at,
            metadata_sealed: self.seal_metadata(patient, id, treatment.metadata.as_ref())?,
            recorded_at: treatment.recorded_at,
            voided_at: treatment.voided_at,
            updated_at: treatment.updated_at,
            session_due_at: treatment.session_due_at,
            session_told_at: treatment.session_told_at,
            closed_at: treatment.closed_at,
        })
    }

    fn seal_metadata(
        &self,
        patient: &Patient,
        id: TreatmentId,
        metadata: Option<&BTreeMap<String, String>>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(metadata) = metadata else { return Ok(None) };
        let json = serde_json::to_vec(metadata)
            .map_err(|error| StoreError::Internal(error.to_string()))?;
        Ok(Some(patient.key.seal(self.env, metadata_at(id), &json)?))
    }

    /// The treatment that this event recorded.
    ///
    /// # Errors
    /// When the database refuses, or what is sealed does not open.
    pub fn treatment_by_event(
        &mut self,
        clinic: ClinicId,
        namespace: &str,
        event_id: &str,
    ) -> Result<Option<Treatment>, StoreError> {
        let hash = event_hash(self.master, clinic, event_id);
        self.treatment_named(clinic, &Name::Event { namespace, hash })
    }

    /// The treatment with this id, if it is this clinic's.
    ///
    /// # Errors
    /// As [`Tx::treatment_by_event`].
    pub fn treatment(
        &mut self,
        clinic: ClinicId,
        id: TreatmentId,
    ) -> Result<Option<Treatment>, StoreError> {
        self.treatment_named(clinic, &Name::Id(id))
    }

    fn treatment_named(
        &mut self,
        clinic: ClinicId,
        name: &Name<'_>,
    ) -> Result<Option<Treatment>, StoreError> {
        let found: Option<(Row, Vec<u8>)> = with_conn!(self, |c| {
            let of_clinic = treatments::table
                .inner_join(patients::table)
                .filter(treatments::clinic_id.eq(clinic))
                .select((Row::as_select(), patients::key_wrapped));
            match *name {
                Name::Id(id) => of_clinic.filter(treatments::id.eq(id)).first(c).optional(),
                Name::Event { namespace, hash } => of_clinic
                    .filter(treatments::namespace.eq(namespace))
                    .filter(treatments::event_hash.eq(hash))
                    .first(c)
                    .optional(),
            }
        })?;
        found.map(|found| self.open_treatment(found)).transpose()
    }

    /// One page of a clinic's treatments, in the order they were recorded, from after the cursor:
    /// the (`recorded_at`, `id`) of the last one of the page before.
    ///
    /// # Errors
    /// As [`Tx::treatment_by_event`].
    pub fn treatments_page(
        &mut self,
        clinic: ClinicId,
        filter: &TreatmentFilter,
        after: Option<(Timestamp, TreatmentId)>,
        limit: i64,
    ) -> Result<Vec<Treatment>, StoreError> {
        let event = filter.event_id.as_deref().map(|id| event_hash(self.master, clinic, id));
        let found: Vec<(Row, Vec<u8>)> = with_conn!(self, |c: Db| {
            let mut query = treatments::table
                .inner_join(patients::table)
                .filter(treatments::clinic_id.eq(clinic))
                .order((treatments::recorded_at, treatments::id))
                .limit(limit)
                .select((Row::as_select(), patients::key_wrapped))
                .into_boxed::<Db>();
            if let Some(since) = filter.since {
                query = query.filter(treatments::recorded_at.ge(At(since)));
            }
            if let Some(event) = event {
                query = query.filter(treatments::event_hash.eq(event));
            }
            if let Some(patient) = filter.patient {
                query = query.filter(treatments::patient_id.eq(patient));
            }
            if let Some((at, id)) = after {
                query = query.filter(
                    treatments::recorded_at
                        .gt(At(at))
                        .or(treatments::recorded_at.eq(At(at)).and(treatments::id.gt(id))),
                );
            }
            query.load(c)
        })?;
        found.into_iter().map(|found| self.open_treatment(found)).collect()
    }

    /// The treatments that a clinic recorded last, voided ones too, the last of them first.
    ///
    /// # Errors
    /// As [`Tx::treatment_by_event`].
    pub fn last_treatments(
        &mut self,
        clinic: ClinicId,
        limit: i64,
    ) -> Result<Vec<Treatment>, StoreError> {
        let found: Vec<(Row, Vec<u8>)> = with_conn!(self, |c| treatments::table
            .inner_join(patients::table)
            .filter(treatments::clinic_id.eq(clinic))
            .order((treatments::recorded_at.desc(), treatments::id.desc()))
            .limit(limit)
            .select((Row::as_select(), patients::key_wrapped))
            .load(c))?;
        found.into_iter().map(|found| self.open_treatment(found)).collect()
    }

    /// Every treatment of a patient, voided ones too, by completion.
    ///
    /// # Errors
    /// As [`Tx::treatment_by_event`].
    pub fn treatments(&mut self, patient: PatientId) -> Result<Vec<Treatment>, StoreError> {
        let patient = self.patients_by_id(&[patient])?;
        self.treatments_of(&patient)
    }

    /// Every treatment of many patients, voided ones too, ordered by patient and completion.
    ///
    /// # Errors
    /// As [`Tx::treatment_by_event`].
    pub fn treatments_of(&mut self, of: &[Patient]) -> Result<Vec<Treatment>, StoreError> {
        let keys: HashMap<PatientId, &DataKey> = of.iter().map(|one| (one.id, &one.key)).collect();
        let ids: Vec<PatientId> = of.iter().map(|patient| patient.id).collect();
        let mut all = Vec::new();
        for ids in ids.chunks(BATCH) {
            let rows: Vec<Row> = with_conn!(self, |c| treatments::table
                .filter(treatments::patient_id.eq_any(ids))
                .select(Row::as_select())
                .kept_for(ids)
                .load(c))?;
            for row in rows {
                if let Some(key) = keys.get(&row.patient_id) {
                    all.push(row.open(key)?);
                }
            }
        }
        all.sort_unstable_by_key(|one| (one.patient_id, one.completed_at, one.id));
        Ok(all)
    }

    fn open_treatment(&self, (row, wrapped): (Row, Vec<u8>)) -> Result<Treatment, StoreError> {
        let key = self.master.unwrap(row.patient_id, &wrapped)?;
        row.open(&key)
    }

    /// Takes a treatment back now; false when it was already.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_voided(&mut self, id: TreatmentId) -> Result<bool, StoreError> {
        let now = At(self.now);
        let voided = with_conn!(self, |c| diesel::update(treatments::table.find(id))
            .filter(treatments::state.eq(TreatmentState::Active))
            .set((
                treatments::state.eq(TreatmentState::Voided),
                treatments::voided_at.eq(now),
                treatments::over_at.eq(None::<At>),
                treatments::updated_at.eq(now),
            ))
            .execute(c))?;
        Ok(voided > 0)
    }

    /// Writes down what a treatment turned out to be: its protocol, moment, zone, areas, booking and
    /// notes. It counts as changed now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn amend_treatment(
        &mut self,
        patient: &Patient,
        treatment: &Treatment,
    ) -> Result<(), StoreError> {
        let metadata = self.seal_metadata(patient, treatment.id, treatment.metadata.as_ref())?;
        let set = (
            treatments::protocol_id.eq(treatment.protocol_id),
            treatments::completed_at.eq(At(treatment.completed_at)),
            treatments::time_zone.eq(treatment.time_zone.clone()),
            treatments::areas.eq(Json(treatment.areas.clone())),
            treatments::next_session_at.eq(treatment.next_session_at.map(At)),
            treatments::metadata_sealed.eq(metadata),
            treatments::over_at.eq(None::<At>),
            treatments::updated_at.eq(At(self.now)),
        );
        with_conn!(self, |c| diesel::update(treatments::table.find(treatment.id))
            .set(set.clone())
            .execute(c))?;
        Ok(())
    }
}
