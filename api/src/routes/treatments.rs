//! The session-done event, and what became of it.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, get, patch, post};
use aftercare::care::{
    self, AmendError, Reading, RecordError, Recorded, Refusal, SessionDone, TreatmentView,
};
use aftercare::ids::{ClinicId, TreatmentId};
use aftercare::store::{StoreError, TreatmentFilter, TreatmentState, Tx};
use utoipa_actix_web::service_config::ServiceConfig;

use super::cursor;
use super::enrolments::invitation;
use crate::auth::{self, ClinicAuth, NewEnrolment};
use crate::dto::{
    NewTreatment, RecordQuery, TreatmentAnswer, TreatmentPage, TreatmentPatch, TreatmentsQuery,
};
use crate::fields::{Body, Nothing, Query};
use crate::heavy;
use crate::problem::{Code, Fault, Problem};
use crate::state::Api;

/// Treatments on one page, unless the caller says otherwise.
const PAGE: u32 = 50;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(record_treatment)
        .service(list_treatments)
        .service(get_treatment)
        .service(amend_treatment)
        .service(void_treatment);
}

/// The field of a session that is to blame.
pub(super) fn pointer(refusal: &Refusal) -> String {
    let field = match refusal {
        Refusal::UnknownPatient => "patient_ref",
        Refusal::UnknownProtocol { .. } => "protocol",
        Refusal::AreaNotTreated { .. } => "areas",
        Refusal::CompletedInFuture | Refusal::CompletedTooLongAgo => "completed_at",
        Refusal::NextSessionOutOfRange => "next_session_at",
        Refusal::SaidInFuture => "time",
        Refusal::SupersedesItself => "supersedes",
    };
    format!("/{field}")
}

impl From<AmendError> for Problem {
    fn from(error: AmendError) -> Self {
        match error {
            AmendError::Refused(refusals) => refused(&refusals, pointer),
            AmendError::Voided => Self::new(
                Code::TreatmentVoided,
                "The treatment was voided, and is corrected no more; record the session anew",
            ),
            AmendError::Store(error) => error.into(),
        }
    }
}

impl From<RecordError> for Problem {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Refused(refusals) => refused(&refusals, pointer),
            RecordError::ConflictingEvent => Self::new(
                Code::EventConflict,
                "An event of this id was recorded with other content; it stays as it is",
            ),
            RecordError::Store(error) => error.into(),
        }
    }
}

/// Every reason with its field. A single one has its own code, so that callers can branch on it.
pub(super) fn refused(refusals: &[Refusal], pointer: fn(&Refusal) -> String) -> Problem {
    let reasons = refusals.iter().map(|refusal| {
        let code = match refusal {
            Refusal::UnknownPatient => Code::UnknownPatient,
            Refusal::UnknownProtocol { .. } => Code::UnknownProtocol,
            Refusal::AreaNotTreated { .. }
            | Refusal::CompletedInFuture
            | Refusal::CompletedTooLongAgo
            | Refusal::NextSessionOutOfRange
            | Refusal::SaidInFuture
            | Refusal::SupersedesItself => Code::InvalidFields,
        };
        (code, Fault { pointer: pointer(refusal), detail: refusal.to_string() })
    });
    let mut reasons: Vec<_> = reasons.collect();
    match reasons.pop() {
        Some((code, only)) if reasons.is_empty() => {
            Problem::field(code, &only.pointer, only.detail)
        }
        last => Problem::fields(reasons.into_iter().chain(last).map(|(_, fault)| fault).collect()),
    }
}

