//! Patients and enrolments.

use aftercare::locale::Locale;
use aftercare::zone::Zone;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::fields::{Fields, FromFields, parse};

/// What a clinic may tell of a patient. No names, no contact details.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatientFields {
    /// The patient's time zone; without it their phone's counts, then the clinic's.
    #[schema(value_type = Option<String>, example = "Europe/Lisbon")]
    pub time_zone: Option<Zone>,
    /// The language to speak to the patient in.
    #[schema(value_type = Option<String>, example = "pt-PT")]
    pub locale: Option<Locale>,
}

impl FromFields for PatientFields {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let time_zone = fields.optional("time_zone", parse::zone);
        let locale = fields.optional("locale", parse::locale);
        Some(Self { time_zone, locale })
    }
}

/// A patient as the clinic knows them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PatientAnswer {
    /// The clinic's name for the patient, or the one we made.
    #[serde(rename = "ref")]
    #[schema(example = "p-1001")]
    pub reference: String,
    /// The time zone the clinic gave.
    #[schema(example = "Europe/Lisbon")]
    pub time_zone: Option<String>,
    /// The language the clinic gave.
    #[schema(example = "pt-PT")]
    pub locale: Option<String>,
    /// When the patient was first heard of.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub created_at: Timestamp,
    /// When this was last changed.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:41:02Z")]
    pub updated_at: Timestamp,
}

/// An invitation to the patient's app.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EnrolmentAnswer {
    /// The code itself: good once.
    #[schema(example = "ace_5b4Wg0Q0G1XyqTnVq9xJ0b7l2mYt3uKc8hZr6sPdEfA")]
    pub code: String,
    /// The code in a link, meant for a QR code. The code stands after `#`, which browsers never send.
    #[schema(
        example = "https://aftercare.example/enrol#ace_5b4Wg0Q0G1XyqTnVq9xJ0b7l2mYt3uKc8hZr6sPdEfA"
    )]
    pub url: String,
    /// Until when the code is good: 72 hours.
    #[schema(value_type = String, format = DateTime, example = "2026-11-25T15:41:02Z")]
    pub expires_at: Timestamp,
}

/// What an app sends once it has read the QR code.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// The code of the enrolment.
    #[schema(
        min_length = 1,
        max_length = 128,
        example = "ace_5b4Wg0Q0G1XyqTnVq9xJ0b7l2mYt3uKc8hZr6sPdEfA"
    )]
    pub code: String,
    /// The app's own name for this installation; made once, kept until it is removed.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9._:-]{1,128}$",
        example = "c0ffee00-0001"
    )]
    pub installation_id: String,
}

impl FromFields for Redeem {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let code = fields.required("code", parse::text(128));
        let installation_id = fields.required("installation_id", parse::token);
        Some(Self { code: code?, installation_id: installation_id? })
    }
}
