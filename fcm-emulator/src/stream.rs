//! The live stream of what phones show, as server-sent events.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::answer::Answer;
use crate::inbox::Phones;
use crate::phone::ShownNotification;

/// How often a silent stream says that it is still there (real time).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Answers with what is shown now (of one phone, or of all) and then whatever follows.
///
/// Each entry is an event `shown` with its JSON as data and its `seq` as id. A reader that is
/// too slow gets an event `missed` with the number of entries it will never see. A reader that
/// comes back with the `Last-Event-ID` it saw is spared what it already knows.
pub(crate) fn answer(phones: &Phones, address: Option<&str>, headers: &HeaderMap) -> Answer {
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let known: u64 = known.unwrap_or(0);
    // Subscribed first: what is shown in between comes twice and is left out the second time.
    let live = phones.subscribe();
    let shown = match address {
        Some(address) => phones.inbox(address),
        None => phones.inboxes(),
    };
    let feed = Feed {
        replayed: shown.iter().map(|entry| entry.seq).collect(),
        backlog: shown.iter().filter(|entry| entry.seq > known).map(event).collect(),
        address: address.map(str::to_owned),
        live,
    };
    let frames = stream::unfold(feed, |mut feed| async move {
        let text = feed.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), feed))
    });
    let mut answer = http::Response::new(StreamBody::new(frames).boxed_unsync());
    *answer.status_mut() = StatusCode::OK;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

struct Feed {
    backlog: VecDeque<String>,
    replayed: HashSet<u64>,
    address: Option<String>,
    live: Receiver<Arc<ShownNotification>>,
}

impl Feed {
    async fn next(&mut self) -> Option<String> {
        if let Some(event) = self.backlog.pop_front() {
            return Some(event);
        }
        loop {
            match tokio::time::timeout(KEEP_ALIVE, self.live.recv()).await {
                Err(_) => return Some(": still here\n\n".to_owned()),
                Ok(Err(RecvError::Closed)) => return None,
                Ok(Err(RecvError::Lagged(missed))) => {
                    return Some(format!("event: missed\ndata: {missed}\n\n"));
                }
                Ok(Ok(shown)) if self.wants(&shown) => return Some(event(&shown)),
                Ok(Ok(_)) => {}
            }
        }
    }

    fn wants(&mut self, shown: &ShownNotification) -> bool {
        let ours = self.address.as_ref().is_none_or(|address| *address == shown.address);
        ours && !self.replayed.remove(&shown.seq)
    }
}

fn event(shown: &ShownNotification) -> String {
    let data = serde_json::to_string(shown).unwrap_or_default();
    format!("event: shown\nid: {}\ndata: {data}\n\n", shown.seq)
}
