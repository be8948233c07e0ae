//! Protocols, as callers may read, publish and try them.

use std::collections::BTreeSet;

use aftercare::care::{Impact, Running, TryOut};
use aftercare::locale::Locale;
use aftercare::planner::{
    Preview, PreviewReminder, PreviewRestriction, PreviewSkip, PreviewTreatment,
};
use aftercare::protocol::{Area, Protocol};
use aftercare::zone::Zone;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::fields::{Fields, FromFields, bad, parse};

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
    /// The clinic's own codes, which events may give as `protocol`.
    #[schema(example = json!(["MN-01"]))]
    pub aliases: Vec<String>,
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

impl ProtocolSummary {
    /// The protocol, with the codes by which the clinic calls it.
    #[must_use]
    pub fn new(protocol: &Protocol, aliases: Vec<String>) -> Self {
        let title = |locale| protocol.title.get(locale).to_owned();
        Self {
            slug: protocol.slug.clone(),
            version: protocol.version,
            title: protocol.locales.first().map_or_else(String::new, title),
            locales: protocol.locales.iter().map(ToString::to_string).collect(),
            areas: protocol.areas.iter().map(ToString::to_string).collect(),
            sessions: protocol.course.as_ref().map(|course| course.sessions),
            aliases,
            reviewed_by: protocol.reviewed_by.clone(),
            reviewed_at: protocol.reviewed_at,
            notice: protocol.notice(),
        }
    }
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

/// How a version is to be published.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PublishQuery {
    /// What becomes of the treatments that are under way: they `stay` under their version, or `move` to the
    /// new one.
    #[param(value_type = Option<String>, required = false, example = "move", pattern = "^(stay|move)$")]
    pub running: Running,
}

impl FromFields for PublishQuery {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let running = fields.optional("running", |value| match value.as_str() {
            Some("stay") => Ok(Running::Stay),
            Some("move") => Ok(Running::Move),
            _ => bad("must be stay or move"),
        });
        Some(Self { running: running.unwrap_or_default() })
    }
}

/// What was published.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PublishedProtocol {
    /// The version in use.
    pub protocol: ProtocolSummary,
    /// How many patients are looked at for treatments that can move to it.
    #[schema(example = 12, minimum = 0)]
    pub moving: i64,
}

/// The clinic's own codes for a protocol.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"aliases": ["MN-01", "SKIN-NEEDLING"]}))]
pub struct ProtocolAliases {
    /// All codes; those that are left out are the protocol's no more. Each has at most 64 characters.
    #[schema(max_items = 100)]
    pub aliases: Vec<String>,
}

impl FromFields for ProtocolAliases {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { aliases: fields.required("aliases", parse::aliases)? })
    }
}

/// A treatment to try a protocol out with; it need not have been, and nothing of it is recorded.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "completed_at": "2026-11-22T15:40:00Z", "time_zone": "Europe/Lisbon", "areas": ["face"], "locale": "es"
}))]
pub struct ProtocolTrial {
    /// When the session ends, which is when it is recorded.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub completed_at: Timestamp,
    /// Where; without it the clinic's time zone.
    #[schema(value_type = Option<String>, example = "Europe/Lisbon")]
    pub time_zone: Option<Zone>,
    /// What is treated; without it what the protocol assumes.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 64, example = json!(["face"]))]
    pub areas: Option<BTreeSet<Area>>,
    /// The language of the texts; without it the clinic's.
    #[schema(value_type = Option<String>, example = "es")]
    pub locale: Option<Locale>,
    /// A document that is not published yet; without it the version in use.
    #[schema(value_type = Option<Object>, example = json!(null))]
    pub document: Option<Map<String, Value>>,
}

impl FromFields for ProtocolTrial {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let completed_at = fields.required("completed_at", parse::instant);
        let time_zone = fields.optional("time_zone", parse::zone);
        let areas = fields.optional("areas", parse::areas);
        let locale = fields.optional("locale", parse::locale);
        let document = fields.optional("document", parse::object);
        Some(Self { completed_at: completed_at?, time_zone, areas, locale, document })
    }
}

impl From<ProtocolTrial> for TryOut {
    fn from(trial: ProtocolTrial) -> Self {
        Self {
            completed_at: trial.completed_at,
            time_zone: trial.time_zone,
            areas: trial.areas,
            locale: trial.locale,
            document: trial.document,
        }
    }
}

/// What would be planned, for a patient without wishes of their own. Due moments are nominal: without a
/// step's spread.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProtocolPreview {
    /// What was planned for.
    pub treatment: PreviewedTreatment,
    /// What holds, and until when.
    pub restrictions: Vec<PreviewedRestriction>,
    /// What would be sent.
    pub reminders: Vec<PreviewedReminder>,
    /// What would be left out.
    pub skipped: Vec<PreviewedSkip>,
}

/// The treatment of a preview.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PreviewedTreatment {
    /// The protocol.
    #[schema(example = "microneedling")]
    pub protocol: String,
    /// The version: of a document that is not published yet, the one that it would have.
    #[schema(example = 1, minimum = 1)]
    pub protocol_version: u32,
    /// What is to be said beside the texts; null once somebody approved them.
    #[schema(example = "draft, not reviewed")]
    pub notice: Option<&'static str>,
    /// When the session ends.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub completed_at: Timestamp,
    /// The same on the wall.
    #[schema(example = "2026-11-22T15:40:00+00:00[Europe/Lisbon]")]
    pub completed_local: String,
    /// The zone of treatment and patient.
    #[schema(example = "Europe/Lisbon")]
    pub time_zone: String,
    /// The areas treated.
    #[schema(example = json!(["face"]))]
    pub areas: Vec<String>,
}

