//! One conformance suite for the store, run against both engines.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod amendments;
mod audit;
mod calendars;
mod clinics;
mod connections;
mod devices;
mod erasures;
mod faults;
mod fcm_lines;
mod fixtures;
mod migrations;
mod patients;
mod protocols;
mod queue;
mod receipts;
mod reminders;
mod retention;
mod retries;
mod rotation;
mod sign_in;
mod statistics;
mod test_pushes;
mod treatments;
mod units;
