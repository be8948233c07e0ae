//! How a patient's phone gets in: the clinic makes a code, the app redeems it.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse, post};
use secrecy::{ExposeSecret as _, SecretString};
use utoipa_actix_web::service_config::ServiceConfig;

use super::oauth::answer;
use super::patients::known;
use crate::auth::{self, ClinicAuth, NewEnrolment};
use crate::dto::{EnrolmentAnswer, Redeem, TokenAnswer};
use crate::fields::{Body, Nothing};
use crate::problem::{Code, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(create_enrolment).service(redeem_enrolment);
}

/// An enrolment as the clinic hands it on.
pub(crate) fn invitation(api: &Api, enrolment: &NewEnrolment) -> EnrolmentAnswer {
    let code = enrolment.code.expose_secret();
    EnrolmentAnswer {
        code: code.to_owned(),
        url: format!("{}/enrol#{code}", api.public_url),
        expires_at: enrolment.expires_at,
    }
}

/// Invite the patient's phone: a code that is good once, for 72 hours.
#[utoipa::path(
    operation_id = "createEnrolment",
    tag = "clinic",
    security(("clinic" = [])),
    params(("ref" = String, Path, description = "The patient's ref")),
    request_body(content = Option<Nothing>, description = "Nothing; may be absent", example = json!({})),
    responses(
        (status = 201, description = "The code; show it as a QR code", body = EnrolmentAnswer),
        (status = 404, description = "`not-found`: the clinic has no such patient")
    )
)]
#[post("/v1/patients/{ref}/enrolments")]
async fn create_enrolment(
    api: Data<Api>,
    auth: ClinicAuth,
    reference: Path<String>,
    body: Body<Nothing>,
) -> Result<HttpResponse, Problem> {
    body.read_nothing().await?;
    let reference = reference.into_inner();
    let enrolment = api
        .store
        .write::<_, Problem, _>(move |tx| {
            let patient = known(tx, auth.clinic, &reference)?;
            Ok(auth::enrol(tx, auth.clinic, patient.id)?)
        })
        .await?;
    Ok(HttpResponse::Created().json(invitation(&api, &enrolment)))
}

/// Redeem a code: opens the session of one app installation.
///
/// Redeeming is the patient's consent to aftercare reminders. An earlier session of the same
/// installation ends.
#[utoipa::path(
    operation_id = "redeemEnrolment",
    tag = "auth",
    security(()),
    request_body = Redeem,
    responses(
        (status = 200, description = "Tokens", body = TokenAnswer),
        (status = 422, description = "`invalid-code`: unknown, used or too old"),
        (status = 429, description = "`rate-limited`")
    )
)]
#[post("/v1/enrolments/redeem")]
async fn redeem_enrolment(
    api: Data<Api>,
    request: HttpRequest,
    body: Body<Redeem>,
) -> Result<Json<TokenAnswer>, Problem> {
    let address = api.client(&request);
    api.limiter.may_try(address)?;
    let Redeem { code, installation_id } = body.read().await?;
    let code = SecretString::from(code);
    let signer = api.keys.signer().await?;
    let redeemed = api.store.write(move |tx| auth::redeem(tx, &code, &installation_id)).await;
    let Some(grant) = redeemed.map_err(Problem::from)? else {
        api.limiter.failed(address)?;
        let detail = "is unknown, was used or is too old; ask the clinic for a new one";
        return Err(Problem::field(Code::InvalidCode, "/code", detail));
    };
    api.wake();
    answer(&api, &signer, grant).map(Json)
}
