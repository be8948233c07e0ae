//! How much clinics send.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use jiff::Timestamp;

use super::sql::{At, Id, Instant};
use super::{StoreError, Tx, with_conn};
use crate::ids::ClinicId;

/// How many sessions were recorded for a clinic, now and before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Intake {
    /// The clinic.
    #[diesel(sql_type = Id)]
    pub clinic: ClinicId,
    /// After the later moment.
    #[diesel(sql_type = BigInt)]
    pub lately: i64,
    /// After the earlier moment and until the later one.
    #[diesel(sql_type = BigInt)]
    pub before: i64,
}

impl Tx<'_> {
    /// The clinics for which more than `most` sessions were recorded after `later`, and how many were
    /// between `earlier` and then. Reads of each clinic what is recent, by index.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn intake(
        &mut self,
        earlier: Timestamp,
        later: Timestamp,
        most: i64,
    ) -> Result<Vec<Intake>, StoreError> {
        const INTAKE: &str = "SELECT busy.clinic, busy.lately,
               (SELECT count(*) FROM treatments t
                WHERE t.clinic_id = busy.clinic AND t.recorded_at > $1 AND t.recorded_at <= $2)
               AS before
             FROM (SELECT c.id AS clinic,
                     (SELECT count(*) FROM treatments t
                      WHERE t.clinic_id = c.id AND t.recorded_at > $2) AS lately
                   FROM clinics c) AS busy
             WHERE busy.lately > $3 ORDER BY busy.clinic";
        with_conn!(self, |c| sql_query(INTAKE)
            .bind::<Instant, _>(At(earlier))
            .bind::<Instant, _>(At(later))
            .bind::<BigInt, _>(most)
            .load(c))
    }
}
