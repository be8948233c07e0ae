//! From what is stored to what an export shows of it.

use aftercare::care::{self, ReminderView, TreatmentCard};
use aftercare::store::{
    Amendment, AuditRow, Calendar, Consent, Delivery, Device, Enrolment, Patient, Receipt,
    Reminder, Session, Snooze, WebhookEvent,
};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use super::{
    Export, ExportedAmendment, ExportedCalendar, ExportedConsent, ExportedDeed, ExportedDelivery,
    ExportedDevice, ExportedEnrolment, ExportedPatient, ExportedReceipt, ExportedReminder,
    ExportedSession, ExportedSnooze, ExportedTreatment, ExportedWebhookEvent, Reader,
};
use crate::dto::{ClinicDto, TestPush};

/// Every one of them in the export's shape.
fn all<T, U: From<T>>(stored: impl IntoIterator<Item = T>) -> Vec<U> {
    stored.into_iter().map(Into::into).collect()
}

impl Export {
    /// An export in the contract's shape.
    ///
    /// # Errors
    /// When something stored cannot be written as JSON.
    pub fn new(export: care::Export, reader: Reader, now: Timestamp) -> serde_json::Result<Self> {
        Ok(Self {
            generated_at: now,
            patient: patient(export.patient)?,
            clinic: ClinicDto {
                display_name: export.clinic.display_name,
                contact_phone: export.clinic.contact_phone,
            },
            consents: all(export.consents),
            devices: export.devices.into_iter().map(|one| device(one, reader)).collect(),
            treatments: all(export.treatments),
            amendments: export.amendments.into_iter().map(amendment).collect::<Result<_, _>>()?,
            reminders: export.reminders.into_iter().map(reminder).collect::<Result<_, _>>()?,
            deliveries: all(export.deliveries),
            receipts: all(export.receipts),
            snoozes: all(export.snoozes),
            test_pushes: export.test_push.iter().map(|push| TestPush::new(push, now)).collect(),
            enrolments: all(export.enrolments),
            calendars: all(export.calendar),
            sessions: all(export.sessions),
            webhook_events: all(export.webhook_events),
            audit: all(export.audit),
        })
    }
}

fn patient(patient: Patient) -> serde_json::Result<ExportedPatient> {
    Ok(ExportedPatient {
        id: patient.id.0,
        reference: patient.reference,
        time_zone: patient.time_zone.map(|zone| zone.to_string()),
        locale: patient.locale.map(|locale| locale.to_string()),
        time_zone_as_of: patient.time_zone_as_of,
        locale_as_of: patient.locale_as_of,
        preferences: serde_json::to_value(patient.preferences)?,
        plan_version: patient.plan_version,
        created_at: patient.created_at,
        updated_at: patient.updated_at,
    })
}

fn device(device: Device, reader: Reader) -> ExportedDevice {
    let address = device.address.filter(|_| reader == Reader::Patient);
    ExportedDevice {
        id: device.id.0,
        installation_id: device.installation_id,
        address_kind: device.address_kind.to_string(),
        address: address.map(|address| address.expose_secret().to_owned()),
        platform: device.platform.to_string(),
        time_zone: device.time_zone.to_string(),
        locale: device.locale.to_string(),
        notifications_enabled: device.notifications_enabled,
        delivery: device.delivery.to_string(),
        state: device.state.to_string(),
        state_reason: device.state_reason,
        session_id: device.session_id.map(|id| id.0),
        last_seen_at: device.last_seen_at,
        created_at: device.created_at,
    }
}

fn amendment(said: Amendment) -> serde_json::Result<ExportedAmendment> {
    Ok(ExportedAmendment {
        id: said.id.0,
        treatment_id: said.treatment_id.map(|id| id.0),
        kind: said.kind.to_string(),
        event_id: said.event_id,
        at: said.at,
        fields: serde_json::to_value(said.fields)?,
    })
}

fn reminder((row, view): (Reminder, ReminderView)) -> serde_json::Result<ExportedReminder> {
    Ok(ExportedReminder {
        reminder: view.into(),
        treatment_id: row.treatment_id.0,
        step: row.step_id.to_string(),
        steps: serde_json::to_value(row.members)?,
        said: row.said.map(serde_json::to_value).transpose()?,
        attempts: row.attempts,
        attempt_at: row.attempt_at,
        sent_at: row.sent_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

impl From<Consent> for ExportedConsent {
    fn from(consent: Consent) -> Self {
        Self {
            kind: consent.kind.to_string(),
            granted: consent.granted,
            notice_version: consent.notice_version,
            at: consent.at,
        }
    }
}

impl From<TreatmentCard> for ExportedTreatment {
    fn from(card: TreatmentCard) -> Self {
        let stored = &card.treatment;
        Self {
            namespace: stored.namespace.clone(),
            recorded_at: stored.recorded_at,
            voided_at: stored.voided_at,
            updated_at: stored.updated_at,
            treatment: card.into(),
        }
    }
}

impl From<Delivery> for ExportedDelivery {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.0,
            reminder_id: delivery.reminder_id.0,
            device_id: delivery.device_id.0,
            attempt: delivery.attempt,
            state: delivery.state.to_string(),
            status: delivery.status,
            code: delivery.code,
            detail: delivery.detail,
            at: delivery.at,
            retry_at: delivery.retry_at,
        }
    }
}

impl From<Receipt> for ExportedReceipt {
    fn from(receipt: Receipt) -> Self {
        Self { reminder_id: receipt.reminder_id.0, receipt: receipt.into() }
    }
}

impl From<Snooze> for ExportedSnooze {
    fn from(snooze: Snooze) -> Self {
        Self { reminder_id: snooze.reminder_id.0, snooze: snooze.into() }
    }
}

impl From<WebhookEvent> for ExportedWebhookEvent {
    fn from(event: WebhookEvent) -> Self {
        Self {
            id: event.id.0,
            kind: event.kind.to_string(),
            treatment_id: event.data.treatment_id.map(|id| id.0),
            reminder_id: event.data.reminder_id.map(|id| id.0),
            state: event.state.to_string(),
            created_at: event.created_at,
            settled_at: event.settled_at,
        }
    }
}

impl From<Enrolment> for ExportedEnrolment {
    fn from(enrolment: Enrolment) -> Self {
        Self {
            id: enrolment.id.0,
            created_at: enrolment.created_at,
            expires_at: enrolment.expires_at,
            redeemed_at: enrolment.redeemed_at,
        }
    }
}

impl From<Calendar> for ExportedCalendar {
    fn from(feed: Calendar) -> Self {
        Self { created_at: feed.created_at }
    }
}

impl From<Session> for ExportedSession {
    fn from(session: Session) -> Self {
        Self {
            id: session.id.0,
            created_at: session.created_at,
            expires_at: session.expires_at,
            revoked_at: session.revoked_at,
        }
    }
}

impl From<AuditRow> for ExportedDeed {
    fn from(row: AuditRow) -> Self {
        Self { at: row.at, actor: row.actor, action: row.action, subject: row.subject }
    }
}
