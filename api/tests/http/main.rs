//! The API over real sockets: a server on a free port, an SQLite file of its own, a clock that moves when
//! told to.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "in a test, a panic is how a broken promise shows"
)]

mod abuse;
mod calendar;
mod care;
mod front;
mod limits;
mod oauth;
mod openapi;
mod problems;
mod secrets;
mod server;
mod support;
mod telemetry;
mod tokens;
