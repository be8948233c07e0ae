//! The API's own description: the document, and a page to try it on, both from the binary.

use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, LOCATION};
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_swagger_ui::Config;

use super::Documents;
use crate::problem::Problem;

/// What the page may load: only what this server serves. Its own script sets styles.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(get_openapi).service(get_docs).map(|config| config.service(docs_file));
}

/// This document.
#[utoipa::path(
    operation_id = "getOpenapi",
    tag = "operations",
    responses((status = 200, description = "The OpenAPI 3.1 document", body = Object, content_type = "application/json", example = json!({"openapi": "3.1.0", "info": {"title": "Aftercare"}, "paths": {}})))
)]
#[get("/openapi.json")]
async fn get_openapi(documents: Data<Documents>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(documents.openapi.clone())
}

/// A page that shows this document and tries it out.
#[utoipa::path(
    operation_id = "getDocs",
    tag = "operations",
    responses((status = 308, description = "To the page", headers(("Location" = String, description = "The page"))))
)]
#[get("/docs")]
async fn get_docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "/docs/")).finish()
}

#[get("/docs/{file:.*}")]
async fn docs_file(file: Path<String>) -> Result<HttpResponse, Problem> {
    let config = Arc::new(Config::from("../openapi.json"));
    let file =
        utoipa_swagger_ui::serve(&file, config).ok().flatten().ok_or_else(Problem::not_found)?;
    let mut response = HttpResponse::Ok();
    if file.gzpipped {
        response.insert_header((CONTENT_ENCODING, "gzip"));
    }
    Ok(response
        .content_type(file.content_type)
        .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(file.bytes.into_owned()))
}