/// Record a completed session: plans its reminders and answers with the whole plan.
///
/// The same `event_id` with the same content is the same event: it is answered with 200 and the
/// treatment as it is now.
#[utoipa::path(
    operation_id = "recordTreatment",
    tag = "clinic",
    security(("clinic" = [])),
    params(RecordQuery),
    request_body = NewTreatment,
    responses(
        (status = 200, description = "The event was recorded before, or `dry_run` was asked for", body = TreatmentAnswer),
        (status = 201, description = "Recorded and planned", body = TreatmentAnswer),
        (status = 409, description = "`event-conflict`: the event id was used for other content"),
        (status = 422, description = "`unknown-patient`, `unknown-protocol`: see `detail`")
    )
)]
#[post("/v1/treatments")]
async fn record_treatment(
    api: Data<Api>,
    auth: ClinicAuth,
    query: Query<RecordQuery>,
    body: Body<NewTreatment>,
) -> Result<HttpResponse, Problem> {
    let RecordQuery { dry_run } = query.read()?;
    let event = body.read().await?.into_event().ok_or_else(|| {
        Problem::field(Code::InvalidFields, "/patient_ref", "is required, unless patient is given")
    })?;
    if dry_run {
        let planned = move |tx: &mut Tx<'_>| care::record_treatment(tx, auth.clinic, event);
        let (Recorded::New(view) | Recorded::Repeat(view)) = api.store.dry_run(planned).await?;
        return Ok(HttpResponse::Ok().json(TreatmentAnswer::from(view)));
    }
    Ok(record(&api, auth.clinic, event).await?)
}

/// Records a session, whichever way it was told, and answers with the whole plan.
pub(super) async fn record(
    api: &Api,
    clinic: ClinicId,
    event: SessionDone,
) -> Result<HttpResponse, RecordError> {
    let recorded = api
        .store
        .write::<_, RecordError, _>(move |tx| {
            let (status, view) = match care::record_treatment(tx, clinic, event)? {
                Recorded::New(view) => (StatusCode::CREATED, view),
                Recorded::Repeat(view) => (StatusCode::OK, view),
            };
            let enrolment = invite_if_needed(tx, clinic, &view)?;
            Ok((status, view, enrolment))
        })
        .await?;
    api.wake();
    let (status, view, enrolment) = recorded;
    let mut answer = TreatmentAnswer::from(view);
    answer.enrolment = enrolment.map(|enrolment| invitation(api, &enrolment));
    Ok(HttpResponse::build(status).json(answer))
}

/// An invitation, when nobody would hear of what was just recorded.
fn invite_if_needed(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    view: &TreatmentView,
) -> Result<Option<NewEnrolment>, StoreError> {
    if view.reachable || view.card.treatment.state == TreatmentState::Voided {
        return Ok(None);
    }
    auth::enrol(tx, clinic, view.card.treatment.patient_id).map(Some)
}

/// List treatments in the order they were recorded.
#[utoipa::path(
    operation_id = "listTreatments",
    tag = "clinic",
    security(("clinic" = [])),
    params(TreatmentsQuery),
    responses((status = 200, description = "One page", body = TreatmentPage))
)]
#[get("/v1/treatments")]
async fn list_treatments(
    api: Data<Api>,
    auth: ClinicAuth,
    query: Query<TreatmentsQuery>,
) -> Result<HttpResponse, Problem> {
    let query = query.read()?;
    let after = query.cursor.as_deref().map(cursor::read).transpose()?;
    let after = after.map(|(at, id)| (at, TreatmentId(id)));
    let limit = query.limit.unwrap_or(PAGE);
    let _turn = api.lines.turn(auth.clinic.0).await?;
    let found = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let Some(filter) = filter(tx, auth.clinic, query)? else { return Ok(None) };
            let one_more = i64::from(limit) + 1;
            let treatments = tx.treatments_page(auth.clinic, &filter, after, one_more)?;
            let shown = treatments.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
            let reading = filter.patient.map_or(Reading::Treatments(shown), Reading::TreatmentsOf);
            care::note_reading(tx, auth.clinic, reading)?;
            Ok(Some(care::treatment_views(tx, treatments)?))
        })
        .await?;
    let page = move || {
        let views = found.map(|views| views()).unwrap_or_default();
        serde_json::to_vec(&pages(views, limit))
    };
    Ok(heavy::json(heavy::make(page).await?))
}

/// One page out of one treatment more than fits on it.
fn pages(mut views: Vec<TreatmentView>, limit: u32) -> TreatmentPage {
    let last = care::cut(&mut views, limit).map(|last| &last.card.treatment);
    let next_cursor = last.map(|last| cursor::write(last.recorded_at, last.id.0));
    TreatmentPage { items: views.into_iter().map(Into::into).collect(), next_cursor }
}

