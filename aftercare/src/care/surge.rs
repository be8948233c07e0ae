//! Noticing that a clinic sends far more than it is used to: a loop in its software, an import that nobody
//! meant, or a stolen secret. Every session that it records becomes pushes to patients.

use jiff::{SignedDuration, Timestamp};

use crate::ids::ClinicId;
use crate::store::{StoreError, Tx};

/// What is looked at, elapsed.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How many such days before it tell what is usual.
const USUAL_DAYS: i32 = 28;
/// How many times the usual number is too much.
const TOO_MUCH: i64 = 5;
/// So many sessions in a day surprise nobody, whatever is usual.
const QUIET: i64 = 20;

/// A clinic that sends far more than it is used to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surge {
    /// The clinic.
    pub clinic: ClinicId,
    /// How many sessions were recorded within the last 24 h.
    pub lately: i64,
    /// How many there were in the four weeks before that.
    pub before: i64,
}

/// The clinics for which, within the last 24 h, more than 20 sessions were recorded and at least five times as
/// many as on an average day of the four weeks before.
///
/// # Errors
/// When the database refuses.
pub fn surges(tx: &mut Tx<'_>) -> Result<Vec<Surge>, StoreError> {
    let back = |moment: Timestamp, by| moment.checked_sub(by).unwrap_or(Timestamp::MIN);
    let later = back(tx.now(), DAY);
    let earlier = back(later, DAY * USUAL_DAYS);
    let busy = tx.intake(earlier, later, QUIET)?.into_iter();
    let surging = busy.filter(|it| it.lately * i64::from(USUAL_DAYS) >= it.before * TOO_MUCH);
    let surge = |it: crate::store::Intake| Surge {
        clinic: it.clinic,
        lately: it.lately,
        before: it.before,
    };
    Ok(surging.map(surge).collect())
}
