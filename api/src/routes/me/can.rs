//! "Can I …?"

use actix_web::get;
use actix_web::web::{Data, Json};
use aftercare::care::{self, CanError};

use crate::auth::PatientAuth;
use crate::dto::{CanDto, CanQuery};
use crate::fields::Query;
use crate::problem::{Code, Problem};
use crate::state::Api;

impl From<CanError> for Problem {
    fn from(error: CanError) -> Self {
        match error {
            CanError::UnknownActivity { known } => {
                let detail = if known.is_empty() {
                    "no rule of yours names any activity".to_owned()
                } else {
                    format!("must be one of {}", known.join(", "))
                };
                Self::field(Code::UnknownActivity, "?activity", detail)
            }
            CanError::UnknownPatient => Self::not_found(),
            CanError::Store(error) => error.into(),
        }
    }
}

/// What the clinic's rules say of an activity. There is no "allowed": the server knows rules, not skin.
#[utoipa::path(
    operation_id = "canI",
    tag = "patient",
    security(("patient" = [])),
    params(CanQuery),
    responses(
        (status = 200, description = "What the rules say", body = CanDto),
        (status = 422, description = "`unknown-activity`: the detail lists the known ones")
    )
)]
#[get("/v1/me/can")]
pub(super) async fn can_i(
    api: Data<Api>,
    auth: PatientAuth,
    query: Query<CanQuery>,
) -> Result<Json<CanDto>, Problem> {
    let CanQuery { activity, at } = query.read()?;
    let asked = api
        .store
        .read::<_, CanError, _>(move |tx| care::can(tx, auth.patient, &activity, at))
        .await?;
    Ok(Json(asked.into()))
}
