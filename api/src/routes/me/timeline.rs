//! Everything the app needs, also to work offline.

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};
use aftercare::care;
use aws_lc_rs::digest;

use crate::auth::PatientAuth;
use crate::dto::Timeline;
use crate::problem::Problem;
use crate::state::Api;

/// Everything the app needs, also to work offline.
#[utoipa::path(
    operation_id = "getMyTimeline",
    tag = "patient",
    security(("patient" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of the answer the app has")),
    responses(
        (status = 200, description = "The timeline", body = Timeline, headers(("ETag" = String, description = "Changes whenever anything but `generated_at` does"))),
        (status = 304, description = "Not changed since the `If-None-Match` that was sent")
    )
)]
#[get("/v1/me/timeline")]
pub(super) async fn get_my_timeline(
    api: Data<Api>,
    auth: PatientAuth,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let read = api.store.read(move |tx| care::timeline(tx, auth.patient)).await;
    let timeline = read.map_err(Problem::from)?.ok_or_else(Problem::not_found)?;
    answer_timeline(&request, timeline.into())
}

/// A timeline, or 304 when the caller has it already.
pub(in crate::routes) fn answer_timeline(
    request: &HttpRequest,
    timeline: Timeline,
) -> Result<HttpResponse, Problem> {
    let tag = entity_tag(&timeline).map_err(|error| Problem::internal(&error))?;
    let caching = [(CACHE_CONTROL, "private, no-cache".to_owned()), (ETAG, tag.clone())];
    let mut response =
        if matches(request, &tag) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    for header in caching {
        response.insert_header(header);
    }
    Ok(if matches(request, &tag) { response.finish() } else { response.json(timeline) })
}

/// The tag of a timeline's content; `generated_at`, which always differs, is no part of it.
fn entity_tag(timeline: &Timeline) -> serde_json::Result<String> {
    let mut content = serde_json::to_value(timeline)?;
    if let Some(members) = content.as_object_mut() {
        members.remove("generated_at");
    }
    Ok(digest_tag(content.to_string().as_bytes()))
}

/// The tag of some bytes, which others do not have.
pub(in crate::routes) fn digest_tag(content: &[u8]) -> String {
    let mut tag = hex::encode(digest::digest(&digest::SHA256, content));
    tag.truncate(32);
    format!("\"{tag}\"")
}

/// Whether `If-None-Match` names the tag, by the weak comparison that RFC 9110 has for it.
pub(in crate::routes) fn matches(request: &HttpRequest, tag: &str) -> bool {
    let lines = request.headers().get_all(IF_NONE_MATCH).filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).any(|candidate| {
        candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag
    })
}
