//! Recording a completed session, and taking it back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::case::{Case, Source, case_of_locked};
use super::courses::{count_in, tell_recorded};
use super::patients::upserted_case;
use super::plan::{replan, replan_case};
use super::protocols::{self, Version};
use super::timeline::{TreatmentView, treatment, view_of};
use crate::ids::{ClinicId, TreatmentId};
use crate::locale::Locale;
use crate::protocol::{Area, Protocol};
use crate::seal::Digest;
use crate::store::{NewTreatment, Patient, StoreError, Treatment, Tx};
use crate::zone::Zone;

/// How far ahead of ours the clinic's clock may be.
pub(super) const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// 2000-01-01T00:00Z: nobody records an earlier session.
const EARLIEST: Timestamp = Timestamp::constant(946_684_800, 0);

/// The next session is at most this long after the last.
const LONGEST_BOOKING: SignedDuration = SignedDuration::from_hours(24 * 366 * 5);

/// The *session done* event, as the clinic sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionDone {
    /// Whose ids the event's is one of.
    #[serde(skip)]
    pub namespace: Namespace,
    /// The event's id.
    #[serde(skip)]
    pub event_id: String,
    /// Whose session it was.
    pub patient: PatientRef,
    /// What the protocol is called.
    pub protocol: ProtocolName,
    /// When the session ended.
    pub completed_at: Timestamp,
    /// The treatment's zone.
    pub time_zone: Option<Zone>,
    /// The areas treated.
    pub areas: Option<AreasSaid>,
    /// When the next session is booked for.
    pub next_session_at: Option<Timestamp>,
    /// The clinic's own notes.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// Whose ids an event's is one of: the same id in another namespace is another event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespace {
    /// The clinic's own, of plain events.
    Event,
    /// Those of forms at the clinic's desk.
    Desk,
    /// Those of one source of CloudEvents.
    CloudEvents {
        /// The source.
        source: String,
    },
    /// Those of one system of FHIR identifiers.
    Fhir {
        /// The system, if one was named.
        system: Option<String>,
    },
}

impl Namespace {
    /// What the tables call it: a source may be anything, and is told by its digest.
    pub(super) fn name(&self, tx: &Tx<'_>, clinic: ClinicId) -> String {
        match self {
            Self::Event => "event".to_owned(),
            Self::Desk => "desk".to_owned(),
            Self::CloudEvents { source } => {
                format!("cloudevents:{}", tx.source_hash(clinic, source).to_hex())
            }
            Self::Fhir { system } => {
                let system = system.as_deref().unwrap_or_default();
                format!("fhir:{}", tx.source_hash(clinic, system).to_hex())
            }
        }
    }
}

/// What an event calls its protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ProtocolName {
    /// By this name.
    One(String),
    /// By the first of these names that the clinic knows.
    AnyOf(Vec<String>),
}

impl From<String> for ProtocolName {
    fn from(name: String) -> Self {
        Self::One(name)
    }
}

impl From<Vec<String>> for ProtocolName {
    fn from(names: Vec<String>) -> Self {
        Self::AnyOf(names)
    }
}

impl ProtocolName {
    fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::AnyOf(names) => names,
        }
    }
}

/// What an event calls the areas treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AreasSaid {
    /// By these names.
    Named(BTreeSet<Area>),
    /// Each by the first of its words that the protocol knows.
    AnyOf(Vec<Vec<Area>>),
}

impl From<BTreeSet<Area>> for AreasSaid {
    fn from(areas: BTreeSet<Area>) -> Self {
        Self::Named(areas)
    }
}

impl AreasSaid {
    fn by(&self, protocol: &Protocol) -> BTreeSet<Area> {
        match self {
            Self::Named(areas) => areas.clone(),
            Self::AnyOf(sites) => {
                let known = |area: &&Area| protocol.areas.contains(*area);
                let word = |words: &Vec<Area>| words.iter().find(known).or(words.first()).cloned();
                sites.iter().filter_map(word).collect()
            }
        }
    }
}

/// A patient in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum PatientRef {
    /// One who must be known already.
    Known(String),
    /// One who is made, or brought up to date.
    Inline {
        /// What the clinic calls the patient.
        reference: String,
        /// The patient's zone.
        time_zone: Option<Zone>,
        /// The patient's language.
        locale: Option<Locale>,
    },
}

/// What became of an event.
#[derive(Debug)]
pub enum Recorded {
    /// It was new.
    New(TreatmentView),
    /// It was known; the treatment as it is now.
    Repeat(TreatmentView),
}

