//! Nobody gets in, and nobody learns what exists: every operation of the OpenAPI document against
//! every caller who has no business with it.
//!
//! An operation that is new to the document is attacked without a change here, as long as its path and
//! body name only what [`Target`] can name; where they do not, the test fails until somebody teaches it.

use std::collections::BTreeSet;

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::fhir::procedure;
use crate::http::{Answer, Body};
use crate::stage::{Stage, device, done};

/// Operations that need no token (the contract's list); whatever they open is opened by a secret.
pub(crate) const PUBLIC: [&str; 10] = [
    "getHealth",
    "getReadiness",
    "getMetrics",
    "getOpenapi",
    "getDocs",
    "getJwks",
    "createToken",
    "revokeToken",
    "redeemEnrolment",
    "getCalendarFeed",
];

/// Operations under which everybody has a name space of their own: another's name is a fresh one here.
const OWN_NAMES: [&str; 1] = ["putPatient"];

/// Operations after which the caller is nobody: each is called by somebody new.
const LAST_WORDS: [&str; 1] = ["eraseMe"];

/// Operations that tell which of the names that they were sent are unknown: another's object must be
/// as unknown as nobody's.
const TELLS_UNKNOWN: [&str; 1] = ["postMyReceipts"];

/// One operation of the document.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) path: String,
    /// Of its body: the first of those that it takes.
    pub(crate) media_type: Option<String>,
    pub(crate) clinic: bool,
    pub(crate) patient: bool,
}

/// A document that any clinic may publish.
fn own_microneedling() -> Value {
    let shipped = aftercare::protocol::shipped().iter();
    let mut shipped = shipped.filter(|one| one.protocol.slug == "microneedling");
    let mut own: Value = serde_json::from_str(shipped.next().unwrap().json).unwrap();
    own["reviewed_by"] = json!("Dr. M. Sousa");
    own.as_object_mut().unwrap().remove("version");
    own
}

pub(crate) fn operations() -> Vec<Operation> {
    let document = aftercare_api::openapi_document("http://localhost");
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(|(method, operation)| {
            let security = operation["security"].as_array().unwrap();
            let role = |role| security.iter().any(|one| one.get(role).is_some());
            Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path: path.clone(),
                media_type: operation
                    .pointer("/requestBody/content")
                    .map(|content| content.as_object().unwrap().keys().next().unwrap().clone()),
                clinic: role("clinic"),
                patient: role("patient"),
            }
        })
    });
    all.collect()
}

/// Somebody's objects, by the names that a request can give them.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) reference: String,
    pub(crate) treatment: String,
    pub(crate) reminder: String,
    pub(crate) installation: String,
    pub(crate) signing_secret: String,
    pub(crate) webhook: String,
}

impl Target {
    /// Names that are as good as any, of objects that nobody has.
    fn nobody(n: usize) -> Self {
        let id = |of: u8| format!("01a0c8e2-7a2c-7d10-8f{of:02x}-3c5d1b2a{n:04x}");
        Self {
            reference: format!("p-nobody-{n}"),
            treatment: id(1),
            reminder: id(2),
            installation: format!("inst-nobody-{n}"),
            signing_secret: id(3),
            webhook: id(4),
        }
    }

