//! What the app showed, and what the patient reacted to.

use actix_web::post;
use actix_web::web::{Data, Json};
use aftercare::care::{self, ReceiptsError, Reported};

use crate::auth::PatientAuth;
use crate::dto::{RECEIPTS, ReceiptFields, ReceiptsAnswer};
use crate::fields::Body;
use crate::problem::Problem;
use crate::state::Api;

impl From<ReceiptsError> for Problem {
    fn from(error: ReceiptsError) -> Self {
        match error {
            ReceiptsError::UnknownPatient => Self::not_found(),
            ReceiptsError::Store(error) => error.into(),
        }
    }
}

/// Report what was shown, and what the patient reacted to.
///
/// Up to 200 at once, for phones that were offline. Reporting again changes nothing: of one kind and one
/// reminder the earliest `at` counts, in whatever order reports come. A phone whose clock is fast is
/// believed all the same: an `at` in the future counts as now. Receipts are facts for `why`; they
/// never change what is sent.
#[utoipa::path(
    operation_id = "postMyReceipts",
    tag = "patient",
    security(("patient" = [])),
    request_body(content = Vec<ReceiptFields>, description = "At most 200 receipts"),
    responses((status = 200, description = "What became of them", body = ReceiptsAnswer))
)]
#[post("/v1/me/receipts")]
pub(super) async fn post_my_receipts(
    api: Data<Api>,
    auth: PatientAuth,
    body: Body<ReceiptFields>,
) -> Result<Json<ReceiptsAnswer>, Problem> {
    let reports = body.read_list(RECEIPTS).await?;
    let reports: Vec<Reported> = reports.into_iter().map(Into::into).collect();
    let kept = api
        .store
        .write::<_, ReceiptsError, _>(move |tx| care::record_receipts(tx, auth.patient, &reports))
        .await?;
    Ok(Json(kept.into()))
}
