//! The shelf: what paused clinics have planned is taken out of the queue, so that no claim has to step over it.
//!
//! It is no state. A shelved reminder is planned; whoever writes its plan anew puts it back into the queue, and
//! whether a clinic is paused is looked at by each claim all the same.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool};

use super::{StoreError, Tx, with_conn};

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

impl Tx<'_> {
    /// Whether there is anything to shelve or to take from the shelf, as far as a glance tells.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn minds_shelf(&mut self) -> Result<bool, StoreError> {
        const ANY: &str = "SELECT EXISTS (SELECT 1 FROM clinics WHERE paused)
             OR EXISTS (SELECT 1 FROM reminders WHERE shelved) AS yes";
        let answer: Answer = with_conn!(self, |c| sql_query(ANY).get_result(c))?;
        Ok(answer.yes)
    }

    /// Shelves what paused clinics have among the first `most` reminders of the queue, due or not; gives how
    /// many they were.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn shelve(&mut self, most: i64) -> Result<usize, StoreError> {
        self.follow_the_index()?;
        // Others' reminders are not locked: claims would pass them by. What is looked at again under the lock is
        // put so that no engine thinks of joining by the queue's index.
        let sql = format!(
            "WITH head AS MATERIALIZED (
                SELECT id, clinic_id FROM reminders WHERE {planned} AND NOT shelved
                ORDER BY attempt_at, id LIMIT $1),
             theirs AS MATERIALIZED (
                SELECT r.id FROM head CROSS JOIN reminders r
                WHERE r.id = head.id AND CASE WHEN r.shelved THEN false ELSE r.state = 'planned' END
                  AND head.clinic_id IN (SELECT id FROM clinics WHERE paused) {lock})
             UPDATE reminders SET shelved = true WHERE id IN (SELECT id FROM theirs)",
            planned = self.planned(),
            lock = self.on_postgres("FOR UPDATE OF r SKIP LOCKED"),
        );
        with_conn!(self, |c| sql_query(&sql).bind::<BigInt, _>(most).execute(c))
    }

    /// Puts up to `most` reminders of one clinic that goes on back into the queue, the most overdue first: of the
    /// clinic that has the most overdue one. Gives how many they were; none if there is no such clinic.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn unshelve(&mut self, most: i64) -> Result<usize, StoreError> {
        self.follow_the_index()?;
        // From clinic to clinic, so that what stays on the shelf is not gone through.
        let sql = format!(
            "WITH RECURSIVE shelf (clinic) AS (
                SELECT (SELECT clinic_id FROM reminders WHERE shelved ORDER BY clinic_id LIMIT 1)
                UNION ALL
                SELECT (SELECT r.clinic_id FROM reminders r WHERE r.shelved AND r.clinic_id > clinic
                        ORDER BY r.clinic_id LIMIT 1)
                FROM shelf WHERE clinic IS NOT NULL),
             back AS MATERIALIZED (
                SELECT id FROM reminders
                WHERE shelved AND clinic_id = (SELECT clinic FROM shelf
                    WHERE clinic IS NOT NULL AND clinic NOT IN (SELECT id FROM clinics WHERE paused)
                    ORDER BY (SELECT r.attempt_at FROM reminders r WHERE r.shelved AND r.clinic_id = clinic
                              ORDER BY r.attempt_at LIMIT 1) LIMIT 1)
                ORDER BY attempt_at LIMIT $1 {lock})
             UPDATE reminders SET shelved = false WHERE id IN (SELECT id FROM back)",
            lock = self.on_postgres("FOR UPDATE SKIP LOCKED"),
        );
        with_conn!(self, |c| sql_query(&sql).bind::<BigInt, _>(most).execute(c))
    }
}
