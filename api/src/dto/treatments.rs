//! The session-done event and what it leads to.

use std::collections::{BTreeMap, BTreeSet};

use aftercare::care::{
    Namespace, PatientRef, SessionDone, SessionPatch, TreatmentCard, TreatmentView,
};
use aftercare::patch::Patch;
use aftercare::planner::local;
use aftercare::protocol::Area;
use aftercare::store::Booking;
use aftercare::zone::Zone;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::care::{ReminderDto, RestrictionDto};
use super::events::EVENT_ID;
use super::patients::EnrolmentAnswer;
use crate::fields::{Fields, FromFields, parse};

/// A patient inside an event: created, or brought up to date.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InlinePatient {
    /// The clinic's opaque name for the patient; not an e-mail address, not a phone number.
    #[serde(rename = "ref")]
    #[schema(min_length = 1, max_length = 128, example = "p-1001")]
    pub reference: String,
    /// The patient's time zone.
    #[schema(value_type = Option<String>, example = "Europe/Lisbon")]
    pub time_zone: Option<Zone>,
    /// The language to speak to the patient in.
    #[schema(value_type = Option<String>, example = "pt-PT")]
    pub locale: Option<aftercare::locale::Locale>,
}

/// A session is done: the event that starts everything. Give `patient_ref` for a patient the server
/// knows, or `patient` for one it may not know yet; one of the two.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(example = json!({
    "event_id": "visit-2026-11-22-0017",
    "patient": {"ref": "p-1001", "time_zone": "Europe/Lisbon", "locale": "pt-PT"},
    "protocol": "microneedling",
    "completed_at": "2026-11-22T15:40:00Z",
    "areas": ["face", "neck"],
    "next_session_at": "2026-12-22T15:00:00Z",
    "metadata": {"room": "2"},
}))]
#[serde(deny_unknown_fields)]
pub struct NewTreatment {
    /// The clinic's own id of the event: the same id is the same event, however often it comes.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9._:-]{1,128}$",
        example = "visit-2026-11-22-0017"
    )]
    pub event_id: String,
    /// The `ref` of a known patient.
    #[schema(min_length = 1, max_length = 128, example = "p-1001")]
    pub patient_ref: Option<String>,
    /// A patient to create or bring up to date.
    pub patient: Option<InlinePatient>,
    /// Which protocol to follow.
    #[schema(min_length = 1, max_length = 64, example = "microneedling")]
    pub protocol: String,
    /// When the session ended.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub completed_at: Timestamp,
    /// Where it took place; without it the patient's time zone, then the clinic's.
    #[schema(value_type = Option<String>, example = "Europe/Lisbon")]
    pub time_zone: Option<Zone>,
    /// What was treated; without it what the protocol assumes.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 64, example = json!(["face", "neck"]))]
    pub areas: Option<BTreeSet<Area>>,
    /// When the next session is booked for.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-12-22T15:00:00Z")]
    pub next_session_at: Option<Timestamp>,
    /// Up to 16 short strings of the clinic's own; never pushed.
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"room": "2"}))]
    pub metadata: Option<BTreeMap<String, String>>,
}

impl FromFields for NewTreatment {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let event_id = fields.required("event_id", parse::token);
        Self::session(fields, event_id)
    }
}

impl NewTreatment {
    /// Reads all but the event's id.
    pub(crate) fn session(fields: &mut Fields<'_>, event_id: Option<String>) -> Option<Self> {
        let patient_ref = fields.optional("patient_ref", parse::patient_ref);
        let patient = fields.object("patient", |patient| {
            let reference = patient.required("ref", parse::patient_ref);
            let time_zone = patient.optional("time_zone", parse::zone);
            let locale = patient.optional("locale", parse::locale);
            Some(InlinePatient { reference: reference?, time_zone, locale })
        });
        match (fields.has("patient_ref"), fields.has("patient")) {
            (false, false) => fields.fault("patient_ref", "is required, unless patient is given"),
            (true, true) => fields.fault("patient", "must not be given beside patient_ref"),
            _ => {}
        }
        let protocol = fields.required("protocol", parse::text(64));
        let completed_at = fields.required("completed_at", parse::instant);
        let time_zone = fields.optional("time_zone", parse::zone);
        let areas = fields.optional("areas", parse::areas);
        let next_session_at = fields.optional("next_session_at", parse::instant);
        let metadata = fields.optional("metadata", parse::metadata);
        Some(Self {
            event_id: event_id?,
            patient_ref,
            patient,
            protocol: protocol?,
            completed_at: completed_at?,
            time_zone,
            areas,
            next_session_at,
            metadata,
        })
    }

    /// The event as the domain takes it; `None` for a body that names no patient, which
    /// [`FromFields`] has refused.
    #[must_use]
    pub fn into_event(self) -> Option<SessionDone> {
        self.in_namespace(Namespace::Event)
    }

