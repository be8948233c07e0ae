//! The planner: stories about its corners, what must hold of every plan whatever the facts, and
//! timelines that people have read. One binary, since each one links all of the crate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod announcements;
mod any;
mod corrections;
mod golden;
mod properties;
mod snooze;
mod spread;
mod stories;
mod support;
