//! A treatment on paper.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use aftercare::care::{self, Handout, Reading};
use aftercare::ids::{ClinicId, TreatmentId};
use aftercare::store::Tx;
use utoipa_actix_web::service_config::ServiceConfig;

use super::enrolments::invitation;
use super::treatments::read_id;
use crate::auth::{self, ClinicAuth, NewEnrolment};
use crate::dto::HandoutQuery;
use crate::fields::Query;
use crate::pages;
use crate::problem::{Code, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(get_handout);
}

/// One page to print and take home: each rule with its hour, whom to call, the next session.
///
/// While nobody can be reached, each request makes a fresh invitation to the app, good once and for 72
/// hours, and the page shows it as a QR code.
#[utoipa::path(
    operation_id = "getHandout",
    tag = "clinic",
    security(("clinic" = [])),
    params(("id" = String, Path, description = "The treatment's id"), HandoutQuery),
    responses(
        (
            status = 200, description = "The page, without scripts and without anything from elsewhere",
            body = String, content_type = "text/html",
            example = "<!DOCTYPE html><html lang=\"en\" dir=\"ltr\"><title>After your treatment</title></html>"
        ),
        (status = 404, description = "`not-found`: the clinic has no such treatment"),
        (status = 409, description = "`treatment-voided`: there is nothing to take home of it")
    )
)]
#[get("/v1/treatments/{id}/handout")]
async fn get_handout(
    api: Data<Api>,
    auth: ClinicAuth,
    id: Path<String>,
    query: Query<HandoutQuery>,
) -> Result<HttpResponse, Problem> {
    let id = read_id(id.as_str())?;
    let query = query.read()?;
    let print = move |tx: &mut Tx<'_>| print(tx, auth.clinic, id, &query);
    let (handout, enrolment) = api.store.read_on_record(print).await?;
    let invitation = enrolment.map(|enrolment| invitation(&api, &enrolment));
    Ok(pages::handout(&handout, invitation.as_ref()))
}

/// What goes on the page, and the invitation that was made for it.
pub(crate) fn print(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: TreatmentId,
    query: &HandoutQuery,
) -> Result<(Handout, Option<NewEnrolment>), Problem> {
    let handout = care::handout(tx, clinic, id, query.lang.as_ref())?;
    let handout = handout.ok_or_else(Problem::not_found)?;
    if handout.voided {
        let detail = "The treatment was voided: none of its rules holds";
        return Err(Problem::new(Code::TreatmentVoided, detail));
    }
    care::note_reading(tx, clinic, Reading::Handout(id))?;
    let enrolment = if query.enrol.unwrap_or(!handout.reachable) {
        Some(auth::enrol(tx, clinic, handout.patient)?)
    } else {
        None
    };
    Ok((handout, enrolment))
}
