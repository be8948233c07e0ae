//! Why a reminder is what it is.

use aftercare::care::{RuleBehind, ShiftBehind, StepBehind, TreatmentBehind, Why};
use aftercare::store::{Delivery, Platform, Receipt, Snooze};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::care::ReminderDto;

/// Everything that is known of one reminder, whatever became of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Why)]
pub struct WhyDto {
    /// The reminder, as the timeline has it.
    pub reminder: ReminderDto,
    /// Why it stands where it stands, in the patient's language.
    #[schema(example = "It will come at its time.")]
    pub explanation: String,
    /// The reminder that says what this one would have said; null when there is none.
    #[schema(value_type = Option<String>, example = json!(null))]
    pub said_by: Option<Uuid>,
    /// The zone of its hours.
    pub time_zone: SettingDto,
    /// The language of its words.
    pub locale: SettingDto,
    /// The rules it speaks of, in the order in which it does.
    pub rules: Vec<RuleBehindDto>,
    /// The steps of protocols that it says, the first one first; several = they were merged.
    pub steps: Vec<StepBehindDto>,
    /// Every treatment behind its rules and steps, by completion.
    pub treatments: Vec<TreatmentBehindDto>,
    /// When it is tried next; null unless it waits.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-23T07:50:00Z")]
    pub next_attempt_at: Option<Timestamp>,
    /// Every attempt to push it, the oldest first.
    pub deliveries: Vec<DeliveryDto>,
    /// What the patient's phones reported of it.
    pub receipts: Vec<ReceiptDto>,
    /// When it was put off, the first time first.
    pub snoozes: Vec<SnoozeDto>,
}

/// A setting in use, and where it comes from.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Setting)]
pub struct SettingDto {
    /// What is in use.
    #[schema(example = "Europe/Lisbon")]
    pub value: String,
    /// The first that says so: `preferences`, `device` (the phone that registered last), `patient` (what the
    /// clinic said of the patient) or `clinic`.
    #[schema(example = "device")]
    pub source: String,
}

/// A rule behind a reminder.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RuleBehind)]
pub struct RuleBehindDto {
    /// The rule's id in its protocol.
    #[schema(example = "no-makeup")]
    pub rule: String,
    /// `avoid`, `do`, `expect` or `next-session`.
    #[schema(example = "avoid")]
    pub kind: String,
    /// The rule in the patient's language.
    #[schema(example = "No makeup for 24 hours.")]
    pub text: String,
    /// What the clinic's own page says, word for word.
    #[schema(example = "no makeup for 24 hours")]
    pub quote: Option<String>,
    /// The protocol it is read in.
    #[schema(example = "microneedling")]
    pub protocol: String,
    /// The version of the protocol.
    #[schema(example = 1, minimum = 1)]
    pub protocol_version: u32,
    /// Until when it holds, the latest end of all its treatments, as it was said if it was sent; null = open-ended, or it does not hold.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-23T15:40:00Z")]
    pub until: Option<Timestamp>,
    /// Every treatment it holds for.
    #[schema(value_type = Vec<String>, example = json!(["019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f"]))]
    pub treatment_ids: Vec<Uuid>,
}

impl From<RuleBehind> for RuleBehindDto {
    fn from(behind: RuleBehind) -> Self {
        Self {
            rule: behind.rule.to_string(),
            kind: behind.kind.to_string(),
            text: behind.text,
            quote: behind.quote,
            protocol: behind.protocol,
            protocol_version: behind.protocol_version,
            until: behind.until,
            treatment_ids: behind.treatment_ids.into_iter().map(|id| id.0).collect(),
        }
    }
}

/// A step behind a reminder.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = StepBehind)]
pub struct StepBehindDto {
    /// The step's id in its protocol.
    #[schema(example = "morning")]
    pub step: String,
    /// The treatment.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub treatment_id: Uuid,
    /// When the protocol has it due.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T07:50:00Z")]
    pub nominal_at: Timestamp,
    /// The same as the patient's clock shows it.
    #[schema(example = "2026-11-23T07:50:00+00:00[Europe/Lisbon]")]
    pub nominal_local: String,
    /// From when on it is worthless.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T11:00:00Z")]
    pub use_by: Timestamp,
    /// Every move from there to the reminder's `due_at`, in order.
    pub shifts: Vec<ShiftDto>,
}

impl From<StepBehind> for StepBehindDto {
    fn from(behind: StepBehind) -> Self {
        Self {
            step: behind.step.to_string(),
            treatment_id: behind.treatment.0,
            nominal_at: behind.nominal_at,
            nominal_local: behind.nominal_local,
            use_by: behind.use_by,
            shifts: behind.shifts.into_iter().map(Into::into).collect(),
        }
    }
}

/// One move of a step.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Shift)]
pub struct ShiftDto {
    /// `late`, `quiet-hours`, `spread`, `min-gap`, `bundled`, `max-per-day` or `snoozed`.
    #[schema(example = "quiet-hours")]
    pub cause: String,
    /// The same in the patient's language.
    #[schema(example = "It was moved out of your quiet hours.")]
    pub explanation: String,
    /// Where to.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T08:30:00Z")]
    pub to: Timestamp,
    /// The same as the patient's clock shows it.
    #[schema(example = "2026-11-23T08:30:00+00:00[Europe/Lisbon]")]
    pub to_local: String,
}