/// Why an event is not recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// What it says cannot be: every reason there is.
    #[error("the event is refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    /// The id was used for an event that said something else.
    #[error("another event with other content has this id")]
    ConflictingEvent,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why what an event says cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such patient at this clinic.
    #[error(
        "no patient of this clinic has that reference; create the patient with PUT /v1/patients/{{ref}} first, or send `patient` where there is such a field"
    )]
    UnknownPatient,
    /// No such protocol.
    #[error("no protocol of that name; known are {}", .known.join(", "))]
    UnknownProtocol {
        /// What could stand there.
        known: Vec<String>,
    },
    /// The protocol is not applied there.
    #[error("the protocol is not applied to all of these; it knows {}", .known.join(", "))]
    AreaNotTreated {
        /// What could stand there.
        known: Vec<String>,
    },
    /// The session ends in the future.
    #[error("the session ends more than 5 minutes in the future")]
    CompletedInFuture,
    /// The session ended before 2000.
    #[error("the session ended before the year 2000")]
    CompletedTooLongAgo,
    /// The next session is not after this one, or years away.
    #[error("the next session must be after this one, and within five years of it")]
    NextSessionOutOfRange,
    /// What is said of a session is said in the future.
    #[error("the event's time is more than 5 minutes in the future")]
    SaidInFuture,
    /// An event is about itself.
    #[error("an event cannot be about itself; give the id of the event that recorded the session")]
    SupersedesItself,
}

impl Refusal {
    pub(super) fn unknown_protocol(tx: &mut Tx<'_>, clinic: ClinicId) -> Result<Self, StoreError> {
        let known = tx.protocols(clinic)?.into_iter().map(|record| record.slug).collect();
        Ok(Self::UnknownProtocol { known })
    }

    /// That the protocol is not applied to one of the areas.
    pub(super) fn of_areas(protocol: &Protocol, areas: &BTreeSet<Area>) -> Option<Self> {
        if areas.is_subset(&protocol.areas) {
            return None;
        }
        let known = protocol.areas.iter().map(ToString::to_string).collect();
        Some(Self::AreaNotTreated { known })
    }
}

/// Records a completed session and plans its reminders, or finds that it was recorded before.
///
/// # Errors
/// [`RecordError`]; then nothing is to be written.
pub fn record_treatment(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    event: SessionDone,
) -> Result<Recorded, RecordError> {
    let content = content_hash(tx, &event)?;
    let namespace = event.namespace.name(tx, clinic);
    if let Some(known) = tx.treatment_by_event(clinic, &namespace, &event.event_id)? {
        return repeat(tx, clinic, &known, content);
    }
    let Examined { version, areas, patient } = examine(tx, clinic, &event)?;
    let mut case = case_of(tx, clinic, &event, patient)?;
    let time_zone = treatment_zone(&event, &case);
    let new = NewTreatment {
        namespace: namespace.clone(),
        event_id: event.event_id.clone(),
        content_hash: content,
        protocol_id: version.id,
        completed_at: event.completed_at,
        time_zone,
        areas,
        next_session_at: event.next_session_at,
        metadata: event.metadata,
    };
    let mut session = tx.draft_treatment(&case.patient, new);
    count_in(&mut case, &mut session, version.protocol, tx.now());
    if !tx.insert_treatment(&case.patient, &session)? {
        // Another request recorded it since we looked.
        let known = tx.treatment_by_event(clinic, &namespace, &event.event_id)?;
        let known = known.ok_or_else(|| StoreError::Busy("the event is being recorded".into()))?;
        return repeat(tx, clinic, &known, content);
    }
    replan_case(tx, &mut case)?;
    tell_recorded(tx, &case, session.id)?;
    note(tx, &session, "treatment.recorded")?;
    let view = view_of(&case, &session);
    Ok(Recorded::New(view.ok_or_else(|| gone(session.id))?))
}

/// Takes a treatment back: nothing more is sent for it, and its course forgets it. Doing it again
/// changes nothing. `None` when the clinic has no such treatment.
///
/// # Errors
/// When the database refuses.
pub fn void_treatment(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: TreatmentId,
) -> Result<Option<TreatmentView>, StoreError> {
    let Some(known) = tx.treatment(clinic, id)? else { return Ok(None) };
    tx.lock_patient(known.patient_id)?;
    if tx.set_voided(id)? {
        replan(tx, known.patient_id)?;
        note(tx, &known, "treatment.voided")?;
    }
    treatment(tx, clinic, id)
}

