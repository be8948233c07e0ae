//! What phones say of time.

use jiff::{SignedDuration, Timestamp};

/// How far ahead of ours a phone's clock may be.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// The instant that a phone tells of something that happened on it: one that is a little ahead is now.
/// `None` for one in the future.
pub(super) fn told(at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (at.duration_since(now) <= SKEW).then(|| at.min(now))
}
