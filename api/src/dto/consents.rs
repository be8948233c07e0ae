//! What patients agree to.

use aftercare::care::{ConsentView, ConsentWord};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::{Fields, FromFields, parse};

/// What the patient said.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = ConsentWord)]
#[serde(deny_unknown_fields)]
pub struct ConsentFields {
    /// Yes or no.
    #[schema(example = false)]
    pub granted: bool,
    /// Which version of the text the patient was shown.
    #[schema(min_length = 1, max_length = 64, example = "2026-11")]
    pub notice_version: Option<String>,
    /// When the patient said it; now if left out. Up to 5 minutes ahead of the server counts as now.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T18:00:00Z")]
    pub at: Option<Timestamp>,
}

impl FromFields for ConsentFields {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let granted = fields.required("granted", parse::boolean);
        let notice_version = fields.optional("notice_version", parse::text(64));
        let at = fields.optional("at", parse::instant);
        Some(Self { granted: granted?, notice_version, at })
    }
}

impl From<ConsentFields> for ConsentWord {
    fn from(fields: ConsentFields) -> Self {
        let ConsentFields { granted, notice_version, at } = fields;
        Self { granted, notice_version, at }
    }
}

/// The patient's word on one kind of push.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Consent)]
pub struct ConsentAnswer {
    /// On what: `aftercare` or `recall`.
    #[schema(example = "recall")]
    pub kind: String,
    /// Yes or no; yes until the patient says no.
    #[schema(example = false)]
    pub granted: bool,
    /// Which version of the text the patient was shown.
    #[schema(example = "2026-11")]
    pub notice_version: Option<String>,
    /// When it was said; null when the patient never spoke of it.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T18:00:00Z")]
    pub at: Option<Timestamp>,
}

impl From<ConsentView> for ConsentAnswer {
    fn from(view: ConsentView) -> Self {
        let ConsentView { kind, granted, notice_version, at } = view;
        Self { kind: kind.to_string(), granted, notice_version, at }
    }
}

/// The word that counts, after another one was told.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConsentTold {
    /// On what: `aftercare` or `recall`.
    #[schema(example = "recall")]
    pub kind: String,
    /// Yes or no.
    #[schema(example = false)]
    pub granted: bool,
    /// Which version of the text the patient was shown.
    #[schema(example = "2026-11")]
    pub notice_version: Option<String>,
    /// When it was said.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T18:00:00Z")]
    pub at: Option<Timestamp>,
    /// Whether it is the one that was told; false when a newer one is known.
    #[schema(example = true)]
    pub applied: bool,
}

impl From<(ConsentView, bool)> for ConsentTold {
    fn from((view, applied): (ConsentView, bool)) -> Self {
        let ConsentView { kind, granted, notice_version, at } = view;
        Self { kind: kind.to_string(), granted, notice_version, at, applied }
    }
}
