//! Quiet hours.

use jiff::Timestamp;
use jiff::civil::{DateTime, Time};

use super::moment::instant;
use crate::protocol::QuietHours;
use crate::zone::Zone;

/// Where quiet hours put something due at `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where it is.
    Stay,
    /// To their end, or to their start.
    Move(Timestamp),
    /// Nowhere.
    Drop,
}

/// Outside quiet hours a moment stays. Inside it moves to their end if that is before `use_by`,
/// else to their start if that is not before `now`, else there is no place for it.
pub(super) fn place(
    quiet: QuietHours,
    zone: &Zone,
    at: Timestamp,
    use_by: Timestamp,
    now: Timestamp,
) -> Place {
    let Some((start, end)) = around(quiet, zone, at) else { return Place::Stay };
    if end < use_by {
        Place::Move(end)
    } else if start >= now {
        Place::Move(start)
    } else {
        Place::Drop
    }
}

/// The quiet hours that `at` falls into, as instants `[start, end)`; `None` outside them.
pub(super) fn around(
    quiet: QuietHours,
    zone: &Zone,
    at: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let local = at.to_zoned(zone.tz().clone()).datetime();
    let (today, time) = (local.date(), local.time());
    let (from, until) = (quiet.from, quiet.until);
    let (first, last) = if from <= until {
        (today, today)
    } else if time >= from {
        (today, today.tomorrow().ok()?)
    } else {
        (today.yesterday().ok()?, today)
    };
    let on = |date: jiff::civil::Date, time: Time| -> Option<Timestamp> {
        let local: DateTime = date.to_datetime(time);
        instant(local, zone.tz())
    };
    let (start, end) = (on(first, from)?, on(last, until)?);
    (start <= at && at < end).then_some((start, end))
}
