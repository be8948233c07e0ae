//! Protocols: what the clinic follows, readable by both sides.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, get};
use aftercare::care;
use aftercare::protocol::Protocol;
use aftercare::store::ProtocolRecord;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::auth::AnyAuth;
use crate::dto::{ProtocolPage, ProtocolSummary};
use crate::problem::Problem;
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(list_protocols).service(get_protocol);
}

impl From<&Protocol> for ProtocolSummary {
    fn from(protocol: &Protocol) -> Self {
        Self {
            slug: protocol.slug.clone(),
            version: protocol.version,
            title: protocol
                .locales
                .first()
                .map_or_else(String::new, |locale| protocol.title.get(locale).to_owned()),
            locales: protocol.locales.iter().map(ToString::to_string).collect(),
            areas: protocol.areas.iter().map(ToString::to_string).collect(),
            sessions: protocol.course.as_ref().map(|course| course.sessions),
            reviewed_by: protocol.reviewed_by.clone(),
            reviewed_at: protocol.reviewed_at,
            notice: protocol.notice(),
        }
    }
}

/// List the protocols that can be used, each in its newest version.
#[utoipa::path(
    operation_id = "listProtocols",
    tag = "clinic",
    security(("clinic" = []), ("patient" = [])),
    responses((status = 200, description = "The protocols", body = ProtocolPage))
)]
#[get("/v1/protocols")]
async fn list_protocols(api: Data<Api>, auth: AnyAuth) -> Result<Json<ProtocolPage>, Problem> {
    let mut items = Vec::new();
    for record in latest(&api, auth).await? {
        items.push(ProtocolSummary::from(care::protocol_of(&record)?.as_ref()));
    }
    Ok(Json(ProtocolPage { items, next_cursor: None }))
}

/// One protocol in its newest version: the whole document.
#[utoipa::path(
    operation_id = "getProtocol",
    tag = "clinic",
    security(("clinic" = []), ("patient" = [])),
    params(("slug" = String, Path, description = "The protocol's name", example = "microneedling")),
    responses(
        (status = 200, description = "The document", body = Object, content_type = "application/json", example = json!({"slug": "microneedling", "version": 1, "title": {"en": "Microneedling"}, "areas": ["face", "neck"]})),
        (status = 404, description = "`not-found`: there is no such protocol")
    )
)]
#[get("/v1/protocols/{slug}")]
async fn get_protocol(
    api: Data<Api>,
    auth: AnyAuth,
    slug: Path<String>,
) -> Result<HttpResponse, Problem> {
    let slug = slug.into_inner();
    let found = api.store.read(move |tx| tx.latest_protocol(auth.clinic, &slug)).await;
    let record = found.map_err(Problem::from)?.ok_or_else(Problem::not_found)?;
    Ok(HttpResponse::Ok().json(record.document))
}

/// The latest version of each protocol a clinic can use, by name.
async fn latest(api: &Api, auth: AnyAuth) -> Result<Vec<ProtocolRecord>, Problem> {
    api.store.read(move |tx| tx.protocols(auth.clinic)).await.map_err(Problem::from)
}
