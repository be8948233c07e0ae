//! CloudEvents that say of sessions what the plain event and its corrections say.

use aftercare::care::{Namespace, Received, Says, SessionEvent, SessionPatch};
use aftercare::ids::ClinicId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::treatments::{NewTreatment, TreatmentPatch};
use crate::fields::{Faults, Fields, FromFields, bad, parse};
use crate::problem::{Fault, Problem};

/// Characters of an event's source at most.
const SOURCE: usize = 1024;
/// Characters of an event's id at most.
pub(crate) const EVENT_ID: usize = 256;

/// An event of CloudEvents 1.0 in structured mode. Extension attributes are taken and left alone.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[schema(as = CloudEvent, example = json!({
    "specversion": "1.0",
    "type": "care.aftercare.session.completed.v1",
    "source": "https://practice.example/rooms/2",
    "id": "4711",
    "time": "2026-11-22T15:40:02Z",
    "datacontenttype": "application/json",
    "data": {
        "patient_ref": "p-1001",
        "protocol": "microneedling",
        "completed_at": "2026-11-22T15:40:00Z"
    }
}))]
pub struct CloudEvent {
    /// `1.0`.
    #[schema(example = "1.0", pattern = "^1\\.0$")]
    pub specversion: String,
    /// `care.aftercare.session.completed.v1`, `….amended.v1` or `….voided.v1`.
    #[serde(rename = "type")]
    #[schema(example = "care.aftercare.session.completed.v1")]
    pub kind: String,
    /// Who says it. An event is known by its `source` and `id`.
    #[schema(min_length = 1, max_length = 1024, example = "https://practice.example/rooms/2")]
    pub source: String,
    /// The event's id at its source: the same id is the same event, however often it comes.
    #[schema(min_length = 1, max_length = 256, example = "4711")]
    pub id: String,
    /// When it was said; `amended` needs it. Of two amendments the later one wins, then the greater id.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T15:40:02Z")]
    pub time: Option<Timestamp>,
    /// `application/json`, or left out.
    #[schema(example = "application/json")]
    pub datacontenttype: Option<String>,
    /// What it says. `completed`: the body of `POST /v1/treatments` without `event_id`. `amended`:
    /// `supersedes` and the changed fields, as in `PATCH /v1/treatments/{id}`. `voided`: `supersedes`.
    /// `supersedes` is the id of the completed event, or of an amendment of it, from the same source.
    #[schema(value_type = BTreeMap<String, Value>)]
    pub data: Value,
}

/// A [`CloudEvent`] that was read whole.
pub(crate) struct Incoming(pub(crate) SessionEvent);

/// What an event's type says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Completed,
    Amended,
    Voided,
}

impl FromFields for Incoming {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        fields.extensible(is_attribute);
        let version = fields.required("specversion", version);
        let kind = fields.required("type", kind);
        let source = fields.required("source", parse::text(SOURCE));
        let id = fields.required("id", parse::text(EVENT_ID));
        let time = fields.optional("time", parse::instant);
        fields.optional("datacontenttype", json_type);
        if kind == Some(Kind::Amended) && !fields.has("time") {
            fields.fault("time", "is required: it decides which of two amendments wins");
        }
        if !fields.has("data") {
            fields.fault("data", "is required");
        }
        // What an event says is read whatever is wrong around it: every fault is told at once.
        let says = kind.and_then(|kind| {
            fields.object("data", |data| match kind {
                Kind::Completed => {
                    let session =
                        NewTreatment::session(data, Some(id.clone().unwrap_or_default()))?;
                    let namespace =
                        Namespace::CloudEvents { source: source.clone().unwrap_or_default() };
                    session.in_namespace(namespace).map(Says::Completed)
                }
                Kind::Amended => {
                    let supersedes = data.required("supersedes", parse::text(EVENT_ID));
                    let patch: SessionPatch = TreatmentPatch::from_fields(data)?.into();
                    Some(Says::Amended { supersedes: supersedes?, time: time?, patch })
                }
                Kind::Voided => {
                    let supersedes = data.required("supersedes", parse::text(EVENT_ID))?;
                    Some(Says::Voided { supersedes })
                }
            })
        });
        version?;
        Some(Self(SessionEvent { source: source?, id: id?, says: says? }))
    }
}