/// A rule in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PreviewedRestriction {
    /// The rule.
    #[schema(example = "no-makeup")]
    pub rule: String,
    /// What it asks for: `avoid`, `do` or `expect`.
    #[schema(example = "avoid")]
    pub kind: String,
    /// What not to do; empty unless the kind is `avoid`.
    #[schema(example = json!(["makeup"]))]
    pub activities: Vec<String>,
    /// Where.
    #[schema(example = json!(["face"]))]
    pub areas: Vec<String>,
    /// Since when.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub from: Timestamp,
    /// Until when; null = open-ended.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-23T15:40:00Z")]
    pub until: Option<Timestamp>,
    /// The end on the wall.
    #[schema(example = "2026-11-23T15:40:00+00:00[Europe/Lisbon]")]
    pub until_local: Option<String>,
    /// The rule in words.
    #[schema(example = "Do not wear makeup for 24 hours.")]
    pub text: String,
}

/// A reminder that would be sent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PreviewedReminder {
    /// The steps that it says.
    #[schema(example = json!(["morning"]))]
    pub steps: Vec<String>,
    /// The rules that it speaks of.
    #[schema(example = json!(["sun-protection", "no-makeup"]))]
    pub rule_ids: Vec<String>,
    /// When it is due.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T07:50:00Z")]
    pub due_at: Timestamp,
    /// The same on the wall.
    #[schema(example = "2026-11-23T07:50:00+00:00[Europe/Lisbon]")]
    pub due_local: String,
    /// From when on it is worthless.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T11:00:00Z")]
    pub use_by: Timestamp,
    /// The same on the wall.
    #[schema(example = "2026-11-23T11:00:00+00:00[Europe/Lisbon]")]
    pub use_by_local: String,
    /// The heading.
    #[schema(example = "Good morning")]
    pub title: String,
    /// The text.
    #[schema(example = "No makeup until today 15:40.")]
    pub body: String,
}

/// A step that would be left out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PreviewedSkip {
    /// The step.
    #[schema(example = "bedtime")]
    pub step: String,
    /// The rules that it would speak of.
    #[schema(example = json!(["no-face-washing", "hydrate"]))]
    pub rule_ids: Vec<String>,
    /// Why it is left out.
    #[schema(example = "covered")]
    pub reason: String,
}

fn words<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

impl From<Preview> for ProtocolPreview {
    fn from(preview: Preview) -> Self {
        Self {
            treatment: preview.treatment.into(),
            restrictions: preview.restrictions.into_iter().map(Into::into).collect(),
            reminders: preview.reminders.into_iter().map(Into::into).collect(),
            skipped: preview.skipped.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<PreviewTreatment> for PreviewedTreatment {
    fn from(treatment: PreviewTreatment) -> Self {
        Self {
            protocol: treatment.protocol,
            protocol_version: treatment.protocol_version,
            notice: treatment.notice,
            completed_at: treatment.completed_at,
            completed_local: treatment.completed_local,
            time_zone: treatment.time_zone.to_string(),
            areas: words(treatment.areas),
        }
    }
}

impl From<PreviewRestriction> for PreviewedRestriction {
    fn from(restriction: PreviewRestriction) -> Self {
        Self {
            rule: restriction.rule.to_string(),
            kind: restriction.kind.to_string(),
            activities: restriction.activities,
            areas: words(restriction.areas),
            from: restriction.from,
            until: restriction.until,
            until_local: restriction.until_local,
            text: restriction.text,
        }
    }
}

impl From<PreviewReminder> for PreviewedReminder {
    fn from(reminder: PreviewReminder) -> Self {
        Self {
            steps: words(reminder.steps),
            rule_ids: words(reminder.rule_ids),
            due_at: reminder.due_at,
            due_local: reminder.due_local,
            use_by: reminder.use_by,
            use_by_local: reminder.use_by_local,
            title: reminder.title,
            body: reminder.body,
        }
    }
}

impl From<PreviewSkip> for PreviewedSkip {
    fn from(skip: PreviewSkip) -> Self {
        Self {
            step: skip.step.to_string(),
            rule_ids: words(skip.rule_ids),
            reason: skip.reason.to_string(),
        }
    }
}

/// What publishing a document with `running=move` would change of what was not sent yet.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ProtocolImpact {
    /// Patients with a treatment that would move.
    #[schema(example = 12)]
    pub patients: u64,
    /// Treatments that would move.
    #[schema(example = 13)]
    pub treatments: u64,
    /// Treatments under way that would stay under their version: this one knows none of their areas.
    #[schema(example = 0)]
    pub staying: u64,
    /// Reminders that would come besides.
    #[schema(example = 13)]
    pub added: u64,
    /// Reminders that would come at another moment, or be worthless at another.
    #[schema(example = 2)]
    pub moved: u64,
    /// Reminders that would come at their moment, in other words.
    #[schema(example = 7)]
    pub reworded: u64,
    /// Reminders that would not come.
    #[schema(example = 0)]
    pub cancelled: u64,
    /// Pushes that would set right what was sent: it would end later than was said.
    #[schema(example = 1)]
    pub corrections: u64,
}

impl From<Impact> for ProtocolImpact {
    fn from(impact: Impact) -> Self {
        Self {
            patients: impact.patients,
            treatments: impact.treatments,
            staying: impact.staying,
            added: impact.added,
            moved: impact.moved,
            reworded: impact.reworded,
            cancelled: impact.cancelled,
            corrections: impact.corrections,
        }
    }
}
