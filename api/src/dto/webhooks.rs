//! Webhooks: where a clinic hears of what happens.

use std::collections::BTreeSet;

use aftercare::store::{Webhook, WebhookEvent};
use aftercare::webhook::EventType;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{Array, ArrayBuilder};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::devices::one_of;
use crate::fields::{Fields, FromFields, parse};

fn event_types() -> Array {
    let words = EventType::ALL.iter().map(|kind| kind.as_str());
    ArrayBuilder::new()
        .items(one_of(words, "One type of event."))
        .min_items(Some(1))
        .description(Some("The types of events to hear of."))
        .examples([serde_json::json!(["reminder.failed", "patient.erased"])])
        .build()
}

/// A webhook to make.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(example = json!({
    "url": "https://practice.example/hooks/aftercare",
    "types": ["reminder.failed", "patient.unreachable", "patient.erased"],
}))]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where events are posted to: an `https` URL with any port, without user name and fragment, that
    /// leads to a public address.
    #[schema(
        min_length = 1,
        max_length = 2048,
        pattern = "^https?://[A-Za-z0-9]",
        example = "https://practice.example/hooks/aftercare"
    )]
    pub url: String,
    /// What to hear of.
    #[schema(schema_with = event_types)]
    pub types: BTreeSet<EventType>,
}

impl FromFields for NewWebhook {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let url = fields.required("url", parse::text(2048));
        let types = fields.required("types", parse::words);
        Some(Self { url: url?, types: types? })
    }
}

/// A webhook.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookDto {
    /// The server's id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// Where events are posted to.
    #[schema(example = "https://practice.example/hooks/aftercare")]
    pub url: String,
    /// The types of events it hears of.
    #[schema(example = json!(["reminder.failed", "patient.erased"]))]
    pub types: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub created_at: Timestamp,
    /// Since when nothing is posted there, because the receiver answered 410; a replay takes it up again.
    #[schema(value_type = Option<String>, format = DateTime, example = json!(null))]
    pub disabled_at: Option<Timestamp>,
}

impl From<Webhook> for WebhookDto {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id.0,
            url: webhook.url.expose_secret().to_owned(),
            types: webhook.types.iter().map(ToString::to_string).collect(),
            created_at: webhook.created_at,
            disabled_at: webhook.disabled_at,
        }
    }
}

/// A webhook that was just made, with its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CreatedWebhook {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookDto,
    /// What signs every message (Standard Webhooks). It is shown this once.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    pub secret: String,
}

impl From<Webhook> for CreatedWebhook {
    fn from(webhook: Webhook) -> Self {
        let secret = webhook.secret.expose_secret().to_owned();
        Self { webhook: webhook.into(), secret }
    }
}

/// The clinic's webhooks.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WebhookPage {
    /// The webhooks, the oldest first.
    pub items: Vec<WebhookDto>,
    /// Always null: all of them are on one page.
    #[schema(example = json!(null))]
    pub next_cursor: Option<String>,
}

/// Which page of failures.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FailuresQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// Where the page before ended: its `next_cursor`.
    #[param(min_length = 1, max_length = 128)]
    pub cursor: Option<String>,
}

impl FromFields for FailuresQuery {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let limit = fields.optional("limit", parse::whole(1..=200));
        let cursor = fields.optional("cursor", parse::text(128));
        Some(Self { limit, cursor })
    }
}

/// An event that a webhook did not take.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WebhookFailure {
    /// The event's id: its `webhook-id`.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// The event's type.
    #[serde(rename = "type")]
    #[schema(example = "reminder.failed")]
    pub kind: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub timestamp: Timestamp,
    /// How often it was tried.
    #[schema(example = 31, minimum = 0)]
    pub attempts: u32,
    /// When it was given up.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-23T15:41:02Z")]
    pub failed_at: Option<Timestamp>,
    /// Why the last attempt failed.
    #[schema(example = "the receiver answered 500")]
    pub trouble: Option<String>,
}

impl From<WebhookEvent> for WebhookFailure {
    fn from(event: WebhookEvent) -> Self {
        Self {
            id: event.id.0,
            kind: event.kind.to_string(),
            timestamp: event.created_at,
            attempts: event.attempts,
            failed_at: event.settled_at,
            trouble: event.trouble,
        }
    }
}

/// One page of events that a webhook did not take, in the order in which they were given up.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FailurePage {
    /// The events.
    pub items: Vec<WebhookFailure>,
    /// What to ask the next page with; null on the last.
    #[schema(example = "AAZENmVbQgABmryOeiwH0QjwDDxdGypObw")]
    pub next_cursor: Option<String>,
}

/// What is posted again.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Replayed {
    /// How many events.
    #[schema(example = 3, minimum = 0)]
    pub replayed: usize,
}