/// Whether that is the name of an attribute: anybody may add some.
fn is_attribute(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn version(value: &Value) -> Result<(), Faults> {
    match parse::string(value)? {
        "1.0" => Ok(()),
        _ => bad("must be 1.0"),
    }
}

fn kind(value: &Value) -> Result<Kind, Faults> {
    match parse::string(value)? {
        "care.aftercare.session.completed.v1" => Ok(Kind::Completed),
        "care.aftercare.session.amended.v1" => Ok(Kind::Amended),
        "care.aftercare.session.voided.v1" => Ok(Kind::Voided),
        _ => bad("must be care.aftercare.session.completed.v1, ….amended.v1 or ….voided.v1"),
    }
}

fn json_type(value: &Value) -> Result<(), Faults> {
    let text = parse::string(value)?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        Ok(())
    } else {
        bad("must be application/json: data is an object")
    }
}

/// What became of one event.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(example = json!({
    "status": 201, "outcome": "recorded", "treatment_id": "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f"
}))]
pub struct EventReceipt {
    /// The status that the event would have been answered with alone: 201 recorded, 200 known, amended or
    /// voided, 202 waiting, 4xx refused.
    #[schema(example = 201, minimum = 200, maximum = 499)]
    pub status: u16,
    /// `recorded` (a new session), `amended`, `voided`, `known` (the event came before), `waiting` (the
    /// session it is about is not known yet; it is kept for 30 days) or `refused`.
    #[schema(example = "recorded")]
    pub outcome: String,
    /// The treatment; absent while it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub treatment_id: Option<Uuid>,
    /// Why it was refused: the code of the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "unknown-patient")]
    pub code: Option<String>,
    /// Why it was refused, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Every bad field; pointers are into the event in structured mode.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl From<Received> for EventReceipt {
    fn from(received: Received) -> Self {
        let (status, outcome, treatment) = match received {
            Received::Recorded(id) => (201, "recorded", Some(id)),
            Received::Amended(id) => (200, "amended", Some(id)),
            Received::Voided(id) => (200, "voided", Some(id)),
            Received::Known(id) => (200, "known", id),
            Received::Waiting => (202, "waiting", None),
        };
        Self {
            status,
            outcome: outcome.to_owned(),
            treatment_id: treatment.map(|id| id.0),
            code: None,
            detail: None,
            errors: Vec::new(),
        }
    }
}

impl From<&Problem> for EventReceipt {
    fn from(problem: &Problem) -> Self {
        Self {
            status: problem.code().status().as_u16(),
            outcome: "refused".to_owned(),
            treatment_id: None,
            code: Some(problem.code().as_str().to_owned()),
            detail: Some(problem.detail().to_owned()),
            errors: problem.errors().to_vec(),
        }
    }
}

/// What became of the events of a batch.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventReceipts {
    /// One for each event, in their order.
    #[schema(example = json!([
        {"status": 201, "outcome": "recorded", "treatment_id": "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f"},
        {"status": 202, "outcome": "waiting"}
    ]))]
    pub items: Vec<EventReceipt>,
}

/// Whose message it is that is signed.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SignedQuery {
    /// Signed messages: the clinic's id, which `aftercare clinic create` printed.
    #[param(value_type = Option<String>, format = "uuid", example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub clinic: Option<ClinicId>,
}

impl FromFields for SignedQuery {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self { clinic: fields.optional("clinic", parse::id) })
    }
}

/// A secret that signs events.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SigningSecret)]
pub struct SigningSecretDto {
    /// Its id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// When it was made.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub created_at: Timestamp,
}

/// A secret that signs events, shown this once.
#[derive(Clone, Serialize, ToSchema)]
pub struct NewSigningSecret {
    /// Its id.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub id: Uuid,
    /// The secret, as Standard Webhooks libraries take it.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
    /// The clinic that messages signed with it name in `?clinic=`.
    #[schema(value_type = String, example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")]
    pub clinic_id: Uuid,
    /// When it was made.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T15:40:00Z")]
    pub created_at: Timestamp,
}

impl std::fmt::Debug for NewSigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewSigningSecret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The secrets that sign a clinic's events.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SigningSecrets {
    /// Two at most, the older one first.
    pub items: Vec<SigningSecretDto>,
    /// Always null: there is one page.
    #[schema(example = json!(null))]
    pub next_cursor: Option<String>,
}