/// Writes down what the clinic did.
pub(super) fn note(tx: &mut Tx<'_>, treatment: &Treatment, action: &str) -> Result<(), StoreError> {
    tx.note_act(treatment.clinic_id, action, &format!("treatment:{}", treatment.id))
}

/// Two events say the same when they do after parsing and before defaults.
fn content_hash(tx: &Tx<'_>, event: &SessionDone) -> Result<Digest, StoreError> {
    let content =
        serde_json::to_vec(event).map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(tx.content_hash(&content))
}

fn repeat(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    known: &Treatment,
    content: Digest,
) -> Result<Recorded, RecordError> {
    if known.content_hash != content {
        return Err(RecordError::ConflictingEvent);
    }
    Ok(Recorded::Repeat(view(tx, clinic, known.id)?))
}

fn view(tx: &mut Tx<'_>, clinic: ClinicId, id: TreatmentId) -> Result<TreatmentView, StoreError> {
    let view = treatment(tx, clinic, id)?;
    view.ok_or_else(|| gone(id))
}

fn gone(id: TreatmentId) -> StoreError {
    StoreError::Corrupt(format!("{id:?} is gone in its own transaction"))
}

/// What an event is recorded with.
struct Examined {
    version: Version,
    areas: BTreeSet<Area>,
    /// Locked; `None` where the event brings its patient along.
    patient: Option<Patient>,
}

/// What the event is recorded with, or every reason why it cannot be.
fn examine(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    event: &SessionDone,
) -> Result<Examined, RecordError> {
    let mut refusals = refused_times(event.completed_at, event.next_session_at, tx.now());
    let mut patient = None;
    if let PatientRef::Known(reference) = &event.patient {
        patient = tx.lock_patient_by_ref(clinic, reference)?;
        if patient.is_none() {
            refusals.push(Refusal::UnknownPatient);
        }
    }
    let Some(version) = protocols::named(tx, clinic, event.protocol.names())? else {
        refusals.push(Refusal::unknown_protocol(tx, clinic)?);
        return Err(RecordError::Refused(refusals));
    };
    match areas(&version.protocol, event.areas.as_ref()) {
        Ok(areas) if refusals.is_empty() => return Ok(Examined { version, areas, patient }),
        Ok(_) => {}
        Err(refusal) => refusals.push(refusal),
    }
    Err(RecordError::Refused(refusals))
}

pub(super) fn refused_times(
    completed_at: Timestamp,
    next_session_at: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if completed_at < EARLIEST {
        refusals.push(Refusal::CompletedTooLongAgo);
    }
    if completed_at.duration_since(now) > CLOCK_SKEW {
        refusals.push(Refusal::CompletedInFuture);
    }
    if let Some(next) = next_session_at {
        let ahead = next.duration_since(completed_at);
        if ahead <= SignedDuration::ZERO || ahead > LONGEST_BOOKING {
            refusals.push(Refusal::NextSessionOutOfRange);
        }
    }
    refusals
}

fn areas(protocol: &Protocol, said: Option<&AreasSaid>) -> Result<BTreeSet<Area>, Refusal> {
    let Some(said) = said else { return Ok(protocol.default_areas.clone()) };
    let treated = said.by(protocol);
    match Refusal::of_areas(protocol, &treated) {
        Some(refusal) => Err(refusal),
        None => Ok(treated),
    }
}

/// The records of the event's patient, locked.
fn case_of(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    event: &SessionDone,
    known: Option<Patient>,
) -> Result<Case, RecordError> {
    match (&event.patient, known) {
        (PatientRef::Known(_), Some(patient)) => Ok(case_of_locked(tx, patient)?),
        (PatientRef::Known(_), None) => Err(RecordError::Refused(vec![Refusal::UnknownPatient])),
        (PatientRef::Inline { reference, time_zone, locale }, _) => {
            let said = (time_zone.clone(), locale.clone());
            // A clock that is ahead does not outrank what is said later.
            let as_of = event.completed_at.min(tx.now());
            Ok(upserted_case(tx, clinic, reference, said, as_of)?)
        }
    }
}

/// The event's zone, else the patient's at this moment, else the clinic's.
fn treatment_zone(event: &SessionDone, case: &Case) -> Zone {
    if let Some(zone) = &event.time_zone {
        return zone.clone();
    }
    // What the clinic says of the patient at this session counts for it, whatever it said of later ones.
    match (&event.patient, case.zone_source) {
        (PatientRef::Inline { time_zone: Some(zone), .. }, Source::Patient | Source::Clinic) => {
            zone.clone()
        }
        _ => case.facts.person.zone.clone(),
    }
}