impl From<ShiftBehind> for ShiftDto {
    fn from(shift: ShiftBehind) -> Self {
        Self {
            cause: shift.cause.to_string(),
            explanation: shift.explanation.to_owned(),
            to: shift.to,
            to_local: shift.to_local,
        }
    }
}

/// A treatment behind a reminder.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = TreatmentBehind)]
pub struct TreatmentBehindDto {
    /// The treatment.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// The protocol.
    #[schema(example = "microneedling")]
    pub protocol: String,
    /// The version it was recorded under.
    #[schema(example = 1, minimum = 1)]
    pub protocol_version: u32,
    /// When the session ended.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub completed_at: Timestamp,
    /// The same in the treatment's zone.
    #[schema(example = "2026-11-22T15:40:00+00:00[Europe/Lisbon]")]
    pub completed_local: String,
    /// `active` or `voided`.
    #[schema(example = "active")]
    pub state: String,
}

impl From<TreatmentBehind> for TreatmentBehindDto {
    fn from(behind: TreatmentBehind) -> Self {
        Self {
            id: behind.id.0,
            protocol: behind.protocol,
            protocol_version: behind.protocol_version,
            completed_at: behind.completed_at,
            completed_local: behind.completed_local,
            state: behind.state.to_string(),
        }
    }
}

/// One attempt to push a reminder to one device, and FCM's answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryDto {
    /// The device, by the server's own id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-9c5d1b2a4e6f")]
    pub device_id: Uuid,
    /// `android`, `ios` or `web`; null when the device is forgotten.
    #[schema(example = "android")]
    pub platform: Option<String>,
    /// Counts the attempts, from 1; from the start again after a snooze.
    #[schema(example = 1, minimum = 1)]
    pub attempt: u32,
    /// `sent`, `retry` (another attempt follows, or followed), `failed` or `gone` (the address is dropped).
    #[schema(example = "sent")]
    pub state: String,
    /// FCM's HTTP status; null when there was no answer.
    #[schema(example = 200)]
    pub status: Option<i32>,
    /// FCM's error code, or the server's own.
    #[schema(example = json!(null))]
    pub code: Option<String>,
    /// FCM's words.
    #[schema(example = json!(null))]
    pub detail: Option<String>,
    /// When the answer came.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T07:50:01Z")]
    pub at: Timestamp,
    /// When this device is tried again; null when it is not, or together with the others.
    #[schema(value_type = Option<String>, format = DateTime, example = json!(null))]
    pub next_attempt_at: Option<Timestamp>,
}

impl From<(Delivery, Option<Platform>)> for DeliveryDto {
    fn from((delivery, platform): (Delivery, Option<Platform>)) -> Self {
        Self {
            device_id: delivery.device_id.0,
            platform: platform.map(|platform| platform.to_string()),
            attempt: delivery.attempt,
            state: delivery.state.to_string(),
            status: delivery.status,
            code: delivery.code,
            detail: delivery.detail,
            at: delivery.at,
            next_attempt_at: delivery.retry_at,
        }
    }
}

/// What phones reported.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptDto {
    /// `displayed` or `acknowledged`.
    #[schema(example = "displayed")]
    pub kind: String,
    /// When it happened, by the phone's clock.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T07:50:03Z")]
    pub at: Timestamp,
    /// When it was reported.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:12:00Z")]
    pub reported_at: Timestamp,
}

impl From<Receipt> for ReceiptDto {
    fn from(receipt: Receipt) -> Self {
        let Receipt { kind, at, reported_at, .. } = receipt;
        Self { kind: kind.to_string(), at, reported_at }
    }
}

/// One snooze.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SnoozeTaken)]
pub struct SnoozeDto {
    /// When the patient asked for it.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T07:51:00Z")]
    pub at: Timestamp,
    /// When the reminder was to come again.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T08:21:00Z")]
    pub until: Timestamp,
}

impl From<Snooze> for SnoozeDto {
    fn from(snooze: Snooze) -> Self {
        Self { at: snooze.at, until: snooze.until }
    }
}

impl From<Why> for WhyDto {
    fn from(why: Why) -> Self {
        let setting = |value, source: aftercare::care::Source| SettingDto {
            value,
            source: source.to_string(),
        };
        Self {
            reminder: why.reminder.into(),
            explanation: why.explanation.to_owned(),
            said_by: why.said_by.map(|id| id.0),
            time_zone: setting(why.time_zone, why.time_zone_source),
            locale: setting(why.locale, why.locale_source),
            rules: why.rules.into_iter().map(Into::into).collect(),
            steps: why.steps.into_iter().map(Into::into).collect(),
            treatments: why.treatments.into_iter().map(Into::into).collect(),
            next_attempt_at: why.next_attempt_at,
            deliveries: why.deliveries.into_iter().map(Into::into).collect(),
            receipts: why.receipts.into_iter().map(Into::into).collect(),
            snoozes: why.snoozes.into_iter().map(Into::into).collect(),
        }
    }
}
