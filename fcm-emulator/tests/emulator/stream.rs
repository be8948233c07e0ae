//! The live stream of what phones show.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::Bench;

/// An open stream of server-sent events.
struct Events {
    body: Incoming,
    text: String,
    read: VecDeque<Value>,
}

impl Events {
    async fn open(bench: &Bench, path: &str) -> Self {
        Self::reopen(bench, path, "").await
    }

    /// Opens a stream as a reader does that has seen everything up to `last`.
    async fn reopen(bench: &Bench, path: &str, last: &str) -> Self {
        let stream = TcpStream::connect(bench.emulator.addr()).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path).header("last-event-id", last);
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new(), read: VecDeque::new() }
    }

    /// The next entry's title and whether its id is its number.
    async fn next(&mut self) -> Option<String> {
        while self.read.is_empty() {
            let chunk = self.body.frame().await?.ok()?.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let lines: Vec<&str> = event.lines().collect();
                assert_eq!((lines.len(), lines[0]), (3, "event: shown"), "{event}");
                let data: Value = serde_json::from_str(&lines[2]["data: ".len()..]).unwrap();
                assert_eq!(lines[1], format!("id: {}", data["seq"]));
                self.read.push_back(data);
                self.text = rest.to_owned();
            }
        }
        self.read.pop_front().map(|event| event["title"].as_str().unwrap().to_owned())
    }
}

async fn show(bench: &Bench, address: &str, title: &str) {
    bench.accepted(json!({ "token": address, "notification": { "title": title } })).await;
}

#[tokio::test]
async fn a_stream_starts_with_what_is_shown_and_goes_on_live() {
    let bench = Bench::start().await;
    show(&bench, "a", "old").await;
    show(&bench, "b", "other").await;
    let mut all = Events::open(&bench, "/inbox/stream").await;
    let mut one = Events::open(&bench, "/inbox/a/stream").await;
    assert_eq!(all.next().await.as_deref(), Some("old"));
    assert_eq!(all.next().await.as_deref(), Some("other"));
    assert_eq!(one.next().await.as_deref(), Some("old"));
    show(&bench, "b", "for b").await;
    show(&bench, "a", "for a").await;
    assert_eq!(all.next().await.as_deref(), Some("for b"));
    assert_eq!(all.next().await.as_deref(), Some("for a"));
    assert_eq!(one.next().await.as_deref(), Some("for a"));
    let last = bench.emulator.inbox("a")[0].seq.to_string();
    let mut again = Events::reopen(&bench, "/inbox/a/stream", &last).await;
    assert_eq!(again.next().await.as_deref(), Some("for a"));
    bench.emulator.stop().await;
    assert_eq!(one.next().await, None);
}

#[tokio::test]
async fn a_phone_coming_online_tells_the_stream() {
    let bench = Bench::start().await;
    bench.control(Method::PUT, "/phones/a", json!({ "online": false })).await;
    let mut events = Events::open(&bench, "/inbox/a/stream").await;
    show(&bench, "a", "stored").await;
    bench.control(Method::PUT, "/phones/a", json!({ "online": true })).await;
    assert_eq!(events.next().await.as_deref(), Some("stored"));
}
