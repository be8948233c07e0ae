//! What stands at the door for people and their phones; no part of the API.

use actix_web::http::header::{ACCEPT_LANGUAGE, AcceptLanguage, CACHE_CONTROL, HeaderValue, VARY};
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, get};
use serde_json::Value;
use url::Url;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::pages;
use crate::problem::{Code, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.map(|config| {
        config.service(root).service(enrol).service(asset_links).service(site_association)
    });
}

/// For who types the host's name alone.
#[get("/")]
async fn root() -> HttpResponse {
    pages::root()
}

/// Where an invitation leads that no app has opened. Its code stays in the browser: what stands after `#`
/// is not sent.
#[get("/enrol")]
async fn enrol(request: HttpRequest) -> HttpResponse {
    let wished = request.get_header::<AcceptLanguage>().map_or_else(Vec::new, |it| it.ranked());
    let tags = wished.iter().filter_map(|tag| tag.item());
    let mut answer = pages::enrol(tags.map(|tag| tag.primary_language()));
    answer.headers_mut().append(VARY, HeaderValue::from_name(ACCEPT_LANGUAGE));
    answer
}

#[get("/.well-known/assetlinks.json")]
async fn asset_links(api: Data<Api>) -> Result<HttpResponse, Problem> {
    vouch(api.apps.asset_links(), "AFTERCARE_ANDROID_APP")
}

#[get("/.well-known/apple-app-site-association")]
async fn site_association(api: Data<Api>) -> Result<HttpResponse, Problem> {
    let url = Url::parse(&format!("{}/enrol", api.public_url));
    let path = url.as_ref().map_or("/enrol", Url::path);
    vouch(api.apps.site_association(path), "AFTERCARE_IOS_APP")
}

/// Apple and Google keep it for a while anyway.
fn vouch(document: Option<Value>, setting: &str) -> Result<HttpResponse, Problem> {
    let unset = || Problem::new(Code::NotFound, format!("{setting} is not set on this server"));
    let document = document.ok_or_else(unset)?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "public, max-age=3600")).json(document))
}
