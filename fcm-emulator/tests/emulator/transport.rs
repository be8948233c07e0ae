//! Every way in: HTTP/1.1 and HTTP/2, clear and over TLS, sound and Google's own.

use std::sync::Arc;

use bytes::Bytes;
use fcm_emulator::{Emulator, EmulatorConfig, Fault, FaultKind, StartError};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use loona_hpack::{Decoder, Encoder};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Bench, call};

/// Sends one request over HTTP/2; an error when the connection is cut.
async fn over_h2<S>(
    stream: S,
    request: Request<()>,
    body: String,
) -> Result<(u16, Bytes), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let (response, mut sending) = sender.ready().await?.send_request(request, false)?;
    sending.send_data(body.into(), true)?;
    let (parts, mut stream) = response.await?.into_parts();
    let mut received = Vec::new();
    while let Some(chunk) = stream.data().await {
        received.extend_from_slice(&chunk?);
    }
    Ok((parts.status.as_u16(), received.into()))
}

fn send_request(bench: &Bench, base: &str) -> Request<()> {
    let uri = format!("{base}/v1/projects/{}/messages:send", bench.emulator.project_id());
    let bearer = format!("Bearer {}", bench.token);
    Request::post(uri).header("authorization", bearer).body(()).unwrap()
}

fn a_message() -> String {
    json!({ "message": { "token": "phone-1", "notification": { "title": "t" } } }).to_string()
}

#[tokio::test]
async fn clear_text_http2_works_by_prior_knowledge() {
    let bench = Bench::start().await;
    let stream = TcpStream::connect(bench.emulator.addr()).await.unwrap();
    let request = send_request(&bench, bench.emulator.base_url());
    let (status, body) = over_h2(stream, request, a_message()).await.unwrap();
    assert_eq!(status, 200, "{body:?}");
    assert_eq!(bench.titles("phone-1"), ["t"]);
}

#[tokio::test]
async fn a_fault_cuts_http2_connections_too() {
    let bench = Bench::start().await;
    for (kind, accepted) in [(FaultKind::DropBefore, 0), (FaultKind::DropAfter, 1)] {
        bench.emulator.set_fault(Fault::new(kind).times(1));
        let stream = TcpStream::connect(bench.emulator.addr()).await.unwrap();
        let request = send_request(&bench, bench.emulator.base_url());
        assert!(over_h2(stream, request, a_message()).await.is_err());
        assert_eq!(bench.emulator.accepted().len(), accepted);
    }
}

/// An HTTP/2 connection as Google's Node SDK speaks it, written out by hand.
#[tokio::test]
async fn a_scheme_with_a_colon_is_put_right() {
    let bench = Bench::start().await;
    let mut stream = TcpStream::connect(bench.emulator.addr()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let bearer = format!("Bearer {}", bench.token);
    for id in [1, 3, 5] {
        let block = encoder.encode([
            (&b":method"[..], &b"POST"[..]),
            (b":scheme", b"https:"),
            (b":authority", b"fcm.googleapis.com"),
            (b":path", b"/v1/projects/aftercare-emulator/messages:send"),
            (b"authorization", bearer.as_bytes()),
        ]);
        stream.write_all(&frame(1, 0x04, id, &block)).await.unwrap();
        stream.write_all(&frame(0, 0x01, id, a_message().as_bytes())).await.unwrap();
        let fields = decoder.decode(&headers_of(&mut stream, id).await).unwrap();
        assert_eq!(fields[0], (b":status".to_vec(), b"200".to_vec()));
    }
    assert_eq!(bench.emulator.accepted().len(), 3);
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

/// The header block of the answer on stream `id`.
async fn headers_of(stream: &mut TcpStream, id: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        assert!(![3, 7].contains(&head[3]), "refused: {head:?}");
        if (head[3], head[8]) == (1, id) {
            return payload;
        }
    }
}

async fn over_tls(
    emulator: &fcm_emulator::EmulatorHandle,
    host: &str,
    alpn: &[u8],
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(emulator.ca_pem().unwrap().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(emulator.addr()).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
    stream
}

#[tokio::test]
async fn tls_speaks_both_protocols_under_every_name() {
    let config = EmulatorConfig {
        tls: true,
        tls_hosts: vec!["emulator.test".to_owned()],
        ..EmulatorConfig::default()
    };
    let emulator = Emulator::start(config).await.unwrap();
    assert!(emulator.base_url().starts_with("https://127.0.0.1:"));
    for host in ["localhost", "127.0.0.1", "::1", "fcm.googleapis.com", "emulator.test"] {
        let stream = over_tls(&emulator, host, b"h2").await;
        let request = Request::get("https://localhost/").body(()).unwrap();
        let (status, body) = over_h2(stream, request, String::new()).await.unwrap();
        assert_eq!(status, 200);
        assert!(body.starts_with(b"Aftercare's FCM emulator"));
    }
    let stream = over_tls(&emulator, "oauth2.googleapis.com", b"http/1.1").await;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/emulator/v1/ca.pem").body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, emulator.ca_pem().unwrap());
}

#[tokio::test]
async fn the_service_account_and_the_index_are_served() {
    let bench = Bench::start().await;
    let reply = bench.control(Method::GET, "/emulator/v1/credentials", Value::Null).await;
    assert_eq!(reply.json, bench.credentials());
    assert_eq!(reply.json["token_uri"], format!("{}/token", bench.emulator.base_url()));
    assert_eq!(bench.control(Method::GET, "/emulator/v1/ca.pem", Value::Null).await.status, 404);
    let index = bench.control(Method::GET, "/", Value::Null).await;
    assert!(index.text.contains("PUT    /phones/ADDRESS"), "{}", index.text);
    bench.accepted(json!({ "token": "phone-1" })).await;
    let reply = bench.control(Method::GET, "/emulator/v1/accepted", Value::Null).await;
    assert_eq!(reply.json[0]["address"], "phone-1");
    let reply = bench.control(Method::GET, "/emulator/v1/stats", Value::Null).await;
    assert_eq!((&reply.json["accepted"], &reply.json["tokens"]), (&json!(1), &json!(1)));
    assert_eq!(bench.control(Method::DELETE, "/emulator/v1/tokens", Value::Null).await.status, 204);
    assert_eq!(bench.send(&json!({ "token": "phone-1" })).await.status, 401);
    assert_eq!(bench.control(Method::PUT, "/inbox", Value::Null).await.status, 405);
}

#[tokio::test]
async fn it_listens_on_loopback_and_frees_its_port() {
    let config =
        EmulatorConfig { listen: "0.0.0.0:0".parse().unwrap(), ..EmulatorConfig::default() };
    assert!(matches!(Emulator::start(config).await, Err(StartError::NotLoopback(_))));
    let bench = Bench::start().await;
    let addr = bench.emulator.addr();
    bench.emulator.stop().await;
    assert!(TcpStream::connect(addr).await.is_err());
    let config = EmulatorConfig { listen: addr, ..EmulatorConfig::default() };
    let again = Emulator::start(config).await.unwrap();
    assert_eq!(call(again.addr(), Method::GET, "/", &[], "").await.unwrap().status, 200);
}
