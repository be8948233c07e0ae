//! What a clinic's software says of sessions, in whatever order it arrives.
//!
//! An event has a source and an id; the two are its identity. One that amends or voids a session names
//! the event that recorded it, or an earlier amendment of it. It may overtake what it is about: then it
//! waits, and counts as soon as the session is there.

use jiff::Timestamp;
use serde::Serialize;

use super::amend::{SessionPatch, note_original, resolve, settle};
use super::protocols;
use super::treatments::{
    CLOCK_SKEW, Namespace, RecordError, Recorded, Refusal, SessionDone, record_treatment,
    refused_times,
};
use crate::ids::{ClinicId, TreatmentId};
use crate::seal::Digest;
use crate::store::{
    AmendedFields, AmendingEvent, AmendmentKind, Booking, NewAmendment, Patient, StoreError,
    Treatment, Tx,
};

/// One event.
#[derive(Debug, Clone)]
pub struct SessionEvent {
    /// Who says it: a URI of the clinic's software. Ids are its own.
    pub source: String,
    /// The event's id.
    pub id: String,
    /// What it says.
    pub says: Says,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// A session is done.
    Completed(SessionDone),
    /// Some of it was otherwise.
    Amended {
        /// The id of the event that it is about.
        supersedes: String,
        /// Since when that is true: of two amendments the later one wins, then the greater id.
        time: Timestamp,
        /// What was otherwise.
        patch: SessionPatch,
    },
    /// It did not happen.
    Voided {
        /// The id of the event that it is about.
        supersedes: String,
    },
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A new session.
    Recorded(TreatmentId),
    /// The session is amended.
    Amended(TreatmentId),
    /// The session is voided.
    Voided(TreatmentId),
    /// The session is not known yet; kept until it is.
    Waiting,
    /// The event came before. It has no treatment while what it is about is not known.
    Known(Option<TreatmentId>),
}

/// Takes an event in. Whatever came, and in whatever order, a session ends as the same.
///
/// # Errors
/// [`RecordError`]; then nothing is to be written.
pub fn receive_event(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    event: SessionEvent,
) -> Result<Received, RecordError> {
    let namespace = Namespace::CloudEvents { source: event.source }.name(tx, clinic);
    let completed = matches!(event.says, Says::Completed(_));
    tx.lock_events(clinic, &namespace, !completed)?;
    let said = Said { clinic, namespace, id: event.id };
    match event.says {
        Says::Completed(session) => said.completed(tx, session),
        Says::Amended { supersedes, time, patch } => {
            let content_hash = content(tx, &(&supersedes, time, &patch))?;
            let about = About { kind: AmendmentKind::Amended, supersedes, content_hash };
            said.of_session(tx, about, |tx| Ok((time, examine(tx, clinic, time, patch)?)))
        }
        Says::Voided { supersedes } => {
            let content_hash = content(tx, &("voided", &supersedes))?;
            let about = About { kind: AmendmentKind::Voided, supersedes, content_hash };
            said.of_session(tx, about, |tx| Ok((tx.now(), AmendedFields::default())))
        }
    }
}

/// Where an event stands among the others.
struct Said {
    clinic: ClinicId,
    namespace: String,
    id: String,
}

/// What is said of a session, but for what it changes.
struct About {
    kind: AmendmentKind,
    supersedes: String,
    content_hash: Digest,
}

impl Said {
    fn completed(&self, tx: &mut Tx<'_>, session: SessionDone) -> Result<Received, RecordError> {
        if tx.amendment_by_event(self.clinic, &self.namespace, &self.id)?.is_some() {
            return Err(RecordError::ConflictingEvent);
        }
        match record_treatment(tx, self.clinic, session)? {
            Recorded::Repeat(view) => Ok(Received::Known(Some(view.card.treatment.id))),
            Recorded::New(view) => {
                let session = view.card.treatment;
                if let Some(patient) = tx.lock_patient(session.patient_id)?
                    && attach_waiting(tx, &patient, &session, &self.id)?
                {
                    settle(tx, &patient, &session)?;
                }
                Ok(Received::Recorded(session.id))
            }
        }
    }

