//! The address of a calendar feed.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A patient's private calendar feed.
#[derive(Serialize, ToSchema)]
pub struct CalendarAnswer {
    /// The address to subscribe to. Whoever has it can read the feed: it is the patient's to give.
    #[schema(
        example = "https://aftercare.example/calendar/cal_Vb0mXzRrFJbxZ3g8m0mYq3c7pN1t5uKdE2wQ9sHaLfo.ics"
    )]
    pub url: String,
    /// Since when there is this feed.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub created_at: Timestamp,
}
