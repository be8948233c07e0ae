//! How long patients are kept.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Unit};

use super::erasure::{ErasedBy, erase_patient};
use crate::ids::PatientId;
use crate::store::{StoreError, Tx};

/// How long a patient is kept after the last treatment: a span of the calendar, of 30 days at least.
/// Whoever was never treated is kept as long after their last change.
///
/// Written as an ISO 8601 duration of years, months, weeks and days. It is counted back from now in
/// UTC: where a month ends sooner, a patient is kept up to three days longer.
///
/// ```
/// use aftercare::care::Retention;
///
/// let now = "2027-12-22T15:40:00Z".parse()?;
/// assert_eq!(Retention::default().before(now).to_string(), "2026-11-22T15:40:00Z");
/// for refused in ["PT13M", "P13", "P1W", "-P13M", "P0D", "P9999Y", ""] {
///     assert!(refused.parse::<Retention>().is_err(), "{refused}");
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Retention(Span);

/// It is no such span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a retention is an ISO 8601 duration of years, months, weeks and days, such as P13M: 30 days at \
     least, 100 years at most"
)]
pub struct RetentionError;

impl Default for Retention {
    /// 13 months: a course's year, and a month to come back in.
    fn default() -> Self {
        Self(Span::new().months(13))
    }
}

impl FromStr for Retention {
    type Err = RetentionError;

    fn from_str(text: &str) -> Result<Self, RetentionError> {
        // "PT13M" is 13 minutes: nobody may lose their patients to one letter.
        if !text.starts_with('P') || text.contains('T') {
            return Err(RetentionError);
        }
        let span: Span = text.parse().map_err(|_| RetentionError)?;
        let days = span.total((Unit::Day, jiff::civil::date(2001, 1, 1)));
        let days = days.map_err(|_| RetentionError)?;
        (30.0..=36_525.0).contains(&days).then_some(Self(span)).ok_or(RetentionError)
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Retention {
    /// The instant since which something must have happened to a patient who is kept.
    #[must_use]
    pub fn before(self, now: Timestamp) -> Timestamp {
        let then = now.to_zoned(TimeZone::UTC).checked_sub(self.0);
        then.map_or(Timestamp::MIN, |then| then.timestamp())
    }
}

/// Erases a patient whose time is over, unless something happened meanwhile: while anything is planned,
/// or a session booked, nobody is. Whether it did; then
/// [`Store::finish_erasures`](crate::store::Store::finish_erasures) must follow the commit.
///
/// # Errors
/// When the database refuses.
pub fn erase_if_over(
    tx: &mut Tx<'_>,
    patient: PatientId,
    retention: Retention,
) -> Result<bool, StoreError> {
    let before = retention.before(tx.now());
    if !tx.lock_if_over(patient, before)? {
        return Ok(false);
    }
    Ok(erase_patient(tx, patient, ErasedBy::Retention)?.is_some())
}
