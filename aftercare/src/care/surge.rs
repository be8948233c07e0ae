//! Noticing that a clinic sends far more than it is used to: a loop in its software, an import that nobody
//! meant, or a stolen secret. Every session that it records becomes pushes to patients.

use jiff::{SignedDuration, Timestamp};

use crate::store::{Intake, StoreError, Tx};

/// What is looked at, elapsed.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How many such days before it tell what is usual.
const USUAL_DAYS: i32 = 28;
/// How many times the usual number is too much.
const TOO_MUCH: i64 = 5;
/// So many sessions in a day surprise nobody, whatever is usual.
const QUIET: i64 = 20;

/// The clinics for which, within the last 24 h, more than 20 sessions were recorded and at least five times as
/// many as on an average day of the four weeks before.
///
/// # Errors
/// When the database refuses.
pub fn surges(tx: &mut Tx<'_>) -> Result<Vec<Intake>, StoreError> {
    let back = |moment: Timestamp, by| moment.checked_sub(by).unwrap_or(Timestamp::MIN);
    let later = back(tx.now(), DAY);
    let earlier = back(later, DAY * USUAL_DAYS);
    let busy = tx.intake(earlier, later, QUIET)?.into_iter();
    Ok(busy.filter(|it| it.lately * i64::from(USUAL_DAYS) >= it.before * TOO_MUCH).collect())
}
