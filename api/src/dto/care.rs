//! What a patient is told: restrictions, reminders, the timeline, "can I …?".

use aftercare::care::{self, CanAnswer, CourseView, ReminderView, RestrictionView};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::fields::{Fields, FromFields, parse};

/// A rule in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Restriction)]
pub struct RestrictionDto {
    /// The rule's id in its protocol.
    #[schema(example = "no-makeup")]
    pub rule: String,
    /// What the rule asks for: `avoid`, `do` or `expect`.
    #[schema(example = "avoid")]
    pub kind: String,
    /// What not to do; empty unless the kind is `avoid`.
    #[schema(example = json!(["makeup"]))]
    pub activities: Vec<String>,
    /// Where.
    #[schema(example = json!(["face", "neck"]))]
    pub areas: Vec<String>,
    /// Since when.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub from: Timestamp,
    /// Until when, not including that instant; null = open-ended.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-23T15:40:00Z")]
    pub until: Option<Timestamp>,
    /// The end as the patient's clock shows it.
    #[schema(example = "2026-11-23T15:40:00+00:00[Europe/Lisbon]")]
    pub until_local: Option<String>,
    /// The rule in the patient's language.
    #[schema(example = "No makeup for 24 hours.")]
    pub text: String,
    /// The treatments behind it.
    #[schema(value_type = Vec<String>, example = json!(["019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f"]))]
    pub treatment_ids: Vec<Uuid>,
}

impl From<RestrictionView> for RestrictionDto {
    fn from(view: RestrictionView) -> Self {
        let RestrictionView { restriction, until_local } = view;
        Self {
            rule: restriction.rule.to_string(),
            kind: restriction.kind.to_string(),
            activities: restriction.activities,
            areas: restriction.areas.iter().map(ToString::to_string).collect(),
            from: restriction.from,
            until: restriction.until,
            until_local,
            text: restriction.text,
            treatment_ids: restriction.treatment_ids.into_iter().map(|id| id.0).collect(),
        }
    }
}

/// One planned notification.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Reminder)]
pub struct ReminderDto {
    /// Stable across re-plans; a push carries the same id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// The rules it speaks of.
    #[schema(example = json!(["sun-protection", "no-makeup"]))]
    pub rule_ids: Vec<String>,
    /// When it is due.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T07:50:00Z")]
    pub due_at: Timestamp,
    /// The same as the patient's clock shows it.
    #[schema(example = "2026-11-23T07:50:00+00:00[Europe/Lisbon]")]
    pub due_local: String,
    /// From when on it is worthless, and never sent.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T11:00:00Z")]
    pub use_by: Timestamp,
    /// `planned`, `sent`, `expired`, `failed`, `cancelled`, `superseded` or `skipped`.
    #[schema(example = "planned")]
    pub state: String,
    /// Why it is where it is, as a stable code.
    #[schema(example = "no-device")]
    pub reason: Option<String>,
    /// The heading.
    #[schema(example = "Your skin today")]
    pub title: String,
    /// The text, with its hours filled in.
    #[schema(example = "No makeup until today 15:40.")]
    pub body: String,
}

impl From<ReminderView> for ReminderDto {
    fn from(view: ReminderView) -> Self {
        Self {
            id: view.id.0,
            rule_ids: view.rule_ids.iter().map(ToString::to_string).collect(),
            due_at: view.due_at,
            due_local: view.due_local,
            use_by: view.use_by,
            state: view.state.to_string(),
            reason: view.reason.map(|reason| reason.to_string()),
            title: view.title,
            body: view.body,
        }
    }
}

/// The clinic, as its patients see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Clinic)]
pub struct ClinicDto {
    /// The clinic's name.
    #[schema(example = "Clínica Aurora")]
    pub display_name: String,
    /// Whom to call.
    #[schema(example = "+351 210 000 000")]
    pub contact_phone: Option<String>,
}

