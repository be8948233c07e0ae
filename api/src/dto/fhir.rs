//! A Procedure of FHIR R4, as far as it says that a session is done.

use aftercare::care::{AreasSaid, Namespace, PatientRef, SessionDone};
use aftercare::protocol::Area;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::events::EVENT_ID;
use crate::fields::{Faults, Fields, FromFields, bad, parse};

/// Characters of a system at most.
const SYSTEM: usize = 1024;
/// Characters of a code at most.
const CODE: usize = 256;
/// Codings of one procedure that are looked at.
const CODINGS: usize = 16;

/// The system of SNOMED CT, and what it calls areas.
const SNOMED: &str = "http://snomed.info/sct";
const SNOMED_AREAS: [(&str, &str); 10] = [
    ("89545001", "face"),
    ("45048000", "neck"),
    ("51185008", "chest"),
    ("41695006", "scalp"),
    ("85562004", "hands"),
    ("53120007", "arms"),
    ("91470000", "underarms"),
    ("77568009", "back"),
    ("818983003", "abdomen"),
    ("61685007", "legs"),
];

/// A completed Procedure of FHIR R4: a session is done. What is not named here is accepted and left
/// alone, but for `modifierExtension` and `implicitRules`, which could turn its meaning round.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Procedure, example = json!({
    "resourceType": "Procedure",
    "identifier": [{"system": "https://ehr.example/procedures", "value": "4711"}],
    "status": "completed",
    "code": {"coding": [{"system": "https://practice.example/services", "code": "microneedling"}]},
    "subject": {"identifier": {"system": "https://practice.example/patients", "value": "p-1001"}},
    "performedDateTime": "2026-11-22T15:40:00Z",
    "bodySite": [{"coding": [{"system": "http://snomed.info/sct", "code": "89545001"}]}]
}))]
pub struct FhirProcedure {
    /// `Procedure`.
    #[schema(pattern = "^Procedure$")]
    pub resource_type: String,
    /// The first one with a value is the event's id, in the namespace of its system.
    #[schema(min_items = 1)]
    pub identifier: Vec<Identifier>,
    /// `completed`.
    #[schema(pattern = "^completed$")]
    pub status: String,
    /// The first coding whose code is a protocol's name counts.
    pub code: CodeableConcept,
    /// Whose.
    pub subject: Reference,
    /// When the session ended, to the second and with an offset; or `performedPeriod`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub performed_date_time: Option<Timestamp>,
    /// The session ended at its end.
    pub performed_period: Option<Period>,
    /// What was treated: in SNOMED CT (face, neck, chest, scalp), or by the first code or text that is a word
    /// of the protocol.
    pub body_site: Option<Vec<CodeableConcept>>,
}

/// An identifier of something.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Identifier {
    /// Whose identifiers it is one of.
    #[schema(min_length = 1, max_length = 1024)]
    pub system: Option<String>,
    /// The identifier.
    #[schema(min_length = 1, max_length = 256)]
    pub value: Option<String>,
}

/// A concept, by codes and in words.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct CodeableConcept {
    /// Codes that mean the same.
    pub coding: Option<Vec<Coding>>,
    /// In words.
    pub text: Option<String>,
}

/// A code of a system.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Coding {
    /// Whose code.
    #[schema(min_length = 1, max_length = 1024)]
    pub system: Option<String>,
    /// The code.
    #[schema(min_length = 1, max_length = 256)]
    pub code: Option<String>,
}

/// A patient, by identifier: a reference alone leads nowhere from here.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Reference {
    /// Its value is the patient's `ref`.
    pub identifier: PatientIdentifier,
}

/// The identifier of a patient.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct PatientIdentifier {
    /// The patient's `ref`.
    #[schema(min_length = 1, max_length = 128)]
    pub value: String,
}

/// A period.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub struct Period {
    /// Its end, to the second and with an offset.
    #[schema(value_type = String, format = DateTime)]
    pub end: Timestamp,
}

/// A [`FhirProcedure`] that was read whole.
pub(crate) struct Performed(pub(crate) SessionDone);

impl FromFields for Performed {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        fields.extensible(anything);
        let kind = fields.required("resourceType", kind);
        for modifier in ["modifierExtension", "implicitRules"] {
            fields.optional(modifier, |_| not_understood());
        }
        let identifier = identifier(fields);
        let status = fields.required("status", completed);
        let protocol = protocol(fields);
        let patient = subject(fields);
        let completed_at = performed(fields);
        let areas = body_sites(fields);
        let ((), (), (system, event_id)) = (kind?, status?, identifier?);
        Some(Self(SessionDone {
            namespace: Namespace::Fhir { system },
            event_id,
            patient: PatientRef::Known(patient?),
            protocol: protocol?.into(),
            completed_at: completed_at?,
            time_zone: None,
            areas: (!areas.is_empty()).then_some(AreasSaid::AnyOf(areas)),
            next_session_at: None,
            metadata: None,
        }))
    }
}