    /// The operation's path, naming these objects.
    pub(crate) fn path(&self, operation: &Operation) -> String {
        let mut filled = String::new();
        let mut rest = operation.path.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap();
            let value = match name {
                "ref" => &self.reference,
                "installation_id" => &self.installation,
                "id" if operation.path.starts_with("/v1/treatments/") => &self.treatment,
                "id" if operation.path.starts_with("/v1/me/reminders/") => &self.reminder,
                "id" if operation.path.starts_with("/v1/signing-secrets/") => &self.signing_secret,
                "id" if operation.path.starts_with("/v1/webhooks/") => &self.webhook,
                // Everybody may read the shipped protocols.
                "slug" | "protocol" => "microneedling",
                "kind" => "recall",
                other => panic!("teach the matrix to name {{{other}}} in {operation:?}"),
            };
            filled.extend([before, value]);
            rest = after;
        }
        let query = match operation.id.as_str() {
            "listTreatments" => format!("?patient_ref={}", self.reference),
            "canI" => "?activity=makeup".to_owned(),
            _ => String::new(),
        };
        filled + rest + &query
    }

    /// The operation's body, naming these objects.
    pub(crate) fn body(&self, operation: &Operation, stage: &Stage) -> Option<Value> {
        let body = match operation.id.as_str() {
            "createPatient" | "putPatient" => json!({"time_zone": "Europe/Lisbon"}),
            "receiveEvents" => json!({
                "specversion": "1.0", "type": "care.aftercare.session.completed.v1",
                "source": "https://practice.example", "id": format!("isolated-{}", self.reference),
                "data": {
                    "patient_ref": self.reference, "protocol": "microneedling",
                    "completed_at": stage.now().to_string(),
                },
            }),
            "recordProcedure" => {
                let mut procedure = procedure("isolated", &self.reference);
                procedure["performedDateTime"] = json!(stage.now().to_string());
                procedure
            }
            "recordTreatment" => done("visit-isolated", &self.reference, stage.now()),
            "amendTreatment" => json!({"areas": ["face"]}),
            "bookNextSession" => json!({"at": "2026-12-22T11:00:00Z"}),
            "createEnrolment"
            | "voidTreatment"
            | "createSigningSecret"
            | "replayWebhook"
            | "sendTestPush" => json!({}),
            "createWebhook" => webhook(),
            "putMyDevice" => device("address-of-the-caller"),
            "patchMyPreferences" => json!({"exercise_hour": "19:00"}),
            "putMyConsent" => json!({"granted": false}),
            "postMyReceipts" => {
                let at = stage.now().to_string();
                json!([{"reminder_id": self.reminder, "kind": "displayed", "at": at}])
            }
            "snoozeMyReminder" => json!({"minutes": 5}),
            "putProtocol" | "getProtocolImpact" => own_microneedling(),
            "previewProtocol" => json!({"completed_at": "2026-11-22T15:40:00Z"}),
            "putProtocolAliases" => json!({"aliases": ["MN-01"]}),
            _ if operation.media_type.is_some() => {
                panic!("teach the matrix a body for {operation:?}")
            }
            _ => return None,
        };
        Some(body)
    }

    fn names(&self) -> [&str; 6] {
        let Self { reference, treatment, reminder, installation, signing_secret, webhook } = self;
        [reference, treatment, reminder, installation, signing_secret, webhook]
    }
}

/// Somebody with an app of their own.
pub(crate) struct Person {
    pub(crate) objects: Target,
    pub(crate) token: String,
}

/// Callers without business there, and the stage they act on.
struct World {
    stage: Stage,
    other_clinic: String,
    neighbour: Person,
    stranger: Person,
    /// An expired and a revoked token of each role.
    dead_clinic: [String; 2],
    dead_patient: [String; 2],
    /// What somebody at the clinic's own desk has in their cookie.
    desk: String,
}

/// A webhook that has nothing to tell.
fn webhook() -> Value {
    json!({"url": "https://hooks.example/", "types": ["course.completed"]})
}

/// The clinic's oldest webhook, made when there is none.
async fn webhook_of(stage: &Stage, clinic: &str) -> String {
    let (path, clinic) = ("/v1/webhooks", Some(clinic));
    let known = stage.http.call("GET", path, clinic, Body::None).await.expect(200);
    let found = match known["items"].get(0) {
        Some(known) => known.clone(),
        None => stage.http.call("POST", path, clinic, Body::Json(&webhook())).await.expect(201),
    };
    found["id"].as_str().unwrap().to_owned()
}

async fn revoke(stage: &Stage, token: &str) {
    let form = format!("token={token}");
    stage.http.call("POST", "/v1/oauth/revoke", None, Body::Form(&form)).await.expect(200);
}

impl Person {
    /// A patient of the clinic behind `clinic`, treated twenty minutes ago, first reminder sent.
    pub(crate) async fn new(stage: &Stage, clinic: &str, name: &str) -> Self {
        let call = async |method, path: &str, body: Body<'_>| {
            stage.http.call(method, path, Some(clinic), body).await
        };
        let (reference, installation) = (format!("p-{name}"), format!("inst-{name}"));
        let path = format!("/v1/patients/{reference}");
        call("PUT", &path, Body::Json(&json!({}))).await.expect(201);
        let enrolment = call("POST", &format!("{path}/enrolments"), Body::None).await.expect(201);
        let redeem = json!({"code": enrolment["code"], "installation_id": installation});
        let path = "/v1/enrolments/redeem";
        let tokens = stage.http.call("POST", path, None, Body::Json(&redeem)).await.expect(200);
        let token = tokens["access_token"].as_str().unwrap().to_owned();
        stage
            .register(&token, &installation, &device(&format!("address-{name}")))
            .await
            .expect(204);
        let completed = stage.now() - SignedDuration::from_mins(20);
        let event = done(&format!("visit-{name}"), &reference, completed);
        let treated = call("POST", "/v1/treatments", Body::Json(&event)).await.expect(201);
        stage.run().await;
        let first = treated["reminders"].as_array().unwrap();
        let first = first.iter().min_by_key(|reminder| reminder["due_at"].as_str()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (treatment, reminder) = (text(&treated["treatment"]["id"]), text(&first["id"]));
        // A clinic has two at most: one is made where it is asked for.
        let signing_secret = Target::nobody(usize::from(u16::MAX)).signing_secret;
        let webhook = webhook_of(stage, clinic).await;
        let objects =
            Target { reference, treatment, reminder, installation, signing_secret, webhook };
        Self { objects, token }
    }
}

