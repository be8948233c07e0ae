//! What is done at the desk. Each page notes who looked, each form who did it.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{HttpRequest, get, post, routes};
use aftercare::care::{self, Namespace, PatientRef, Reading, Recorded, SessionDone};
use aftercare::ids::{ClinicId, TreatmentId};
use aftercare::protocol::{Area, Protocol};
use aftercare::store::{Clinic, StoreError, TreatmentState, Tx};
use aftercare::zone::Zone;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::session::{Pairs, Posted, StaffAuth};
use super::{Answer, page, see};
use crate::auth::{self, NewEnrolment};
use crate::dto::HandoutQuery;
use crate::fields::parse;
use crate::pages::desk::{self as pages, Frame};
use crate::problem::{Code, Problem};
use crate::routes::{invitation, print};
use crate::state::Api;

/// How far ahead the first page looks for reminders that nobody is going to hear.
const AHEAD: SignedDuration = SignedDuration::from_hours(48);
/// How many of them it shows.
const UNHEARD: u32 = 20;
/// How many of the treatments that were recorded last it shows.
const LAST: u32 = 8;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(home)
        .service(home_again)
        .service(show_patient)
        .service(add_patient)
        .service(record)
        .service(show_treatment)
        .service(undo)
        .service(invite)
        .service(handout);
}

impl StaffAuth {
    /// What stands around every page.
    pub(super) fn frame(&self, clinic: &Clinic) -> Frame {
        Frame {
            clinic: clinic.display_name.clone(),
            zone: clinic.time_zone.clone(),
            staff: self.staff.name.clone(),
            csrf: self.csrf.clone(),
        }
    }

    /// The clinic's record; from now on `tx` works in this person's name.
    pub(super) fn begin(&self, tx: &mut Tx<'_>) -> Result<Clinic, StoreError> {
        tx.act_as(self.staff.id);
        tx.clinic(self.clinic)?
            .ok_or_else(|| StoreError::Busy("the clinic is being removed".into()))
    }
}

#[get("/desk")]
async fn home(api: Data<Api>, auth: StaffAuth) -> Answer {
    let _turn = api.lines.turn(auth.clinic.0).await?;
    let shown = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let clinic = auth.begin(tx)?;
            let last = care::last_recorded(tx, auth.clinic, LAST)?;
            care::note_reading(tx, auth.clinic, Reading::Treatments(last.len()))?;
            let unheard = care::unheard(tx, auth.clinic, AHEAD, None, UNHEARD)?;
            care::note_reading(tx, auth.clinic, Reading::Unheard(unheard.items.len()))?;
            Ok(pages::home(&auth.frame(&clinic), &last, &unheard))
        })
        .await?;
    Ok(page(StatusCode::OK, shown))
}

/// For who types a slash too many, or reloads what a form led to.
#[routes]
#[get("/desk/")]
#[get("/desk/record")]
#[get("/desk/undo")]
#[get("/desk/invite")]
async fn home_again() -> Answer {
    Ok(see("/desk"))
}

/// What the clinic calls a patient, as somebody typed it.
pub(super) fn reference(form: &Pairs) -> Result<String, Problem> {
    let reference = form.get("ref");
    let refuse = |detail| Problem::field(Code::InvalidFields, "Reference", detail);
    parse::check_ref(reference).map_err(refuse)?;
    Ok(reference.to_owned())
}

#[get("/desk/patient")]
async fn show_patient(api: Data<Api>, auth: StaffAuth, request: HttpRequest) -> Answer {
    let reference = reference(&Pairs::of_query(&request)?)?;
    let (now, event) = (api.env().now(), event_id(&api));
    let _turn = api.lines.turn(auth.clinic.0).await?;
    let shown = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let clinic = auth.begin(tx)?;
            let frame = auth.frame(&clinic);
            let Some(patient) = care::desk_patient(tx, auth.clinic, &reference)? else {
                let status = StatusCode::NOT_FOUND;
                return Ok((status, pages::unknown_patient(&frame, &reference)));
            };
            care::note_reading(tx, auth.clinic, Reading::TreatmentsOf(patient.id))?;
            let protocols = offered(tx, auth.clinic)?;
            let offer = pages::Offer { protocols, now, event, locale: clinic.locale };
            Ok((StatusCode::OK, pages::patient(&frame, &patient, &offer)))
        })
        .await?;
    Ok(page(shown.0, shown.1))
}

