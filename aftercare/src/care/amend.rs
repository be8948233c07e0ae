//! Correcting a session: what the clinic says of it later counts, and unsent reminders follow.
//!
//! A correction says when it was true. Of two the later one wins, whichever arrives first: the
//! treatment is always what all that was said of it amounts to, in that order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::case::locked_case;
use super::plan::{replan, replan_amended};
use super::protocols;
use super::timeline::{TreatmentView, treatment};
use super::treatments::{Refusal, note, refused_times};
use crate::ids::{ClinicId, ProtocolId, TreatmentId};
use crate::protocol::{Area, Protocol};
use crate::store::{
    AmendedFields, Amendment, AmendmentKind, Booking, NewAmendment, Patient, StoreError, Treatment,
    TreatmentState, Tx,
};
use crate::zone::Zone;

/// What a correction changes; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SessionPatch {
    /// When the session ended.
    pub completed_at: Option<Timestamp>,
    /// The treatment's zone.
    pub time_zone: Option<Zone>,
    /// The areas treated.
    pub areas: Option<BTreeSet<Area>>,
    /// The protocol's slug.
    pub protocol: Option<String>,
    /// When the next session is booked for, or that it is not.
    pub next_session: Option<Booking>,
    /// The clinic's own notes, all of them.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// Why a session is not corrected.
#[derive(Debug, thiserror::Error)]
pub enum AmendError {
    /// What it says cannot be: every reason there is.
    #[error("the correction is refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    /// The treatment was taken back.
    #[error("the treatment was voided")]
    Voided,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Corrects a treatment, and plans its patient anew. What a correction says counts from now on, also where
/// it is so already: an older one that arrives later does not undo it. `None` when the clinic has no such
/// treatment.
///
/// # Errors
/// [`AmendError`]; then nothing is to be written.
pub fn amend_treatment(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: TreatmentId,
    patch: SessionPatch,
) -> Result<Option<TreatmentView>, AmendError> {
    let Some(known) = tx.treatment(clinic, id)? else { return Ok(None) };
    let Some(patient) = tx.lock_patient(known.patient_id)? else { return Ok(None) };
    // Somebody else may have changed it before the lock.
    let Some(known) = tx.treatment(clinic, id)? else { return Ok(None) };
    if known.state == TreatmentState::Voided {
        return Err(AmendError::Voided);
    }
    let mut fields = examine(tx, clinic, &known, patch)?;
    let amended = overlay(tx, &known, &fields)?;
    if fields != AmendedFields::default() {
        fix_what_hangs_together(&mut fields, &amended);
        note_amendment(tx, &patient, &known, fields)?;
        settle(tx, &patient, &known)?;
    }
    Ok(treatment(tx, clinic, id)?)
}

/// Makes a treatment what all that was said of it amounts to, and plans its patient anew as far as that
/// reaches: what is on its way is taken back only when the session itself turned out otherwise.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    patient: &Patient,
    known: &Treatment,
) -> Result<(), StoreError> {
    refold(tx, patient, known)?;
    let Some(settled) = tx.treatment(known.clinic_id, known.id)? else { return Ok(()) };
    let session = |said: &Treatment| {
        (said.completed_at, said.time_zone.clone(), said.areas.clone(), said.protocol_id)
    };
    if session(&settled) != session(known) {
        tx.reopen_treatment(known.id)?;
        replan_amended(tx, patient.id, &[known.id].into())?;
    } else if settled.next_session_at != known.next_session_at {
        tx.reopen_treatment(known.id)?;
        replan(tx, patient.id)?;
    } else if settled.state != known.state {
        replan(tx, patient.id)?;
    }
    let anything_else = Treatment {
        state: known.state,
        voided_at: known.voided_at,
        updated_at: known.updated_at,
        ..settled.clone()
    };
    if anything_else != *known {
        note(tx, known, "treatment.amended")?;
    }
    if settled.state != known.state {
        note(tx, known, "treatment.voided")?;
    }
    Ok(())
}

/// Books the next session of a patient's course, or takes the booking back; `protocol` is a name or a
/// code of the clinic's. `None` when the patient is not the clinic's, or has no such course.
///
/// # Errors
/// As [`amend_treatment`].
pub fn book_next_session(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    reference: &str,
    protocol: &str,
    booking: Booking,
) -> Result<Option<TreatmentView>, AmendError> {
    let Some(patient) = tx.patient_by_ref(clinic, reference)? else { return Ok(None) };
    let named = protocols::named(tx, clinic, &[protocol.to_owned()])?;
    let Some(version) = named else { return Ok(None) };
    let Some(case) = locked_case(tx, patient.id)? else { return Ok(None) };
    let speaks = |treatment: &&crate::planner::TreatmentFacts| {
        treatment.protocol.slug == version.protocol.slug
            && case.courses.get(&treatment.id).is_some_and(|course| course.latest)
    };
    let Some(latest) = case.facts.treatments.iter().find(speaks) else { return Ok(None) };
    let patch = SessionPatch { next_session: Some(booking), ..SessionPatch::default() };
    amend_treatment(tx, clinic, latest.id, patch)
}

