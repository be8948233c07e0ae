//! What clinics can be told at an address of their own, and which addresses those may be.

mod address;
mod url;

use serde::{Deserialize, Serialize};

pub use address::Reach;
pub use url::{WebhookUrl, WebhookUrlError};

use crate::ids::{PatientId, ReminderId, TreatmentId};
use crate::planner::Reason;
use crate::store::ConsentKind;
use crate::words::words;

words! {
    /// What is told. The word is a contract with receivers: it is never given to something else.
    EventType {
        /// A session was recorded and its reminders are planned.
        TreatmentPlanned = "treatment.planned",
        /// A phone's push service took a reminder; again each time it was put off.
        ReminderSent = "reminder.sent",
        /// A reminder ended unsent: refused for good, or worthless before anybody could be reached.
        ReminderFailed = "reminder.failed",
        /// The patient reacted to a reminder.
        ReminderAcknowledged = "reminder.acknowledged",
        /// A reminder came due and the patient has no phone that would show it.
        PatientUnreachable = "patient.unreachable",
        /// The patient and all that was held of them are gone.
        PatientErased = "patient.erased",
        /// The patient withdrew consent to one kind of push.
        ConsentWithdrawn = "consent.withdrawn",
        /// The day came on which the next session of a course is due, and it has no date.
        CourseSessionDue = "course.session_due",
        /// The last session of a course was recorded.
        CourseCompleted = "course.completed",
    }
}

/// What an event is about: opaque ids and codes, never a text. The patient's `ref` joins them only as
/// the event leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventData {
    /// The patient, by the server's id: the one name that is left after an erasure.
    pub patient_id: PatientId,
    /// The treatment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub treatment_id: Option<TreatmentId>,
    /// The reminder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reminder_id: Option<ReminderId>,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Consent to what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ConsentKind>,
}

impl EventData {
    /// About the patient as such.
    #[must_use]
    pub fn of(patient_id: PatientId) -> Self {
        Self { patient_id, treatment_id: None, reminder_id: None, reason: None, consent: None }
    }
}
