//! The whole in one process: a bed with an API, a scheduler that is stepped, and an emulated FCM,
//! all on the clock that the test moves. It stands at 15:40 of a Sunday in winter, when Lisbon reads the
//! same as UTC.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aftercare::care::{self, Retention};
use aftercare::clock::Clock;
use aftercare::locale::Locale;
use aftercare::store::{Reminder, Store};
use aftercare::webhook::Reach;
use aftercare_api::{
    ApiConfig, ApiHandle, Limits, NewClinic, NothingElse, Rate, create_clinic, start as start_api,
};
use aftercare_scheduler::push::ServiceAccount;
use aftercare_scheduler::{RunSummary, Scheduler, SchedulerConfig, SchedulerHandle};
use aftercare_tests::bed::Bed;
use fcm_emulator::{AcceptedPush, Emulator, EmulatorConfig, EmulatorHandle};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::http::{Answer, Body, Http};

/// How far the clock goes on while sending is paused.
const WAIT: SignedDuration = SignedDuration::from_secs(10);

pub(crate) struct Stage {
    pub(crate) bed: Bed,
    pub(crate) http: Http,
    pub(crate) fcm: EmulatorHandle,
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) clinic: NewClinic,
    /// The clinic's token, and when it is used.
    token: Mutex<Option<(String, Range<Timestamp>)>>,
    api: ApiHandle,
}

