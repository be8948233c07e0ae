//! From a protocol's moments to instants.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::protocol::{Calendar, Moment};

/// What a treatment's moments hang on. Days are counted in the treatment's zone; hours of the day
/// are read off the patient's wall.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anchor<'a> {
    pub(crate) completed_at: Timestamp,
    pub(crate) treatment_zone: &'a TimeZone,
    pub(crate) patient_zone: &'a TimeZone,
    pub(crate) interval: Option<Calendar>,
    pub(crate) next_session_at: Option<Timestamp>,
}

impl Anchor<'_> {
    /// The treatment's calendar day.
    pub(crate) fn day_zero(&self) -> Date {
        self.completed_at.to_zoned(self.treatment_zone.clone()).date()
    }

    /// The day the next session is due: a calendar month ends where the shorter month ends.
    pub(crate) fn next_session_on(&self) -> Option<Date> {
        self.interval?.after(self.day_zero())
    }

    /// The instant of `moment`. A wall-clock hour that a change of the clocks skips or repeats
    /// resolves to the later reading of a gap and the first of a fold.
    ///
    /// `None` where there is nothing to hang it on (no course, no booking, no due moment), or the
    /// calendar ends.
    pub(crate) fn resolve(&self, moment: Moment, due: Option<Timestamp>) -> Option<Timestamp> {
        match moment {
            Moment::Elapsed(after) => self.completed_at.checked_add(after).ok(),
            Moment::Wall { day, at } => self.wall(self.day_zero(), day, at),
            Moment::EndOfDay { day } => {
                let midnight = plus(self.day_zero(), day)?.tomorrow().ok()?.at(0, 0, 0, 0);
                instant(midnight, self.treatment_zone)
            }
            Moment::Interval { days, at } => self.wall(self.next_session_on()?, days, at),
            Moment::Booking { days, at } => {
                let booked = self.next_session_at?.to_zoned(self.treatment_zone.clone()).date();
                self.wall(booked, days, at)
            }
            Moment::AfterDue { days } => {
                let due = due?.to_zoned(self.patient_zone.clone());
                self.wall(due.date(), days, due.time())
            }
        }
    }

    fn wall(&self, from: Date, days: i32, at: Time) -> Option<Timestamp> {
        instant(plus(from, days)?.to_datetime(at), self.patient_zone)
    }
}

fn plus(date: Date, days: i32) -> Option<Date> {
    date.checked_add(Span::new().try_days(days).ok()?).ok()
}

/// The instant at which the wall shows `local`, by jiff's `compatible` rule.
pub(crate) fn instant(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(local).compatible().ok()
}