impl World {
    async fn set(bed: Bed) -> Self {
        let stage = Stage::set(bed).await;
        let expired_clinic = stage.clinic_token().await;
        let expired = Person::new(&stage, &expired_clinic, "expired").await.token;
        stage.set_clock("2026-11-22T15:56:00Z");
        let clinic = stage.clinic_token().await;
        let revoked = Person::new(&stage, &clinic, "revoked").await.token;
        let neighbour = Person::new(&stage, &clinic, "neighbour").await;
        let other_clinic = stage.another_clinic().await;
        let stranger = Person::new(&stage, &other_clinic, "stranger").await;
        let revoked_clinic = stage.fresh_clinic_token().await;
        revoke(&stage, &revoked).await;
        revoke(&stage, &revoked_clinic).await;
        let desk = stage.at_the_desk("Maria").await.cookie;
        Self {
            stage,
            other_clinic,
            neighbour,
            stranger,
            dead_clinic: [expired_clinic, revoked_clinic],
            dead_patient: [expired, revoked],
            desk,
        }
    }

    async fn call(&self, operation: &Operation, whose: &Target, token: Option<&str>) -> Answer {
        let (path, body) = (whose.path(operation), whose.body(operation, &self.stage));
        let text = body.as_ref().map_or_else(String::new, Value::to_string);
        let kind = operation.media_type.as_ref().filter(|_| body.is_some());
        let headers: Vec<_> =
            kind.into_iter().map(|kind| ("content-type".to_owned(), kind.clone())).collect();
        let body = Body::Raw { headers: &headers, text: &text };
        self.stage.http.call(&operation.method, &path, token, body).await
    }

    /// What the clinic sees of a patient of its own.
    async fn seen(&self, of: &Target) -> [Value; 2] {
        let paths = [
            format!("/v1/patients/{}/timeline", of.reference),
            format!("/v1/treatments/{}", of.treatment),
        ];
        let mut seen = [Value::Null, Value::Null];
        for (seen, path) in seen.iter_mut().zip(paths) {
            *seen = self.stage.clinic("GET", &path, Body::None).await.expect(200);
            seen.as_object_mut().unwrap().remove("generated_at");
        }
        seen
    }

    /// One cell: a caller whom the API must turn away at the door, whatever is named.
    async fn refused(
        &self,
        operation: &Operation,
        [victim, nobody]: [&Target; 2],
        caller: &Caller<'_>,
    ) {
        let Caller { who, token, refusal: Some((status, code)) } = caller else { return };
        let theirs = self.call(operation, victim, *token).await;
        if operation.path.starts_with("/fhir/") {
            theirs.outcome(*status, code);
        } else {
            theirs.problem(*status, code);
        }
        let nobodys = self.call(operation, nobody, *token).await;
        assert_eq!(theirs.told(), nobodys.told(), "{who}: {operation:?}");
    }

    /// One cell: a caller with a good token of the right role, but of somebody else.
    async fn kept_apart(
        &self,
        operation: &Operation,
        [victim, nobody]: [&Target; 2],
        caller: &Caller<'_>,
    ) {
        let Caller { who, token, .. } = caller;
        let theirs = self.call(operation, victim, *token).await;
        let nobodys = self.call(operation, nobody, *token).await;
        if TELLS_UNKNOWN.contains(&operation.id.as_str()) {
            let told = |answer: &Answer, of: &Target| {
                of.names().into_iter().fold(answer.text(), |text, name| text.replace(name, "…"))
            };
            assert_eq!(told(&theirs, victim), told(&nobodys, nobody), "{who}: {operation:?}");
            return;
        }
        let names_objects = victim.path(operation) != nobody.path(operation)
            || victim.body(operation, &self.stage) != nobody.body(operation, &self.stage);
        let success = (200..400).contains(&theirs.status);
        let lists_nothing = theirs.told() == nobodys.told() && theirs.is_empty_page();
        let may = !names_objects || OWN_NAMES.contains(&operation.id.as_str()) || lists_nothing;
        assert!(!success || may, "{who} got {} from {operation:?}", theirs.status);
        // What names nothing is one request that was made twice.
        assert!(!names_objects || theirs.status == nobodys.status, "{who}: {operation:?}");
        if success {
            let (path, text) = (victim.path(operation), theirs.text());
            let told = victim.names().into_iter().filter(|name| !path.contains(*name));
            let told: Vec<&str> = told.filter(|name| text.contains(name)).collect();
            assert_eq!(told, [""; 0], "{who}: {operation:?}");
        } else {
            assert_eq!(theirs.told(), nobodys.told(), "{who}: {operation:?}");
        }
    }
}

