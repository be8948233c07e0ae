//! Who has something due and is not going to hear it, so that somebody can call.

use actix_web::get;
use actix_web::web::{Data, Json};
use aftercare::care::{self, Reading};
use aftercare::ids::ReminderId;
use jiff::SignedDuration;
use utoipa_actix_web::service_config::ServiceConfig;

use super::cursor;
use crate::auth::ClinicAuth;
use crate::dto::{ReachabilityPage, ReachabilityQuery};
use crate::fields::Query;
use crate::problem::Problem;
use crate::state::Api;

/// Hours looked ahead, unless the caller says otherwise.
const HOURS: u32 = 48;
/// Reminders on one page, likewise.
const PAGE: u32 = 50;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(list_unheard);
}

/// List reminders that are due soon and that no phone is going to show, as things stand: with the reason,
/// and what is due when, so that somebody can call.
///
/// By due moment; what is overdue and still of use comes first. What the patient muted is not listed.
#[utoipa::path(
    operation_id = "listUnheard",
    tag = "clinic",
    security(("clinic" = [])),
    params(ReachabilityQuery),
    responses((status = 200, description = "One page", body = ReachabilityPage))
)]
#[get("/v1/reachability")]
async fn list_unheard(
    api: Data<Api>,
    auth: ClinicAuth,
    query: Query<ReachabilityQuery>,
) -> Result<Json<ReachabilityPage>, Problem> {
    let query = query.read()?;
    let after = query.cursor.as_deref().map(cursor::read).transpose()?;
    let after = after.map(|(at, id)| (at, ReminderId(id)));
    let limit = query.limit.unwrap_or(PAGE);
    let within = SignedDuration::from_hours(query.within_hours.unwrap_or(HOURS).into());
    let _turn = api.lines.turn(auth.clinic.0).await?;
    let page = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let page = care::unheard(tx, auth.clinic, within, after, limit)?;
            care::note_reading(tx, auth.clinic, Reading::Unheard(page.items.len()))?;
            Ok(page)
        })
        .await?;
    let next_cursor = page.next.map(|(at, id)| cursor::write(at, id.0));
    Ok(Json(ReachabilityPage {
        items: page.items.into_iter().map(Into::into).collect(),
        next_cursor,
    }))
}
