//! The little of HTTP/1.1 that it takes to talk to a server as a stranger would.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer that takes longer than this is none.
const PATIENCE: Duration = Duration::from_mins(1);

/// One server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Http(pub(crate) SocketAddr);

/// What goes up with a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'b> {
    None,
    Json(&'b Value),
    Form(&'b str),
    /// Any text, under any headers.
    Raw {
        headers: &'b [(String, String)],
        text: &'b str,
    },
}

/// An answer, its body whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The header lines, in lower case.
    head: String,
    /// The same as they came.
    original: String,
    body: Vec<u8>,
}

impl Http {
    /// Sends one request over a connection of its own.
    pub(crate) async fn call(
        self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Body<'_>,
    ) -> Answer {
        self.attempt(method, path, token, body).await.unwrap()
    }

    /// The same, of a server that may not be there.
    pub(crate) async fn attempt(
        self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Body<'_>,
    ) -> io::Result<Answer> {
        let kind = |of: &str| format!("content-type: {of}\r\n");
        let (headers, body) = match body {
            Body::None => (String::new(), String::new()),
            Body::Json(value) => (kind("application/json"), value.to_string()),
            Body::Form(form) => (kind("application/x-www-form-urlencoded"), form.to_owned()),
            Body::Raw { headers, text } => {
                let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
                (lines.collect(), text.to_owned())
            }
        };
        let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}{}\r\n{body}",
            self.0,
            body.len(),
            bearer.unwrap_or_default(),
        );
        let mut stream = TcpStream::connect(self.0).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await??;
        Answer::parse(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The JSON that a path has to offer to anybody.
    pub(crate) async fn get(self, path: &str) -> Value {
        self.call("GET", path, None, Body::None).await.expect(200)
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let split = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let original = String::from_utf8(bytes[..split].to_vec()).ok()?;
        let head = original.to_ascii_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let body = &bytes[split + 4..];
        let chunked = head.contains("\r\ntransfer-encoding: chunked");
        let body = if chunked { unchunk(body) } else { body.to_vec() };
        Some(Self { status, head, original, body })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A header's value as it came.
    pub(crate) fn original(&self, name: &str) -> Option<&str> {
        let lines = self.original.split("\r\n").filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All that a caller can tell from it, but for what differs by itself.
    pub(crate) fn told(&self) -> (u16, Vec<&str>, &[u8]) {
        let differs = |line: &str| line.starts_with("date: ") || line.starts_with("x-request-id: ");
        let lines = self.head.split("\r\n").filter(|line| !differs(line));
        (self.status, lines.collect(), &self.body)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it is a page of a list with nothing on it.
    pub(crate) fn is_empty_page(&self) -> bool {
        let page: Option<Value> = serde_json::from_slice(&self.body).ok();
        page.is_some_and(|page| page["items"].as_array().is_some_and(Vec::is_empty))
    }

    /// The body, once the status is the expected one.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// The problem, once status, media type and code are the expected ones.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["code"], code, "{problem}");
        problem
    }
}

impl Answer {
    /// The OperationOutcome, once status, media type and the code of each issue are the expected ones.
    #[track_caller]
    pub(crate) fn outcome(&self, status: u16, code: &str) -> Value {
        let outcome = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/fhir+json"));
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        for issue in outcome["issue"].as_array().unwrap() {
            assert_eq!(issue["details"]["coding"][0]["code"], code, "{outcome}");
        }
        outcome
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
    body
}

/// Asks again and again until there is an answer, for a minute at most.
pub(crate) async fn wait_for<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let Ok(found) = timeout(PATIENCE, asking).await else { panic!("waited in vain for {what}") };
    found
}