    /// [`Self::into_event`], its id being one of that namespace.
    pub(crate) fn in_namespace(self, namespace: Namespace) -> Option<SessionDone> {
        let patient = match (self.patient, self.patient_ref) {
            (Some(patient), _) => PatientRef::Inline {
                reference: patient.reference,
                time_zone: patient.time_zone,
                locale: patient.locale,
            },
            (None, Some(reference)) => PatientRef::Known(reference),
            (None, None) => return None,
        };
        Some(SessionDone {
            namespace,
            event_id: self.event_id,
            patient,
            protocol: self.protocol.into(),
            completed_at: self.completed_at,
            time_zone: self.time_zone,
            areas: self.areas.map(Into::into),
            next_session_at: self.next_session_at,
            metadata: self.metadata,
        })
    }
}

/// A correction of a treatment: what is left out stays as it is. `next_session_at: null` takes a
/// booking back; elsewhere null is the same as left out.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"completed_at": "2026-11-22T15:10:00Z", "areas": ["face"]}))]
pub struct TreatmentPatch {
    /// When the session ended.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:10:00Z")]
    pub completed_at: Option<Timestamp>,
    /// Where it took place.
    #[schema(value_type = Option<String>, example = "Europe/Lisbon")]
    pub time_zone: Option<Zone>,
    /// What was treated.
    #[schema(value_type = Option<Vec<String>>, min_items = 1, max_items = 64, example = json!(["face"]))]
    pub areas: Option<BTreeSet<Area>>,
    /// Which protocol to follow: its newest version, unless the treatment follows one of that name
    /// already.
    #[schema(min_length = 1, max_length = 64, example = "microneedling")]
    pub protocol: Option<String>,
    /// When the next session is booked for; null takes the booking back.
    #[schema(required = false, value_type = Option<String>, format = DateTime, example = "2026-12-22T15:00:00Z")]
    pub next_session_at: Patch<Timestamp>,
    /// Up to 16 short strings of the clinic's own, in place of all that were there.
    #[schema(value_type = Option<BTreeMap<String, String>>, example = json!({"room": "2"}))]
    pub metadata: Option<BTreeMap<String, String>>,
}

impl FromFields for TreatmentPatch {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            completed_at: fields.optional("completed_at", parse::instant),
            time_zone: fields.optional("time_zone", parse::zone),
            areas: fields.optional("areas", parse::areas),
            protocol: fields.optional("protocol", parse::text(64)),
            next_session_at: fields.patch("next_session_at", parse::instant),
            metadata: fields.optional("metadata", parse::metadata),
        })
    }
}

impl From<TreatmentPatch> for SessionPatch {
    fn from(patch: TreatmentPatch) -> Self {
        let next_session = match patch.next_session_at {
            Patch::Keep => None,
            Patch::Clear => Some(Booking::None),
            Patch::Set(at) => Some(Booking::At(at)),
        };
        Self {
            completed_at: patch.completed_at,
            time_zone: patch.time_zone,
            areas: patch.areas,
            protocol: patch.protocol,
            next_session,
            metadata: patch.metadata,
        }
    }
}

/// When the next session is booked for.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NextSession {
    /// The instant; after the last session, and within five years of it.
    #[schema(value_type = String, format = DateTime, example = "2026-12-22T15:00:00Z")]
    pub at: Timestamp,
}

impl FromFields for NextSession {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { at: fields.required("at", parse::instant)? })
    }
}

/// How `POST /v1/treatments` is to work.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecordQuery {
    /// Plan and answer, but record nothing.
    #[param(required = false, default = false)]
    pub dry_run: bool,
}

impl FromFields for RecordQuery {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { dry_run: fields.optional("dry_run", parse::flag).unwrap_or(false) })
    }
}

/// Which treatments to list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TreatmentsQuery {
    /// Only those recorded at or after this instant.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-22T00:00:00Z")]
    pub since: Option<Timestamp>,
    /// Only those of the event with this id, whichever way it came.
    #[param(min_length = 1, max_length = 256)]
    pub event_id: Option<String>,
    /// Only those of this patient.
    #[param(min_length = 1, max_length = 128)]
    pub patient_ref: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// Where the page before ended: its `next_cursor`.
    #[param(min_length = 1, max_length = 128)]
    pub cursor: Option<String>,
}

impl FromFields for TreatmentsQuery {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let since = fields.optional("since", parse::instant);
        let event_id = fields.optional("event_id", parse::text(EVENT_ID));
        let patient_ref = fields.optional("patient_ref", parse::patient_ref);
        let limit = fields.optional("limit", parse::whole(1..=200));
        let cursor = fields.optional("cursor", parse::text(128));
        Some(Self { since, event_id, patient_ref, limit, cursor })
    }
}

