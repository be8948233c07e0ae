//! The whole, end to end: the API, the scheduler and the FCM emulator over real sockets, on both
//! databases, under a clock that the test moves; and the binary itself, on the real one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, a panic is how a broken promise shows"
)]

mod app;
mod chromium;
mod clients;
mod http;
mod process;
mod protocols;
mod receiver;
mod stage;
mod surge;

mod amend;
mod audit;
mod backup;
mod binary;
mod calendar;
mod canaries;
mod clinics;
mod commands;
mod course;
mod crash_points;
mod database;
mod desk;
mod disk;
mod erasure;
mod events;
mod export;
mod fcm_outages;
mod fhir;
mod handout;
mod heavy;
mod integrations;
mod isolation;
mod keys;
mod master_key;
mod offline;
mod phones;
mod races;
mod reachability;
mod readme;
mod refusals;
mod replan;
mod retention;
mod secrecy;
mod signed_events;
mod snooze;
mod soak;
mod storm;
mod story;
mod test_push;
mod typescript_client;
mod use_by;
mod webhooks;
mod why;
mod wishes;
