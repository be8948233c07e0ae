//! What the patient wishes for.

use actix_web::web::{Data, Json};
use actix_web::{get, patch};
use aftercare::care::{self, PreferencesError};

use crate::auth::PatientAuth;
use crate::dto::{PreferencesDto, PreferencesFields};
use crate::fields::Body;
use crate::problem::{Fault, Problem};
use crate::state::Api;

impl From<PreferencesError> for Problem {
    fn from(error: PreferencesError) -> Self {
        match error {
            PreferencesError::UnknownPatient => Self::not_found(),
            PreferencesError::UnknownRules { at, known } => {
                let detail = format!("must be one of {}", known.join(", "));
                let fault = |index: usize| Fault {
                    pointer: format!("/muted_rules/{index}"),
                    detail: detail.clone(),
                };
                Self::fields(at.into_iter().map(fault).collect())
            }
            PreferencesError::Store(error) => error.into(),
        }
    }
}

/// What the patient wished for; null where the default counts.
#[utoipa::path(
    operation_id = "getMyPreferences",
    tag = "patient",
    security(("patient" = [])),
    responses((status = 200, description = "The wishes", body = PreferencesDto))
)]
#[get("/v1/me/preferences")]
pub(super) async fn get_my_preferences(
    api: Data<Api>,
    auth: PatientAuth,
) -> Result<Json<PreferencesDto>, Problem> {
    let patient = api.store.read(move |tx| tx.patient(auth.patient)).await;
    let patient = patient.map_err(Problem::from)?.ok_or_else(Problem::not_found)?;
    Ok(Json(patient.preferences.into()))
}

/// Change wishes: what is left out stays, null goes back to the default.
///
/// Whatever is not sent yet is planned anew at once: hours of the day and quiet hours move, muted rules
/// are left out (a reminder that speaks of nothing else is `skipped: muted`). Elapsed reminders and what
/// was sent stay.
#[utoipa::path(
    operation_id = "patchMyPreferences",
    tag = "patient",
    security(("patient" = [])),
    request_body = PreferencesFields,
    responses(
        (status = 200, description = "The wishes as they are now", body = PreferencesDto),
        (status = 422, description = "`invalid-fields`: a muted rule must be one of a protocol of the clinic, or of one that the patient was treated under; the detail lists them")
    )
)]
#[patch("/v1/me/preferences")]
pub(super) async fn patch_my_preferences(
    api: Data<Api>,
    auth: PatientAuth,
    body: Body<PreferencesFields>,
) -> Result<Json<PreferencesDto>, Problem> {
    let patch = body.read().await?.into();
    let changed = api
        .store
        .write::<_, PreferencesError, _>(move |tx| {
            care::change_preferences(tx, auth.patient, patch)
        })
        .await?;
    api.wake();
    Ok(Json(changed.into()))
}
