//! The API over real sockets: a server on a free port, an SQLite file of its own, a clock that moves when
//! told to.

mod care;
mod limits;
mod oauth;
mod openapi;
mod problems;
mod server;
mod support;