/// What the patch changes, or every reason why it cannot be.
fn examine(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    known: &Treatment,
    patch: SessionPatch,
) -> Result<AmendedFields, AmendError> {
    let mut refusals = Vec::new();
    let fields = resolve(tx, clinic, patch, &mut refusals)?;
    let amended = overlay(tx, known, &fields)?;
    let of_times = (fields.completed_at.is_some() || fields.next_session.is_some())
        .then(|| refused_times(amended.completed_at, amended.next_session_at, tx.now()));
    refusals.splice(0..0, of_times.into_iter().flatten());
    let protocols = protocols::by_id(tx, &[amended.protocol_id])?;
    if let Some(protocol) = protocols.get(&amended.protocol_id) {
        refusals.extend(Refusal::of_areas(protocol, &amended.areas));
    }
    if refusals.is_empty() { Ok(fields) } else { Err(AmendError::Refused(refusals)) }
}

/// The patch with its protocol looked up: the newest version of that name.
pub(super) fn resolve(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    patch: SessionPatch,
    refusals: &mut Vec<Refusal>,
) -> Result<AmendedFields, StoreError> {
    let mut protocol = None;
    if let Some(slug) = &patch.protocol {
        match protocols::named(tx, clinic, std::slice::from_ref(slug))? {
            Some(version) => protocol = Some(version.id),
            None => refusals.push(Refusal::unknown_protocol(tx, clinic)?),
        }
    }
    Ok(AmendedFields {
        completed_at: patch.completed_at,
        time_zone: patch.time_zone,
        areas: patch.areas,
        protocol,
        next_session: patch.next_session,
        metadata: patch.metadata,
    })
}

fn overlay(
    tx: &mut Tx<'_>,
    known: &Treatment,
    fields: &AmendedFields,
) -> Result<Treatment, StoreError> {
    let ids: Vec<_> = fields.protocol.into_iter().chain([known.protocol_id]).collect();
    let protocols = protocols::by_id(tx, &ids)?;
    let mut amended = known.clone();
    apply(&mut amended, fields, &protocols);
    Ok(amended)
}

/// A correction that was judged beside what it leaves alone says that too, where the two hang
/// together: an older one that arrives later must not part them.
fn fix_what_hangs_together(fields: &mut AmendedFields, amended: &Treatment) {
    if fields.protocol.is_some() {
        fields.areas = Some(amended.areas.clone());
    }
    if fields.completed_at.is_some() {
        fields.next_session = Some(amended.next_session_at.into());
    }
}

/// Keeps a correction that is true from now on, over all that was said before. The last one said again is
/// the same, true from now on.
fn note_amendment(
    tx: &mut Tx<'_>,
    patient: &Patient,
    known: &Treatment,
    fields: AmendedFields,
) -> Result<(), StoreError> {
    note_original(tx, patient, known)?;
    let tick = SignedDuration::from_micros(1);
    let last = tx.amendments(patient, known.id)?.pop();
    let after = last.as_ref().and_then(|last| last.at.checked_add(tick).ok());
    let at = after.map_or(tx.now(), |after| after.max(tx.now()));
    let again = |last: &Amendment| {
        last.kind == AmendmentKind::Amended && last.event_id.is_none() && last.fields == fields
    };
    if let Some(last) = last.filter(again) {
        return tx.say_amendment_again(last.id, at);
    }
    let new = NewAmendment {
        kind: AmendmentKind::Amended,
        namespace: known.namespace.clone(),
        event: None,
        at,
        fields,
    };
    tx.insert_amendment(known.clinic_id, Some((patient, known.id)), new)?;
    Ok(())
}

/// Keeps the session as it was recorded, before the first correction.
pub(super) fn note_original(
    tx: &mut Tx<'_>,
    patient: &Patient,
    known: &Treatment,
) -> Result<(), StoreError> {
    let said = tx.amendments(patient, known.id)?;
    if said.iter().any(|said| said.kind == AmendmentKind::Recorded) {
        return Ok(());
    }
    let new = NewAmendment {
        kind: AmendmentKind::Recorded,
        namespace: known.namespace.clone(),
        event: None,
        at: known.recorded_at,
        fields: AmendedFields {
            completed_at: Some(known.completed_at),
            time_zone: Some(known.time_zone.clone()),
            areas: Some(known.areas.clone()),
            protocol: Some(known.protocol_id),
            next_session: Some(known.next_session_at.into()),
            metadata: known.metadata.clone(),
        },
    };
    tx.insert_amendment(known.clinic_id, Some((patient, known.id)), new)?;
    Ok(())
}