/// How a treatment's page is to be printed.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HandoutQuery {
    /// The language, instead of the patient's; the nearest that the protocol has is taken.
    #[param(value_type = Option<String>, example = "pt-PT")]
    pub lang: Option<aftercare::locale::Locale>,
    /// Whether to print an invitation to the app; unless said, while nobody can be reached.
    pub enrol: Option<bool>,
}

impl FromFields for HandoutQuery {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let lang = fields.optional("lang", parse::locale);
        let enrol = fields.optional("enrol", parse::flag);
        Some(Self { lang, enrol })
    }
}

/// One completed session.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Treatment)]
pub struct TreatmentDto {
    /// The server's id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// The clinic's id of the event.
    #[schema(example = "visit-2026-11-22-0017")]
    pub event_id: String,
    /// Whose.
    #[schema(example = "p-1001")]
    pub patient_ref: String,
    /// The server's id of the patient: the one name that outlives an erasure, in the event that tells of it.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub patient_id: Uuid,
    /// The protocol.
    #[schema(example = "microneedling")]
    pub protocol: String,
    /// The protocol's version when the treatment was recorded; it stays.
    #[schema(example = 1, minimum = 1)]
    pub protocol_version: u32,
    /// `active` or `voided`.
    #[schema(example = "active")]
    pub state: String,
    /// When the session ended.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub completed_at: Timestamp,
    /// The same on the wall clock of the treatment's zone.
    #[schema(example = "2026-11-22T15:40:00+00:00[Europe/Lisbon]")]
    pub completed_local: String,
    /// The treatment's zone; it stays.
    #[schema(example = "Europe/Lisbon")]
    pub time_zone: String,
    /// What was treated.
    #[schema(example = json!(["face", "neck"]))]
    pub areas: Vec<String>,
    /// Which session of the course it is, counting from 1; 0 once voided.
    #[schema(example = 1, minimum = 0)]
    pub session: u32,
    /// Sessions in the course.
    #[schema(example = 3, minimum = 0)]
    pub of: u32,
    /// When the next session is booked for.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-12-22T15:00:00Z")]
    pub next_session_at: Option<Timestamp>,
    /// Since when its reminders are no longer kept, nor listed: their time was over. Null while they are.
    #[schema(value_type = Option<String>, format = DateTime, example = json!(null))]
    pub closed_at: Option<Timestamp>,
    /// The clinic's own strings.
    #[schema(example = json!({"room": "2"}))]
    pub metadata: BTreeMap<String, String>,
}

/// A treatment with all that follows from it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TreatmentAnswer {
    /// The treatment.
    pub treatment: TreatmentDto,
    /// The rules it puts in force.
    pub restrictions: Vec<RestrictionDto>,
    /// Its reminders, with what became of each.
    pub reminders: Vec<ReminderDto>,
    /// Whether a push would reach the patient now.
    pub reachable: bool,
    /// What looks wrong, and may be right: `earlier-than-interval` (the next session is booked for a day
    /// before the protocol's interval is over), `course-complete` (it is booked after the last session).
    #[schema(example = json!([]))]
    pub warnings: Vec<String>,
    /// An invitation to the app, when nobody can be reached yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<EnrolmentAnswer>,
}

impl From<TreatmentCard> for TreatmentDto {
    fn from(card: TreatmentCard) -> Self {
        let treatment = card.treatment;
        Self {
            id: treatment.id.0,
            event_id: treatment.event_id,
            patient_ref: card.patient_ref,
            patient_id: treatment.patient_id.0,
            protocol: card.protocol,
            protocol_version: card.protocol_version,
            state: treatment.state.to_string(),
            completed_at: treatment.completed_at,
            completed_local: local(treatment.completed_at, &treatment.time_zone),
            time_zone: treatment.time_zone.to_string(),
            areas: treatment.areas.iter().map(ToString::to_string).collect(),
            session: card.session,
            of: card.of,
            next_session_at: treatment.next_session_at,
            closed_at: treatment.closed_at,
            metadata: treatment.metadata.unwrap_or_default(),
        }
    }
}

impl From<TreatmentView> for TreatmentAnswer {
    fn from(view: TreatmentView) -> Self {
        Self {
            treatment: view.card.into(),
            restrictions: view.restrictions.into_iter().map(Into::into).collect(),
            reminders: view.reminders.into_iter().map(Into::into).collect(),
            reachable: view.reachable,
            warnings: view.warnings.iter().map(ToString::to_string).collect(),
            enrolment: None,
        }
    }
}

/// One page of treatments, each as a single one is answered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TreatmentPage {
    /// The treatments, in the order they were recorded.
    pub items: Vec<TreatmentAnswer>,
    /// What to ask the next page with; null on the last.
    #[schema(example = "AAZENmVbQgABmryOeiwH0QjwDDxdGypObw")]
    pub next_cursor: Option<String>,
}
