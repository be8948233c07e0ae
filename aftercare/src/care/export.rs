//! Everything that is held about a patient, in one piece.

use super::case::cases;
use super::timeline::{ReminderView, TreatmentCard};
use crate::ids::PatientId;
use crate::store::{
    Amendment, AuditRow, Calendar, Clinic, Consent, Delivery, Device, Enrolment, Patient, Receipt,
    Reminder, Session, Snooze, StoreError, TestPush, Tx, WebhookEvent,
};

/// All that is stored about one patient, opened. Personal throughout: never logged.
pub struct Export {
    /// The patient.
    pub patient: Patient,
    /// Their clinic.
    pub clinic: Clinic,
    /// What they agreed to.
    pub consents: Vec<Consent>,
    /// Their devices, with their push addresses.
    pub devices: Vec<Device>,
    /// Their treatments, voided ones too.
    pub treatments: Vec<TreatmentCard>,
    /// What was said of their sessions afterwards.
    pub amendments: Vec<Amendment>,
    /// Their reminders, whatever their state, each as stored and in words.
    pub reminders: Vec<(Reminder, ReminderView)>,
    /// Every attempt to push one.
    pub deliveries: Vec<Delivery>,
    /// What their phones reported of reminders.
    pub receipts: Vec<Receipt>,
    /// How they put reminders off.
    pub snoozes: Vec<Snooze>,
    /// The last test of whether pushes arrive.
    pub test_push: Option<TestPush>,
    /// Their invitations to the app.
    pub enrolments: Vec<Enrolment>,
    /// Their calendar feed.
    pub calendar: Option<Calendar>,
    /// Their sign-ins.
    pub sessions: Vec<Session>,
    /// What their clinic's software was told of them, and is still to be told.
    pub webhook_events: Vec<WebhookEvent>,
    /// What was done to their records, and by whom.
    pub audit: Vec<AuditRow>,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("patient", &self.patient.id).finish_non_exhaustive()
    }
}

/// Everything held about a patient; `None` when there is no such patient. It is put into words when that
/// is called, which needs no connection.
///
/// # Errors
/// When the database refuses, or what is sealed does not open.
pub fn export(
    tx: &mut Tx<'_>,
    patient: PatientId,
) -> Result<Option<impl FnOnce() -> Export + Send + use<>>, StoreError> {
    let Some(case) = cases(tx, &[patient])?.pop() else { return Ok(None) };
    let consents = tx.consents(patient)?;
    let ids: Vec<_> = case.reminders.iter().map(|reminder| reminder.id).collect();
    let (deliveries, receipts) = (tx.deliveries_of(&ids)?, tx.receipts_of(&ids)?);
    let (snoozes, test_push) = (tx.snoozes_of(patient)?, tx.test_push(patient)?);
    let (enrolments, sessions) = (tx.enrolments(patient)?, tx.sessions(patient)?);
    let webhook_events = tx.webhook_events_of(patient)?;
    let calendar = tx.calendar(&case.patient)?;
    let treatments = case.treatments.iter().map(|treatment| format!("treatment:{}", treatment.id));
    let subjects: Vec<_> =
        std::iter::once(format!("patient:{patient}")).chain(treatments).collect();
    let audit = tx.audit_of(&subjects)?;
    let amendments = tx.amendments_of(&case.patient)?;
    Ok(Some(move || {
        let pairs = case.treatments.iter().zip(&case.facts.treatments);
        let treatments = pairs.map(|(row, facts)| case.card(row.clone(), facts)).collect();
        let chart = case.chart();
        let reminders = case.reminders.iter().map(|row| (row.clone(), case.reminder(row, &chart)));
        Export {
            consents,
            treatments,
            amendments,
            reminders: reminders.collect(),
            deliveries,
            receipts,
            snoozes,
            test_push,
            enrolments,
            calendar,
            sessions,
            webhook_events,
            audit,
            devices: case.devices,
            patient: case.patient,
            clinic: case.clinic,
        }
    }))
}
