//! Everything the app needs, also to work offline.

use actix_web::http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};
use aftercare::care;
use aws_lc_rs::digest;

use crate::auth::PatientAuth;
use crate::dto::Timeline;
use crate::heavy;
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
    let _turn = api.lines.turn(auth.patient.0).await?;
    let read = api.store.read(move |tx| care::timeline(tx, auth.patient)).await;
    answer_timeline(&request, read.map_err(Problem::from)?.ok_or_else(Problem::not_found)?).await
}

/// A timeline, or 304 when the caller has it already.
pub(in crate::routes) async fn answer_timeline(
    request: &HttpRequest,
    timeline: impl FnOnce() -> care::Timeline + Send + 'static,
) -> Result<HttpResponse, Problem> {
    let (tag, written) = heavy::make(move || {
        let timeline = Timeline::from(timeline());
        Ok((entity_tag(&timeline)?, serde_json::to_vec(&timeline)?))
    })
    .await?;
    let known = matches(request, &tag);
    let mut response =
        if known { HttpResponse::NotModified().finish() } else { heavy::json(written) };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(ETAG, HeaderValue::from_str(&tag).map_err(|error| Problem::internal(&error))?);
    Ok(response)
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
