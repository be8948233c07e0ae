//! The HTTP/2 client against servers that behave and servers that do not.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aftercare::clock::Env;
use aftercare::store::{DeliveryMode, Platform, PushContent};
use aftercare_scheduler::push::{
    Answer, Client, Kind, Limiter, Outcome, Push, RetryCause, ServiceAccount, Tcp,
};
use bytes::Bytes;
use fcm_emulator::{Emulator, EmulatorConfig, EmulatorHandle};
use h2::server::SendResponse;
use http::Response;
use jiff::{SignedDuration, Timestamp};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

async fn emulator() -> EmulatorHandle {
    Emulator::start(EmulatorConfig::default()).await.unwrap()
}

fn client(credentials: &str, base: &str) -> Client {
    let account = ServiceAccount::from_json(credentials).unwrap();
    let base = base.parse().unwrap();
    Client::new(account, base, Env::system(), Limiter::none(), 4, Arc::new(Tcp)).unwrap()
}

fn push(use_by: Timestamp) -> Push<'static> {
    Push {
        kind: Kind::Reminder,
        reminder: Env::system().id(),
        address: "phone-1",
        platform: Platform::Android,
        mode: DeliveryMode::Push,
        content: PushContent::Text,
        title: "Title",
        body: "Body",
        due_at: use_by,
        use_by,
    }
}

fn soon() -> Timestamp {
    Env::system().now().checked_add(SignedDuration::from_hours(1)).unwrap()
}

fn is_retry(answer: &Answer) -> bool {
    let retry = Outcome::RetryAfter { delay: None, cause: RetryCause::Unavailable };
    answer.outcome == retry && answer.status.is_none()
}

/// A small FCM over prior-knowledge HTTP/2: `serve` is called for each connection.
async fn server<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(usize, h2::server::Connection<tokio::net::TcpStream, Bytes>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut builder = h2::server::Builder::new();
            let connection = builder.max_concurrent_streams(2).handshake(tcp).await.unwrap();
            tokio::spawn(serve(number, connection));
        }
    });
    address
}

fn accept(mut respond: SendResponse<Bytes>) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(br#"{"name": "projects/p/messages/1"}"#), true).unwrap();
}

#[tokio::test]
async fn nothing_leaves_that_is_stale_or_unwanted() {
    let fcm = emulator().await;
    let client = client(&fcm.credentials_json(), fcm.base_url());
    let now = Env::system().now();
    assert_eq!(client.send(&push(now), || true).await, None);
    assert_eq!(client.send(&push(soon()), || false).await, None);
    assert_eq!(fcm.stats().sends, 0);
    let answer = client.send(&push(soon()), || true).await.unwrap();
    assert!(matches!(answer.outcome, Outcome::Sent { .. }));
}

#[tokio::test]
async fn a_cold_burst_fetches_one_token() {
    let fcm = emulator().await;
    let client = client(&fcm.credentials_json(), fcm.base_url());
    let push = push(soon());
    let sends = (0..100).map(|_| client.send(&push, || true));
    let answers = futures_util::future::join_all(sends).await;
    let sent = |answer: &Option<Answer>| {
        answer.as_ref().is_some_and(|answer| matches!(answer.outcome, Outcome::Sent { .. }))
    };
    assert!(answers.iter().all(sent), "{answers:?}");
    assert_eq!(fcm.stats().tokens, 1);
}

