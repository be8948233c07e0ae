//! Who has something due and is not going to hear it.

use aftercare::care::UnheardReminder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::fields::{Fields, FromFields, parse};

/// How far ahead to look.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReachabilityQuery {
    /// Only what is due within so many hours from now.
    #[param(minimum = 1, maximum = 168, default = 48)]
    pub within_hours: Option<u32>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// Where the page before ended: its `next_cursor`.
    #[param(min_length = 1, max_length = 128)]
    pub cursor: Option<String>,
}

impl FromFields for ReachabilityQuery {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let within_hours = fields.optional("within_hours", parse::whole(1..=168));
        let limit = fields.optional("limit", parse::whole(1..=200));
        let cursor = fields.optional("cursor", parse::text(128));
        Some(Self { within_hours, limit, cursor })
    }
}

/// A reminder that no phone is going to show.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Unheard {
    /// Whose.
    #[schema(example = "p-1001")]
    pub patient_ref: String,
    /// The reminder.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub reminder_id: Uuid,
    /// The treatment that it speaks for.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub treatment_id: Uuid,
    /// When it is due, or was.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T07:50:00Z")]
    pub due_at: Timestamp,
    /// The same as the patient's clock shows it.
    #[schema(example = "2026-11-23T07:50:00+00:00[Europe/Lisbon]")]
    pub due_local: String,
    /// From when on it is worthless.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T11:00:00Z")]
    pub use_by: Timestamp,
    /// What it is about, in the patient's language.
    #[schema(example = "Good morning")]
    pub title: String,
    /// The rules it speaks of.
    #[schema(example = json!(["sun-protection", "no-makeup"]))]
    pub rule_ids: Vec<String>,
    /// Why nobody is going to hear it, the one reason that tells most: `consent-withdrawn`,
    /// `message-refused` (FCM refused it for good; it is not tried again), `sending-paused`, `no-device`, `notifications-off`, `app-gone`, `stale-address` (not in touch for
    /// 270 days), `refused-address` or `address-moved`.
    #[schema(example = "notifications-off")]
    pub reason: String,
    /// All reasons, that one first.
    #[schema(example = json!(["notifications-off", "app-gone"]))]
    pub reasons: Vec<String>,
}

impl From<UnheardReminder> for Unheard {
    fn from(unheard: UnheardReminder) -> Self {
        let reasons: Vec<String> = unheard.reasons.iter().map(ToString::to_string).collect();
        Self {
            patient_ref: unheard.patient_ref,
            reminder_id: unheard.reminder.id.0,
            treatment_id: unheard.treatment_id.0,
            due_at: unheard.reminder.due_at,
            due_local: unheard.reminder.due_local,
            use_by: unheard.reminder.use_by,
            title: unheard.reminder.title,
            rule_ids: unheard.reminder.rule_ids.iter().map(ToString::to_string).collect(),
            reason: reasons.first().cloned().unwrap_or_default(),
            reasons,
        }
    }
}

/// One page of reminders that nobody is going to hear, by due moment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReachabilityPage {
    /// The reminders.
    pub items: Vec<Unheard>,
    /// What to ask the next page with; null on the last.
    #[schema(example = "AAZENmVbQgABmryOeiwH0QjwDDxdGypObw")]
    pub next_cursor: Option<String>,
}
