//! What the product cannot do without, and nothing else: claim a batch, send each, write what came of it, with
//! the product's statements over the product's tables. No lease is looked at, nothing is decrypted, loaded,
//! planned or put into words; every message is the same.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use crate::{message, seed};

/// Reminders in one claim, and in one writing-down.
const BATCH: usize = 500;
/// Requests under way on one connection.
const STREAMS: usize = 100;

const CLAIM: &str = "WITH due AS MATERIALIZED (
        SELECT id FROM reminders
        WHERE queued AND lease_id IS NULL AND NOT shelved AND attempt_at <= now()
          AND clinic_id NOT IN (SELECT id FROM clinics WHERE paused)
          AND NOT EXISTS (SELECT 1 FROM server WHERE sending_paused)
        ORDER BY attempt_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
     UPDATE reminders SET state = 'claimed', lease_id = id, leased_until = now() + interval '1 minute',
        attempts = attempts + 1, updated_at = now()
     WHERE id IN (SELECT id FROM due)
     RETURNING id::text, patient_id::text";

const FINISH: &str = "WITH done AS (
        SELECT unnest($1::text[])::uuid AS id),
     held AS MATERIALIZED (
        SELECT r.id FROM done CROSS JOIN reminders r WHERE r.id = done.id AND r.state = 'claimed'
        ORDER BY r.id FOR UPDATE OF r)
     UPDATE reminders SET state = 'sent', reason = 'accepted', attempt_at = NULL, sent_at = now(),
        said = $2::text::jsonb, lease_id = NULL, leased_until = NULL, updated_at = now()
     FROM held WHERE reminders.id = held.id";

const DELIVERED: &str = "INSERT INTO deliveries
        (id, reminder_id, patient_id, device_id, attempt, state, status, at)
     SELECT gen_random_uuid(), r::uuid, p::uuid, p::uuid, 1, 'sent', 200, now()
     FROM unnest($1::text[], $2::text[]) AS sent (r, p)";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The database
    url: String,
    /// Where the sink's authority is
    keys: PathBuf,
    /// Where the sink listens
    port: u16,
    /// Connections to the sink
    #[arg(long, default_value_t = 4)]
    connections: usize,
}

type Row = (String, String);

pub(crate) async fn run(args: Args) {
    let (claims, mut claimed) = mpsc::channel::<Row>(2 * BATCH);
    let (outcomes, mut done) = mpsc::channel::<Row>(4 * BATCH);
    let claiming = connect(&args.url).await;
    tokio::spawn(async move {
        let claim = claiming.prepare(CLAIM).await.unwrap();
        loop {
            claiming.batch_execute("BEGIN; SET LOCAL enable_sort = off").await.unwrap();
            let rows = claiming.query(&claim, &[&i64::try_from(BATCH).unwrap()]).await.unwrap();
            claiming.batch_execute("COMMIT").await.unwrap();
            if rows.is_empty() {
                return;
            }
            for row in rows {
                claims.send((row.get(0), row.get(1))).await.unwrap();
            }
        }
    });
    let finishing = connect(&args.url).await;
    let writer = tokio::spawn(async move {
        let finish = finishing.prepare(FINISH).await.unwrap();
        let delivered = finishing.prepare(DELIVERED).await.unwrap();
        let said = said();
        let mut batch = Vec::with_capacity(BATCH);
        while done.recv_many(&mut batch, BATCH).await > 0 {
            // A short batch costs as much as a long one.
            while batch.len() < BATCH {
                let Some(more) = done.recv().await else { break };
                batch.push(more);
            }
            let (reminders, patients): (Vec<String>, Vec<String>) = batch.drain(..).unzip();
            finishing.batch_execute("BEGIN").await.unwrap();
            finishing.execute(&finish, &[&reminders, &said]).await.unwrap();
            finishing.execute(&delivered, &[&reminders, &patients]).await.unwrap();
            finishing.batch_execute("COMMIT").await.unwrap();
        }
    });
    let mut senders = Vec::new();
    for _ in 0..args.connections {
        senders.push((dial(&args).await, Arc::new(Semaphore::new(STREAMS))));
    }
    let body = Bytes::from(message::to(&seed::address(1)).to_string());
    let mut sending = JoinSet::new();
    let mut turn = 0;
    while let Some(row) = claimed.recv().await {
        turn = (turn + 1) % senders.len();
        let Some((sender, streams)) = senders.get(turn) else { break };
        let stream = Arc::clone(streams).acquire_owned().await.unwrap();
        let (sender, body, outcomes) = (sender.clone(), body.clone(), outcomes.clone());
        sending.spawn(async move {
            send(sender, body).await;
            drop(stream);
            outcomes.send(row).await.unwrap();
        });
        while sending.try_join_next().is_some() {}
    }
    sending.join_all().await;
    drop(outcomes);
    writer.await.unwrap();
}

/// What a reminder keeps of its words, about as long as the product's.
fn said() -> String {
    serde_json::json!({ "title": message::TITLE, "body": message::BODY, "locale": "en" })
        .to_string()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute(
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off",
        )
        .await
        .unwrap();
    client
}

async fn dial(args: &Args) -> SendRequest<Bytes> {
    let mut roots = RootCertStore::empty();
    let pem = fs::read(args.keys.join("ca.pem")).unwrap();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, args.port)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let (sender, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(sender: SendRequest<Bytes>, body: Bytes) {
    let request = Request::builder()
        .method(Method::POST)
        .uri("https://localhost/v1/projects/bench/messages:send")
        .header("authorization", "Bearer bench")
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let mut sender = sender.ready().await.unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data(body, true).unwrap();
    let mut incoming = response.await.unwrap().into_body();
    while let Some(chunk) = incoming.data().await {
        let _ = incoming.flow_control().release_capacity(chunk.unwrap().len());
    }
}
