//! Patients, as their clinic keeps them: a `ref`, a zone, a language; no names.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, post, put};
use aftercare::care::{self, Reading};
use aftercare::ids::ClinicId;
use aftercare::store::{Patient, Tx};
use utoipa_actix_web::service_config::ServiceConfig;

use super::me::answer_timeline;
use crate::auth::ClinicAuth;
use crate::dto::{PatientAnswer, PatientFields, Timeline};
use crate::fields::{Body, parse};
use crate::problem::{Code, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(create_patient).service(put_patient).service(get_patient_timeline);
}

impl From<Patient> for PatientAnswer {
    fn from(patient: Patient) -> Self {
        Self {
            reference: patient.reference,
            time_zone: patient.time_zone.map(|zone| zone.to_string()),
            locale: patient.locale.map(|locale| locale.to_string()),
            created_at: patient.created_at,
            updated_at: patient.updated_at,
        }
    }
}

/// The patient of that name at this clinic, or 404.
pub(super) fn known(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    reference: &str,
) -> Result<Patient, Problem> {
    tx.patient_by_ref(clinic, reference)?.ok_or_else(Problem::not_found)
}

/// Add a patient; the server makes the `ref`.
#[utoipa::path(
    operation_id = "createPatient",
    tag = "clinic",
    security(("clinic" = [])),
    request_body = PatientFields,
    responses((status = 201, description = "The patient", body = PatientAnswer))
)]
#[post("/v1/patients")]
async fn create_patient(
    api: Data<Api>,
    auth: ClinicAuth,
    body: Body<PatientFields>,
) -> Result<HttpResponse, Problem> {
    let PatientFields { time_zone, locale } = body.read().await?;
    let made = api
        .store
        .write(move |tx| {
            let reference = format!("p-{}", tx.env().uuid().simple());
            care::upsert_patient(tx, auth.clinic, &reference, time_zone, locale)
        })
        .await;
    let (patient, _) = made.map_err(Problem::from)?;
    Ok(HttpResponse::Created().json(PatientAnswer::from(patient)))
}

/// Add a patient under the clinic's own `ref`, or bring one up to date. What is left out stays as it is.
#[utoipa::path(
    operation_id = "putPatient",
    tag = "clinic",
    security(("clinic" = [])),
    params(("ref" = String, Path, description = "The clinic's opaque name for the patient", min_length = 1, max_length = 128)),
    request_body = PatientFields,
    responses(
        (status = 200, description = "Brought up to date", body = PatientAnswer),
        (status = 201, description = "Added", body = PatientAnswer)
    )
)]
#[put("/v1/patients/{ref}")]
async fn put_patient(
    api: Data<Api>,
    auth: ClinicAuth,
    reference: Path<String>,
    body: Body<PatientFields>,
) -> Result<HttpResponse, Problem> {
    let reference = reference.into_inner();
    parse::check_ref(&reference)
        .map_err(|detail| Problem::field(Code::InvalidFields, "{ref}", detail))?;
    let PatientFields { time_zone, locale } = body.read().await?;
    let put = api
        .store
        .write(move |tx| care::upsert_patient(tx, auth.clinic, &reference, time_zone, locale))
        .await;
    let (patient, created) = put.map_err(Problem::from)?;
    api.wake();
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(HttpResponse::build(status).json(PatientAnswer::from(patient)))
}

/// What the patient's app shows.
#[utoipa::path(
    operation_id = "getPatientTimeline",
    tag = "clinic",
    security(("clinic" = [])),
    params(("ref" = String, Path, description = "The patient's ref")),
    responses(
        (status = 200, description = "The timeline", body = Timeline, headers(("ETag" = String, description = "Changes whenever anything but `generated_at` does"))),
        (status = 304, description = "Not changed since the `If-None-Match` that was sent"),
        (status = 404, description = "`not-found`: the clinic has no such patient")
    )
)]
#[get("/v1/patients/{ref}/timeline")]
async fn get_patient_timeline(
    api: Data<Api>,
    auth: ClinicAuth,
    reference: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let reference = reference.into_inner();
    let _turn = api.lines.turn(auth.clinic.0).await?;
    let timeline = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let patient = known(tx, auth.clinic, &reference)?;
            care::note_reading(tx, auth.clinic, Reading::Timeline(patient.id))?;
            care::timeline(tx, patient.id)?.ok_or_else(Problem::not_found)
        })
        .await?;
    answer_timeline(&request, timeline).await
}