/// Somebody who calls.
struct Caller<'a> {
    who: &'static str,
    token: Option<&'a str>,
    /// How they are turned away; `None` = their token is good for the operation.
    refusal: Option<(u16, &'static str)>,
}

async fn nobody_gets_in_and_nobody_learns_what_exists(bed: Bed) {
    let world = World::set(bed).await;
    let (mut attacked, mut cells) = (BTreeSet::new(), 0);
    for (n, operation) in operations().iter().enumerate() {
        if PUBLIC.contains(&operation.id.as_str()) {
            assert!(!operation.clinic && !operation.patient, "{operation:?} is not public");
            continue;
        }
        assert!(operation.clinic || operation.patient, "{operation:?} is guarded by nothing");
        let clinic = world.stage.clinic_token().await;
        let mut victim = Person::new(&world.stage, &clinic, &format!("victim-{n}")).await;
        if operation.path.starts_with("/v1/signing-secrets/") {
            let path = "/v1/signing-secrets";
            let made = world.stage.clinic("POST", path, Body::None).await.expect(201);
            made["id"].as_str().unwrap().clone_into(&mut victim.objects.signing_secret);
        }
        if operation.id == "getTestPush" {
            let path = victim.objects.path(operation);
            world.stage.clinic("POST", &path, Body::None).await.expect(201);
        }
        let before = world.seen(&victim.objects).await;
        let named = [&victim.objects, &Target::nobody(n)];
        for caller in world.callers(operation, &clinic, &victim) {
            match caller.refusal {
                Some(_) => world.refused(operation, named, &caller).await,
                None if LAST_WORDS.contains(&operation.id.as_str()) => {
                    let name = format!("leaver-{n}-{cells}");
                    let leaver = Person::new(&world.stage, &clinic, &name).await;
                    world.call(operation, named[0], Some(&leaver.token)).await.expect(204);
                }
                None => world.kept_apart(operation, named, &caller).await,
            }
            cells += 1;
        }
        assert_eq!(world.seen(&victim.objects).await, before, "{operation:?} changed something");
        let owner = if operation.clinic { &clinic } else { &victim.token };
        let answer = world.call(operation, &victim.objects, Some(owner)).await;
        assert!((200..300).contains(&answer.status), "its owner got {answer:?} of {operation:?}");
        attacked.insert(operation.id.clone());
    }
    println!("isolation: {} operations, {cells} cells", attacked.len());
    assert!(cells > 100, "{cells}");
}

impl World {
    fn callers<'a>(
        &'a self,
        operation: &Operation,
        clinic: &'a str,
        victim: &'a Person,
    ) -> Vec<Caller<'a>> {
        let refused =
            |who, token, status, code| Caller { who, token, refusal: Some((status, code)) };
        let dead = |who, token| refused(who, Some(token), 401, "invalid-token");
        let mut callers = vec![
            refused("no token", None, 401, "missing-token"),
            dead("no token of ours", "eyJhbGciOiJub25lIn0.e30."),
            dead("somebody at the desk", &self.desk),
        ];
        for (role, tokens) in
            [(operation.clinic, &self.dead_clinic), (operation.patient, &self.dead_patient)]
        {
            if role {
                callers.extend([dead("expired", &tokens[0]), dead("revoked", &tokens[1])]);
            }
        }
        let good = |who, token| Caller { who, token: Some(token), refusal: None };
        if operation.clinic {
            callers.push(good("another clinic", &self.other_clinic));
        } else {
            callers.push(refused("the patient's clinic", Some(clinic), 403, "wrong-role"));
            let other = Some(self.other_clinic.as_str());
            callers.push(refused("another clinic", other, 403, "wrong-role"));
        }
        if operation.patient {
            callers.push(good("another patient", &self.neighbour.token));
            callers.push(good("another clinic's patient", &self.stranger.token));
        } else {
            let others = [&victim.token, &self.neighbour.token, &self.stranger.token];
            callers
                .extend(others.map(|token| refused("a patient", Some(token), 403, "wrong-role")));
        }
        callers
    }
}

on_both_engines!(nobody_gets_in_and_nobody_learns_what_exists);
