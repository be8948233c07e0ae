//! Every operation of the OpenAPI document that writes: whatever befalls its units of work, nothing is half
//! done, nothing is acknowledged that is not done, and whoever asks again has it done once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aftercare::store::Side;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::trap::{Harm, Trap};
use super::{Played, assert_whole, each_of, harms_on, rows};
use crate::http::{Answer, Body, Http};
use crate::isolation::{Operation, PUBLIC, Person, operations};
use crate::stage::Stage;

/// The units of work behind operations.
pub(super) const UNITS: [&str; 38] = [
    "aftercare_api::routes::calendar::delete_my_calendar",
    "aftercare_api::routes::calendar::get_my_calendar",
    "aftercare_api::routes::courses::book",
    "aftercare_api::routes::devices::delete_my_device",
    "aftercare_api::routes::devices::put_my_device",
    "aftercare_api::routes::enrolments::create_enrolment",
    "aftercare_api::routes::enrolments::redeem_enrolment",
    "aftercare_api::routes::events::receive",
    "aftercare_api::routes::handout::get_handout",
    "aftercare_api::routes::me::consents::put_my_consent",
    "aftercare_api::routes::me::preferences::patch_my_preferences",
    "aftercare_api::routes::me::receipts::post_my_receipts",
    "aftercare_api::routes::me::reminders::snooze_my_reminder",
    "aftercare_api::routes::oauth::client_credentials",
    "aftercare_api::routes::oauth::end_session",
    "aftercare_api::routes::oauth::refresh_token",
    "aftercare_api::routes::patients::create_patient",
    "aftercare_api::routes::patients::get_patient_timeline",
    "aftercare_api::routes::patients::put_patient",
    "aftercare_api::routes::privacy::erase_me",
    "aftercare_api::routes::privacy::erase_patient",
    "aftercare_api::routes::privacy::export_me",
    "aftercare_api::routes::privacy::export_patient",
    "aftercare_api::routes::protocols::put_protocol",
    "aftercare_api::routes::protocols::put_protocol_aliases",
    "aftercare_api::routes::reachability::list_unheard",
    "aftercare_api::routes::signing_secrets::create_signing_secret",
    "aftercare_api::routes::signing_secrets::delete_signing_secret",
    "aftercare_api::routes::test_push::get_test_push",
    "aftercare_api::routes::test_push::send_test_push",
    "aftercare_api::routes::treatments::amend_treatment",
    "aftercare_api::routes::treatments::get_treatment",
    "aftercare_api::routes::treatments::list_treatments",
    "aftercare_api::routes::treatments::record",
    "aftercare_api::routes::treatments::void_treatment",
    "aftercare_api::routes::webhooks::create_webhook",
    "aftercare_api::routes::webhooks::delete_webhook",
    "aftercare_api::routes::webhooks::replay_webhook",
];

/// Operations that make something new each time, so that two requests make two: a lost answer leaves one
/// behind that nobody knows of. A token and an invitation run out; a patient without a treatment is forgotten;
/// what is left is listed, and can be deleted.
const MAKES_ANOTHER: [&str; 5] =
    ["createToken", "createPatient", "createEnrolment", "createSigningSecret", "createWebhook"];

/// What whoever asks again after a lost answer is told where that is no success: it is done, and cannot be
/// done twice. Whoever loses the answer to an invitation's code needs another invitation.
const DONE_ALREADY: [(&str, u16); 8] = [
    ("deleteMyDevice", 404),
    ("deleteSigningSecret", 404),
    ("deleteWebhook", 404),
    ("eraseMe", 401),
    // Let in before, and gone by then.
    ("eraseMe", 404),
    ("erasePatient", 404),
    ("redeemEnrolment", 422),
    ("snoozeMyReminder", 409),
];

/// Operations that look whether the database takes writes, and keep the answer for a while.
const LOOKS: [&str; 2] = ["getReadiness", "getMetrics"];

/// The other half of `createToken`.
const REFRESH: &str = "refreshToken";

/// A request that is held up is not held longer.
const HELD_MAX: Duration = Duration::from_secs(20);

/// An API server whose units of work pass the trap, and another one beside it.
struct Ground {
    stage: Stage,
    trap: Arc<Trap>,
    http: Http,
    made: usize,
}

