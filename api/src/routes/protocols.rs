//! Protocols: what the clinic follows, readable by both sides; the clinic publishes its own.

use std::collections::BTreeMap;

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, get, post, put};
use aftercare::care::{self, PublishError};
use serde_json::{Map, Value};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::auth::{AnyAuth, ClinicAuth};
use crate::dto::{
    ProtocolAliases, ProtocolImpact, ProtocolPage, ProtocolPreview, ProtocolSummary, ProtocolTrial,
    PublishQuery, PublishedProtocol,
};
use crate::fields::{Body, Query};
use crate::problem::{Code, Fault, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(list_protocols)
        .service(get_protocol)
        .service(put_protocol)
        .service(preview_protocol)
        .service(get_protocol_impact)
        .service(put_protocol_aliases);
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Faults(faults) => Self::fields(faults.into_iter().map(fault).collect()),
            PublishError::Refused(refusal) => {
                Self::field(Code::InvalidFields, "/areas", refusal.to_string())
            }
            PublishError::Unknown => Self::not_found(),
            PublishError::Taken(taken) => {
                let errors = taken.into_iter().map(|(index, slug)| Fault {
                    pointer: format!("/aliases/{index}"),
                    detail: format!("{slug} is called so"),
                });
                let detail = "Other protocols are called by some of these codes";
                Self::of_fields(Code::AliasTaken, detail, errors.collect())
            }
            PublishError::Store(error) => error.into(),
        }
    }
}

fn fault(fault: aftercare::protocol::Fault) -> Fault {
    Fault { pointer: fault.pointer, detail: fault.detail }
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
    let read = api.store.read::<_, Problem, _>(move |tx| {
        Ok((tx.protocols(auth.clinic)?, tx.aliases(auth.clinic)?))
    });
    let (records, aliases) = read.await?;
    let mut items = Vec::new();
    for record in records {
        let codes = codes_of(&aliases, &record.slug);
        items.push(ProtocolSummary::new(care::protocol_of(&record)?.as_ref(), codes));
    }
    Ok(Json(ProtocolPage { items, next_cursor: None }))
}

fn codes_of(aliases: &BTreeMap<String, String>, slug: &str) -> Vec<String> {
    aliases.iter().filter(|(_, of)| *of == slug).map(|(code, _)| code.clone()).collect()
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

/// Publish a version of the clinic's own protocol, new or in place of a shipped one. Sessions recorded
/// from now on follow it. The body is the document (`aftercare protocol schema` prints its JSON Schema);
/// `slug` and `version` may be left out. The same document again is no new version, but moves what is
/// under way if it says so.
#[utoipa::path(
    operation_id = "putProtocol",
    tag = "clinic",
    security(("clinic" = [])),
    params(
        ("slug" = String, Path, description = "The protocol's name", example = "microneedling"),
        PublishQuery
    ),
    request_body(content = Object, content_type = "application/json", description = "The document", example = json!({"format": 1, "title": {"en": "Microneedling"}, "locales": ["en"], "areas": ["face"], "default_areas": ["face"]})),
    responses(
        (status = 200, description = "The version in use says the same", body = PublishedProtocol),
        (status = 201, description = "Published", body = PublishedProtocol)
    )
)]
#[put("/v1/protocols/{slug}")]
async fn put_protocol(
    api: Data<Api>,
    auth: ClinicAuth,
    slug: Path<String>,
    query: Query<PublishQuery>,
    body: Body<Map<String, Value>>,
) -> Result<HttpResponse, Problem> {
    let PublishQuery { running } = query.read()?;
    let document = body.read_raw().await?;
    let (published, aliases) = api
        .store
        .write::<_, PublishError, _>(move |tx| {
            let published =
                care::publish_protocol(tx, auth.clinic, slug.as_str(), document, running)?;
            Ok((published, tx.aliases(auth.clinic)?))
        })
        .await?;
    let codes = codes_of(&aliases, &published.protocol.slug);
    let answer = PublishedProtocol {
        protocol: ProtocolSummary::new(&published.protocol, codes),
        moving: published.moving,
    };
    let mut response = if published.new { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.json(answer))
}

