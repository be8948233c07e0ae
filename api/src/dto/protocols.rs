//! Protocols, as callers may read them.

use serde::Serialize;
use utoipa::ToSchema;

/// One protocol, in short.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProtocolSummary {
    /// Its name in events.
    #[schema(example = "microneedling")]
    pub slug: String,
    /// Its newest version.
    #[schema(example = 1, minimum = 1)]
    pub version: u32,
    /// Its name for people, in English or the first language it has.
    #[schema(example = "Microneedling")]
    pub title: String,
    /// The languages its texts are in.
    #[schema(example = json!(["en", "es", "pt", "fr"]))]
    pub locales: Vec<String>,
    /// The areas it knows.
    #[schema(example = json!(["face", "neck", "chest", "scalp"]))]
    pub areas: Vec<String>,
    /// The sessions of its course; null for a treatment that stands alone.
    #[schema(example = 3, minimum = 1)]
    pub sessions: Option<u32>,
    /// Who approved the texts; null = nobody yet.
    #[schema(example = json!(null))]
    pub reviewed_by: Option<String>,
    /// When they did.
    #[schema(value_type = Option<String>, format = Date, example = json!(null))]
    pub reviewed_at: Option<jiff::civil::Date>,
    /// What is to be said beside the texts wherever they are shown; null once somebody approved them.
    #[schema(example = "draft, not reviewed")]
    pub notice: Option<&'static str>,
}

/// The protocols a clinic can use. There are few, so the list is always one page.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProtocolPage {
    /// The protocols, by slug.
    pub items: Vec<ProtocolSummary>,
    /// Always null.
    #[schema(example = json!(null))]
    pub next_cursor: Option<String>,
}
