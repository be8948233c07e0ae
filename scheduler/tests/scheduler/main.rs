//! The scheduler end to end: a real store, the real HTTP/2 client, an emulated FCM, one clock.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod outcomes;
mod running;
mod transport;
mod work;
mod world;
