//! What patients wish for.

use aftercare::care::PreferencesPatch;
use aftercare::locale::Locale;
use aftercare::patch::Patch;
use aftercare::protocol::{QuietHours, RuleId};
use aftercare::store::{Preferences, PushContent};
use aftercare::zone::Zone;
use jiff::civil::Time;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, Type};

use super::devices::one_of;
use crate::fields::{Fields, FromFields, parse};

/// Hours on the patient's wall in which the phone stays silent.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = QuietHours)]
#[serde(deny_unknown_fields)]
pub struct QuietHoursDto {
    /// The first silent minute.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "21:30")]
    pub from: String,
    /// The first minute that is not silent; the same as `from` = no quiet hours.
    #[schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "07:30")]
    pub until: String,
}

fn push_contents() -> Object {
    let mut words = one_of(
        PushContent::ALL.iter().map(|content| content.as_str()),
        "How much a push may say: `text`, `discreet` (a neutral sentence) or `reference` (nothing: the app \
         fetches it). The stricter of the patient's and the clinic's counts; null = the clinic's.",
    );
    words.schema_type = [Type::String, Type::Null].into_iter().collect();
    if let Some(values) = &mut words.enum_values {
        values.push(serde_json::Value::Null);
    }
    words.examples = vec![serde_json::json!("discreet")];
    words
}

/// Changes of wishes: what is left out stays, null goes back to the default.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = PreferencesPatch)]
#[serde(deny_unknown_fields)]
pub struct PreferencesFields {
    /// The zone of delivery hours; null = the zone of the phone that registered last.
    #[schema(required = false, value_type = Option<String>, example = "Europe/Lisbon")]
    pub time_zone: Patch<Zone>,
    /// The language; null = the phone's.
    #[schema(required = false, value_type = Option<String>, example = "pt-PT")]
    pub locale: Patch<Locale>,
    /// When to be left alone; null = the protocol's, 21:30 to 07:30.
    #[schema(required = false, value_type = Option<QuietHoursDto>)]
    pub quiet_hours: Patch<QuietHours>,
    /// When the patient usually exercises: the reminder before it comes 55 minutes earlier; null = it comes
    /// at 17:05.
    #[schema(required = false, value_type = Option<String>, pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "19:00")]
    pub exercise_hour: Patch<Time>,
    /// How much a push may say.
    #[schema(required = false, schema_with = push_contents)]
    pub push_content: Patch<PushContent>,
    /// Every rule not to be reminded of; null or empty = none.
    #[schema(required = false, value_type = Option<Vec<String>>, max_items = 100, example = json!(["hydrate"]))]
    pub muted_rules: Patch<Vec<RuleId>>,
}

impl FromFields for PreferencesFields {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            time_zone: fields.patch("time_zone", parse::zone),
            locale: fields.patch("locale", parse::locale),
            quiet_hours: fields.patch_object("quiet_hours", |hours| {
                let from = hours.required("from", parse::time_of_day);
                let until = hours.required("until", parse::time_of_day);
                Some(QuietHours { from: from?, until: until? })
            }),
            exercise_hour: fields.patch("exercise_hour", parse::time_of_day),
            push_content: fields.patch("push_content", parse::word),
            muted_rules: fields.patch("muted_rules", parse::rules),
        })
    }
}

impl From<PreferencesFields> for PreferencesPatch {
    fn from(fields: PreferencesFields) -> Self {
        Self {
            time_zone: fields.time_zone,
            locale: fields.locale,
            quiet_hours: fields.quiet_hours,
            exercise_hour: fields.exercise_hour,
            push_content: fields.push_content,
            muted_rules: fields.muted_rules,
        }
    }
}

/// What the patient wished for; null where the default counts.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Preferences)]
pub struct PreferencesDto {
    /// The zone of delivery hours.
    #[schema(example = "Europe/Lisbon")]
    pub time_zone: Option<String>,
    /// The language.
    #[schema(example = "pt-PT")]
    pub locale: Option<String>,
    /// When to be left alone.
    pub quiet_hours: Option<QuietHoursDto>,
    /// When the patient usually exercises.
    #[schema(example = "19:00")]
    pub exercise_hour: Option<String>,
    /// How much a push may say: `text`, `discreet` or `reference`.
    #[schema(example = "discreet")]
    pub push_content: Option<String>,
    /// The rules not to be reminded of.
    #[schema(example = json!(["hydrate"]))]
    pub muted_rules: Vec<String>,
}

impl From<Preferences> for PreferencesDto {
    fn from(wishes: Preferences) -> Self {
        let wall = |time: Time| format!("{:02}:{:02}", time.hour(), time.minute());
        Self {
            time_zone: wishes.time_zone.map(|zone| zone.to_string()),
            locale: wishes.locale.map(|locale| locale.to_string()),
            quiet_hours: wishes
                .quiet_hours
                .map(|hours| QuietHoursDto { from: wall(hours.from), until: wall(hours.until) }),
            exercise_hour: wishes.exercise_hour.map(wall),
            push_content: wishes.push_content.map(|content| content.to_string()),
            muted_rules: wishes.muted_rules.iter().map(ToString::to_string).collect(),
        }
    }
}