/// A request that can be made again.
struct Request {
    method: String,
    path: String,
    token: Option<String>,
    kind: Option<String>,
    text: String,
}

impl Request {
    async fn send(&self, to: Http) -> io::Result<Answer> {
        let kind = self.kind.iter().map(|kind| ("content-type".to_owned(), kind.clone()));
        let headers: Vec<_> = kind.collect();
        let body = Body::Raw { headers: &headers, text: &self.text };
        to.attempt(&self.method, &self.path, self.token.as_deref(), body).await
    }
}

impl Ground {
    async fn of(&mut self, operation: &Operation) -> Request {
        self.made += 1;
        let (stage, name) = (&self.stage, format!("{}-{}", operation.id, self.made));
        stage.bed.execute(
            "DELETE FROM webhook_events; DELETE FROM webhooks; DELETE FROM signing_secrets",
        );
        if PUBLIC.contains(&operation.id.as_str()) || operation.id == REFRESH {
            return self.of_nobody(operation, &name).await;
        }
        let clinic = stage.clinic_token().await;
        let mut person = Person::new(stage, &clinic, &name).await;
        if operation.path.starts_with("/v1/signing-secrets/") {
            let made = stage.clinic("POST", "/v1/signing-secrets", Body::None).await.expect(201);
            made["id"].as_str().unwrap().clone_into(&mut person.objects.signing_secret);
        }
        if operation.id == "getTestPush" {
            let path = person.objects.path(operation);
            stage.clinic("POST", &path, Body::None).await.expect(201);
        }
        let mut body = person.objects.body(operation, stage);
        if let Some(event) = body.as_mut().and_then(|body| body.get_mut("event_id")) {
            *event = json!(format!("crash-{name}"));
        }
        if operation.id == "recordProcedure" {
            body.as_mut().unwrap()["identifier"][0]["value"] = json!(format!("crash-{name}"));
        }
        let (method, path) = (operation.method.clone(), person.objects.path(operation));
        let kind = operation.media_type.clone().filter(|_| body.is_some());
        let text = body.as_ref().map_or_else(String::new, Value::to_string);
        let token = if operation.clinic { clinic } else { person.token };
        Request { method, path, token: Some(token), kind, text }
    }

    /// Of operations that take no token, because the request itself has the secret.
    async fn of_nobody(&self, operation: &Operation, name: &str) -> Request {
        let (method, path) = (operation.method.clone(), operation.path.clone());
        let form = |text| {
            let kind = Some("application/x-www-form-urlencoded".to_owned());
            Request { method: method.clone(), path: path.clone(), token: None, kind, text }
        };
        match operation.id.as_str() {
            "createToken" => {
                let NewSecrets { id, secret } = NewSecrets::of(&self.stage);
                form(format!("grant_type=client_credentials&client_id={id}&client_secret={secret}"))
            }
            REFRESH => {
                let token = self.refresh_token(name).await;
                form(format!("grant_type=refresh_token&refresh_token={token}"))
            }
            "revokeToken" => form(format!("token={}", self.stage.fresh_clinic_token().await)),
            "redeemEnrolment" => {
                let text = self.invitation(name).await.to_string();
                Request { kind: Some("application/json".to_owned()), ..form(text) }
            }
            _ => form(String::new()),
        }
    }

    /// What redeems a new patient's invitation.
    async fn invitation(&self, name: &str) -> Value {
        self.stage.patient(name).await;
        let enrol = format!("/v1/patients/{name}/enrolments");
        let made = self.stage.clinic("POST", &enrol, Body::None).await.expect(201);
        json!({"code": made["code"], "installation_id": name})
    }

    async fn refresh_token(&self, name: &str) -> String {
        let (redeem, body) = ("/v1/enrolments/redeem", self.invitation(name).await);
        let tokens = self.stage.http.call("POST", redeem, None, Body::Json(&body)).await;
        tokens.expect(200)["refresh_token"].as_str().unwrap().to_owned()
    }

