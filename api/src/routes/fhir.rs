//! What clinics' software says in FHIR.

use actix_web::web::{self, Data};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, post};
use aftercare::care::{RecordError, Refusal};
use utoipa_actix_web::service_config::ServiceConfig;

use super::treatments::{record, refused};
use crate::auth::ClinicAuth;
use crate::dto::{FhirProcedure, Performed, TreatmentAnswer};
use crate::fields::{body_bytes, media_parameter, media_type, read_body};
use crate::outcome::{FHIR_JSON, Outcome};
use crate::problem::{Code, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(record_procedure);
}

/// Record a completed session that is told as a Procedure of FHIR R4: the same as
/// `POST /v1/treatments`, and answered alike. What is refused is answered with an OperationOutcome.
///
/// Its identifiers are apart from the ids of other events. The patient must be known.
#[utoipa::path(
    operation_id = "recordProcedure",
    tag = "clinic",
    security(("clinic" = [])),
    request_body(content(
        (FhirProcedure = "application/fhir+json"),
        (FhirProcedure = "application/json")
    )),
    responses(
        (status = 200, description = "The procedure was recorded before", body = TreatmentAnswer),
        (status = 201, description = "Recorded and planned", body = TreatmentAnswer),
        (status = 409, description = "`event-conflict`: the identifier was used for other content"),
        (status = 422, description = "`unknown-patient`, `unknown-protocol`: see `diagnostics`")
    )
)]
#[post("/fhir/R4/Procedure")]
async fn record_procedure(
    api: Data<Api>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Outcome> {
    let auth = ClinicAuth::extract(&request).await?;
    if ![FHIR_JSON, "application/json"].contains(&media_type(&request)?.as_str()) {
        let detail = "The Content-Type must be application/fhir+json or application/json";
        return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
    }
    if !["", "4.0"].contains(&media_parameter(&request, "fhirversion").as_str()) {
        let detail = "This address takes FHIR R4: fhirVersion=4.0, or none";
        return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
    }
    let bytes = body_bytes(&request, payload.into_inner()).await?;
    let Performed(session) = read_body(&bytes)?;
    Ok(record(&api, auth.clinic, session).await.map_err(refused_procedure)?)
}

/// Why a procedure is not recorded, at its own elements.
fn refused_procedure(error: RecordError) -> Problem {
    let pointer = |refusal: &Refusal| {
        let element = match refusal {
            Refusal::UnknownPatient => "/subject/identifier",
            Refusal::UnknownProtocol { .. } => "/code",
            Refusal::AreaNotTreated { .. } => "/bodySite",
            // None of the others is said of a procedure.
            Refusal::CompletedInFuture
            | Refusal::CompletedTooLongAgo
            | Refusal::NextSessionOutOfRange
            | Refusal::SaidInFuture
            | Refusal::SupersedesItself => "/performed",
        };
        element.to_owned()
    };
    match error {
        RecordError::Refused(refusals) => refused(&refusals, pointer),
        error => error.into(),
    }
}