/// What to look for; `None` when it is about a patient that the clinic does not have.
fn filter(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    query: TreatmentsQuery,
) -> Result<Option<TreatmentFilter>, StoreError> {
    let mut filter =
        TreatmentFilter { since: query.since, event_id: query.event_id, patient: None };
    if let Some(reference) = query.patient_ref {
        let Some(patient) = tx.patient_by_ref(clinic, &reference)? else { return Ok(None) };
        filter.patient = Some(patient.id);
    }
    Ok(Some(filter))
}

/// One treatment with all that follows from it.
#[utoipa::path(
    operation_id = "getTreatment",
    tag = "clinic",
    security(("clinic" = [])),
    params(("id" = String, Path, description = "The treatment's id")),
    responses(
        (status = 200, description = "The treatment", body = TreatmentAnswer),
        (status = 404, description = "`not-found`: the clinic has no such treatment")
    )
)]
#[get("/v1/treatments/{id}")]
async fn get_treatment(
    api: Data<Api>,
    auth: ClinicAuth,
    id: Path<String>,
) -> Result<Json<TreatmentAnswer>, Problem> {
    let id = read_id(id.as_str())?;
    let _turn = api.lines.turn(auth.clinic.0).await?;
    let view = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let view = care::treatment(tx, auth.clinic, id)?.ok_or_else(Problem::not_found)?;
            care::note_reading(tx, auth.clinic, Reading::Treatment(id))?;
            Ok(view)
        })
        .await?;
    Ok(Json(view.into()))
}

/// Correct a treatment. Only the fields given change; reminders that were not sent follow, those that
/// were stay as history. Where an instruction that was sent turns out to end too early, the patient gets
/// one push that corrects it. A correction that changes nothing is answered with the treatment as it is.
#[utoipa::path(
    operation_id = "amendTreatment",
    tag = "clinic",
    security(("clinic" = [])),
    params(("id" = String, Path, description = "The treatment's id")),
    request_body = TreatmentPatch,
    responses(
        (status = 200, description = "The treatment as it is now", body = TreatmentAnswer),
        (status = 404, description = "`not-found`: the clinic has no such treatment"),
        (status = 409, description = "`treatment-voided`: a voided treatment is corrected no more"),
        (status = 422, description = "`unknown-protocol`: see `detail`")
    )
)]
#[patch("/v1/treatments/{id}")]
async fn amend_treatment(
    api: Data<Api>,
    auth: ClinicAuth,
    id: Path<String>,
    body: Body<TreatmentPatch>,
) -> Result<Json<TreatmentAnswer>, Problem> {
    let id = read_id(id.as_str())?;
    let patch = body.read().await?.into();
    let amended =
        api.store.write(move |tx| care::amend_treatment(tx, auth.clinic, id, patch)).await;
    let view = amended?.ok_or_else(Problem::not_found)?;
    api.wake();
    Ok(Json(view.into()))
}

/// Void a treatment that was recorded by mistake: nothing of it is sent any more. Voiding it again
/// changes nothing.
#[utoipa::path(
    operation_id = "voidTreatment",
    tag = "clinic",
    security(("clinic" = [])),
    params(("id" = String, Path, description = "The treatment's id")),
    request_body(content = Option<Nothing>, description = "Nothing; may be absent", example = json!({})),
    responses(
        (status = 200, description = "The treatment, voided", body = TreatmentAnswer),
        (status = 404, description = "`not-found`: the clinic has no such treatment")
    )
)]
#[post("/v1/treatments/{id}/void")]
async fn void_treatment(
    api: Data<Api>,
    auth: ClinicAuth,
    id: Path<String>,
    body: Body<Nothing>,
) -> Result<Json<TreatmentAnswer>, Problem> {
    body.read_nothing().await?;
    let id = read_id(id.as_str())?;
    let voided = api.store.write(move |tx| care::void_treatment(tx, auth.clinic, id)).await;
    let view = voided.map_err(Problem::from)?.ok_or_else(Problem::not_found)?;
    api.wake();
    Ok(Json(view.into()))
}

/// A treatment's id; what is none names nothing.
pub(super) fn read_id(text: &str) -> Result<TreatmentId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}
