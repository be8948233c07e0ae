//! Clients of an HTTP/1.1 server that keep their connections, one request at a time each.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::table::percentile;

/// How many requests went, and how long each took.
pub(super) struct Load {
    pub(super) seconds: f64,
    /// The shortest first.
    pub(super) milliseconds: Vec<f64>,
}

impl Load {
    pub(super) fn new(seconds: f64, mut milliseconds: Vec<f64>) -> Self {
        milliseconds.sort_by(f64::total_cmp);
        Self { seconds, milliseconds }
    }

    /// What half and what all but one in a hundred do not exceed.
    pub(super) fn percentiles(&self) -> [f64; 2] {
        [0.5, 0.99].map(|share| percentile(&self.milliseconds, share))
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        format!("{}: {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// A request that posts JSON in somebody's name.
pub(super) fn post(path: &str, token: &str, body: &Value) -> Vec<u8> {
    let more = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    request(path, &more, &body.to_string())
}

/// A request that posts a form.
pub(super) fn form(path: &str, body: &str) -> Vec<u8> {
    request(path, "Content-Type: application/x-www-form-urlencoded\r\n", body)
}

fn request(path: &str, more: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends all requests from so many clients; every one must make something.
pub(super) fn run(port: u16, clients: usize, requests: &[Vec<u8>]) -> Load {
    let next = AtomicUsize::new(0);
    let client = || {
        let mut connection = Connection::open(port);
        let mut times = Vec::with_capacity(requests.len() / clients);
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            let answer = connection.send(request);
            times.push(began.elapsed().as_secs_f64() * 1e3);
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
        times
    };
    let began = Instant::now();
    let times: Vec<Vec<f64>> = thread::scope(|scope| {
        let running: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        running.into_iter().map(|client| client.join().unwrap()).collect()
    });
    Load::new(began.elapsed().as_secs_f64(), times.concat())
}

/// Sends one request on a connection of its own.
pub(super) fn send(port: u16, request: &[u8]) -> Answer {
    Connection::open(port).send(request)
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::with_capacity(1 << 16, stream))
    }

    /// Understands answers that say how long they are.
    fn send(&mut self, request: &[u8]) -> Answer {
        self.0.get_mut().write_all(request).unwrap();
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = None;
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse().unwrap());
            }
        }
        let mut body = vec![0; length.expect("a length")];
        self.0.read_exact(&mut body).unwrap();
        Answer { status, body }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
