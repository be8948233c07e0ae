//! What a person may ask of whoever holds their data: all of it, and that it be forgotten.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, delete, get};
use aftercare::care::{self, ErasedBy, Reading};
use aftercare::ids::PatientId;
use utoipa_actix_web::service_config::ServiceConfig;

use super::patients::known;
use crate::auth::{ClinicAuth, PatientAuth};
use crate::dto::{Export, Reader};
use crate::heavy;
use crate::problem::Problem;
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(export_me).service(export_patient).service(erase_me).service(erase_patient);
}

/// Everything that is held about you.
#[utoipa::path(
    operation_id = "exportMe",
    tag = "patient",
    security(("patient" = [])),
    responses((status = 200, description = "Everything, in one document", body = Export))
)]
#[get("/v1/me/export")]
async fn export_me(api: Data<Api>, auth: PatientAuth) -> Result<HttpResponse, Problem> {
    let _turn = api.lines.turn(auth.patient.0).await?;
    let clinic = auth.session.clinic_id;
    let export = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let export = care::export(tx, auth.patient)?.ok_or_else(Problem::not_found)?;
            care::note_own_export(tx, clinic, auth.patient)?;
            Ok(export)
        })
        .await?;
    answer(&api, export, Reader::Patient).await
}

/// Everything that is held about a patient; push addresses are left out.
#[utoipa::path(
    operation_id = "exportPatient",
    tag = "clinic",
    security(("clinic" = [])),
    params(("ref" = String, Path, description = "The patient's ref")),
    responses(
        (status = 200, description = "Everything, in one document", body = Export),
        (status = 404, description = "`not-found`: the clinic has no such patient")
    )
)]
#[get("/v1/patients/{ref}/export")]
async fn export_patient(
    api: Data<Api>,
    auth: ClinicAuth,
    reference: Path<String>,
) -> Result<HttpResponse, Problem> {
    let reference = reference.into_inner();
    let _turn = api.lines.turn(auth.clinic.0).await?;
    let export = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let patient = known(tx, auth.clinic, &reference)?;
            care::note_reading(tx, auth.clinic, Reading::Export(patient.id))?;
            care::export(tx, patient.id)?.ok_or_else(Problem::not_found)
        })
        .await?;
    answer(&api, export, Reader::Clinic).await
}

async fn answer(
    api: &Api,
    export: impl FnOnce() -> care::Export + Send + 'static,
    reader: Reader,
) -> Result<HttpResponse, Problem> {
    let now = api.env().now();
    let export = move || serde_json::to_vec(&Export::new(export(), reader, now)?);
    Ok(heavy::json(heavy::make(export).await?))
}

/// Erase yourself: everything held about you is destroyed, your phones are signed out and nothing more
/// is sent. It cannot be undone.
#[utoipa::path(
    operation_id = "eraseMe",
    tag = "patient",
    security(("patient" = [])),
    responses((status = 204, description = "Forgotten; this access token is void"))
)]
#[delete("/v1/me")]
async fn erase_me(api: Data<Api>, auth: PatientAuth) -> Result<HttpResponse, Problem> {
    let erased = api
        .store
        .write(move |tx| care::erase_patient(tx, auth.patient, ErasedBy::Patient))
        .await
        .map_err(Problem::from)?;
    let erased = erased.ok_or_else(Problem::not_found)?;
    finish(&api, erased.patient_id).await;
    Ok(HttpResponse::NoContent().finish())
}

/// Erase a patient: everything held about them is destroyed, their phones are signed out and nothing
/// more is sent. It cannot be undone.
#[utoipa::path(
    operation_id = "erasePatient",
    tag = "clinic",
    security(("clinic" = [])),
    params(("ref" = String, Path, description = "The patient's ref")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 404, description = "`not-found`: the clinic has no such patient, or no more")
    )
)]
#[delete("/v1/patients/{ref}")]
async fn erase_patient(
    api: Data<Api>,
    auth: ClinicAuth,
    reference: Path<String>,
) -> Result<HttpResponse, Problem> {
    let reference = reference.into_inner();
    let erased = api
        .store
        .write::<_, Problem, _>(move |tx| {
            let patient = tx.patient_id_by_ref(auth.clinic, &reference)?;
            let patient = patient.ok_or_else(Problem::not_found)?;
            let erased = care::erase_patient(tx, patient, ErasedBy::Clinic(auth.clinic))?;
            erased.ok_or_else(Problem::not_found)
        })
        .await?;
    finish(&api, erased.patient_id).await;
    Ok(HttpResponse::NoContent().finish())
}

/// The patient is gone already; what cannot be finished now, the heartbeat finishes.
async fn finish(api: &Api, patient: PatientId) {
    if let Err(error) = api.store.finish_erasures().await {
        tracing::error!(%patient, %error, "an erasure is done, but could not be finished yet");
    }
}
