//! The secrets that sign a clinic's events.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, delete, get, post};
use aftercare::care::{self, SecretRefused};
use aftercare::ids::SigningSecretId;
use aftercare::store::SigningSecret;
use secrecy::ExposeSecret as _;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::auth::{self, ClinicAuth};
use crate::dto::{NewSigningSecret, SigningSecretDto, SigningSecrets};
use crate::fields::{Body, Nothing};
use crate::problem::{Code, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(create_signing_secret)
        .service(list_signing_secrets)
        .service(delete_signing_secret);
}

impl From<SecretRefused> for Problem {
    fn from(error: SecretRefused) -> Self {
        match error {
            SecretRefused::TooMany => Self::new(
                Code::TooManySecrets,
                "Two secrets are valid at once at most; delete the old one once nobody signs with it",
            ),
            SecretRefused::Store(error) => error.into(),
        }
    }
}

impl From<&SigningSecret> for SigningSecretDto {
    fn from(secret: &SigningSecret) -> Self {
        Self { id: secret.id.0, created_at: secret.created_at }
    }
}

/// Make a secret that signs events (`POST /v1/events`). It is shown this once. Two are valid at once, so
/// that one can take the place of the other without a gap.
#[utoipa::path(
    operation_id = "createSigningSecret",
    tag = "clinic",
    security(("clinic" = [])),
    request_body(content = Option<Nothing>, description = "Nothing; may be absent", example = json!({})),
    responses(
        (status = 201, description = "The secret", body = NewSigningSecret),
        (status = 409, description = "`too-many-secrets`: there are two already")
    )
)]
#[post("/v1/signing-secrets")]
async fn create_signing_secret(
    api: Data<Api>,
    auth: ClinicAuth,
    body: Body<Nothing>,
) -> Result<HttpResponse, Problem> {
    body.read_nothing().await?;
    let secret = auth::new_signing_secret(api.env());
    let made = api
        .store
        .write::<_, Problem, _>(move |tx| Ok(care::add_signing_secret(tx, auth.clinic, &secret)?))
        .await?;
    Ok(HttpResponse::Created().json(NewSigningSecret {
        id: made.id.0,
        secret: auth::written(&made.secret).expose_secret().to_owned(),
        clinic_id: auth.clinic.0,
        created_at: made.created_at,
    }))
}

/// List the secrets that sign events; never the secrets themselves.
#[utoipa::path(
    operation_id = "listSigningSecrets",
    tag = "clinic",
    security(("clinic" = [])),
    responses((status = 200, description = "Two at most", body = SigningSecrets))
)]
#[get("/v1/signing-secrets")]
async fn list_signing_secrets(
    api: Data<Api>,
    auth: ClinicAuth,
) -> Result<Json<SigningSecrets>, Problem> {
    let secrets = api.store.read(move |tx| tx.signing_secrets(auth.clinic)).await;
    let items = secrets.map_err(Problem::from)?.iter().map(Into::into).collect();
    Ok(Json(SigningSecrets { items, next_cursor: None }))
}

/// Forget a secret: what it signs is refused from now on.
#[utoipa::path(
    operation_id = "deleteSigningSecret",
    tag = "clinic",
    security(("clinic" = [])),
    params(("id" = String, Path, description = "The secret's id")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 404, description = "`not-found`: the clinic has no such secret")
    )
)]
#[delete("/v1/signing-secrets/{id}")]
async fn delete_signing_secret(
    api: Data<Api>,
    auth: ClinicAuth,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: SigningSecretId = id.parse().map_err(|_| Problem::not_found())?;
    let deleted = api.store.write(move |tx| care::delete_signing_secret(tx, auth.clinic, id)).await;
    if deleted.map_err(Problem::from)? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Problem::not_found())
    }
}