/// The protocols that the clinic can use, first the one that it used last.
fn offered(tx: &mut Tx<'_>, clinic: ClinicId) -> Result<Vec<Arc<Protocol>>, StoreError> {
    let last = care::last_recorded(tx, clinic, 1)?.pop().map(|last| last.card.protocol);
    let records = tx.protocols(clinic)?;
    let mut offered = records.iter().map(care::protocol_of).collect::<Result<Vec<_>, _>>()?;
    offered.sort_by_key(|protocol| last.as_ref() != Some(&protocol.slug));
    Ok(offered)
}

/// Names what is about to be recorded, so that a form that is sent twice records it once.
fn event_id(api: &Api) -> String {
    api.env().id::<TreatmentId>().to_string()
}

#[post("/desk/patient")]
async fn add_patient(api: Data<Api>, posted: Posted) -> Answer {
    let Posted { auth, form } = posted;
    let reference = reference(&form)?;
    let refuse = |_| Problem::field(Code::InvalidFields, "Language", "is not a language tag");
    let locale = match form.get("locale") {
        "" => None,
        tag => Some(tag.parse().map_err(refuse)?),
    };
    let to = pages::patient_path(&reference);
    let added = api.store.write(move |tx| {
        auth.begin(tx)?;
        care::upsert_patient(tx, auth.clinic, &reference, None, locale)
    });
    added.await.map_err(super::failed)?;
    Ok(see(&to))
}

#[post("/desk/record")]
async fn record(api: Data<Api>, posted: Posted) -> Answer {
    let Posted { auth, form } = posted;
    let (completed, next) = (wall(&form, "completed")?, wall(&form, "next")?);
    let session = Session::read(&form)?;
    let id = api
        .store
        .write::<_, Problem, _>(move |tx| {
            let zone = auth.begin(tx)?.time_zone;
            let next_session_at = next.map(|next| instant(next, &zone)).transpose()?;
            let completed_at = if let Some(completed) = completed {
                instant(completed, &zone)?
            } else {
                // Sent twice, the second "just now" is the first.
                let (patient, event) = (&session.reference, &session.event_id);
                care::recorded_at_desk(tx, auth.clinic, patient, event)?.unwrap_or(tx.now())
            };
            let done = session.done(completed_at, next_session_at);
            let (Recorded::New(view) | Recorded::Repeat(view)) =
                care::record_treatment(tx, auth.clinic, done)?;
            Ok(view.card.treatment.id)
        })
        .await?;
    api.wake();
    Ok(see(&format!("/desk/treatment?id={id}")))
}

/// What a form says was done, but for when.
struct Session {
    event_id: String,
    reference: String,
    protocol: String,
    areas: BTreeSet<Area>,
}

impl Session {
    fn read(form: &Pairs) -> Result<Self, Problem> {
        let areas: Result<BTreeSet<Area>, _> = form.all("area").map(str::parse).collect();
        let areas = areas.map_err(|_| fault("Treated", "names what is no area"))?;
        if areas.is_empty() {
            return Err(fault("Treated", "choose at least one"));
        }
        let event_id = form.get("event").to_owned();
        if !(1..=128).contains(&event_id.len()) {
            return Err(fault("Form", "is not whole; open the patient again"));
        }
        let (reference, protocol) = (reference(form)?, form.get("protocol").to_owned());
        Ok(Self { event_id, reference, protocol, areas })
    }

    fn done(self, completed_at: Timestamp, next_session_at: Option<Timestamp>) -> SessionDone {
        SessionDone {
            namespace: Namespace::Desk,
            event_id: self.event_id,
            patient: PatientRef::Known(self.reference),
            protocol: self.protocol.into(),
            completed_at,
            time_zone: None,
            areas: Some(self.areas.into()),
            next_session_at,
            metadata: None,
        }
    }
}

fn fault(field: &str, detail: &str) -> Problem {
    Problem::field(Code::InvalidFields, field, detail)
}

