//! What operators and their balancers ask.

use std::time::{Duration, Instant};

use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, get};
use aftercare::store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::state::{Api, Check};

/// How long the database may take to answer before the server counts as not ready.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a write that worked speaks for the database: anybody may ask.
const DATABASE_TRUSTED: Duration = Duration::from_secs(1);

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(get_health).service(get_readiness).service(get_metrics);
}

/// That the process answers.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether the server should get traffic.
#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    /// `ready` or `not_ready`.
    #[schema(example = "ready")]
    status: &'static str,
    /// What was looked at.
    checks: Vec<CheckDto>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Check)]
struct CheckDto {
    /// What: `database`, `push_credential`, `dispatch_lag`.
    #[schema(example = "database")]
    name: &'static str,
    /// Whether it is as it should be.
    ok: bool,
    /// The same in words.
    #[schema(example = "takes writes")]
    detail: String,
}

impl From<Check> for CheckDto {
    fn from(check: Check) -> Self {
        Self { name: check.name, ok: check.ok, detail: check.detail }
    }
}

/// Whether the process answers at all.
#[utoipa::path(
    operation_id = "getHealth",
    tag = "operations",
    responses((status = 200, description = "It does", body = Health))
)]
#[get("/healthz")]
async fn get_health() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether the server should get traffic: database, push credential, dispatch lag.
#[utoipa::path(
    operation_id = "getReadiness",
    tag = "operations",
    responses(
        (status = 200, description = "It should", body = Ready),
        (status = 503, description = "It should not", body = Ready)
    )
)]
#[get("/readyz")]
async fn get_readiness(api: Data<Api>) -> HttpResponse {
    let mut checks = vec![database(&api).await];
    checks.extend(api.readiness.checks().into_iter().map(Into::into));
    let (mut response, status) = if checks.iter().all(|check| check.ok) {
        (HttpResponse::Ok(), "ready")
    } else {
        (HttpResponse::ServiceUnavailable(), "not_ready")
    };
    if status != "ready" {
        response.insert_header((RETRY_AFTER, "5"));
    }
    response.json(Ready { status, checks })
}

/// Whether the database takes writes, which is asked of it once a second at most.
async fn database(api: &Api) -> CheckDto {
    let mut wrote = api.wrote.lock().await;
    if wrote.is_some_and(|at| at.elapsed() < DATABASE_TRUSTED) {
        return database_check(true, "takes writes");
    }
    *wrote = None;
    match tokio::time::timeout(DATABASE_TIMEOUT, api.store.check_writable()).await {
        Ok(Ok(())) => {
            *wrote = Some(Instant::now());
            database_check(true, "takes writes")
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database is not ready");
            let detail = match error {
                StoreError::ReadOnly(_) => "is read-only",
                StoreError::Full(_) => "its disk is full",
                _ => "refuses; the log says why",
            };
            database_check(false, detail)
        }
        Err(_) => database_check(false, "does not answer within 2 seconds"),
    }
}

fn database_check(ok: bool, detail: &str) -> CheckDto {
    CheckDto { name: "database", ok, detail: detail.to_owned() }
}

/// Metrics in the Prometheus text format.
#[utoipa::path(
    operation_id = "getMetrics",
    tag = "operations",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain", example = json!("aftercare_http_requests_total{method=\"GET\",route=\"/healthz\",status=\"200\"} 1\n")))
)]
#[get("/metrics")]
async fn get_metrics(api: Data<Api>) -> HttpResponse {
    let text = api.metrics.as_ref().map(metrics_exporter_prometheus::PrometheusHandle::render);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(text.unwrap_or_default())
}
