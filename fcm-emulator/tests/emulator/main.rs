//! The emulator over real HTTP.

mod oauth;
mod send;
mod support;
