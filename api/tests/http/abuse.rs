//! Slow clients, crowds and strangers, over real sockets.

use std::num::NonZeroUsize;
use std::time::Duration;

use aftercare_api::Patience;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::support::{Api, api, api_with, read_answer};

/// What is waited for at most, however busy the machine is.
const LONG: Duration = Duration::from_secs(30);

fn impatient() -> Patience {
    let short = Duration::from_secs(1);
    Patience { head: short, body: short, idle: short, unread: short }
}

async fn connect(api: &Api) -> TcpStream {
    TcpStream::connect(api.handle.addr()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_drips_is_given_up() {
    let api = api_with(|config| config.patience = impatient()).await;
    let mut stream = connect(&api).await;
    let begun = Instant::now();
    let (mut answers, mut drips) = stream.split();
    let drip = async {
        drips.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
        let mut every = tokio::time::interval(Duration::from_millis(100));
        loop {
            every.tick().await;
            if drips.write_all(b"a").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut bytes = Vec::new();
    let end = async { answers.read_to_end(&mut bytes).await };
    tokio::select! {
        () = drip => {}
        ended = timeout(LONG, end) => drop(ended.unwrap()),
    }
    let head = String::from_utf8_lossy(&bytes);
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(begun.elapsed() >= Duration::from_millis(900));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_given_up() {
    let api = api_with(|config| config.patience.body = Duration::from_secs(1)).await;
    let token = api.clinic_token().await;
    let mut stream = connect(&api).await;
    let head = format!(
        "POST /v1/patients HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 40\r\nconnection: close\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = timeout(LONG, read_answer(&mut stream)).await.unwrap();
    answer.problem(408, "request-timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed() {
    let api = api_with(|config| config.patience = impatient()).await;
    let mut stream = connect(&api).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200"));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_given_up() {
    let api = api_with(|config| config.patience.unread = Duration::from_secs(1)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(api.handle.addr()).await.unwrap();
    // It asks for more than all buffers hold, until the server has closed the connection.
    let asking = async {
        let ask = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
        loop {
            if let Err(error) = stream.write_all(&ask).await {
                return error.kind();
            }
        }
    };
    let end = timeout(LONG, asking).await.unwrap();
    let closed = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
    assert!(closed.contains(&end) || end == std::io::ErrorKind::TimedOut, "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_allowed_wait_for_one_to_end() {
    let api = api_with(|config| {
        config.workers = NonZeroUsize::new(1);
        config.connections = NonZeroUsize::new(2).unwrap();
    })
    .await;
    let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut byte = [0; 1];
    let mut inside = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&api).await;
        stream.write_all(ask).await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        inside.push(stream);
    }
    let mut outside = connect(&api).await;
    outside.write_all(ask).await.unwrap();
    let early = timeout(Duration::from_millis(500), outside.read_exact(&mut byte)).await;
    assert!(early.is_err(), "a third is served beside two");
    drop(inside.pop());
    timeout(LONG, outside.read_exact(&mut byte)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_have_an_end() {
    let api = api_with(|config| config.body_limit = 1_000).await;
    let token = api.clinic_token().await;
    let post = || api.post("/v1/patients").bearer(&token);
    post()
        .json(&json!({"time_zone": "x".repeat(1_000)}))
        .send()
        .await
        .problem(413, "payload-too-large");
    let chunked = post().header("content-type", "application/json");
    let body = format!("7d0\r\n{}\r\n0\r\n\r\n", " ".repeat(2_000));
    let chunked = chunked.header("transfer-encoding", "chunked").raw(body).send().await;
    chunked.problem(413, "payload-too-large");
    let many = (0..200).fold(api.get("/healthz"), |get, n| get.header(&format!("x-{n}"), "1"));
    assert!((400..500).contains(&many.send().await.status));
    let long = api.get("/healthz").header("x-long", &"a".repeat(200_000)).send().await;
    assert!((400..500).contains(&long.status), "{}", long.status);
}

const APP: &str = "https://app.example.com";

#[tokio::test(flavor = "multi_thread")]
async fn a_web_app_that_is_named_may_call_and_read_every_answer() {
    let api = api_with(|config| config.cors = vec![APP.parse().unwrap()]).await;
    let preflight = |origin: &str, path: &str| {
        let ask = api.request("OPTIONS", path).header("origin", origin);
        ask.header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "authorization,content-type")
    };
    let allowed = preflight(APP, "/v1/me/devices/inst-1").send().await;
    allowed.expect(204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(APP));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("PUT"));
    assert!(allowed.header("access-control-allow-headers").unwrap().contains("authorization"));
    assert_eq!(allowed.header("access-control-allow-credentials"), None);
    assert!(allowed.header("vary").unwrap().contains("origin"));

    let refused = api.get("/v1/me/timeline").header("origin", APP).send().await;
    refused.problem(401, "missing-token");
    assert_eq!(refused.header("access-control-allow-origin"), Some(APP));
    assert!(refused.header("access-control-expose-headers").unwrap().contains("retry-after"));

    for stranger in ["https://app.example.com.evil.test", "null", "http://app.example.com"] {
        let answer = preflight(stranger, "/v1/me/devices/inst-1").send().await;
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{stranger}");
    }
    preflight(APP, "/nothing").send().await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_origin_may_call_unless_it_is_named() {
    let api = api().await;
    let answer = api.get("/healthz").header("origin", APP).send().await;
    answer.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("vary"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_answers_carry_what_browsers_are_to_keep_to() {
    let api = api().await;
    let page = api.get("/docs/").send().await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self';"),
        "{policy}"
    );
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"));
    assert!(!policy.contains("unsafe-eval"), "{policy}");
    for path in ["/docs/", "/openapi.json", "/v1/me/timeline", "/healthz", "/.well-known/jwks.json"]
    {
        let answer = api.get(path).send().await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
    }
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    let personal = api.get("/v1/me/timeline").bearer(&phone.access).send().await;
    let cache = personal.header("cache-control").unwrap();
    assert!(cache.contains("no-store") || cache.contains("private"), "{cache}");
}
