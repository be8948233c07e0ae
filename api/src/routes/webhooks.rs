//! Webhooks: the clinic's software hears of what happens.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, delete, get, post};
use aftercare::care::{self, WebhookError};
use aftercare::ids::{WebhookEventId, WebhookId};
use aftercare::webhook::WebhookUrl;
use utoipa_actix_web::service_config::ServiceConfig;

use super::cursor;
use crate::auth::ClinicAuth;
use crate::dto::{CreatedWebhook, FailurePage, FailuresQuery, NewWebhook, Replayed, WebhookPage};
use crate::fields::{Body, Nothing, Query};
use crate::problem::{Code, Problem};
use crate::state::Api;

/// Failures on one page, unless the caller says otherwise.
const PAGE: u32 = 50;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(create_webhook)
        .service(list_webhooks)
        .service(delete_webhook)
        .service(list_failures)
        .service(replay_webhook);
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::TooMany => Self::new(Code::TooManyWebhooks, error.to_string()),
            WebhookError::Store(error) => error.into(),
        }
    }
}

/// Make a webhook: from now on events of these types are posted to the URL, signed as Standard Webhooks has
/// it. The answer is the only one that shows the secret.
#[utoipa::path(
    operation_id = "createWebhook",
    tag = "clinic",
    security(("clinic" = [])),
    request_body = NewWebhook,
    responses(
        (status = 201, description = "The webhook and its secret", body = CreatedWebhook),
        (status = 409, description = "`too-many-webhooks`: the clinic has as many as it may")
    )
)]
#[post("/v1/webhooks")]
async fn create_webhook(
    api: Data<Api>,
    auth: ClinicAuth,
    body: Body<NewWebhook>,
) -> Result<HttpResponse, Problem> {
    let NewWebhook { url, types } = body.read().await?;
    let url = WebhookUrl::parse(&url, api.webhooks)
        .map_err(|error| Problem::field(Code::InvalidFields, "/url", error.to_string()))?;
    let made = api
        .store
        .write::<_, Problem, _>(move |tx| Ok(care::create_webhook(tx, auth.clinic, &url, types)?))
        .await?;
    Ok(HttpResponse::Created().json(CreatedWebhook::from(made)))
}

/// List the clinic's webhooks, without their secrets.
#[utoipa::path(
    operation_id = "listWebhooks",
    tag = "clinic",
    security(("clinic" = [])),
    responses((status = 200, description = "All of them", body = WebhookPage))
)]
#[get("/v1/webhooks")]
async fn list_webhooks(api: Data<Api>, auth: ClinicAuth) -> Result<Json<WebhookPage>, Problem> {
    let found = api.store.read(move |tx| tx.webhooks(auth.clinic)).await.map_err(Problem::from)?;
    Ok(Json(WebhookPage { items: found.into_iter().map(Into::into).collect(), next_cursor: None }))
}

/// Delete a webhook, and what was still to be posted there.
#[utoipa::path(
    operation_id = "deleteWebhook",
    tag = "clinic",
    security(("clinic" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "`not-found`: the clinic has no such webhook")
    )
)]
#[delete("/v1/webhooks/{id}")]
async fn delete_webhook(
    api: Data<Api>,
    auth: ClinicAuth,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = read_id(&id)?;
    let deleted = api.store.write(move |tx| care::delete_webhook(tx, auth.clinic, id)).await;
    if deleted.map_err(Problem::from)? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Problem::not_found())
    }
}

/// List the events that a webhook did not take within a day. They can be replayed for 30 days.
#[utoipa::path(
    operation_id = "listWebhookFailures",
    tag = "clinic",
    security(("clinic" = [])),
    params(("id" = String, Path, description = "The webhook's id"), FailuresQuery),
    responses(
        (status = 200, description = "One page", body = FailurePage),
        (status = 404, description = "`not-found`: the clinic has no such webhook")
    )
)]
#[get("/v1/webhooks/{id}/failures")]
async fn list_failures(
    api: Data<Api>,
    auth: ClinicAuth,
    id: Path<String>,
    query: Query<FailuresQuery>,
) -> Result<Json<FailurePage>, Problem> {
    let id = read_id(&id)?;
    let query = query.read()?;
    let after = query.cursor.as_deref().map(cursor::read).transpose()?;
    let after = after.map(|(at, id)| (at, WebhookEventId(id)));
    let limit = query.limit.unwrap_or(PAGE);
    let found = api
        .store
        .read(move |tx| care::webhook_failures(tx, auth.clinic, id, after, limit))
        .await
        .map_err(Problem::from)?;
    let (events, next) = found.ok_or_else(Problem::not_found)?;
    Ok(Json(FailurePage {
        items: events.into_iter().map(Into::into).collect(),
        next_cursor: next.map(|(at, id)| cursor::write(at, id.0)),
    }))
}

/// Post again whatever a webhook did not take, each event under its own id, for another day. A webhook whose
/// receiver answered 410 is taken up again.
#[utoipa::path(
    operation_id = "replayWebhook",
    tag = "clinic",
    security(("clinic" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    request_body(content = Option<Nothing>, description = "Nothing; may be absent", example = json!({})),
    responses(
        (status = 200, description = "How much there is to post", body = Replayed),
        (status = 404, description = "`not-found`: the clinic has no such webhook")
    )
)]
#[post("/v1/webhooks/{id}/replay")]
async fn replay_webhook(
    api: Data<Api>,
    auth: ClinicAuth,
    id: Path<String>,
    body: Body<Nothing>,
) -> Result<Json<Replayed>, Problem> {
    body.read_nothing().await?;
    let id = read_id(&id)?;
    let replayed = api.store.write(move |tx| care::replay_webhook(tx, auth.clinic, id)).await;
    let replayed = replayed.map_err(Problem::from)?.ok_or_else(Problem::not_found)?;
    Ok(Json(Replayed { replayed }))
}

fn read_id(text: &str) -> Result<WebhookId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}
