//! A clinic's own server: it takes what webhooks post, and answers as the test wants.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Received {
    fn parse(head: &str, body: &[u8]) -> Option<Self> {
        assert!(head.starts_with("POST /hook?key=7 HTTP/1.1\r\n"), "{head}");
        let header = |name: &str| {
            let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
            let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned())
        };
        assert_eq!(header("content-type")?, "application/json");
        let text = String::from_utf8(body.to_vec()).ok()?;
        Some(Self {
            id: header("webhook-id")?,
            timestamp: header("webhook-timestamp")?,
            signature: header("webhook-signature")?,
            body: serde_json::from_str(&text).ok()?,
            text,
        })
    }

    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    /// Whose it is, and what happened.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.body["data"]["patient_ref"].as_str().unwrap_or("-"), self.kind())
    }

    /// Whether the secret signed it: the specification's words, with no code of the server's.
    pub(crate) fn is_signed(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.text);
        let Some(tag) = self.signature.strip_prefix("v1,") else { return false };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        hmac::verify(&key, signed.as_bytes(), &STANDARD.decode(tag).unwrap()).is_ok()
    }
}

/// What a message is answered.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    /// Read, and the connection cut.
    Nothing,
    /// 200, after a while.
    Late(Duration),
    /// See there.
    Redirect(String),
}

type Rule = dyn Fn(&Received) -> Reply + Send + Sync;

/// See the module's words.
#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    rule: Arc<Mutex<Arc<Rule>>>,
}

impl Receiver {
    /// One that takes everything; it listens as long as the test's runtime runs.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rule: Arc<Rule> = Arc::new(|_| Reply::Status(200));
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            rule: Arc::new(Mutex::new(rule)),
        };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?key=7", self.address)
    }

    /// From now on messages are answered by this rule.
    pub(crate) fn answer(&self, rule: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Arc::new(rule);
    }

    /// Everything that came since the last call, in order.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap())
    }

    /// Whether anything came since then.
    pub(crate) fn has_any(&self) -> bool {
        !self.received.lock().unwrap().is_empty()
    }

    /// The same in short.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.take().iter().map(Received::line).collect()
    }

    async fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        let received = loop {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
            let length = head.to_ascii_lowercase();
            let (_, length) = length.split_once("content-length: ")?;
            let length: usize = length.split("\r\n").next()?.parse().ok()?;
            if bytes.len() >= end + 4 + length {
                break Received::parse(&head, &bytes[end + 4..end + 4 + length]).unwrap();
            }
        };
        let rule = Arc::clone(&self.rule.lock().unwrap());
        let reply = rule(&received);
        self.received.lock().unwrap().push(received);
        let (status, more) = match reply {
            Reply::Nothing => return None,
            Reply::Status(status) => (status, String::new()),
            Reply::Late(after) => {
                tokio::time::sleep(after).await;
                (200, String::new())
            }
            Reply::Redirect(to) => (307, format!("location: {to}\r\n")),
        };
        let answer = format!(
            "HTTP/1.1 {status} Said\r\n{more}content-length: 2\r\nconnection: close\r\n\r\nok"
        );
        stream.write_all(answer.as_bytes()).await.ok()
    }
}
