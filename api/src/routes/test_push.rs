//! A push that says nothing but that pushes arrive.

use actix_web::web::{Data, Json, Path};
use actix_web::{HttpResponse, get, post};
use aftercare::care::{self, Asked, Reading, TestPushError};
use utoipa_actix_web::service_config::ServiceConfig;

use super::patients::known;
use crate::auth::ClinicAuth;
use crate::dto::TestPush;
use crate::fields::{Body, Nothing};
use crate::problem::{Code, Problem};
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(send_test_push).service(get_test_push);
}

impl From<TestPushError> for Problem {
    fn from(error: TestPushError) -> Self {
        match error {
            TestPushError::UnknownPatient => Self::not_found(),
            TestPushError::Unreachable(reasons) => {
                let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                let detail = format!("No push would be heard now: {}", reasons.join(", "));
                Self::new(Code::Unreachable, detail)
            }
            TestPushError::TooMany(wait) => {
                let seconds = wait.as_secs() + i64::from(wait.subsec_nanos() > 0);
                Self::too_many_tests(u64::try_from(seconds).unwrap_or_default())
            }
            TestPushError::Store(error) => error.into(),
        }
    }
}

/// Send a test to the patient's phones: that it arrives is all it says.
///
/// For somebody who has the phone in sight: it goes out at once, in quiet hours too, and is of use for 10
/// minutes. It speaks of no rule and no treatment. `GET` tells what became of it, and when a phone showed it.
/// Asking again while one is on its way, or within 15 seconds, sends no other; beyond that, a phone takes five
/// in a row, and then one in 6 minutes. Of each patient the last test is kept.
#[utoipa::path(
    operation_id = "sendTestPush",
    tag = "clinic",
    security(("clinic" = [])),
    params(("ref" = String, Path, description = "The patient's ref")),
    request_body(content = Option<Nothing>, description = "Nothing; may be absent", example = json!({})),
    responses(
        (status = 201, description = "It is on its way", body = TestPush),
        (status = 200, description = "One is on its way already: that one", body = TestPush),
        (status = 404, description = "`not-found`: the clinic has no such patient"),
        (status = 409, description = "`unreachable`: no push would be heard now, and why"),
        (status = 429, description = "`too-many-tests`: the phone was tested often enough")
    )
)]
#[post("/v1/patients/{ref}/test-push")]
async fn send_test_push(
    api: Data<Api>,
    auth: ClinicAuth,
    reference: Path<String>,
    body: Body<Nothing>,
) -> Result<HttpResponse, Problem> {
    body.read_nothing().await?;
    let reference = reference.into_inner();
    let asked = api
        .store
        .write::<_, Problem, _>(move |tx| {
            let patient = known(tx, auth.clinic, &reference)?;
            Ok(care::ask_test_push(tx, auth.clinic, patient.id)?)
        })
        .await?;
    api.wake();
    let now = api.env().now();
    Ok(match asked {
        Asked::New(push) => HttpResponse::Created().json(TestPush::new(&push, now)),
        Asked::UnderWay(push) => HttpResponse::Ok().json(TestPush::new(&push, now)),
    })
}

/// What became of the patient's last test.
#[utoipa::path(
    operation_id = "getTestPush",
    tag = "clinic",
    security(("clinic" = [])),
    params(("ref" = String, Path, description = "The patient's ref")),
    responses(
        (status = 200, description = "The test as it stands", body = TestPush),
        (status = 404, description = "`not-found`: the clinic has no such patient, or the patient had no test")
    )
)]
#[get("/v1/patients/{ref}/test-push")]
async fn get_test_push(
    api: Data<Api>,
    auth: ClinicAuth,
    reference: Path<String>,
) -> Result<Json<TestPush>, Problem> {
    let reference = reference.into_inner();
    let now = api.env().now();
    let push = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let patient = known(tx, auth.clinic, &reference)?;
            let push = tx.test_push(patient.id)?.ok_or_else(Problem::not_found)?;
            care::note_reading(tx, auth.clinic, Reading::TestPush(patient.id))?;
            Ok(push)
        })
        .await?;
    Ok(Json(TestPush::new(&push, now)))
}
