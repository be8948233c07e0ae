//! What the patient agrees to.

use actix_web::web::{Data, Json, Path};
use actix_web::{get, put};
use aftercare::care::{self, ConsentError};
use aftercare::store::ConsentKind;

use crate::auth::PatientAuth;
use crate::dto::{ConsentAnswer, ConsentFields, ConsentTold};
use crate::fields::Body;
use crate::problem::{Code, Problem};
use crate::state::Api;

impl From<ConsentError> for Problem {
    fn from(error: ConsentError) -> Self {
        match error {
            ConsentError::UnknownPatient => Self::not_found(),
            ConsentError::InFuture => {
                Self::field(Code::InvalidFields, "/at", "must not lie in the future")
            }
            ConsentError::Store(error) => error.into(),
        }
    }
}

fn kind(path: &str) -> Result<ConsentKind, Problem> {
    path.parse().map_err(|_| Problem::not_found())
}

/// What the patient last said of one kind of push.
#[utoipa::path(
    operation_id = "getMyConsent",
    tag = "patient",
    security(("patient" = [])),
    params(("kind" = String, Path, description = "`aftercare`: pushes about the care after a treatment; `recall`: pushes about the next session", example = "recall", pattern = "^(aftercare|recall)$")),
    responses(
        (status = 200, description = "The patient's word", body = ConsentAnswer),
        (status = 404, description = "`not-found`: there is no such kind")
    )
)]
#[get("/v1/me/consents/{kind}")]
pub(super) async fn get_my_consent(
    api: Data<Api>,
    auth: PatientAuth,
    path: Path<String>,
) -> Result<Json<ConsentAnswer>, Problem> {
    let kind = kind(&path)?;
    let consent = api.store.read(move |tx| care::consent(tx, auth.patient, kind)).await;
    Ok(Json(consent.map_err(Problem::from)?.into()))
}

/// Tell what the patient said of one kind of push.
///
/// Withdrawn: what is not sent yet is `skipped: consent`, at once and also in the last moment before it
/// leaves. Granted again: what is still of use returns. The two kinds are apart, but without `aftercare`
/// nothing is pushed at all. An app that was offline tells it later with the `at` of back then: a word
/// older than the known one changes nothing, and `applied` is false; of two of the same instant the
/// withdrawal counts. But the consent that redeeming an enrolment code implies, which has no
/// `notice_version`, gives way to every withdrawal and to every grant with a `notice_version`, whatever
/// their `at`: a phone's clock may be slow.
#[utoipa::path(
    operation_id = "putMyConsent",
    tag = "patient",
    security(("patient" = [])),
    params(("kind" = String, Path, description = "`aftercare` or `recall`", example = "recall", pattern = "^(aftercare|recall)$")),
    request_body = ConsentFields,
    responses(
        (status = 200, description = "The word that counts", body = ConsentTold),
        (status = 404, description = "`not-found`: there is no such kind")
    )
)]
#[put("/v1/me/consents/{kind}")]
pub(super) async fn put_my_consent(
    api: Data<Api>,
    auth: PatientAuth,
    path: Path<String>,
    body: Body<ConsentFields>,
) -> Result<Json<ConsentTold>, Problem> {
    let kind = kind(&path)?;
    let word = body.read().await?.into();
    let told = api
        .store
        .write::<_, ConsentError, _>(move |tx| care::tell_consent(tx, auth.patient, kind, word))
        .await?;
    api.wake();
    Ok(Json(told.into()))
}