/// A moment on the clinic's wall, as browsers send it; none where nothing was typed.
fn wall(form: &Pairs, name: &str) -> Result<Option<DateTime>, Problem> {
    let typed = Some(form.get(name)).filter(|typed| !typed.is_empty());
    let parsed = typed.map(str::parse).transpose();
    parsed.map_err(|_| fault("Time", "must be a date and an hour"))
}

fn instant(wall: DateTime, zone: &Zone) -> Result<Timestamp, Problem> {
    let zoned = wall.to_zoned(zone.tz().clone());
    zoned.map(|at| at.timestamp()).map_err(|_| fault("Time", "does not exist"))
}

fn treatment_id(form: &Pairs) -> Result<TreatmentId, Problem> {
    form.get("id").parse().map_err(|_| Problem::not_found())
}

/// A treatment and what follows from it. While nobody can be reached, with an invitation for the patient's
/// phone.
#[get("/desk/treatment")]
async fn show_treatment(api: Data<Api>, auth: StaffAuth, request: HttpRequest) -> Answer {
    let id = treatment_id(&Pairs::of_query(&request)?)?;
    let now = api.env().now();
    let _turn = api.lines.turn(auth.clinic.0).await?;
    let (frame, session, enrolment) = api
        .store
        .read_on_record::<_, Problem, _>(move |tx| {
            let clinic = auth.begin(tx)?;
            let session = care::desk_session(tx, auth.clinic, id)?;
            let session = session.ok_or_else(Problem::not_found)?;
            care::note_reading(tx, auth.clinic, Reading::Treatment(id))?;
            let treatment = &session.view.card.treatment;
            let unheard = !session.view.reachable && treatment.state == TreatmentState::Active;
            let enrolment: Option<NewEnrolment> = if unheard {
                Some(auth::enrol(tx, auth.clinic, treatment.patient_id)?)
            } else {
                None
            };
            Ok((auth.frame(&clinic), session, enrolment))
        })
        .await?;
    let enrolment = enrolment.map(|enrolment| invitation(&api, &enrolment));
    Ok(page(StatusCode::OK, pages::treatment(&frame, &session, enrolment.as_ref(), now)))
}

#[post("/desk/undo")]
async fn undo(api: Data<Api>, posted: Posted) -> Answer {
    let Posted { auth, form } = posted;
    let id = treatment_id(&form)?;
    let undone = api.store.write::<_, Problem, _>(move |tx| {
        auth.begin(tx)?;
        care::undo_treatment(tx, auth.clinic, id)?.ok_or_else(Problem::not_found)
    });
    undone.await?;
    api.wake();
    Ok(see(&format!("/desk/treatment?id={id}")))
}

#[post("/desk/invite")]
async fn invite(api: Data<Api>, posted: Posted) -> Answer {
    let Posted { auth, form } = posted;
    let reference = reference(&form)?;
    let (frame, reference, enrolment) = api
        .store
        .write::<_, Problem, _>(move |tx| {
            let clinic = auth.begin(tx)?;
            let patient = tx.patient_by_ref(auth.clinic, &reference)?;
            let patient = patient.ok_or_else(Problem::not_found)?;
            let enrolment = auth::enrol(tx, auth.clinic, patient.id)?;
            Ok((auth.frame(&clinic), reference, enrolment))
        })
        .await?;
    Ok(page(StatusCode::OK, pages::invitation(&frame, &reference, &invitation(&api, &enrolment))))
}

#[get("/desk/handout")]
async fn handout(api: Data<Api>, auth: StaffAuth, request: HttpRequest) -> Answer {
    let query = Pairs::of_query(&request)?;
    let id = treatment_id(&query)?;
    let lang = query.get("lang").parse().ok();
    let printed = api.store.read_on_record::<_, Problem, _>(move |tx| {
        auth.begin(tx)?;
        print(tx, auth.clinic, id, &HandoutQuery { lang, enrol: None })
    });
    let (handout, enrolment) = printed.await?;
    let invitation = enrolment.map(|enrolment| invitation(&api, &enrolment));
    Ok(crate::pages::handout(&handout, invitation.as_ref()))
}
