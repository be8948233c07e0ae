//! What apps report, and what they ask of single reminders.

use aftercare::care::{Receipts, Reported};
use aftercare::ids::ReminderId;
use aftercare::store::ReceiptKind;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;
use uuid::Uuid;

use super::devices::one_of;
use crate::fields::{Fields, FromFields, parse};

/// Receipts in one request at most.
pub const RECEIPTS: usize = 200;

fn kinds() -> Object {
    one_of(
        ReceiptKind::ALL.iter().map(|kind| kind.as_str()),
        "What happened: the phone showed it, or the patient reacted to it.",
    )
}

/// One thing that happened to one reminder on the phone.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ReceiptReport)]
#[serde(deny_unknown_fields)]
pub struct ReceiptFields {
    /// The reminder, or the test push.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub reminder_id: ReminderId,
    /// What happened.
    #[schema(schema_with = kinds)]
    pub kind: ReceiptKind,
    /// When, by the phone's clock. What lies in the future counts as now.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:55:02Z")]
    pub at: Timestamp,
}

impl FromFields for ReceiptFields {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let reminder_id = fields.required("reminder_id", parse::id);
        let kind = fields.required("kind", parse::word);
        let at = fields.required("at", parse::instant);
        Some(Self { reminder_id: reminder_id?, kind: kind?, at: at? })
    }
}

impl From<ReceiptFields> for Reported {
    fn from(fields: ReceiptFields) -> Self {
        Self { reminder: fields.reminder_id, kind: fields.kind, at: fields.at }
    }
}

/// What became of receipts.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReceiptsAnswer {
    /// How many of them are known now, by this report or an earlier one.
    #[schema(example = 2, minimum = 0)]
    pub recorded: usize,
    /// The ids that are neither a reminder of this patient's nor their last test push: do not report them again.
    #[schema(value_type = Vec<String>, example = json!(["019abc3e-0000-7d10-8f00-3c5d1b2a4e6f"]))]
    pub unknown: Vec<Uuid>,
}

impl From<Receipts> for ReceiptsAnswer {
    fn from(receipts: Receipts) -> Self {
        let unknown = receipts.unknown.into_iter().map(|id| id.0).collect();
        Self { recorded: receipts.recorded, unknown }
    }
}

/// How long to put a reminder off.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = Snooze)]
#[serde(deny_unknown_fields)]
pub struct SnoozeFields {
    /// Elapsed minutes from now.
    #[schema(minimum = 5, maximum = 1440, example = 30)]
    pub minutes: u32,
}

impl FromFields for SnoozeFields {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let minutes = fields.required("minutes", parse::number(5..=1440));
        Some(Self { minutes: minutes? })
    }
}