#[tokio::test]
async fn a_connection_that_is_going_away_loses_nothing() {
    let fcm = emulator().await;
    // Each connection takes three messages, then says goodbye.
    let address = server(|_, mut connection| async move {
        for _ in 0..3 {
            let Some(Ok((_, respond))) = connection.accept().await else { return };
            accept(respond);
        }
        connection.graceful_shutdown();
        while let Some(Ok((_, respond))) = connection.accept().await {
            accept(respond);
        }
    })
    .await;
    let client = client(&fcm.credentials_json(), &format!("http://{address}"));
    for _ in 0..20 {
        let answer = client.send(&push(soon()), || true).await.unwrap();
        assert!(matches!(answer.outcome, Outcome::Sent { .. }), "{answer:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_makes_a_retry_and_the_next_one_works() {
    let fcm = emulator().await;
    // The first connection is cut when the first message arrives.
    let address = server(|number, mut connection| async move {
        while let Some(Ok((_, respond))) = connection.accept().await {
            if number == 0 {
                return;
            }
            accept(respond);
        }
    })
    .await;
    let client = client(&fcm.credentials_json(), &format!("http://{address}"));
    let answer = client.send(&push(soon()), || true).await.unwrap();
    assert!(is_retry(&answer), "{answer:?}");
    let answer = client.send(&push(soon()), || true).await.unwrap();
    assert!(matches!(answer.outcome, Outcome::Sent { .. }), "{answer:?}");
}

#[tokio::test]
async fn the_peer_s_limit_of_streams_is_kept() {
    let fcm = emulator().await;
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    // Messages that came over the first connection, and over all others.
    let came = watch::Sender::new((0, 0));
    let address = server(move |number, mut connection| {
        let (seen, came) = (Arc::clone(&seen), came.clone());
        async move {
            let open = Arc::new(AtomicUsize::new(0));
            while let Some(Ok((_, respond))) = connection.accept().await {
                seen.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                came.send_modify(|(first, others)| {
                    *(if number == 0 { first } else { others }) += 1;
                });
                let (open, mut came) = (Arc::clone(&open), came.subscribe());
                tokio::spawn(async move {
                    // All but the first of all wait until its connection is full and another is used.
                    let go = |(first, others): &_| first + others == 1 || *first > 2 && *others > 0;
                    came.wait_for(go).await.unwrap();
                    open.fetch_sub(1, Ordering::SeqCst);
                    accept(respond);
                });
            }
        }
    })
    .await;
    let client = client(&fcm.credentials_json(), &format!("http://{address}"));
    // The limit is known once the server has answered anything.
    client.send(&push(soon()), || true).await.unwrap();
    let push = push(soon());
    let answers =
        futures_util::future::join_all((0..40).map(|_| client.send(&push, || true))).await;
    assert!(answers.iter().flatten().all(|answer| answer.status == Some(200)), "{answers:?}");
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert!((2..=4).contains(&client.connections()), "{}", client.connections());
}

#[tokio::test]
async fn nobody_listening_and_nobody_speaking_http2_are_retries() {
    let fcm = emulator().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = client(&fcm.credentials_json(), &format!("http://{closed}"));
    for _ in 0..3 {
        let answer = away.send(&push(soon()), || true).await.unwrap();
        assert!(is_retry(&answer), "{answer:?}");
        assert_eq!(answer.code.as_deref(), Some("unreachable"));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    let old = client(&fcm.credentials_json(), &format!("http://{address}"));
    let answer = old.send(&push(soon()), || true).await.unwrap();
    assert!(is_retry(&answer), "{answer:?}");
}

/// The roots of trust come from the environment, so the client runs in a process of its own.
#[tokio::test]
async fn tls_is_verified_against_the_system_s_roots() {
    let config = EmulatorConfig { tls: true, ..EmulatorConfig::default() };
    let fcm = Emulator::start(config).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (ca, credentials) = (dir.path().join("ca.pem"), dir.path().join("credentials.json"));
    std::fs::write(&ca, fcm.ca_pem().unwrap()).unwrap();
    std::fs::write(&credentials, fcm.credentials_json()).unwrap();
    let run = |roots: &std::path::Path| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "--ignored", "transport::send_over_tls"])
            .env("SSL_CERT_FILE", roots)
            .env("TEST_FCM_URL", fcm.base_url())
            .env("TEST_FCM_CREDENTIALS", &credentials);
        tokio::task::spawn_blocking(move || child.output().unwrap())
    };
    let trusted = run(&ca).await.unwrap();
    assert!(trusted.status.success(), "{}", String::from_utf8_lossy(&trusted.stdout));
    assert_eq!(fcm.accepted().len(), 1);
    let other = Emulator::start(EmulatorConfig { tls: true, ..EmulatorConfig::default() });
    let foreign = dir.path().join("foreign.pem");
    std::fs::write(&foreign, other.await.unwrap().ca_pem().unwrap()).unwrap();
    let distrusted = run(&foreign).await.unwrap();
    assert!(!distrusted.status.success(), "a certificate of an unknown authority was accepted");
    assert_eq!(fcm.accepted().len(), 1);
}

#[tokio::test]
#[ignore = "run by tls_is_verified_against_the_system_s_roots"]
async fn send_over_tls() {
    let credentials = std::fs::read_to_string(std::env::var("TEST_FCM_CREDENTIALS").unwrap());
    let client = client(&credentials.unwrap(), &std::env::var("TEST_FCM_URL").unwrap());
    let answer = client.send(&push(soon()), || true).await.unwrap();
    assert!(matches!(answer.outcome, Outcome::Sent { .. }), "{answer:?}");
}