    /// Takes in what is said of a session. Whether it can be true is looked at last, so that a repeat is
    /// known by its content alone.
    fn of_session(
        &self,
        tx: &mut Tx<'_>,
        about: About,
        changes: impl FnOnce(&mut Tx<'_>) -> Result<(Timestamp, AmendedFields), RecordError>,
    ) -> Result<Received, RecordError> {
        let About { kind, supersedes, content_hash } = about;
        if let Some(known) = tx.amendment_by_event(self.clinic, &self.namespace, &self.id)? {
            let same = known.content_hash == Some(content_hash);
            let known = Received::Known(known.treatment_id);
            return if same { Ok(known) } else { Err(RecordError::ConflictingEvent) };
        }
        if tx.treatment_by_event(self.clinic, &self.namespace, &self.id)?.is_some() {
            return Err(RecordError::ConflictingEvent);
        }
        if supersedes == self.id {
            return Err(RecordError::Refused(vec![Refusal::SupersedesItself]));
        }
        let (at, fields) = changes(tx)?;
        let session = self.session(tx, &supersedes)?;
        let event = AmendingEvent { event_id: self.id.clone(), supersedes, content_hash };
        let namespace = self.namespace.clone();
        let new = NewAmendment { kind, namespace, event: Some(event), at, fields };
        let Some((patient, session)) = session else {
            tx.insert_amendment(self.clinic, None, new)?;
            return Ok(Received::Waiting);
        };
        note_original(tx, &patient, &session)?;
        tx.insert_amendment(self.clinic, Some((&patient, session.id)), new)?;
        attach_waiting(tx, &patient, &session, &self.id)?;
        settle(tx, &patient, &session)?;
        Ok(match kind {
            AmendmentKind::Voided => Received::Voided(session.id),
            AmendmentKind::Amended | AmendmentKind::Recorded => Received::Amended(session.id),
        })
    }

    /// The session that an event of that id recorded or amended, its patient locked.
    fn session(
        &self,
        tx: &mut Tx<'_>,
        id: &str,
    ) -> Result<Option<(Patient, Treatment)>, StoreError> {
        let recorded = tx.treatment_by_event(self.clinic, &self.namespace, id)?;
        let found = match recorded {
            Some(session) => Some(session.id),
            None => tx
                .amendment_by_event(self.clinic, &self.namespace, id)?
                .and_then(|amendment| amendment.treatment_id),
        };
        let Some(id) = found else { return Ok(None) };
        let Some(session) = tx.treatment(self.clinic, id)? else { return Ok(None) };
        let Some(patient) = tx.lock_patient(session.patient_id)? else { return Ok(None) };
        // Somebody else may have changed it before the lock.
        Ok(tx.treatment(self.clinic, id)?.map(|session| (patient, session)))
    }
}

/// What waited for the event of that id is about this session. Whether anything did.
fn attach_waiting(
    tx: &mut Tx<'_>,
    patient: &Patient,
    session: &Treatment,
    event_id: &str,
) -> Result<bool, StoreError> {
    let waiting = tx.waiting_for(session.clinic_id, &session.namespace, event_id)?;
    if waiting.is_empty() {
        return Ok(false);
    }
    note_original(tx, patient, session)?;
    for waiting in &waiting {
        tx.settle_amendment(waiting, patient, session.id)?;
    }
    Ok(true)
}

/// Two events say the same when they do after parsing.
fn content<T: Serialize>(tx: &Tx<'_>, says: &T) -> Result<Digest, StoreError> {
    let json = serde_json::to_vec(says).map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(tx.content_hash(&json))
}

/// Whether the event can be true by itself: what it is said of may not be known, and must not decide
/// whether it is taken.
fn examine(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    time: Timestamp,
    patch: SessionPatch,
) -> Result<AmendedFields, RecordError> {
    let mut refusals = Vec::new();
    if time.duration_since(tx.now()) > CLOCK_SKEW {
        refusals.push(Refusal::SaidInFuture);
    }
    let fields = resolve(tx, clinic, patch, &mut refusals)?;
    if let Some(completed_at) = fields.completed_at {
        let booked = match fields.next_session {
            Some(Booking::At(at)) => Some(at),
            Some(Booking::None) | None => None,
        };
        refusals.extend(refused_times(completed_at, booked, tx.now()));
    }
    if let (Some(id), Some(areas)) = (fields.protocol, &fields.areas)
        && let Some(protocol) = protocols::by_id(tx, &[id])?.get(&id)
    {
        refusals.extend(Refusal::of_areas(protocol, areas));
    }
    if refusals.is_empty() { Ok(fields) } else { Err(RecordError::Refused(refusals)) }
}
