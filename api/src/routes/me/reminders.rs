//! One reminder: put it off, or ask why it is what it is.

use actix_web::web::{Data, Json, Path};
use actix_web::{get, post};
use aftercare::care::{self, SnoozeError};
use aftercare::ids::ReminderId;
use jiff::SignedDuration;

use crate::auth::PatientAuth;
use crate::dto::{ReminderDto, SnoozeFields, WhyDto};
use crate::fields::Body;
use crate::problem::{Code, Problem};
use crate::state::Api;

impl From<SnoozeError> for Problem {
    fn from(error: SnoozeError) -> Self {
        match error {
            SnoozeError::Unknown => Self::not_found(),
            SnoozeError::NotSent(state) => {
                let detail = format!("Only a reminder that was sent can be put off; it is {state}");
                Self::new(Code::NotSnoozable, detail)
            }
            SnoozeError::Correction => {
                Self::new(Code::NotSnoozable, "What sets an earlier message right is not put off")
            }
            SnoozeError::PastUseBy(use_by) => {
                let detail = format!("It would come too late to help: it is of use until {use_by}");
                Self::new(Code::SnoozePastUseBy, detail)
            }
            SnoozeError::Unwanted(reason) => {
                Self::new(Code::NotSnoozable, format!("It would not be sent then: {reason}"))
            }
            SnoozeError::Store(error) => error.into(),
        }
    }
}

/// A reminder's id out of a path; what is none names nothing.
fn reminder_id(path: &str) -> Result<ReminderId, Problem> {
    path.parse().map_err(|_| Problem::not_found())
}

/// Put a reminder off: it comes again in so many minutes.
///
/// It is `planned` again under the same id, and the push that follows replaces the first one on the phone
/// (same tag). It comes at that moment even in quiet hours, however the plan changes meanwhile, unless what
/// it speaks for is taken back: a voided treatment, consent, a muted rule. A reminder that was sent can be
/// put off again and again, but never to its `use_by` or beyond. What sets an earlier message right is not put
/// off.
#[utoipa::path(
    operation_id = "snoozeMyReminder",
    tag = "patient",
    security(("patient" = [])),
    params(("id" = String, Path, description = "The reminder's id", example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")),
    request_body = SnoozeFields,
    responses(
        (status = 200, description = "The reminder as it is planned now", body = ReminderDto),
        (status = 404, description = "`not-found`: the patient has no such reminder"),
        (status = 409, description = "`not-snoozable`: it was not sent, sets an earlier message right, or would not be sent then; `snooze-past-use-by`: it would come too late to help")
    )
)]
#[post("/v1/me/reminders/{id}/snooze")]
pub(super) async fn snooze_my_reminder(
    api: Data<Api>,
    auth: PatientAuth,
    path: Path<String>,
    body: Body<SnoozeFields>,
) -> Result<Json<ReminderDto>, Problem> {
    let id = reminder_id(&path)?;
    let SnoozeFields { minutes } = body.read().await?;
    let after = SignedDuration::from_mins(minutes.into());
    let planned = api
        .store
        .write::<_, SnoozeError, _>(move |tx| care::snooze(tx, auth.patient, id, after))
        .await?;
    api.wake();
    Ok(Json(planned.into()))
}

/// Why a reminder is what it is.
///
/// The rules it speaks of with the clinic's own words, the treatments behind them, whose clock it goes by,
/// every shift, merge and skip with its reason, every push with FCM's answer, receipts and snoozes. Answers
/// for reminders that were skipped, superseded or cancelled too.
#[utoipa::path(
    operation_id = "whyMyReminder",
    tag = "patient",
    security(("patient" = [])),
    params(("id" = String, Path, description = "The reminder's id", example = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f")),
    responses(
        (status = 200, description = "Everything that is known of it", body = WhyDto),
        (status = 404, description = "`not-found`: the patient has no such reminder")
    )
)]
#[get("/v1/me/reminders/{id}/why")]
pub(super) async fn why_my_reminder(
    api: Data<Api>,
    auth: PatientAuth,
    path: Path<String>,
) -> Result<Json<WhyDto>, Problem> {
    let id = reminder_id(&path)?;
    let _turn = api.lines.turn(auth.patient.0).await?;
    let why = api.store.read(move |tx| care::why(tx, auth.patient, id)).await;
    Ok(Json(why.map_err(Problem::from)?.ok_or_else(Problem::not_found)?.into()))
}