fn refold(tx: &mut Tx<'_>, patient: &Patient, known: &Treatment) -> Result<(), StoreError> {
    let said = tx.amendments(patient, known.id)?;
    let ids: Vec<_> =
        said.iter().filter_map(|said| said.fields.protocol).chain([known.protocol_id]).collect();
    let folded = fold(known, &said, &protocols::by_id(tx, &ids)?);
    if folded != *known {
        tx.amend_treatment(patient, &folded)?;
    }
    if said.iter().any(|said| said.kind == AmendmentKind::Voided) {
        tx.set_voided(known.id)?;
    }
    Ok(())
}

fn fold(
    known: &Treatment,
    said: &[Amendment],
    protocols: &HashMap<ProtocolId, Arc<Protocol>>,
) -> Treatment {
    let mut folded = known.clone();
    if let Some(original) = said.iter().find(|said| said.kind == AmendmentKind::Recorded) {
        folded.protocol_id = original.fields.protocol.unwrap_or(folded.protocol_id);
        folded.metadata = None;
        apply(&mut folded, &original.fields, protocols);
    }
    for amended in said.iter().filter(|said| said.kind == AmendmentKind::Amended) {
        let before = folded.clone();
        apply(&mut folded, &amended.fields, protocols);
        let protocol = protocols.get(&folded.protocol_id);
        keep_what_cannot_be_otherwise(
            &mut folded,
            &before,
            &amended.fields,
            protocol.map(AsRef::as_ref),
        );
    }
    // It may have moved to another version since.
    let slug = |id: ProtocolId| protocols.get(&id).map(|protocol| &protocol.slug);
    if slug(folded.protocol_id) == slug(known.protocol_id) {
        folded.protocol_id = known.protocol_id;
    }
    let protocol = protocols.get(&folded.protocol_id);
    fit(&mut folded, protocol.map(AsRef::as_ref));
    folded
}

/// Each field that is given replaces the one before. A treatment whose protocol is named again
/// keeps the version that it was recorded under.
fn apply(
    treatment: &mut Treatment,
    fields: &AmendedFields,
    protocols: &HashMap<ProtocolId, Arc<Protocol>>,
) {
    let slug = |id: ProtocolId| protocols.get(&id).map(|protocol| &protocol.slug);
    if let Some(protocol) = fields.protocol.filter(|id| slug(*id) != slug(treatment.protocol_id)) {
        treatment.protocol_id = protocol;
    }
    if let Some(at) = fields.completed_at {
        treatment.completed_at = at;
    }
    if let Some(zone) = &fields.time_zone {
        treatment.time_zone = zone.clone();
    }
    if let Some(areas) = &fields.areas {
        treatment.areas.clone_from(areas);
    }
    match fields.next_session {
        Some(Booking::At(at)) => treatment.next_session_at = Some(at),
        Some(Booking::None) => treatment.next_session_at = None,
        None => {}
    }
    if let Some(metadata) = &fields.metadata {
        treatment.metadata = Some(metadata.clone());
    }
}

/// Events are judged one by one, in whatever order they arrive; what one says may turn out to be
/// impossible where its place is: areas none of which the protocol knows, or a next session that is not after
/// this one. Then what was said before stands, as if a correction had been refused.
fn keep_what_cannot_be_otherwise(
    treatment: &mut Treatment,
    before: &Treatment,
    fields: &AmendedFields,
    protocol: Option<&Protocol>,
) {
    let foreign = |protocol: &Protocol| treatment.areas.is_disjoint(&protocol.areas);
    if fields.areas.is_some() && protocol.is_some_and(foreign) {
        treatment.areas.clone_from(&before.areas);
    }
    let named = matches!(fields.next_session, Some(Booking::At(_)));
    if named && !fits(treatment) {
        treatment.next_session_at = before.next_session_at;
    }
}

/// Whether the next session is after this one, if there is one.
fn fits(treatment: &Treatment) -> bool {
    let booked = treatment.next_session_at;
    refused_times(treatment.completed_at, booked, Timestamp::MAX).is_empty()
}

/// What is left that does not fit together: areas that the protocol does not know, and a next session
/// before this one, are left out.
pub(super) fn fit(treatment: &mut Treatment, protocol: Option<&Protocol>) {
    if let Some(protocol) = protocol {
        treatment.areas = protocol.treated(&treatment.areas);
    }
    if !fits(treatment) {
        treatment.next_session_at = None;
    }
}
