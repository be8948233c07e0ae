//! The shapes of requests and answers, apart from the domain's own types: the domain may change, these
//! are the contract.

mod care;
mod devices;
mod oauth;
mod patients;
mod protocols;
mod treatments;

pub use care::*;
pub use devices::*;
pub use oauth::*;
pub use patients::*;
pub use protocols::*;
pub use treatments::*;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// An instant as the wall clock of a zone shows it: `2026-11-23T07:50:00+00:00[Europe/Lisbon]`.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).to_string()
}
