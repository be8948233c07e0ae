//! A patient's installations of the app, and where to push to.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, delete, put};
use aftercare::care;
use aftercare::store::{Session, Tx};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::auth::PatientAuth;
use crate::dto::DeviceFields;
use crate::fields::{Body, parse};
use crate::problem::{Code, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(put_my_device).service(delete_my_device);
}

/// Register this installation, or tell what changed: sent on every start of the app.
#[utoipa::path(
    operation_id = "putMyDevice",
    tag = "patient",
    security(("patient" = [])),
    params(("installation_id" = String, Path, description = "The app's own name for this installation", min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9._:-]{1,128}$")),
    request_body = DeviceFields,
    responses(
        (status = 204, description = "Registered"),
        (status = 409, description = "`other-installation`: the session was opened for another installation")
    )
)]
#[put("/v1/me/devices/{installation_id}")]
async fn put_my_device(
    api: Data<Api>,
    auth: PatientAuth,
    installation: Path<String>,
    body: Body<DeviceFields>,
) -> Result<HttpResponse, Problem> {
    let installation = installation.into_inner();
    if !parse::is_token(&installation) {
        let detail = "must be 1 to 128 of A-Z, a-z, 0-9, dot, underscore, colon and hyphen";
        return Err(Problem::field(Code::InvalidFields, "{installation_id}", detail));
    }
    let body = body.read().await?;
    api.store
        .write::<_, Problem, _>(move |tx| {
            own(tx, &auth.session, &installation)?;
            let registration = body.registration(installation, auth.session.id);
            let device = care::register_device(tx, auth.patient, &registration)?;
            device.map(|_| ()).ok_or_else(Problem::not_found)
        })
        .await?;
    api.wake();
    Ok(HttpResponse::NoContent().finish())
}

/// Stop pushing to an installation.
#[utoipa::path(
    operation_id = "deleteMyDevice",
    tag = "patient",
    security(("patient" = [])),
    params(("installation_id" = String, Path, description = "The installation")),
    responses(
        (status = 204, description = "Nothing is pushed to it any more"),
        (status = 404, description = "`not-found`: the patient has no such installation")
    )
)]
#[delete("/v1/me/devices/{installation_id}")]
async fn delete_my_device(
    api: Data<Api>,
    auth: PatientAuth,
    installation: Path<String>,
) -> Result<HttpResponse, Problem> {
    let installation = installation.into_inner();
    let removed =
        api.store.write(move |tx| care::remove_device(tx, auth.patient, &installation)).await;
    if !removed.map_err(Problem::from)? {
        return Err(Problem::not_found());
    }
    api.wake();
    Ok(HttpResponse::NoContent().finish())
}

/// That the installation is the one the session was opened for: a phone registers only itself.
fn own(tx: &mut Tx<'_>, session: &Session, installation: &str) -> Result<(), Problem> {
    if tx.is_of_installation(session, installation) {
        return Ok(());
    }
    let detail = "This session was opened for another installation; redeem a code for this one";
    Err(Problem::new(Code::OtherInstallation, detail))
}
