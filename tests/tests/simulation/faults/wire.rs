//! The way there, and what goes wrong on it: real HTTP/2 over pipes in memory.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aftercare_scheduler::push::{Dial as Dials, Link};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::cells::{Connection, Dial, Stream};
use super::script::{Caller, PATIENCE, Script};
use crate::network::TOKENS;

/// After how many messages a connection meets its fate.
const FATE: usize = 5;
const NOW: Duration = Duration::ZERO;

#[derive(Clone)]
pub(crate) struct Wire(pub(crate) Arc<Mutex<Script>>);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the way to a script")
    }
}

impl Wire {
    fn script<T>(&self, with: impl FnOnce(&mut Script) -> T) -> T {
        with(&mut self.0.lock().unwrap())
    }
}

impl Dials for Wire {
    fn dial<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Link>>> {
        async move {
            sleep(Duration::from_millis(10)).await;
            let tokens = port == TOKENS;
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            match self.script(|script| script.dial(tokens)) {
                Some(Dial::Refused) => return Err(io::ErrorKind::ConnectionRefused.into()),
                Some(Dial::Silent) => sleep(Duration::from_mins(1)).await,
                Some(Dial::Closed | Dial::TlsClosed) => drop(theirs),
                None => {
                    let connection = self.script(|script| script.connection()).filter(|_| !tokens);
                    tokio::spawn(serve(self.clone(), tokens, connection, theirs));
                    if connection == Some(Connection::TlsEnds) {
                        return Ok(Box::new(Unfinished(ours)) as Box<dyn Link>);
                    }
                }
            }
            Ok(Box::new(ours))
        }
        .boxed()
    }
}

/// What TLS makes of an end without `close_notify`.
struct Unfinished(DuplexStream);

impl AsyncRead for Unfinished {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        let ended = buf.filled().len() == before && buf.remaining() > 0;
        Poll::Ready(if ended { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) })
    }
}

impl AsyncWrite for Unfinished {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What the requests of one connection share.
#[derive(Default)]
struct Line {
    /// Those that are being answered.
    open: Mutex<BTreeMap<usize, Caller>>,
    carried: Mutex<usize>,
    fate: Notify,
}

async fn serve(wire: Wire, tokens: bool, fate: Option<Connection>, pipe: DuplexStream) {
    let Ok(mut connection) = h2::server::handshake(pipe).await else { return };
    let line = Arc::new(Line::default());
    loop {
        let request = tokio::select! {
            biased;
            () = line.fate.notified() => {
                match fate {
                    Some(Connection::Leaves) => connection.graceful_shutdown(),
                    Some(Connection::Goaway(reason)) => connection.abrupt_shutdown(reason),
                    _ => break,
                }
                continue;
            }
            request = connection.accept() => request,
        };
        let Some(Ok((request, respond))) = request else { break };
        let (wire, line) = (wire.clone(), Arc::clone(&line));
        tokio::spawn(async move {
            if tokens {
                grant(&wire, respond).await;
            } else {
                carry(&wire, &line, request, respond, fate.is_some()).await;
            }
        });
    }
    for caller in std::mem::take(&mut *line.open.lock().unwrap()).values() {
        wire.script(|script| script.failed(caller, NOW));
    }
}

async fn grant(wire: &Wire, mut respond: SendResponse<Bytes>) {
    sleep(Duration::from_millis(60)).await;
    let (status, after, body) = wire.script(Script::token);
    answer(&mut respond, head(status, after), body);
}

/// One message, from its head to the answer, or to what comes in its place.
async fn carry(
    wire: &Wire,
    line: &Line,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    fated: bool,
) {
    let Some(body) = read(request.into_body()).await else { return };
    let Some(caller) = wire.script(|script| script.arrives(&body)) else { return };
    let number = {
        let mut carried = line.carried.lock().unwrap();
        *carried += 1;
        *carried
    };
    line.open.lock().unwrap().insert(number, caller.clone());
    if fated && number == FATE {
        line.fate.notify_one();
    }
    sleep(Duration::from_millis(50)).await;
    // Whoever is not there any more was told with the connection.
    if line.open.lock().unwrap().remove(&number).is_none() {
        return;
    }
    if let Some(stream) = wire.script(|script| script.stream()).filter(|_| caller.struck) {
        return break_off(wire, &caller, stream, respond).await;
    }
    if let Some((status, after, body)) =
        wire.script(|script| script.words(&caller)).filter(|_| caller.struck)
    {
        wire.script(|script| script.failed(&caller, NOW));
        return answer(&mut respond, head(status, after), body);
    }
    wire.script(|script| script.accepted(&caller));
    answer(&mut respond, head(200, None), success());
}

async fn read(mut incoming: RecvStream) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = incoming.data().await {
        let chunk = chunk.ok()?;
        let _ = incoming.flow_control().release_capacity(chunk.len());
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

fn success() -> String {
    serde_json::json!({"name": "projects/simulated/messages/1"}).to_string()
}

async fn break_off(wire: &Wire, caller: &Caller, how: Stream, mut respond: SendResponse<Bytes>) {
    let learns_in = match how {
        Stream::Silence | Stream::HeadOnly => PATIENCE.saturating_sub(Duration::from_millis(50)),
        _ => NOW,
    };
    if how == Stream::EarlyHints {
        let hints = Response::builder().status(StatusCode::EARLY_HINTS).body(()).unwrap();
        respond.send_informational(hints).unwrap();
        sleep(Duration::from_millis(20)).await;
        wire.script(|script| script.accepted(caller));
        return answer(&mut respond, head(200, None), success());
    }
    wire.script(|script| script.failed(caller, learns_in));
    let half = || Bytes::from(success().split_at(20).0.to_owned());
    match how {
        Stream::Reset { reason, .. } => respond.send_reset(reason),
        Stream::Silence => sleep(PATIENCE * 3).await,
        Stream::Half => answer(&mut respond, head(200, None), "{\"name\": \"proj".to_owned()),
        Stream::HeadOnly => {
            let _open = respond.send_response(head(200, None), false);
            sleep(PATIENCE * 3).await;
        }
        Stream::Short => {
            let mut head = head(200, None);
            head.headers_mut().insert("content-length", "200".parse().unwrap());
            answer(&mut respond, head, "{\"name\": \"proj".to_owned());
        }
        Stream::BrokenOff => {
            let Ok(mut stream) = respond.send_response(head(200, None), false) else { return };
            let _ = stream.send_data(half(), false);
            sleep(Duration::from_millis(5)).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        Stream::EarlyHints => {}
    }
}

fn head(status: u16, after: Option<String>) -> Response<()> {
    let head = Response::builder().status(status);
    let head = match (after, status) {
        (Some(after), _) => head.header("retry-after", after),
        (None, 302) => head.header("location", "https://portal.example/"),
        (None, _) => head,
    };
    head.body(()).unwrap()
}

/// Nobody may be there to hear it any more.
fn answer(respond: &mut SendResponse<Bytes>, head: Response<()>, body: String) {
    if body.is_empty() {
        let _ = respond.send_response(head, true);
    } else if let Ok(mut stream) = respond.send_response(head, false) {
        let _ = stream.send_data(Bytes::from(body), true);
    }
}
