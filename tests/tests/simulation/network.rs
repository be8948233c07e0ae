//! The way from the schedulers to Google: real HTTP/2 over pipes in memory.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use aftercare_scheduler::push::{Dial, Link};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::DuplexStream;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::fcm::{End, Reply, Weather};
use crate::world::{Shared, World};

/// The ports of FCM and of the token endpoint.
pub(crate) const MESSAGES: u16 = 1;
pub(crate) const TOKENS: u16 = 2;

/// One process's network.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) world: Weak<Mutex<World>>,
    pub(crate) process: u8,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the network of process {}", self.process)
    }
}

impl Network {
    fn world(&self) -> Shared {
        self.world.upgrade().expect("the world is there while it is played")
    }
}

impl Dial for Network {
    fn dial<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Link>>> {
        async move {
            sleep(Duration::from_millis(15)).await;
            let weather = self.world().lock().unwrap().fcm.weather;
            match weather {
                Weather::Unreachable => return Err(io::ErrorKind::ConnectionRefused.into()),
                Weather::BlackHole => sleep(Duration::from_mins(1)).await,
                _ => {}
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(serve(self.clone(), port, theirs));
            Ok(Box::new(ours) as Box<dyn Link>)
        }
        .boxed()
    }
}

/// What the requests of one connection share.
#[derive(Default)]
struct Line {
    broken: AtomicBool,
    breaks: Notify,
    /// The messages that are to be answered.
    open: Mutex<BTreeSet<u64>>,
}

async fn serve(network: Network, port: u16, pipe: DuplexStream) {
    let Ok(mut connection) = h2::server::handshake(pipe).await else { return };
    let line = Arc::new(Line::default());
    loop {
        let request = tokio::select! {
            biased;
            () = line.breaks.notified() => return,
            request = connection.accept() => request,
        };
        let Some(Ok((request, respond))) = request else { return };
        let (network, line) = (network.clone(), Arc::clone(&line));
        tokio::spawn(async move {
            if port == TOKENS {
                grant(&network, respond).await;
            } else {
                take(&network, &line, request, respond).await;
            }
        });
    }
}

async fn grant(network: &Network, mut respond: SendResponse<Bytes>) {
    sleep(Duration::from_millis(60)).await;
    let (status, body) = network.world().lock().unwrap().fcm.token();
    answer(&mut respond, Response::builder().status(status).body(()).unwrap(), body);
}

async fn take(
    network: &Network,
    line: &Line,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let mut incoming = request.into_body();
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = incoming.data().await {
        let _ = incoming.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
    }
    let (n, reply) = network.world().lock().unwrap().arrives(network.process, &body);
    line.open.lock().unwrap().insert(n);
    sleep(reply.after).await;
    line.open.lock().unwrap().remove(&n);
    match reply.end {
        End::Answer => {
            answer(&mut respond, head(&reply), reply.body(n));
            if !line.broken.load(Ordering::Relaxed) {
                network.world().lock().unwrap().answered(n);
            }
        }
        End::Break => {
            line.broken.store(true, Ordering::Relaxed);
            line.breaks.notify_one();
            let open = std::mem::take(&mut *line.open.lock().unwrap());
            network.world().lock().unwrap().cut(open);
        }
        End::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
        End::Silence => sleep(Duration::from_mins(1)).await,
    }
}

fn head(reply: &Reply) -> Response<()> {
    let head = Response::builder().status(reply.status);
    let head = match reply.retry_after {
        Some(seconds) => head.header("retry-after", seconds.to_string()),
        None => head,
    };
    head.body(()).unwrap()
}

/// Nobody may be there to hear it any more.
fn answer(respond: &mut SendResponse<Bytes>, head: Response<()>, body: String) {
    if let Ok(mut stream) = respond.send_response(head, false) {
        let _ = stream.send_data(Bytes::from(body), true);
    }
}
