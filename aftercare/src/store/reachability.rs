//! Reminders that nobody is going to hear, as far as the tables tell.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use jiff::Timestamp;

use super::reminders::Reminder;
use super::sql::{At, Id, Instant};
use super::{StoreError, Tx, with_conn};
use crate::ids::{ClinicId, ReminderId};

/// What the partial index `reminders_clinic_due` has: PostgreSQL's by its column, SQLite's by these states; only so
/// does it answer.
const WATCHED: &str = "AND watched";

/// A patient with one phone that shows notifications is reached, unless sending is paused;
/// [`crate::care`] says so of a device in the same words.
fn unheard(watched: &str) -> String {
    format!(
        "SELECT r.* FROM reminders r
     WHERE r.clinic_id = $1
       AND (state IN ('planned', 'claimed', 'failed') OR (state = 'skipped' AND reason = 'consent')) {watched}
       AND r.due_at <= $2 AND r.use_by > $3 AND (r.due_at, r.id) > ($4, $5)
       AND (r.state IN ('skipped', 'failed')
         OR EXISTS (SELECT 1 FROM server WHERE sending_paused)
         OR EXISTS (SELECT 1 FROM clinics c WHERE c.id = r.clinic_id AND c.paused)
         OR NOT EXISTS (SELECT 1 FROM devices d WHERE d.patient_id = r.patient_id
                        AND d.state = 'active' AND d.notifications_enabled))
     ORDER BY r.due_at, r.id LIMIT $6"
    )
}

impl Tx<'_> {
    /// Up to `limit` reminders of a clinic that are due by `until` and still of use, and that no phone
    /// would show: planned ones without one, those of a paused clinic, those that FCM refused for good,
    /// and those that withdrawn consent left out. By due moment, from after the cursor: the (`due_at`,
    /// `id`) of the last one of the page before.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn unheard_reminders(
        &mut self,
        clinic: ClinicId,
        until: Timestamp,
        after: Option<(Timestamp, ReminderId)>,
        limit: i64,
    ) -> Result<Vec<Reminder>, StoreError> {
        let (after_due, after_id) =
            after.unwrap_or((Timestamp::UNIX_EPOCH, ReminderId(uuid::Uuid::nil())));
        let sql = unheard(self.on_postgres(WATCHED));
        let now = At(self.now);
        with_conn!(self, |c| sql_query(&sql)
            .bind::<Id, _>(clinic)
            .bind::<Instant, _>(At(until))
            .bind::<Instant, _>(now)
            .bind::<Instant, _>(At(after_due))
            .bind::<Id, _>(after_id)
            .bind::<BigInt, _>(limit)
            .load(c))
    }
}