/// FHIR resources may say more than is asked for.
fn anything(_: &str) -> bool {
    true
}

fn kind(value: &Value) -> Result<(), Faults> {
    match parse::string(value)? {
        "Procedure" => Ok(()),
        _ => bad("must be Procedure"),
    }
}

fn completed(value: &Value) -> Result<(), Faults> {
    match parse::string(value)? {
        "completed" => Ok(()),
        "entered-in-error" => {
            bad("must be completed; a session that was recorded is taken back by \
                 POST /v1/treatments/{id}/void")
        }
        _ => bad("must be completed; send the procedure once it is"),
    }
}

fn not_understood() -> Result<(), Faults> {
    bad("could turn the meaning round, and is not understood here")
}

/// The first identifier with a value, and its system.
fn identifier(fields: &mut Fields<'_>) -> Option<(Option<String>, String)> {
    let identifiers = fields.objects("identifier", |identifier| {
        identifier.extensible(anything);
        let system = identifier.optional("system", parse::text(SYSTEM));
        let value = identifier.optional("value", parse::text(EVENT_ID));
        Some((system, value?))
    });
    let first = identifiers.into_iter().next();
    if first.is_none() {
        let detail = "is required, with a value: the same identifier is the same event";
        fields.fault("identifier", detail);
    }
    first
}

/// What the codings call the protocol.
fn protocol(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let concept = fields.object("code", |code| Some(concept(code)));
    let codes = concept.into_iter().flat_map(|concept| concept.codings);
    let codes: Vec<_> = codes.map(|(_, code)| code).take(CODINGS).collect();
    if codes.is_empty() {
        fields.fault("code", "is required, with a coding whose code is a protocol's name");
        return None;
    }
    Some(codes)
}

fn subject(fields: &mut Fields<'_>) -> Option<String> {
    let identifier = fields.object("subject", |subject| {
        subject.extensible(anything);
        if !subject.has("identifier") {
            let detail =
                "is required: a reference leads nowhere from here; its value is the patient's ref";
            subject.fault("identifier", detail);
        }
        subject.object("identifier", |identifier| {
            identifier.extensible(anything);
            identifier.required("value", parse::patient_ref)
        })
    });
    if !fields.has("subject") {
        fields.fault("subject", "is required, with the patient's identifier");
    }
    identifier
}

/// When the session ended.
fn performed(fields: &mut Fields<'_>) -> Option<Timestamp> {
    let at = fields.optional("performedDateTime", parse::instant);
    let end = fields.object("performedPeriod", |period| {
        period.extensible(anything);
        period.required("end", parse::instant)
    });
    match (fields.has("performedDateTime"), fields.has("performedPeriod")) {
        (false, false) => {
            fields.fault("performedDateTime", "is required, or performedPeriod with its end");
        }
        (true, true) => {
            fields.fault("performedPeriod", "must not be given beside performedDateTime");
        }
        _ => {}
    }
    at.or(end)
}

fn body_sites(fields: &mut Fields<'_>) -> Vec<Vec<Area>> {
    fields.objects("bodySite", |site| {
        let words = words(concept(site));
        if words.is_empty() {
            let detail = "is no area; give the code of SNOMED CT for the face, the neck, the chest or \
                          the scalp, or a word of the protocol";
            site.fault("coding", detail);
        }
        Some(words)
    })
}

/// A concept as it is read.
struct Concept {
    /// System and code.
    codings: Vec<(Option<String>, String)>,
    text: Option<String>,
}

fn concept(fields: &mut Fields<'_>) -> Concept {
    fields.extensible(anything);
    let codings = fields.objects("coding", |coding| {
        coding.extensible(anything);
        let system = coding.optional("system", parse::text(SYSTEM));
        let code = coding.optional("code", parse::text(CODE));
        Some((system, code?))
    });
    let text = fields.optional("text", |value| parse::string(value).map(str::to_owned));
    Concept { codings, text }
}

/// What an area may be called: SNOMED CT's code wins; else each code, then the text, may be the protocol's
/// own word. Which one it is, is decided where the protocol is known.
fn words(concept: Concept) -> Vec<Area> {
    let known = concept.codings.iter().find_map(|(system, code)| {
        let mut areas = SNOMED_AREAS.iter().filter(|_| system.as_deref() == Some(SNOMED));
        areas.find(|(known, _)| known == code).map(|(_, area)| (*area).to_owned())
    });
    let own = concept.codings.into_iter().map(|(_, code)| code).chain(concept.text);
    let words: Vec<String> = known.map_or_else(|| own.collect(), |known| vec![known]);
    words.iter().filter_map(|word| word.trim().to_lowercase().parse().ok()).collect()
}
