//! The little HTTP client that the demo drives the API with, as a clinic's software would.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::super::Failure;

/// Speaks JSON to one server.
#[derive(Debug, Clone)]
pub(super) struct Http {
    address: std::net::SocketAddr,
}

/// What goes up with a request.
pub(super) enum Body<'b> {
    None,
    Json(&'b Value),
    Form(&'b str),
}

impl Http {
    pub(super) fn new(address: std::net::SocketAddr) -> Self {
        Self { address }
    }

    /// Sends one request and reads the JSON of a 2xx; anything else is a failure that shows it.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Body<'_>,
    ) -> Result<Value, Failure> {
        let (kind, bytes) = match body {
            Body::None => ("application/json", Vec::new()),
            Body::Json(value) => ("application/json", value.to_string().into_bytes()),
            Body::Form(form) => ("application/x-www-form-urlencoded", form.as_bytes().to_vec()),
        };
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_LENGTH, bytes.len());
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(Bytes::from(bytes))).map_err(Failure::work)?;
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::work)?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(Failure::work)?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await.map_err(Failure::work)?.to_bytes();
        connection.abort();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&bytes);
            return Err(Failure::Work(format!("{method} {path} answered {status}: {text}")));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(Failure::work)
    }
}
