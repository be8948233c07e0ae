//! What became of a test push.

use aftercare::planner::ReminderState;
use aftercare::store;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Object;
use uuid::Uuid;

use super::devices::one_of;

fn states() -> Object {
    use ReminderState::{Expired, Failed, Planned, Sent};
    one_of(
        [Planned, Sent, Expired, Failed].iter().map(|state| state.as_str()),
        "Where it stands: on its way, accepted for one phone at least, not sent in time, or not to be sent.",
    )
}

/// A push that says nothing but that pushes arrive.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TestPush {
    /// Its id: the `reminder_id` of the push, and of the phone's receipts.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub requested_at: Timestamp,
    /// From when on it is not sent, and not shown.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:51:02Z")]
    pub use_by: Timestamp,
    /// Where it stands.
    #[schema(schema_with = states)]
    pub state: ReminderState,
    /// Why, as for reminders.
    #[schema(example = "accepted")]
    pub reason: Option<String>,
    /// When FCM accepted it for the first phone.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:03Z")]
    pub sent_at: Option<Timestamp>,
    /// When a phone showed it first, by the phone's clock.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:04Z")]
    pub displayed_at: Option<Timestamp>,
    /// When somebody reacted to it first, by the phone's clock.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:41:09Z")]
    pub acknowledged_at: Option<Timestamp>,
}

impl TestPush {
    /// The test as it stands at `now`.
    #[must_use]
    pub fn new(push: &store::TestPush, now: Timestamp) -> Self {
        let (state, reason) = push.standing(now);
        Self {
            id: push.id.0,
            requested_at: push.requested_at,
            use_by: push.use_by,
            state,
            reason: reason.map(|reason| reason.to_string()),
            sent_at: push.sent_at,
            displayed_at: push.displayed_at,
            acknowledged_at: push.acknowledged_at,
        }
    }
}
