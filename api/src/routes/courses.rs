//! Courses: the booking of a patient's next session.

use actix_web::web::{Data, Json, Path};
use actix_web::{delete, put};
use aftercare::care::{self, AmendError, Refusal};
use aftercare::ids::ClinicId;
use aftercare::store::Booking;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::auth::ClinicAuth;
use crate::dto::{NextSession, TreatmentAnswer};
use crate::fields::Body;
use crate::problem::{Code, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(book_next_session).service(unbook_next_session);
}

/// Book the next session of a patient's course: the reminders to book one give way to the one on the day
/// before. Answers with the course's latest treatment. A day before the protocol's interval is over
/// is taken, with a warning.
#[utoipa::path(
    operation_id = "bookNextSession",
    tag = "clinic",
    security(("clinic" = [])),
    params(
        ("ref" = String, Path, description = "The patient's ref"),
        ("protocol" = String, Path, description = "The course's protocol", example = "microneedling")
    ),
    request_body = NextSession,
    responses(
        (status = 200, description = "Booked; the course's latest treatment as it is now", body = TreatmentAnswer),
        (status = 404, description = "`not-found`: the clinic has no such patient, or they have no such course")
    )
)]
#[put("/v1/patients/{ref}/courses/{protocol}/next-session")]
async fn book_next_session(
    api: Data<Api>,
    auth: ClinicAuth,
    course: Path<(String, String)>,
    body: Body<NextSession>,
) -> Result<Json<TreatmentAnswer>, Problem> {
    let NextSession { at } = body.read().await?;
    book(&api, auth.clinic, course.into_inner(), Booking::At(at)).await
}

/// Take the booking of a patient's next session back. Doing it again changes nothing.
#[utoipa::path(
    operation_id = "unbookNextSession",
    tag = "clinic",
    security(("clinic" = [])),
    params(
        ("ref" = String, Path, description = "The patient's ref"),
        ("protocol" = String, Path, description = "The course's protocol", example = "microneedling")
    ),
    responses(
        (status = 200, description = "Not booked; the course's latest treatment as it is now", body = TreatmentAnswer),
        (status = 404, description = "`not-found`: the clinic has no such patient, or they have no such course")
    )
)]
#[delete("/v1/patients/{ref}/courses/{protocol}/next-session")]
async fn unbook_next_session(
    api: Data<Api>,
    auth: ClinicAuth,
    course: Path<(String, String)>,
) -> Result<Json<TreatmentAnswer>, Problem> {
    book(&api, auth.clinic, course.into_inner(), Booking::None).await
}

async fn book(
    api: &Api,
    clinic: ClinicId,
    (reference, protocol): (String, String),
    booking: Booking,
) -> Result<Json<TreatmentAnswer>, Problem> {
    let booked = api
        .store
        .write(move |tx| care::book_next_session(tx, clinic, &reference, &protocol, booking))
        .await;
    let view = booked.map_err(refused)?.ok_or_else(Problem::not_found)?;
    api.wake();
    Ok(Json(view.into()))
}

/// Here the next session is the one field of the body.
fn refused(error: AmendError) -> Problem {
    match &error {
        AmendError::Refused(refusals) if *refusals == [Refusal::NextSessionOutOfRange] => {
            Problem::field(Code::InvalidFields, "/at", Refusal::NextSessionOutOfRange.to_string())
        }
        _ => error.into(),
    }
}