/// Try a protocol out: what would be planned for a treatment at any moment, without recording anything.
#[utoipa::path(
    operation_id = "previewProtocol",
    tag = "clinic",
    security(("clinic" = [])),
    params(("slug" = String, Path, description = "The protocol's name", example = "microneedling")),
    request_body = ProtocolTrial,
    responses(
        (status = 200, description = "The plan", body = ProtocolPreview),
        (status = 404, description = "`not-found`: there is no such protocol, and no document came with the request")
    )
)]
#[post("/v1/protocols/{slug}/preview")]
async fn preview_protocol(
    api: Data<Api>,
    auth: ClinicAuth,
    slug: Path<String>,
    body: Body<ProtocolTrial>,
) -> Result<Json<ProtocolPreview>, Problem> {
    let trial = body.read().await?.into();
    let tried = move |tx: &mut aftercare::store::Tx<'_>| {
        care::try_protocol(tx, auth.clinic, slug.as_str(), trial)
    };
    let preview = api.store.read(tried).await.map_err(|error| match error {
        // Here the document is one field of the body.
        PublishError::Faults(faults) => {
            let inside = faults.into_iter().map(fault);
            Problem::fields(
                inside
                    .map(|fault| Fault { pointer: format!("/document{}", fault.pointer), ..fault })
                    .collect(),
            )
        }
        other => other.into(),
    })?;
    Ok(Json(preview.into()))
}

/// Ask what publishing a document with `running=move` would change of what was not sent yet. Nothing is
/// published.
#[utoipa::path(
    operation_id = "getProtocolImpact",
    tag = "clinic",
    security(("clinic" = [])),
    params(("slug" = String, Path, description = "The protocol's name", example = "microneedling")),
    request_body(content = Object, content_type = "application/json", description = "The document, as for putProtocol", example = json!({"format": 1, "title": {"en": "Microneedling"}, "locales": ["en"], "areas": ["face"], "default_areas": ["face"]})),
    responses((status = 200, description = "What would change", body = ProtocolImpact))
)]
#[post("/v1/protocols/{slug}/impact")]
async fn get_protocol_impact(
    api: Data<Api>,
    auth: ClinicAuth,
    slug: Path<String>,
    body: Body<Map<String, Value>>,
) -> Result<Json<ProtocolImpact>, Problem> {
    let document = body.read_raw().await?;
    let slug = slug.into_inner();
    let impact = care::protocol_impact(&api.store, auth.clinic, slug, document).await?;
    Ok(Json(impact.into()))
}

/// Call a protocol by the clinic's own codes, and by no others: events may give each as `protocol`.
#[utoipa::path(
    operation_id = "putProtocolAliases",
    tag = "clinic",
    security(("clinic" = [])),
    params(("slug" = String, Path, description = "The protocol's name", example = "microneedling")),
    request_body = ProtocolAliases,
    responses(
        (status = 200, description = "The codes", body = ProtocolAliases),
        (status = 404, description = "`not-found`: there is no such protocol"),
        (status = 409, description = "`alias-taken`: another protocol has one of the codes, or is named so")
    )
)]
#[put("/v1/protocols/{slug}/aliases")]
async fn put_protocol_aliases(
    api: Data<Api>,
    auth: ClinicAuth,
    slug: Path<String>,
    body: Body<ProtocolAliases>,
) -> Result<Json<ProtocolAliases>, Problem> {
    let ProtocolAliases { aliases } = body.read().await?;
    let codes = aliases.clone();
    api.store.write(move |tx| care::name_protocol(tx, auth.clinic, slug.as_str(), &codes)).await?;
    Ok(Json(ProtocolAliases { aliases }))
}
