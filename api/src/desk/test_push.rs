//! A test message to the patient's phone, and when the phone showed it.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, get, post};
use aftercare::care::{self, Reading, TestPushError};

use super::session::{Pairs, Posted, StaffAuth};
use super::work::reference;
use super::{Answer, dressed, see};
use crate::pages::Scripts;
use crate::pages::desk as pages;
use crate::problem::Problem;
use crate::state::Api;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(send_test_push).service(show_test_push).service(script);
}

#[post("/desk/test-push")]
async fn send_test_push(api: Data<Api>, posted: Posted) -> Answer {
    let Posted { auth, form } = posted;
    let reference = reference(&form)?;
    let (shown, patient) = (pages::test_push_path(&reference), pages::patient_path(&reference));
    let asked = api
        .store
        .write::<_, TestPushError, _>(move |tx| {
            auth.begin(tx)?;
            let patient = tx.patient_id_by_ref(auth.clinic, &reference)?;
            let patient = patient.ok_or(TestPushError::UnknownPatient)?;
            care::ask_test_push(tx, auth.clinic, patient)
        })
        .await;
    match asked {
        Ok(_) => api.wake(),
        // Their page says why.
        Err(TestPushError::Unreachable(_)) => return Ok(see(&patient)),
        Err(error) => return Err(error.into()),
    }
    Ok(see(&shown))
}

/// While there may be more to tell, the page looks again by itself.
#[get("/desk/test-push")]
async fn show_test_push(api: Data<Api>, auth: StaffAuth, request: HttpRequest) -> Answer {
    let reference = reference(&Pairs::of_query(&request)?)?;
    let now = api.env().now();
    let shown = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let clinic = auth.begin(tx)?;
            let patient = care::desk_patient(tx, auth.clinic, &reference)?;
            let patient = patient.ok_or_else(Problem::not_found)?;
            let push = tx.test_push(patient.id)?.ok_or_else(Problem::not_found)?;
            care::note_reading(tx, auth.clinic, Reading::TestPush(patient.id))?;
            Ok(pages::test_push(&auth.frame(&clinic), &patient, &push, now))
        })
        .await?;
    Ok(dressed(StatusCode::OK, Scripts::Own, shown))
}

#[get("/desk/live.js")]
async fn script() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/javascript; charset=utf-8"))
        .body(pages::SCRIPT)
}
