//! FCM HTTP v1: what is said, how it travels and what the answers mean.

mod client;
mod compact;
mod connection;
mod credentials;
mod dial;
mod endpoint;
mod limiter;
mod message;
mod outcome;
mod pool;
mod retry;
mod token;

pub use client::{Client, ClientError};
pub use connection::ConnectError;
pub use credentials::{CredentialsError, ServiceAccount};
pub use dial::{Dial, Link, Tcp};
pub use endpoint::{Endpoint, EndpointError};
pub use limiter::{DEFAULT_RATE, Limiter};
pub use message::{Kind, MessageError, PAYLOAD_MAX, Push, encode};
pub use outcome::{Answer, Outcome, RetryCause, classify};
pub use retry::next_attempt;
pub use token::TokenError;
