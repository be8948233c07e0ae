//! A server to talk to, and the little of HTTP/1.1 that it takes to talk to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aftercare::care;
use aftercare::clock::{Env, ManualClock};
use aftercare::locale::Locale;
use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreOptions};
use aftercare_api::{
    ApiConfig, ApiHandle, Limits, NewClinic, NothingElse, Rate, create_clinic, start,
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Shortly after the session of [`session_done`].
pub(crate) const NOW: &str = "2026-11-22T15:41:00Z";

/// A running server with one clinic.
pub(crate) struct Api {
    pub(crate) handle: ApiHandle,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) clinic: NewClinic,
    pub(crate) woken: Arc<AtomicUsize>,
    _folder: TempDir,
}

/// Limits that no test runs into by accident.
pub(crate) fn generous() -> Limits {
    let rate = Rate::new(1_000_000, std::time::Duration::from_secs(1), 1_000_000);
    Limits { credential: rate, bad_bearer: rate, failures: rate }
}

pub(crate) async fn api() -> Api {
    api_with(|_| ()).await
}

pub(crate) async fn api_with(change: impl FnOnce(&mut ApiConfig)) -> Api {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW.parse().unwrap()));
    let env = Env::with_clock(clock.clone());
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let key = MasterKey::generate(&env);
    let store = Store::open(&url, key, env, StoreOptions::default()).await.unwrap();
    store.migrate().await.unwrap();
    store.write(care::seed_protocols).await.unwrap();
    let clinic = clinic(&store, "Clínica Aurora").await;
    let mut config = ApiConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.limits = generous();
    config.workers = std::num::NonZeroUsize::new(2);
    change(&mut config);
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    let waker = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let handle = start(store.clone(), config, Arc::new(NothingElse), waker).await.unwrap();
    Api { handle, store, clock, clinic, woken, _folder: folder }
}

pub(crate) async fn clinic(store: &Store, name: &str) -> NewClinic {
    let zone = "Europe/Lisbon".parse().unwrap();
    let locale: Locale = "en".parse().unwrap();
    create_clinic(store, name, zone, locale).await.unwrap()
}

/// An answer, its body whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body, once the status is the expected one.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem, once status, media type and code are the expected ones.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        problem
    }

    /// The pointers of a problem's bad fields.
    #[track_caller]
    pub(crate) fn pointers(&self, status: u16, code: &str) -> Vec<String> {
        let problem = self.problem(status, code);
        let errors = problem["errors"].as_array().unwrap().iter();
        errors.map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

/// A request to be sent.
pub(crate) struct Request {
    address: SocketAddr,
    head: String,
    body: Vec<u8>,
}

/// A request to whatever server.
pub(crate) fn request(address: SocketAddr, method: &str, path: &str) -> Request {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
    Request { address, head, body: Vec::new() }
}

/// The form that a clinic's software asks for a token with.
pub(crate) fn credentials(clinic: &NewClinic) -> String {
    let secret = clinic.client_secret.expose_secret();
    format!("grant_type=client_credentials&client_id={}&client_secret={secret}", clinic.client_id)
}

impl Request {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.extend([name, ": ", value, "\r\n"]);
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body)
    }

    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("content-type", media_type).header("content-length", &length)
    }

    /// A body as it goes over the wire, without any header of its own.
    pub(crate) fn raw(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{}connection: close\r\n\r\n", self.head);
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses a body by its length may close before it has all of it.
        let _ = stream.write_all(&self.body).await;
        read_answer(&mut stream).await
    }
}

/// Reads an answer up to the end of the connection.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    let headers: Vec<(String, String)> = headers.collect();
    let body = &bytes[split + 4..];
    let chunked =
        headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(body) } else { body.to_vec() };
    Answer { status, headers, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&rest[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
    body
}

/// A patient's phone, enrolled.
pub(crate) struct Phone {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Phone {
    pub(crate) fn of(tokens: &Value) -> Self {
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

impl Api {
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        request(self.handle.addr(), method, path)
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    pub(crate) fn put(&self, path: &str) -> Request {
        self.request("PUT", path)
    }

    /// An access token of the clinic.
    pub(crate) async fn clinic_token(&self) -> String {
        self.token_of(&self.clinic).await
    }

    pub(crate) async fn token_of(&self, clinic: &NewClinic) -> String {
        let answer = self.post("/v1/oauth/token").form(&credentials(clinic)).send().await;
        answer.expect(200)["access_token"].as_str().unwrap().to_owned()
    }

    /// Makes a patient and enrols a phone of theirs.
    pub(crate) async fn enrolled(&self, token: &str, reference: &str, installation: &str) -> Phone {
        let put = self.put(&format!("/v1/patients/{reference}")).bearer(token);
        assert!(matches!(put.json(&json!({})).send().await.status, 200 | 201));
        let path = format!("/v1/patients/{reference}/enrolments");
        let enrolment = self.post(&path).bearer(token).send().await.expect(201);
        let redeem = json!({"code": enrolment["code"], "installation_id": installation});
        Phone::of(&self.post("/v1/enrolments/redeem").json(&redeem).send().await.expect(200))
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        self.post("/v1/oauth/token").form(&form).send().await
    }
}

/// A session done at 15:40 in Lisbon.
pub(crate) fn session_done(event: &str, reference: &str) -> Value {
    json!({
        "event_id": event,
        "patient": {"ref": reference, "time_zone": "Europe/Lisbon", "locale": "en"},
        "protocol": "microneedling",
        "completed_at": "2026-11-22T15:40:00Z",
    })
}

/// The registration of a phone.
pub(crate) fn device(address: &str) -> Value {
    json!({
        "address_kind": "token",
        "address": address,
        "platform": "android",
        "time_zone": "Europe/Lisbon",
        "locale": "en",
        "notifications_enabled": true,
        "delivery": "push",
    })
}
