//! Telling clinics what happens: into the outbox with the deed itself, and out of it at the scheduler's pace.
//!
//! Nothing is written unless the clinic has a webhook that wants it. The outbox holds opaque ids; the
//! patient's `ref` is opened as an event leaves, and an erased patient's never is.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::Serialize;

use super::paging::cut;
use crate::ids::{
    ClinicId, LeaseId, PatientId, ReminderId, TreatmentId, WebhookEventId, WebhookId,
};
use crate::planner::Reason;
use crate::store::{
    AuditEntry, ConsentKind, NewWebhookEvent, StoreError, Tx, Webhook, WebhookEvent, WebhookOutcome,
};
use crate::webhook::{EventData, EventType, WebhookUrl};

/// How many webhooks a clinic may have.
const MOST: usize = 10;
/// The bytes of a signing secret.
const SECRET: usize = 32;
/// What is noted of events whose receiver is gone for good.
const GONE: &str = "the receiver is gone (410)";

/// Something that a clinic may want to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happening {
    kind: EventType,
    data: EventData,
    once: Option<String>,
}

impl Happening {
    fn new(kind: EventType, patient: PatientId) -> Self {
        Self { kind, data: EventData::of(patient), once: None }
    }

    fn of_treatment(kind: EventType, patient: PatientId, id: TreatmentId) -> Self {
        let happening = Self::new(kind, patient);
        Self { data: EventData { treatment_id: Some(id), ..happening.data }, ..happening }
    }

    pub(super) fn planned(patient: PatientId, id: TreatmentId) -> Self {
        Self::of_treatment(EventType::TreatmentPlanned, patient, id)
    }

    pub(super) fn session_due(patient: PatientId, id: TreatmentId) -> Self {
        Self::of_treatment(EventType::CourseSessionDue, patient, id)
    }

    pub(super) fn completed(patient: PatientId, id: TreatmentId) -> Self {
        Self::of_treatment(EventType::CourseCompleted, patient, id)
    }

    fn of_reminder(kind: EventType, patient: PatientId, id: ReminderId) -> Self {
        let happening = Self::new(kind, patient);
        Self { data: EventData { reminder_id: Some(id), ..happening.data }, ..happening }
    }

    pub(super) fn sent(patient: PatientId, id: ReminderId) -> Self {
        Self::of_reminder(EventType::ReminderSent, patient, id)
    }

    pub(super) fn acknowledged(patient: PatientId, id: ReminderId) -> Self {
        Self::of_reminder(EventType::ReminderAcknowledged, patient, id)
    }

    /// A reminder that ended unsent.
    pub(super) fn failed(patient: PatientId, id: ReminderId, reason: Option<Reason>) -> Self {
        let happening = Self::of_reminder(EventType::ReminderFailed, patient, id);
        Self { data: EventData { reason, ..happening.data }, ..happening }
    }

    /// A reminder that nobody can be reached with; told once for each.
    pub(super) fn unreachable(patient: PatientId, id: ReminderId) -> Self {
        let kind = EventType::PatientUnreachable;
        Self { once: Some(format!("{kind}:{id}")), ..Self::of_reminder(kind, patient, id) }
    }

    pub(super) fn withdrawn(patient: PatientId, consent: ConsentKind) -> Self {
        let happening = Self::new(EventType::ConsentWithdrawn, patient);
        Self { data: EventData { consent: Some(consent), ..happening.data }, ..happening }
    }

    fn at(&self, webhook: WebhookId, not_before: Timestamp) -> NewWebhookEvent {
        NewWebhookEvent {
            webhook,
            kind: self.kind,
            data: self.data.clone(),
            once: self.once.clone(),
            not_before,
        }
    }
}

/// Writes into the outbox what the clinics of these patients want to hear of it, in this order.
///
/// # Errors
/// When the database refuses.
pub(super) fn tell(tx: &mut Tx<'_>, happenings: &[Happening]) -> Result<(), StoreError> {
    let patients: BTreeSet<PatientId> = happenings.iter().map(|one| one.data.patient_id).collect();
    if patients.is_empty() {
        return Ok(());
    }
    let patients: Vec<PatientId> = patients.into_iter().collect();
    let mut listeners: BTreeMap<PatientId, Vec<_>> = BTreeMap::new();
    for listener in tx.listeners(&patients)? {
        listeners.entry(listener.patient).or_default().push(listener);
    }
    let now = tx.now();
    let events = happenings.iter().flat_map(|one| {
        let of_patient = listeners.get(&one.data.patient_id).into_iter().flatten();
        let interested = of_patient.filter(|listener| listener.types.contains(&one.kind));
        interested.map(move |listener| one.at(listener.webhook, now))
    });
    let events: Vec<NewWebhookEvent> = events.collect();
    tx.insert_webhook_events(&events)
}

