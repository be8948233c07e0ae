//! Everything held about a patient.

mod conversions;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::care::{ClinicDto, ReminderDto};
use super::test_push::TestPush;
use super::treatments::TreatmentDto;
use super::why::{ReceiptDto, SnoozeDto};

/// Everything held about a patient, as it is stored. Fields may be added.
#[derive(Serialize, ToSchema)]
pub struct Export {
    /// When this was made.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub generated_at: Timestamp,
    /// The patient.
    pub patient: ExportedPatient,
    /// Their clinic.
    pub clinic: ClinicDto,
    /// What they agreed to, and did not.
    pub consents: Vec<ExportedConsent>,
    /// The installations of their app.
    pub devices: Vec<ExportedDevice>,
    /// Their treatments, voided ones too.
    pub treatments: Vec<ExportedTreatment>,
    /// What was said of their sessions after they were recorded.
    pub amendments: Vec<ExportedAmendment>,
    /// Their reminders, whatever became of them.
    pub reminders: Vec<ExportedReminder>,
    /// Every attempt to push one of them.
    pub deliveries: Vec<ExportedDelivery>,
    /// What their phones reported of reminders.
    pub receipts: Vec<ExportedReceipt>,
    /// How they put reminders off.
    pub snoozes: Vec<ExportedSnooze>,
    /// The last test of whether pushes arrive.
    pub test_pushes: Vec<TestPush>,
    /// Their invitations to the app.
    pub enrolments: Vec<ExportedEnrolment>,
    /// Their calendar feed, if they have one. Its address is not here: whoever has it may read the feed.
    pub calendars: Vec<ExportedCalendar>,
    /// Their sign-ins.
    pub sessions: Vec<ExportedSession>,
    /// What the clinic's software was told of the patient, and is still to be told.
    pub webhook_events: Vec<ExportedWebhookEvent>,
    /// What was done to their records, and by whom; ids only.
    pub audit: Vec<ExportedDeed>,
}

/// The patient's own row.
#[derive(Serialize, ToSchema)]
pub struct ExportedPatient {
    /// The server's id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// The clinic's name for the patient.
    #[serde(rename = "ref")]
    #[schema(example = "p-1001")]
    pub reference: String,
    /// The time zone the clinic gave.
    #[schema(example = "Europe/Lisbon")]
    pub time_zone: Option<String>,
    /// The language the clinic gave.
    #[schema(example = "pt-PT")]
    pub locale: Option<String>,
    /// As of when the clinic gave the time zone: the end of the session that it told it with, or when it said so.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub time_zone_as_of: Option<Timestamp>,
    /// As of when it gave the language, likewise.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub locale_as_of: Option<Timestamp>,
    /// The patient's own wishes; what is absent was never set.
    #[schema(value_type = std::collections::BTreeMap<String, Value>, example = json!({"exercise_hour": "18:30:00"}))]
    pub preferences: Value,
    /// How often the plan has changed.
    #[schema(minimum = 0, example = 1)]
    pub plan_version: i64,
    /// When the patient was first heard of.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub created_at: Timestamp,
    /// When this was last changed.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub updated_at: Timestamp,
}

/// The latest word on one kind of push.
#[derive(Serialize, ToSchema)]
pub struct ExportedConsent {
    /// `aftercare` or `recall`.
    #[schema(example = "aftercare")]
    pub kind: String,
    /// Yes or no.
    pub granted: bool,
    /// Which text the patient was shown.
    #[schema(example = "2026-11")]
    pub notice_version: Option<String>,
    /// When it was said.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub at: Timestamp,
}

/// One installation of the app.
#[derive(Serialize, ToSchema)]
pub struct ExportedDevice {
    /// The server's id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// The app's own name for the installation.
    #[schema(example = "c0ffee00-0001")]
    pub installation_id: String,
    /// `token` or `fid`.
    #[schema(example = "token")]
    pub address_kind: String,
    /// The push address. Only the patient is shown it; the clinic's export has null.
    #[schema(example = "fKx3…:APA91b…")]
    pub address: Option<String>,
    /// `android`, `ios` or `web`.
    #[schema(example = "android")]
    pub platform: String,
    /// The phone's time zone.
    #[schema(example = "Europe/Lisbon")]
    pub time_zone: String,
    /// The phone's language.
    #[schema(example = "pt-PT")]
    pub locale: String,
    /// Whether the system lets the app show notifications.
    pub notifications_enabled: bool,
    /// `push` or `local_fallback`.
    #[schema(example = "push")]
    pub delivery: String,
    /// `active`, `gone`, `refused` or `moved`.
    #[schema(example = "active")]
    pub state: String,
    /// Why it is not active, as a code.
    #[schema(example = "UNREGISTERED")]
    pub state_reason: Option<String>,
    /// The sign-in that registered it.
    #[schema(value_type = Option<String>, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub session_id: Option<Uuid>,
    /// When it was last heard of.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub last_seen_at: Timestamp,
    /// When it was first registered.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub created_at: Timestamp,
}

/// A treatment, and what is only stored of it.
#[derive(Serialize, ToSchema)]
pub struct ExportedTreatment {
    /// The treatment as it is answered elsewhere.
    #[serde(flatten)]
    pub treatment: TreatmentDto,
    /// Which kind of event id `event_id` is.
    #[schema(example = "event")]
    pub namespace: String,
    /// When the server was told.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub recorded_at: Timestamp,
    /// When it was voided.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub voided_at: Option<Timestamp>,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub updated_at: Timestamp,
}