/// Where a patient stands in a series of sessions.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Course)]
pub struct CourseDto {
    /// The protocol.
    #[schema(example = "microneedling")]
    pub protocol: String,
    /// The latest session, counting from 1.
    #[schema(example = 1, minimum = 0)]
    pub session: u32,
    /// Sessions in the course.
    #[schema(example = 3, minimum = 0)]
    pub of: u32,
    /// The day the next session falls on; null when the course is complete.
    #[schema(value_type = Option<String>, format = Date, example = "2026-12-22")]
    pub next_session_on: Option<jiff::civil::Date>,
    /// When the next session is booked for; null when it is not.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-12-22T15:00:00Z")]
    pub next_session_at: Option<Timestamp>,
}

impl From<CourseView> for CourseDto {
    fn from(view: CourseView) -> Self {
        Self {
            protocol: view.protocol,
            session: view.session,
            of: view.of,
            next_session_on: view.next_session_on,
            next_session_at: view.next_session_at,
        }
    }
}

/// Everything an app needs, also to work offline.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Timeline {
    /// When this was made.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub generated_at: Timestamp,
    /// Goes up whenever the plan changes.
    #[schema(example = 3, minimum = 0)]
    pub plan_version: i64,
    /// How much a push says: `text`, `discreet` (neutral words) or `reference` (none: the app shows those of this
    /// timeline). The stricter of the clinic's and the patient's wish; with `discreet`, an app that plans
    /// notifications itself keeps to neutral words, too.
    #[schema(example = "text")]
    pub push_content: String,
    /// The clinic.
    pub clinic: ClinicDto,
    /// Every rule in force, merged over treatments; those that are over are not here.
    pub restrictions: Vec<RestrictionDto>,
    /// The reminders, those cancelled in the last 7 days too.
    pub reminders: Vec<ReminderDto>,
    /// The courses.
    pub courses: Vec<CourseDto>,
}

impl From<care::Timeline> for Timeline {
    fn from(timeline: care::Timeline) -> Self {
        Self {
            generated_at: timeline.generated_at,
            plan_version: timeline.plan_version,
            push_content: timeline.push_content.to_string(),
            clinic: ClinicDto {
                display_name: timeline.clinic.display_name,
                contact_phone: timeline.clinic.contact_phone,
            },
            restrictions: timeline.restrictions.into_iter().map(Into::into).collect(),
            reminders: timeline.reminders.into_iter().map(Into::into).collect(),
            courses: timeline.courses.into_iter().map(Into::into).collect(),
        }
    }
}

/// The question of `GET /v1/me/can`.
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CanQuery {
    /// What the patient would like to do.
    #[param(min_length = 1, max_length = 64, example = "makeup")]
    pub activity: String,
    /// When; now if left out.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-23T09:00:00Z")]
    pub at: Option<Timestamp>,
}

impl FromFields for CanQuery {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let activity = fields.required("activity", parse::text(64));
        let at = fields.optional("at", parse::instant);
        Some(Self { activity: activity?, at })
    }
}

/// What the clinic's rules say of an activity. There is no "allowed": that no rule says no is not a
/// permission.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = CanAnswer)]
pub struct CanDto {
    /// The activity that was asked for.
    #[schema(example = "makeup")]
    pub activity: String,
    /// `avoid`, or `no_rule` when none speaks of it at that instant.
    #[schema(example = "avoid")]
    pub verdict: String,
    /// Until when to avoid it; null = open-ended, or no rule.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-23T15:40:00Z")]
    pub until: Option<Timestamp>,
    /// The same as the patient's clock shows it.
    #[schema(example = "2026-11-23T15:40:00+00:00[Europe/Lisbon]")]
    pub until_local: Option<String>,
    /// Every rule and treatment behind the answer.
    pub because: Vec<BecauseDto>,
}

/// One rule of one treatment.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Because)]
pub struct BecauseDto {
    /// The rule.
    #[schema(example = "no-makeup")]
    pub rule: String,
    /// The treatment.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub treatment_id: Uuid,
}

impl From<CanAnswer> for CanDto {
    fn from(answer: CanAnswer) -> Self {
        let because = answer.because.into_iter();
        Self {
            activity: answer.activity,
            verdict: answer.verdict.to_string(),
            until: answer.until,
            until_local: answer.until_local,
            because: because
                .map(|(rule, treatment)| BecauseDto {
                    rule: rule.to_string(),
                    treatment_id: treatment.0,
                })
                .collect(),
        }
    }
}