    /// One cell: something befalls a unit of work of a request, and the request is made again.
    async fn play(
        &mut self,
        operation: &Operation,
        (unit, side, harm): (&str, Side, Harm),
    ) -> Result<(), String> {
        let request = self.of(operation).await;
        let before = rows(&self.stage.bed);
        self.trap.set(unit, side, harm);
        if harm == Harm::Delay {
            return self.play_delay(operation, &request, side).await;
        }
        let answer = request.send(self.http).await;
        if !self.trap.did() {
            return Err(format!("not reached: {answer:?}"));
        }
        match (harm, answer) {
            (Harm::Abort, Err(_)) => {}
            (Harm::Error, Ok(answer))
                if answer.status == 503 && answer.header("retry-after").is_some() => {}
            (_, answer) => return Err(format!("answered {answer:?}")),
        }
        let after = rows(&self.stage.bed);
        if side == Side::BeforeCommit && after != before {
            return Err("half done".to_owned());
        }
        // The process that died is not asked again; one that had an error is.
        let to = if harm == Harm::Abort { self.stage.http } else { self.http };
        let again = request.send(to).await.unwrap();
        let done = side == Side::AfterCommit;
        if !is_fine(operation, &again, done) {
            return Err(format!("asked again: {} {}", again.status, again.text()));
        }
        let last = rows(&self.stage.bed);
        if done && !MAKES_ANOTHER.contains(&operation.id.as_str()) && last != after {
            return Err(format!("done twice: {after:?} {last:?}"));
        }
        Ok(())
    }

    /// Somebody asks again, another process, while the first request stands still.
    async fn play_delay(
        &self,
        operation: &Operation,
        request: &Request,
        side: Side,
    ) -> Result<(), String> {
        let impatient = async {
            self.trap.holds().await;
            if side == Side::AfterCommit {
                let again = request.send(self.stage.http).await.unwrap();
                self.trap.release();
                return again;
            }
            let (again, ()) = tokio::join!(request.send(self.stage.http), async {
                tokio::task::yield_now().await;
                self.trap.release();
            });
            again.unwrap()
        };
        let both = async { tokio::join!(request.send(self.http), impatient) };
        let Ok((first, again)) = tokio::time::timeout(HELD_MAX, both).await else {
            self.trap.release();
            return Err("nobody was held".to_owned());
        };
        let first = first.unwrap();
        // Of two at once either may come first.
        let either = is_fine(operation, &first, side == Side::BeforeCommit);
        if either && is_fine(operation, &again, true) {
            return Ok(());
        }
        Err(format!("{first:?}, and asked again {again:?}"))
    }
}

/// Whether the answer is what whoever asks is to be told, where it may have been `done` before.
fn is_fine(operation: &Operation, answer: &Answer, done: bool) -> bool {
    let known = DONE_ALREADY.contains(&(operation.id.as_str(), answer.status));
    (200..300).contains(&answer.status) || (done && known)
}

struct NewSecrets<'s> {
    id: &'s str,
    secret: &'s str,
}

impl<'s> NewSecrets<'s> {
    fn of(stage: &'s Stage) -> Self {
        Self { id: &stage.clinic.client_id, secret: stage.clinic.client_secret.expose_secret() }
    }
}

async fn what_befalls_a_unit_of_work_is_no_clinics_loss(bed: Bed) {
    let harms = harms_on(&bed);
    let (stage, trap) = (Stage::set(bed).await, Arc::new(Trap::default()));
    let store = stage.bed.again_with(trap.options()).await;
    let (_server, http) = stage.server_over(store).await;
    let mut ground = Ground { stage, trap, http, made: 0 };
    let (mut played, mut wrongs) = (Played::new(), Vec::new());
    let mut operations = operations();
    operations.retain(|one| !LOOKS.contains(&one.id.as_str()));
    let token = operations.iter().find(|one| one.id == "createToken").unwrap().clone();
    operations.push(Operation { id: REFRESH.to_owned(), ..token });
    for operation in operations {
        let request = ground.of(&operation).await;
        ground.trap.passed();
        let answer = request.send(ground.http).await.unwrap();
        let units = ground.trap.passed();
        assert!(
            (200..400).contains(&answer.status) || units.is_empty(),
            "{operation:?} {answer:?}"
        );
        for unit in units {
            for (side, harm) in each_of(harms) {
                if let Err(why) = ground.play(&operation, (&unit, side, harm)).await {
                    wrongs.push(format!("{} {unit} {side:?} {harm:?}: {why}", operation.id));
                }
                played.insert((unit.clone(), side, harm));
            }
        }
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
    assert_whole(&played, &UNITS, harms);
}

on_both_engines!(what_befalls_a_unit_of_work_is_no_clinics_loss);
