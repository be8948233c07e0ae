//! Health, headers, and stopping without losing what is in flight.

use std::sync::Arc;
use std::time::Duration;

use aftercare_api::{ApiConfig, Check, NothingElse, Readiness, start};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{api, read_answer, request};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_answered_before_the_server_stops() {
    let api = api().await;
    let token = api.clinic_token().await;
    let address = api.handle.addr();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/patients HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
    );
    busy.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the handler is waiting for it now.
    let mut go_on = [0; 25];
    busy.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    let stopping = tokio::spawn(api.handle.stop(Duration::from_secs(20)));
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0, "an idle connection is closed");
    assert!(!stopping.is_finished());
    busy.write_all(b"{}").await.unwrap();
    read_answer(&mut busy).await.expect(201);
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

struct Late;

impl Readiness for Late {
    fn checks(&self) -> Vec<Check> {
        vec![Check { name: "dispatch_lag", ok: false, detail: "90 s behind".to_owned() }]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness() {
    let api = api().await;
    assert_eq!(api.get("/healthz").send().await.expect(200), json!({"status": "ok"}));
    let ready = api.get("/readyz").send().await.expect(200);
    assert_eq!(
        ready["checks"][0],
        json!({"name": "database", "ok": true, "detail": "takes writes"})
    );
    assert_eq!(api.get("/metrics").send().await.status, 200);

    let config = ApiConfig::new("127.0.0.1:0".parse().unwrap());
    let late = start(api.store.clone(), config, Arc::new(Late), Arc::new(|| ())).await.unwrap();
    let ready = request(late.addr(), "GET", "/readyz").send().await;
    assert_eq!(ready.expect(503)["status"], "not_ready");
    assert!(ready.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_an_id_and_the_security_headers() {
    let api = api().await;
    for path in ["/healthz", "/v1/treatments", "/nothing"] {
        let answer = api.get(path).send().await;
        assert_eq!(answer.header("x-request-id").map(str::len), Some(36), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert!(answer.header("content-security-policy").is_some(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_refused_with_its_name() {
    let api = api().await;
    let config = ApiConfig::new(api.handle.addr());
    let again = start(api.store.clone(), config, Arc::new(NothingElse), Arc::new(|| ())).await;
    let error = again.unwrap_err().to_string();
    assert!(error.contains(&api.handle.addr().to_string()), "{error}");
}
