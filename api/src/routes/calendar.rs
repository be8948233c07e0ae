//! The calendar feed: its address, which the patient asks for, and the feed, which calendars do.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse, delete, get};
use aftercare::care;
use secrecy::{ExposeSecret as _, SecretString};
use utoipa_actix_web::service_config::ServiceConfig;

use super::me::{digest_tag, matches};
use crate::auth::{PatientAuth, feed_token};
use crate::dto::CalendarAnswer;
use crate::icalendar;
use crate::problem::Problem;
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(get_my_calendar).service(delete_my_calendar).service(get_calendar_feed);
}

/// The address of the patient's calendar feed, made now if there is none.
///
/// It shows when reminders and the next session are, and never what they are about.
#[utoipa::path(
    operation_id = "getMyCalendar",
    tag = "patient",
    security(("patient" = [])),
    responses((status = 200, description = "The address", body = CalendarAnswer))
)]
#[get("/v1/me/calendar")]
async fn get_my_calendar(
    api: Data<Api>,
    auth: PatientAuth,
) -> Result<Json<CalendarAnswer>, Problem> {
    let fresh = feed_token(api.env());
    let opened = api.store.write(move |tx| care::open_calendar(tx, auth.patient, &fresh)).await;
    let calendar = opened.map_err(Problem::from)?.ok_or_else(Problem::not_found)?;
    let url = format!("{}/calendar/{}.ics", api.public_url, calendar.token.expose_secret());
    Ok(Json(CalendarAnswer { url, created_at: calendar.created_at }))
}

/// End the calendar feed: its address answers nothing from now on. The next one is another.
#[utoipa::path(
    operation_id = "deleteMyCalendar",
    tag = "patient",
    security(("patient" = [])),
    responses((status = 204, description = "There is none any more"))
)]
#[delete("/v1/me/calendar")]
async fn delete_my_calendar(api: Data<Api>, auth: PatientAuth) -> Result<HttpResponse, Problem> {
    let closed = api.store.write(move |tx| care::close_calendar(tx, auth.patient)).await;
    closed.map_err(Problem::from)?;
    Ok(HttpResponse::NoContent().finish())
}

/// The feed as calendars read it: reminders to come and the next session, in UTC.
///
/// The address is all it takes, so it is secret. Entries that are cancelled stay for a week as such.
#[utoipa::path(
    operation_id = "getCalendarFeed",
    tag = "patient",
    security(()),
    params(
        ("token" = String, Path, description = "The secret part of the address that `GET /v1/me/calendar` gives"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the feed that the calendar has")
    ),
    responses(
        (
            status = 200, description = "The feed", body = String, content_type = "text/calendar",
            headers(("ETag" = String, description = "Changes whenever the feed does")),
            example = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Aftercare//Feed//EN\r\nEND:VCALENDAR\r\n"
        ),
        (status = 304, description = "Not changed since the `If-None-Match` that was sent"),
        (status = 404, description = "`not-found`: no feed has this address, or none has it any more"),
        (status = 429, description = "`rate-limited`")
    )
)]
#[get("/calendar/{token}.ics")]
async fn get_calendar_feed(
    api: Data<Api>,
    request: HttpRequest,
    token: Path<String>,
) -> Result<HttpResponse, Problem> {
    let token = SecretString::from(token.into_inner());
    let read = api.store.read(move |tx| care::calendar_feed(tx, &token)).await;
    let Some(feed) = read.map_err(Problem::from)? else {
        api.limiter.bad_bearer(api.client(&request))?;
        return Err(Problem::not_found());
    };
    api.limiter.credential(feed.patient.0)?;
    tracing::Span::current().record("patient", tracing::field::display(feed.patient));
    let text = icalendar::write(&feed);
    let tag = digest_tag(text.as_bytes());
    let known = matches(&request, &tag);
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((CACHE_CONTROL, "private, no-cache")).insert_header((ETAG, tag));
    if known {
        return Ok(response.finish());
    }
    Ok(response.insert_header((CONTENT_TYPE, "text/calendar; charset=utf-8")).body(text))
}