/// Tells that a patient is gone, by the id that events and answers carried before. It leaves after whatever
/// is on its way.
///
/// # Errors
/// When the database refuses.
pub(super) fn tell_erased(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    patient: PatientId,
    not_before: Timestamp,
) -> Result<(), StoreError> {
    let happening = Happening::new(EventType::PatientErased, patient);
    let webhooks = tx.webhooks_wanting(clinic, EventType::PatientErased)?.into_iter();
    let events: Vec<_> = webhooks.map(|webhook| happening.at(webhook, not_before)).collect();
    tx.insert_webhook_events(&events)
}

/// Why a webhook is not made.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The clinic has as many as it may.
    #[error("a clinic may have {MOST} webhooks; delete one first")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a webhook with a fresh secret, which nobody is shown again.
///
/// # Errors
/// [`WebhookError`]; then nothing is to be written.
pub fn create_webhook(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    url: &WebhookUrl,
    types: BTreeSet<EventType>,
) -> Result<Webhook, WebhookError> {
    tx.lock_clinic(clinic)?;
    if tx.webhooks(clinic)?.len() >= MOST {
        return Err(WebhookError::TooMany);
    }
    let secret = STANDARD.encode(tx.env().random::<SECRET>());
    let secret = SecretString::from(format!("whsec_{secret}"));
    let webhook = tx.insert_webhook(clinic, url.as_str(), &secret, types)?;
    tx.note_act(clinic, "webhook.created", &subject(webhook.id))?;
    Ok(webhook)
}

/// Forgets a webhook and what was to be told there; false when the clinic has no such webhook.
///
/// # Errors
/// When the database refuses.
pub fn delete_webhook(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: WebhookId,
) -> Result<bool, StoreError> {
    tx.lock_webhook(id)?;
    let deleted = tx.delete_webhook(clinic, id)?;
    if deleted {
        tx.note_act(clinic, "webhook.deleted", &subject(id))?;
    }
    Ok(deleted)
}

/// One page of the events that a webhook did not take, from after the cursor, and where the next page
/// starts.
pub type Failures = (Vec<WebhookEvent>, Option<(Timestamp, WebhookEventId)>);

/// The events that a webhook did not take; `None` when the clinic has no such webhook.
///
/// # Errors
/// When the database refuses.
pub fn webhook_failures(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: WebhookId,
    after: Option<(Timestamp, WebhookEventId)>,
    limit: u32,
) -> Result<Option<Failures>, StoreError> {
    if tx.webhook(id)?.is_none_or(|webhook| webhook.clinic_id != clinic) {
        return Ok(None);
    }
    let mut events = tx.failed_webhook_events(id, after, i64::from(limit) + 1)?;
    let next = cut(&mut events, limit).and_then(|last| Some((last.settled_at?, last.id)));
    Ok(Some((events, next)))
}

/// Tells again what a webhook did not take, and takes it up again when it was given up; gives how much that
/// is. `None` when the clinic has no such webhook.
///
/// # Errors
/// When the database refuses.
pub fn replay_webhook(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: WebhookId,
) -> Result<Option<usize>, StoreError> {
    tx.lock_webhook(id)?;
    if !tx.set_webhook_disabled(clinic, id, false)? {
        return Ok(None);
    }
    let replayed = tx.replay_webhook_events(id)?;
    tx.note_act(clinic, "webhook.replayed", &subject(id))?;
    Ok(Some(replayed))
}

fn subject(id: WebhookId) -> String {
    format!("webhook:{id}")
}

/// Events of one webhook under a lease, ready to leave.
#[derive(Debug)]
pub struct Outbound {
    /// Where they go, and what signs them.
    pub webhook: Webhook,
    /// What settles them.
    pub lease: LeaseId,
    /// When the lease ends, wall clock.
    pub until: Timestamp,
    /// The events, in order.
    pub messages: Vec<Message>,
}