/// A push as FCM took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Push {
    pub(crate) at: Timestamp,
    pub(crate) address: String,
    pub(crate) title: String,
    pub(crate) body: String,
    /// Under which it replaces an earlier one on the phone.
    pub(crate) tag: String,
    pub(crate) reminder: String,
    pub(crate) use_by: Timestamp,
    /// How long FCM keeps it for a phone that is offline.
    pub(crate) ttl: SignedDuration,
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl Stage {
    pub(crate) async fn set(bed: Bed) -> Self {
        let clock = Arc::clone(&bed.clock) as Arc<dyn Clock>;
        let emulator = EmulatorConfig { clock, ..EmulatorConfig::default() };
        let fcm = Emulator::start(emulator).await.unwrap();
        let scheduler = Scheduler::start(bed.store.clone(), scheduling(&fcm)).unwrap();
        bed.store.write(care::seed_protocols).await.unwrap();
        let api = api(bed.store.clone(), None).await;
        let locale: Locale = "en".parse().unwrap();
        let zone = "Europe/Lisbon".parse().unwrap();
        let clinic = create_clinic(&bed.store, "Pele Nova", zone, locale).await.unwrap();
        let http = Http(api.addr());
        Self { bed, http, fcm, scheduler, clinic, token: Mutex::default(), api }
    }

    /// Another API server on the same database, as another process would be; it runs as long as the test's runtime.
    pub(crate) async fn another_server(&self) -> (ApiHandle, Http) {
        self.server_over(self.bed.again().await).await
    }

    /// The same over a store that is already open.
    pub(crate) async fn server_over(&self, store: Store) -> (ApiHandle, Http) {
        let server = api(store, Some(self.api.public_url().to_owned())).await;
        let http = Http(server.addr());
        (server, http)
    }

    /// A scheduler on another database, with the same FCM.
    pub(crate) fn scheduler_of(&self, bed: &Bed) -> SchedulerHandle {
        Scheduler::start(bed.store.clone(), scheduling(&self.fcm)).unwrap()
    }

    /// Another scheduler on the same database and FCM, as another process would have it.
    pub(crate) async fn another_scheduler(&self) -> SchedulerHandle {
        self.scheduler_over(self.bed.again().await)
    }

    /// The same over a store that is already open.
    pub(crate) fn scheduler_over(&self, store: Store) -> SchedulerHandle {
        Scheduler::start(store, scheduling(&self.fcm)).unwrap()
    }

    /// A scheduler that keeps patients for so long.
    pub(crate) fn scheduler_keeping(&self, retention: Retention) -> SchedulerHandle {
        let config = SchedulerConfig { retention, ..scheduling(&self.fcm) };
        Scheduler::start(self.bed.store.clone(), config).unwrap()
    }

    /// The same with so many messages a second at most.
    pub(crate) fn scheduler_at(&self, rate: f64, store: Store) -> SchedulerHandle {
        let config = SchedulerConfig { rate: Some(rate), ..scheduling(&self.fcm) };
        Scheduler::start(store, config).unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.bed.now()
    }

    pub(crate) fn set_clock(&self, instant: &str) {
        self.bed.clock.set(at(instant));
    }

    /// A call of the clinic's software.
    pub(crate) async fn clinic(&self, method: &str, path: &str, body: Body<'_>) -> Answer {
        let token = self.clinic_token().await;
        self.http.call(method, path, Some(&token), body).await
    }

    /// A token that is good for another moment: the clock leaves each behind.
    pub(crate) async fn clinic_token(&self) -> String {
        let now = self.now();
        let known = self.token.lock().unwrap().clone();
        if let Some((token, _)) = known.filter(|(_, times)| times.contains(&now)) {
            return token;
        }
        let token = self.fresh_clinic_token().await;
        let times = now..now + SignedDuration::from_mins(5);
        *self.token.lock().unwrap() = Some((token.clone(), times));
        token
    }

    /// A token of a session of its own.
    pub(crate) async fn fresh_clinic_token(&self) -> String {
        self.token_of(&self.clinic).await
    }

    pub(crate) async fn token_of(&self, clinic: &NewClinic) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            clinic.client_id,
            clinic.client_secret.expose_secret()
        );
        let answer = self.http.call("POST", "/v1/oauth/token", None, Body::Form(&form)).await;
        answer.expect(200)["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn make_clinic(&self) -> NewClinic {
        let (zone, locale) = ("Europe/Lisbon".parse().unwrap(), "en".parse().unwrap());
        create_clinic(&self.bed.store, "Pele Viva", zone, locale).await.unwrap()
    }

    /// A token of another clinic.
    pub(crate) async fn another_clinic(&self) -> String {
        self.token_of(&self.make_clinic().await).await
    }

    /// A patient of the clinic, in its zone.
    pub(crate) async fn patient(&self, reference: &str) {
        let body = json!({"time_zone": "Europe/Lisbon", "locale": "en"});
        let path = format!("/v1/patients/{reference}");
        self.clinic("PUT", &path, Body::Json(&body)).await.expect(201);
    }

    /// Enrols an app of the patient and registers its phone, whose address is the installation's
    /// name; gives the app's token.
    pub(crate) async fn phone(&self, reference: &str, name: &str) -> String {
        let token = self.app(reference, name).await;
        self.register(&token, name, &device(name)).await.expect(204);
        token
    }

    /// Enrols an app of the patient and gives its token.
    pub(crate) async fn app(&self, reference: &str, name: &str) -> String {
        let path = format!("/v1/patients/{reference}/enrolments");
        let enrolment = self.clinic("POST", &path, Body::None).await.expect(201);
        let body = json!({"code": enrolment["code"], "installation_id": name});
        let path = "/v1/enrolments/redeem";
        let tokens = self.http.call("POST", path, None, Body::Json(&body)).await.expect(200);
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn register(&self, token: &str, name: &str, device: &Value) -> Answer {
        let path = format!("/v1/me/devices/{name}");
        self.http.call("PUT", &path, Some(token), Body::Json(device)).await
    }

    /// A patient with a phone of the same name, whose session is done now.
    pub(crate) async fn treated(&self, name: &str) -> Value {
        self.patient(name).await;
        self.phone(name, name).await;
        self.session_done(&format!("visit-{name}"), name).await
    }

    /// A known patient's session is done now; gives the answer.
    pub(crate) async fn session_done(&self, event: &str, reference: &str) -> Value {
        self.post(&done(event, reference, self.now())).await.expect(201)
    }

    pub(crate) async fn post(&self, event: &Value) -> Answer {
        self.clinic("POST", "/v1/treatments", Body::Json(event)).await
    }

    pub(crate) async fn void(&self, treatment: &Value) -> Answer {
        let id = treatment["treatment"]["id"].as_str().unwrap();
        self.clinic("POST", &format!("/v1/treatments/{id}/void"), Body::None).await
    }

    /// What became of each reminder of a treatment, by step: `sent: accepted`.
    pub(crate) async fn fates(&self, treatment: &Value) -> Vec<(String, String)> {
        let id = treatment["treatment"]["id"].as_str().unwrap();
        let answer = self.clinic("GET", &format!("/v1/treatments/{id}"), Body::None).await;
        let shown = answer.expect(200)["reminders"].as_array().unwrap().clone();
        let rows = self.reminders(id).await;
        let fate = |row: Reminder| {
            let id = row.id.to_string();
            let dto = shown.iter().find(|dto| dto["id"] == id.as_str()).unwrap();
            let (state, reason) = (dto["state"].as_str().unwrap(), dto["reason"].as_str());
            (row.step_id.to_string(), format!("{state}: {}", reason.unwrap_or_default()))
        };
        rows.into_iter().map(fate).collect()
    }

    /// The rows of a treatment, by due moment.
    pub(crate) async fn reminders(&self, treatment: &str) -> Vec<Reminder> {
        let (clinic, id) = (self.clinic.clinic_id, treatment.parse().unwrap());
        let found = self.bed.store.read(move |tx| {
            let treatment = tx.treatment(clinic, id)?.unwrap();
            let mut rows = tx.reminders(treatment.patient_id)?;
            rows.retain(|row| row.treatment_id == id);
            rows.sort_by_key(|row| row.due_at);
            Ok::<_, aftercare::store::StoreError>(rows)
        });
        found.await.unwrap()
    }

    pub(crate) async fn run(&self) -> RunSummary {
        self.scheduler.run_once().await.unwrap()
    }

    pub(crate) async fn run_at(&self, instant: &str) -> RunSummary {
        self.set_clock(instant);
        self.run().await
    }

    /// Moves the clock from one moment at which something is due to the next, up to `until`. While
    /// what is due must wait, because sending is paused, time goes on in small steps.
    pub(crate) async fn play(&self, until: &str) {
        let until = at(until);
        let mut ran_at = None;
        for _ in 0..50_000 {
            let next = self.bed.store.look(|tx| tx.next_due()).await.unwrap();
            let next = next.first().map(|next| next.max(self.now()));
            let waits = next.is_some() && next == ran_at;
            let next = if waits { next.map(|next| next + WAIT) } else { next };
            let Some(next) = next.filter(|next| *next <= until) else {
                return self.bed.clock.set(until);
            };
            self.bed.clock.set(next);
            ran_at = Some(next);
            self.run().await;
        }
        panic!("the queue never empties before {until}");
    }

    /// Everything that FCM took, oldest first.
    pub(crate) fn pushes(&self) -> Vec<Push> {
        self.fcm.accepted().iter().map(Push::of).collect()
    }

    /// When and as what each push to an address came, on Lisbon's walls.
    pub(crate) fn diary(&self, address: &str) -> Vec<String> {
        let lisbon = TimeZone::get("Europe/Lisbon").unwrap();
        let pushes = self.pushes().into_iter().filter(|push| push.address == address);
        let line = |push: Push| {
            let wall = push.at.to_zoned(lisbon.clone()).strftime("%a %d %b %H:%M");
            format!("{wall}  {}", push.title)
        };
        pushes.map(line).collect()
    }
}

