//! How a server is reached: over TCP, or over what a simulation puts in its place.

use std::{fmt, io};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes both ways, in order.
pub trait Link: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Link for T {}

/// Opens links to servers.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Opens one. Whoever waits for it gives up after ten seconds, TLS and HTTP/2 included.
    ///
    /// # Errors
    /// When the server cannot be reached.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Link>>>;
}

/// Over TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Link>>> {
        async move {
            let tcp = TcpStream::connect((host, port)).await?;
            tcp.set_nodelay(true)?;
            Ok(Box::new(tcp) as Box<dyn Link>)
        }
        .boxed()
    }
}
