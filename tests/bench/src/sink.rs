//! Takes messages as FCM does, over TLS and HTTP/2 with a hundred streams a connection, and does nothing with
//! them but count. A process of its own, so that its work is nobody else's.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What FCM answers; its length is what counts.
const ANSWER: &[u8] =
    b"{\n  \"name\": \"projects/bench/messages/0:1700000000000000%0000000000000000\"\n}\n";
const TOKEN: &[u8] = b"{\"access_token\":\"bench\",\"expires_in\":3600,\"token_type\":\"Bearer\"}";
/// What FCM allows on one connection.
const STREAMS: u32 = 100;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the certificate and its key are
    keys: PathBuf,
    /// How long an answer takes, in milliseconds
    #[arg(long, default_value_t = 0)]
    delay: u64,
}

#[derive(Default)]
struct Seen {
    count: AtomicU64,
    /// Microseconds since the epoch.
    first: AtomicU64,
    last: AtomicU64,
    /// How many messages arrived so many tenths of a millisecond after they were due.
    late: Mutex<BTreeMap<u64, u64>>,
    tags: Mutex<HashSet<Box<str>>>,
}

/// Listens on a port that it prints, and answers each line of its standard input with what it has seen so
/// far.
pub(crate) async fn run(args: Args) {
    let read = |name: &str| fs::read(args.keys.join(name)).unwrap();
    let leaf = CertificateDer::from_pem_slice(&read("leaf.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("leaf.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let seen = Arc::new(Seen::default());
    let delay = Duration::from_millis(args.delay);
    let counting = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(connection(stream, tls.clone(), Arc::clone(&counting), delay));
        }
    });
    let answering = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lines() {
            line.unwrap();
            println!("{}", seen.report());
        }
    });
    answering.await.unwrap();
    std::process::exit(0);
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, seen: Arc<Seen>, delay: Duration) {
    stream.set_nodelay(true).unwrap();
    let Ok(stream) = tls.accept(stream).await else { return };
    let mut server = h2::server::Builder::new();
    server.max_concurrent_streams(STREAMS).initial_connection_window_size(1 << 24);
    let Ok(mut server) = server.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, respond))) = server.accept().await {
        tokio::spawn(answer(request, respond, Arc::clone(&seen), delay));
    }
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: Arc<Seen>,
    delay: Duration,
) {
    let token = request.uri().path().ends_with("token");
    let at = Timestamp::now();
    let mut incoming = request.into_body();
    let mut body = Vec::with_capacity(1024);
    while let Some(Ok(chunk)) = incoming.data().await {
        let _ = incoming.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
    }
    if !token {
        seen.note(at, &body);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }
    let response = Response::builder().header("content-type", "application/json").body(()).unwrap();
    let answer = Bytes::from_static(if token { TOKEN } else { ANSWER });
    if let Ok(mut stream) = respond.send_response(response, false) {
        let _ = stream.send_data(answer, true);
    }
}

impl Seen {
    fn note(&self, at: Timestamp, body: &[u8]) {
        let now = u64::try_from(at.as_microsecond()).unwrap();
        if self.count.fetch_add(1, Ordering::AcqRel) == 0 {
            self.first.store(now, Ordering::Release);
        }
        self.last.fetch_max(now, Ordering::AcqRel);
        let Ok(body) = str::from_utf8(body) else { return };
        if let Some(tag) = field(body, "\"tag\":\"") {
            self.tags.lock().unwrap().insert(tag.into());
        }
        let due = field(body, "\"due_at\":\"").and_then(|due| due.parse::<Timestamp>().ok());
        if let Some(due) = due {
            let late = at.duration_since(due).as_micros().max(0) / 100;
            *self.late.lock().unwrap().entry(late as u64).or_default() += 1;
        }
    }

    fn report(&self) -> Value {
        let get = |value: &AtomicU64| value.load(Ordering::Acquire);
        let seconds = get(&self.last).saturating_sub(get(&self.first)) as f64 / 1e6;
        let late: Vec<(u64, u64)> = self.late.lock().unwrap().clone().into_iter().collect();
        let distinct = self.tags.lock().unwrap().len();
        json!({ "count": get(&self.count), "distinct": distinct, "seconds": seconds, "late": late })
    }
}

/// What the message says after that, up to the next quotation mark, found without reading all of it.
fn field<'m>(message: &'m str, start: &str) -> Option<&'m str> {
    let (_, rest) = message.split_once(start)?;
    rest.split('"').next()
}