impl Push {
    fn of(push: &AcceptedPush) -> Self {
        let text = |pointer: &str| {
            let value = push.message.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let ttl: i64 = text("/android/ttl").trim_end_matches('s').parse().unwrap();
        Self {
            at: push.accepted_at,
            address: push.address.clone(),
            title: text("/notification/title"),
            body: text("/notification/body"),
            tag: text("/android/notification/tag"),
            reminder: text("/data/reminder_id"),
            use_by: at(&text("/data/use_by")),
            ttl: SignedDuration::from_secs(ttl),
        }
    }
}

fn scheduling(fcm: &EmulatorHandle) -> SchedulerConfig {
    SchedulerConfig {
        base_url: Some(fcm.base_url().parse().unwrap()),
        rate: None,
        heartbeat: false,
        webhooks: Reach::LoopbackToo,
        ..SchedulerConfig::new(ServiceAccount::from_json(&fcm.credentials_json()).unwrap())
    }
}

async fn api(store: Store, public_url: Option<String>) -> ApiHandle {
    let rate = Rate::new(1_000_000, Duration::from_secs(1), 1_000_000);
    let config = ApiConfig {
        limits: Limits { credential: rate, bad_bearer: rate, failures: rate },
        workers: std::num::NonZeroUsize::new(1),
        public_url,
        webhooks: Reach::LoopbackToo,
        ..ApiConfig::new(([127, 0, 0, 1], 0).into())
    };
    start_api(store, config, Arc::new(NothingElse), Arc::new(|| ())).await.unwrap()
}

/// The session-done event of a known patient.
pub(crate) fn done(event: &str, reference: &str, completed_at: Timestamp) -> Value {
    json!({
        "event_id": event, "patient_ref": reference, "protocol": "microneedling",
        "completed_at": completed_at.to_string(),
    })
}

/// The registration of an Android phone in Lisbon.
pub(crate) fn device(address: &str) -> Value {
    json!({
        "address_kind": "token", "address": address, "platform": "android",
        "time_zone": "Europe/Lisbon", "locale": "en",
        "notifications_enabled": true, "delivery": "push",
    })
}