/// One event as it leaves.
#[derive(Debug, Clone)]
pub struct Message {
    /// The event.
    pub event: WebhookEvent,
    /// The body; `None` when the patient's rows cannot be read. Personal: never logged.
    pub body: Option<String>,
}

#[derive(Serialize)]
struct Payload<'a> {
    r#type: EventType,
    timestamp: Timestamp,
    data: PayloadData<'a>,
}

#[derive(Serialize)]
struct PayloadData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    patient_ref: Option<&'a str>,
    #[serde(flatten)]
    data: &'a EventData,
}

/// Claims up to `limit` events of a webhook that are due, for `length`, and puts them in words; `None`
/// when none is.
///
/// # Errors
/// The store's.
pub fn claim_webhook(
    tx: &mut Tx<'_>,
    id: WebhookId,
    lease: LeaseId,
    length: SignedDuration,
    limit: i64,
) -> Result<Option<Outbound>, StoreError> {
    let Some(webhook) = tx.webhook(id)?.filter(|webhook| webhook.disabled_at.is_none()) else {
        return Ok(None);
    };
    let until = tx.now().checked_add(length).unwrap_or(Timestamp::MAX);
    let events = tx.claim_webhook_events(id, limit, lease, until)?;
    if events.is_empty() {
        return Ok(None);
    }
    let messages = events.into_iter().map(|event| message(tx, event)).collect::<Result<_, _>>()?;
    Ok(Some(Outbound { webhook, lease, until, messages }))
}

/// A patient whose rows cannot be opened must not hold up the others.
fn message(tx: &mut Tx<'_>, event: WebhookEvent) -> Result<Message, StoreError> {
    let reference = match event.patient_id {
        None => None,
        Some(patient) => match tx.patients_by_id(&[patient]) {
            Ok(found) => found.into_iter().next().map(|patient| patient.reference),
            Err(error) if error.is_unreadable() => return Ok(Message { event, body: None }),
            Err(error) => return Err(error),
        },
    };
    let data = PayloadData { patient_ref: reference.as_deref(), data: &event.data };
    let payload = Payload { r#type: event.kind, timestamp: event.created_at, data };
    let body = serde_json::to_string(&payload);
    let body = body.map_err(|error| StoreError::Internal(error.to_string()))?;
    Ok(Message { event, body: Some(body) })
}

/// What came of one attempt to tell something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The event's place in the order of all.
    pub seq: i64,
    /// What came of it.
    pub outcome: WebhookOutcome,
    /// Whether the receiver said that it is gone for good.
    pub gone: bool,
}

/// Writes what came of claimed events; gives how many were still under the lease. A receiver that is gone
/// for good is told nothing more: what waits for it is given up, and can be replayed.
///
/// # Errors
/// The store's; then nothing is written and the same outcomes can be offered again.
pub fn settle_webhook(
    tx: &mut Tx<'_>,
    webhook: (ClinicId, WebhookId),
    lease: LeaseId,
    told: &[Told],
) -> Result<usize, StoreError> {
    let (clinic, id) = webhook;
    let mut written = 0;
    let mut gone = false;
    if told.iter().any(|told| told.gone) {
        tx.lock_webhook(id)?;
    }
    for told in told {
        let mine = tx.settle_webhook_event(lease, told.seq, &told.outcome)?;
        written += usize::from(mine);
        gone |= mine && told.gone;
    }
    if gone && tx.set_webhook_disabled(clinic, id, true)? {
        tx.fail_webhook_events(id, GONE)?;
        tx.append_audit(&AuditEntry {
            clinic_id: Some(clinic),
            actor: "system",
            action: "webhook.disabled",
            subject: Some(&subject(id)),
        })?;
    }
    Ok(written)
}

/// Gives up what was still being written for receivers as they turned out to be gone; gives how much.
///
/// # Errors
/// The store's.
pub fn give_up_for_the_gone(tx: &mut Tx<'_>) -> Result<usize, StoreError> {
    let mut given_up = 0;
    for id in tx.disabled_webhooks()? {
        tx.lock_webhook(id)?;
        given_up += tx.fail_webhook_events(id, GONE)?;
    }
    Ok(given_up)
}
