//! A running emulator with a sender that has its credentials, for the tests beside.

use std::net::SocketAddr;
use std::sync::Arc;

use aftercare::clock::ManualClock;
use bytes::Bytes;
use fcm_emulator::{Emulator, EmulatorConfig, EmulatorHandle};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpStream;

pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// An answer with its body read; JSON when it is.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Reply {
    /// FCM's `errorCode`, if the answer has one.
    pub(crate) fn code(&self) -> Option<&str> {
        let details = self.json["error"]["details"].as_array()?;
        details.iter().find_map(|detail| detail["errorCode"].as_str())
    }

    /// The field of the first violation.
    pub(crate) fn field(&self) -> Option<&str> {
        let details = self.json["error"]["details"].as_array()?;
        details.iter().find_map(|detail| detail["fieldViolations"][0]["field"].as_str())
    }

    /// Google's message.
    pub(crate) fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }
}

/// A request over a fresh HTTP/1.1 connection; an error when the connection is cut.
pub(crate) async fn call(
    addr: SocketAddr,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> hyper::Result<Reply> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "emulator");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Reply {
        status: parts.status,
        headers: parts.headers,
        json: serde_json::from_slice(&body).unwrap_or_default(),
        text: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// An emulator on a manual clock, with a token in hand.
pub(crate) struct Bench {
    pub(crate) emulator: EmulatorHandle,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) token: String,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let clock = Arc::new(ManualClock::new("2026-11-22T15:40:00Z".parse().unwrap()));
        let config = EmulatorConfig { clock: clock.clone(), ..EmulatorConfig::default() };
        let emulator = Emulator::start(config).await.unwrap();
        let mut bench = Self { emulator, clock, token: String::new() };
        bench.renew_token().await;
        bench
    }

    pub(crate) async fn renew_token(&mut self) {
        let reply = self.ask_token(&self.assertion(&self.claims())).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        self.token = reply.json["access_token"].as_str().unwrap().to_owned();
    }

    pub(crate) fn now(&self) -> Timestamp {
        use aftercare::clock::Clock;
        self.clock.now()
    }

    pub(crate) fn credentials(&self) -> Value {
        serde_json::from_str(&self.emulator.credentials_json()).unwrap()
    }

    /// The claims of a good assertion.
    pub(crate) fn claims(&self) -> Value {
        let account = self.credentials();
        let now = self.now().as_second();
        json!({
            "iss": account["client_email"], "aud": account["token_uri"], "scope": SCOPE,
            "iat": now, "exp": now + 3600,
        })
    }

    /// `claims`, signed with the service account's key.
    pub(crate) fn assertion(&self, claims: &Value) -> String {
        let key = self.credentials()["private_key"].as_str().unwrap().to_owned();
        let key = EncodingKey::from_rsa_pem(key.as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap()
    }

    pub(crate) async fn ask_token(&self, assertion: &str) -> Reply {
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        let form: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", grant)
            .append_pair("assertion", assertion)
            .finish();
        self.form(form).await
    }

    pub(crate) async fn form(&self, form: impl Into<Bytes>) -> Reply {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        call(self.emulator.addr(), Method::POST, "/token", &headers, form).await.unwrap()
    }

    /// Sends a whole request body; an error when the connection is cut.
    pub(crate) async fn try_send(&self, body: impl Into<Bytes>) -> hyper::Result<Reply> {
        let path = format!("/v1/projects/{}/messages:send", self.emulator.project_id());
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        call(self.emulator.addr(), Method::POST, &path, &headers, body).await
    }

    /// Sends one message.
    pub(crate) async fn send(&self, message: &Value) -> Reply {
        self.try_send(json!({ "message": message }).to_string()).await.unwrap()
    }

    /// Sends one message that has to be accepted; returns its name.
    pub(crate) async fn accepted(&self, message: Value) -> String {
        let reply = self.send(&message).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json["name"].as_str().unwrap().to_owned()
    }

    /// A request to the phones or the remote control, with a JSON body unless null.
    pub(crate) async fn control(&self, method: Method, path: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        call(self.emulator.addr(), method, path, &[], body).await.unwrap()
    }

    /// The titles that a phone shows, oldest first.
    pub(crate) fn titles(&self, address: &str) -> Vec<String> {
        let inbox = self.emulator.inbox(address);
        inbox.into_iter().map(|shown| shown.title.unwrap_or_default()).collect()
    }
}