/// What was said of a session after it was recorded; of kind `recorded` what it was at first.
#[derive(Serialize, ToSchema)]
pub struct ExportedAmendment {
    /// The server's id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// The treatment.
    #[schema(value_type = Option<String>, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub treatment_id: Option<Uuid>,
    /// `recorded`, `amended` or `voided`.
    #[schema(example = "amended")]
    pub kind: String,
    /// The clinic's id of the event that said it.
    #[schema(example = "visit-2026-11-22-0017")]
    pub event_id: Option<String>,
    /// Since when it is true.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub at: Timestamp,
    /// What it changes.
    #[schema(value_type = std::collections::BTreeMap<String, Value>, example = json!({"areas": ["face"]}))]
    pub fields: Value,
}

/// A reminder, and what is only stored of it.
#[derive(Serialize, ToSchema)]
pub struct ExportedReminder {
    /// The reminder as it is answered elsewhere.
    #[serde(flatten)]
    pub reminder: ReminderDto,
    /// The treatment it is named after.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub treatment_id: Uuid,
    /// The protocol's step it is named after.
    #[schema(example = "start")]
    pub step: String,
    /// The steps it carries, each with whatever moved it.
    #[schema(value_type = Vec<Object>, example = json!([{"key": {"treatment": "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f", "step": "start"}}]))]
    pub steps: Value,
    /// What it said when it was sent last, and until when it said that each rule holds.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>, example = json!({"title": "Good morning", "body": "No makeup until today 15:40.", "rule_ids": ["no-makeup"], "until": {"no-makeup": "2026-11-23T15:40:00Z"}}))]
    pub said: Option<Value>,
    /// How often it was taken up to be sent.
    #[schema(minimum = 0, example = 1)]
    pub attempts: u32,
    /// When it is looked at next.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub attempt_at: Option<Timestamp>,
    /// When the first device accepted it.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub sent_at: Option<Timestamp>,
    /// When it was first planned.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub updated_at: Timestamp,
}

/// One attempt to push one reminder to one device.
#[derive(Serialize, ToSchema)]
pub struct ExportedDelivery {
    /// The server's id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// The reminder.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub reminder_id: Uuid,
    /// The device; it may be gone since.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub device_id: Uuid,
    /// Which attempt it was, from 1.
    #[schema(minimum = 1, example = 1)]
    pub attempt: u32,
    /// `sent`, `retry`, `failed` or `gone`.
    #[schema(example = "sent")]
    pub state: String,
    /// The push service's HTTP status.
    #[schema(example = 200)]
    pub status: Option<i32>,
    /// Its error code, or ours.
    #[schema(example = "UNAVAILABLE")]
    pub code: Option<String>,
    /// Its words.
    #[schema(example = "The service is unavailable")]
    pub detail: Option<String>,
    /// When it was.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub at: Timestamp,
    /// When the next one is due.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub retry_at: Option<Timestamp>,
}

/// What a phone reported of a reminder.
#[derive(Serialize, ToSchema)]
pub struct ExportedReceipt {
    /// The reminder.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub reminder_id: Uuid,
    /// The same as it is told of one reminder.
    #[serde(flatten)]
    pub receipt: ReceiptDto,
}

/// One time that a reminder was put off.
#[derive(Serialize, ToSchema)]
pub struct ExportedSnooze {
    /// The reminder.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub reminder_id: Uuid,
    /// The same as it is told of one reminder.
    #[serde(flatten)]
    pub snooze: SnoozeDto,
}

/// One event about the patient, to one webhook of the clinic's.
#[derive(Serialize, ToSchema)]
pub struct ExportedWebhookEvent {
    /// The server's id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// What was told.
    #[serde(rename = "type")]
    #[schema(example = "reminder.sent")]
    pub kind: String,
    /// The treatment it is about.
    #[schema(value_type = Option<String>, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub treatment_id: Option<Uuid>,
    /// The reminder it is about.
    #[schema(value_type = Option<String>, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub reminder_id: Option<Uuid>,
    /// `pending`, `delivered` or `failed`.
    #[schema(example = "delivered")]
    pub state: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:55:02Z")]
    pub created_at: Timestamp,
    /// When the receiver took it, or it was given up.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:55:03Z")]
    pub settled_at: Option<Timestamp>,
}

/// One invitation to the app; the code itself is stored nowhere.
#[derive(Serialize, ToSchema)]
pub struct ExportedEnrolment {
    /// The server's id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// When it was made.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub created_at: Timestamp,
    /// Until when it was good.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub expires_at: Timestamp,
    /// When it was used.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub redeemed_at: Option<Timestamp>,
}

/// A calendar feed.
#[derive(Serialize, ToSchema)]
pub struct ExportedCalendar {
    /// When it was made.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub created_at: Timestamp,
}

/// One sign-in; its tokens are stored nowhere.
#[derive(Serialize, ToSchema)]
pub struct ExportedSession {
    /// The `sid` of its tokens.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// When it began.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub expires_at: Option<Timestamp>,
    /// When it was ended.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub revoked_at: Option<Timestamp>,
}

/// One deed.
#[derive(Serialize, ToSchema)]
pub struct ExportedDeed {
    /// When it was.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub at: Timestamp,
    /// Who did it.
    #[schema(example = "clinic:019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub actor: String,
    /// What was done.
    #[schema(example = "timeline.read")]
    pub action: String,
    /// To what.
    #[schema(example = "patient:019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub subject: Option<String>,
}

/// Who is to read an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The patient: everything.
    Patient,
    /// The clinic: everything but push addresses, which are of no use to it.
    Clinic,
}
