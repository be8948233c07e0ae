//! Reminders as work: claimed under a lease, completed only by whoever holds it.
//!
//! A claim moves `planned` reminders to `claimed` in one statement and commits; sending happens
//! outside any transaction; [`Tx::complete`] then writes the outcomes of those that are still
//! claimed under the same lease. A worker that was presumed dead and comes back finds its lease
//! gone and changes nothing.
//!
//! These statements are written out, with the conditions of the partial indexes as they are: only so does either
//! engine see that an index answers them.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Nullable, Text};
use jiff::Timestamp;

use super::conn::{Conn, PgConnection};
use super::kept::{Keep as _, columns};
use super::reminders::Reminder;
use super::sql::{At, Doc, Id, Instant, Json, MaybeAt};
use super::{StoreError, Tx, with_conn};
use crate::ids::{LeaseId, ReminderId};
use crate::planner::{Reason, ReminderState, Said};

/// What became of a claimed reminder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion<'s> {
    /// Which one.
    pub id: ReminderId,
    /// What became of it.
    pub outcome: Outcome,
    /// What it said, when a device accepted it.
    pub said: Option<&'s Said>,
}

/// A place in the queue: a reminder's, while it was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    at: Timestamp,
    id: ReminderId,
}

impl Place {
    /// Before all: nothing is due before 2000.
    const BEGINNING: Self = Self { at: Timestamp::UNIX_EPOCH, id: ReminderId(uuid::Uuid::nil()) };

    /// Where a reminder stood that was claimed.
    #[must_use]
    pub fn of(claimed: &Reminder) -> Option<Self> {
        Some(Self { at: claimed.attempt_at?, id: claimed.id })
    }

    /// When the queue was to look at it.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// The ways a claim ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A device accepted it.
    Sent {
        /// When.
        at: Timestamp,
    },
    /// It did not go out now; the queue looks at it again.
    Retry {
        /// When.
        attempt_at: Timestamp,
    },
    /// There was nobody to reach; the queue looks at it again.
    NoDevice {
        /// When: its use-by, unless a device registers before.
        attempt_at: Timestamp,
    },
    /// It ended past its use-by.
    Expired {
        /// Why.
        reason: Reason,
    },
    /// It was refused for good.
    Failed {
        /// Why.
        reason: Reason,
    },
}

/// A completion's columns: state, reason, `attempt_at`, `sent_at`.
pub(super) type Columns = (ReminderState, Reason, Option<Timestamp>, Option<Timestamp>);

impl Outcome {
    pub(super) fn columns(&self) -> Columns {
        use ReminderState::{Expired, Failed, Planned, Sent};
        match *self {
            Self::Sent { at } => (Sent, Reason::Accepted, None, Some(at)),
            Self::Retry { attempt_at } => (Planned, Reason::Retrying, Some(attempt_at), None),
            Self::NoDevice { attempt_at } => (Planned, Reason::NoDevice, Some(attempt_at), None),
            Self::Expired { reason } => (Expired, reason, None, None),
            Self::Failed { reason } => (Failed, reason, None, None),
        }
    }
}

/// When each of the queues has work next: `None` when it has none, past when it is due already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, QueryableByName)]
pub struct NextDue {
    /// Reminders.
    #[diesel(sql_type = Nullable<Instant>, deserialize_as = MaybeAt)]
    pub reminder: Option<Timestamp>,
    /// Single devices' retries.
    #[diesel(sql_type = Nullable<Instant>, deserialize_as = MaybeAt)]
    pub retry: Option<Timestamp>,
    /// Test pushes.
    #[diesel(sql_type = Nullable<Instant>, deserialize_as = MaybeAt)]
    pub test: Option<Timestamp>,
}

impl NextDue {
    /// Reminders, whether to all of the patient's devices or to a single one.
    #[must_use]
    pub fn reminders(&self) -> Option<Timestamp> {
        self.reminder.into_iter().chain(self.retry).min()
    }

    /// Whatever comes first.
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        self.reminders().into_iter().chain(self.test).min()
    }
}

#[derive(QueryableByName)]
struct Changed {
    #[diesel(sql_type = Id)]
    id: ReminderId,
}

fn ids(changed: Vec<Changed>) -> Vec<ReminderId> {
    changed.into_iter().map(|row| row.id).collect()
}

impl Tx<'_> {
    /// The condition that a reminder is planned, as the engine's index of the queue has it. PostgreSQL's has what is
    /// claimed, too; that is told by its lease, of which its statistics know that there are few.
    pub(super) fn planned(&self) -> &'static str {
        match self.conn {
            Conn::Pg(_) => "queued AND lease_id IS NULL",
            Conn::Sqlite(_) => "state = 'planned'",
        }
    }

    /// Claims up to `limit` planned reminders that the queue should look at by now, the most overdue
    /// first, until `lease_until`. Paused clinics' wait. On PostgreSQL, claimers pass by what others are
    /// claiming or re-planning at the moment.
    ///
    /// Behind `place` only, if one is given. What is claimed keeps an entry in the queue's index, and what was sent
    /// leaves a dead one as long as anybody's snapshot is older: each claim from the beginning goes through all of
    /// them.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn claim_due(
        &mut self,
        limit: i64,
        place: Option<Place>,
        lease: LeaseId,
        lease_until: Timestamp,
    ) -> Result<Vec<Reminder>, StoreError> {
        self.follow_the_index()?;
        let now = At(self.now);
        let Place { at, id } = place.unwrap_or(Place::BEGINNING);
        // Materialised, so that the rows are locked once and no more of them than the limit.
        let sql = format!(
            "WITH due AS MATERIALIZED (
                SELECT id FROM reminders
                WHERE {planned} AND NOT shelved
                  AND attempt_at <= $1 AND (attempt_at, id) > ($2, $3)
                  AND clinic_id NOT IN (SELECT id FROM clinics WHERE paused)
                  AND NOT EXISTS (SELECT 1 FROM server WHERE sending_paused)
                ORDER BY attempt_at, id LIMIT $4 {lock})
             UPDATE reminders SET state = 'claimed', lease_id = $5, leased_until = $6,
                attempts = attempts + 1, updated_at = $1
             WHERE id IN (SELECT id FROM due)
             RETURNING {columns}",
            planned = self.planned(),
            columns = columns::<Reminder>()?,
            lock = self.on_postgres("FOR UPDATE SKIP LOCKED"),
        );
        let mut claimed: Vec<Reminder> = with_conn!(self, |c| sql_query(&sql)
            .bind::<Instant, _>(now)
            .bind::<Instant, _>(At(at))
            .bind::<Id, _>(id)
            .bind::<BigInt, _>(limit)
            .bind::<Id, _>(lease)
            .bind::<Instant, _>(At(lease_until))
            .kept()
            .load(c))?;
        claimed.sort_by_key(|reminder| (reminder.attempt_at, reminder.id));
        Ok(claimed)
    }

    /// Keeps PostgreSQL from sorting all that is due to find the first few, and from reading whole tables to join
    /// them: its statistics of a queue are always old. Holds until this transaction ends.
    pub(super) fn follow_the_index(&mut self) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.follows_the_index, true) {
            return Ok(());
        }
        if let Conn::Pg(c) = &mut *self.conn {
            let set = c.batch_execute(
                "SET LOCAL enable_sort = off; SET LOCAL enable_hashjoin = off;
                 SET LOCAL enable_mergejoin = off",
            );
            set.map_err(|error| self.refused(error))?;
        }
        Ok(())
    }

    /// Puts reminders whose lease has run out back into the queue; gives how many. PostgreSQL looks among the first
    /// `among` that are due; the others' turn comes as these leave.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn release_expired_leases(&mut self, among: i64) -> Result<usize, StoreError> {
        const SQLITE: &str = "UPDATE reminders SET state = 'planned',
                lease_id = NULL, leased_until = NULL, updated_at = $1
             WHERE state = 'claimed' AND leased_until <= $1";
        // What is claimed stands where it stood in the queue, so near its head.
        const POSTGRES: &str = "WITH head AS MATERIALIZED (
                SELECT id, state, leased_until FROM reminders
                WHERE queued AND NOT shelved AND attempt_at <= $1
                ORDER BY attempt_at, id LIMIT $2),
             lost AS MATERIALIZED (
                SELECT r.id FROM head CROSS JOIN reminders r
                WHERE head.state = 'claimed' AND head.leased_until <= $1
                  AND r.id = head.id AND r.state = 'claimed' AND r.leased_until <= $1
                FOR UPDATE OF r SKIP LOCKED)
             UPDATE reminders SET state = 'planned', lease_id = NULL, leased_until = NULL, updated_at = $1
             WHERE id IN (SELECT id FROM lost)";
        self.follow_the_index()?;
        let now = At(self.now);
        let result = match &mut *self.conn {
            Conn::Pg(c) => {
                let bound = sql_query(POSTGRES).bind::<Instant, _>(now);
                bound.bind::<BigInt, _>(among).execute(&mut **c)
            }
            Conn::Sqlite(c) => sql_query(SQLITE).bind::<Instant, _>(now).execute(&mut **c),
        };
        result.map_err(|error| self.refused(error))
    }

    /// Writes what became of claimed reminders, and gives the ids of those that were still claimed
    /// under this lease; the others are left as they are.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn complete(
        &mut self,
        lease: LeaseId,
        completions: &[Completion<'_>],
    ) -> Result<Vec<ReminderId>, StoreError> {
        let now = At(self.now);
        if let Conn::Pg(c) = &mut *self.conn {
            let changed = complete_at_once(c, lease, now, completions);
            return changed.map(ids).map_err(|error| self.refused(error));
        }
        let mut changed = Vec::with_capacity(completions.len());
        for completion in completions {
            changed.extend(self.complete_one(lease, now, completion)?);
        }
        Ok(ids(changed))
    }

    /// There and back is no way at all in SQLite, and one short statement is prepared for whatever number.
    fn complete_one(
        &mut self,
        lease: LeaseId,
        now: At,
        completion: &Completion<'_>,
    ) -> Result<Option<Changed>, StoreError> {
        const ONE: &str = "UPDATE reminders SET state = $1, reason = $2, attempt_at = $3,
                sent_at = coalesce($4, sent_at), said = coalesce($5, said),
                lease_id = NULL, leased_until = NULL, updated_at = $6
             WHERE id = $7 AND state = 'claimed' AND lease_id = $8
             RETURNING id";
        let (state, reason, attempt_at, sent_at) = completion.outcome.columns();
        with_conn!(self, |c| sql_query(ONE)
            .bind::<Text, _>(state)
            .bind::<Text, _>(reason)
            .bind::<Nullable<Instant>, _>(attempt_at.map(At))
            .bind::<Nullable<Instant>, _>(sent_at.map(At))
            .bind::<Nullable<Doc>, _>(completion.said.map(Json))
            .bind::<Instant, _>(now)
            .bind::<Id, _>(completion.id)
            .bind::<Id, _>(lease)
            .kept()
            .get_result(c)
            .optional())
    }

    /// When each of the queues has work next: one statement, for [`super::Store::look`]. What paused clinics have
    /// does not count.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn next_due(&mut self) -> Result<NextDue, StoreError> {
        let sql = format!(
            "SELECT
            (SELECT attempt_at FROM reminders
             WHERE {planned} AND NOT shelved
               AND clinic_id NOT IN (SELECT id FROM clinics WHERE paused)
               AND NOT EXISTS (SELECT 1 FROM server WHERE sending_paused)
             ORDER BY attempt_at, id LIMIT 1) AS reminder,
            (SELECT d.retry_at FROM deliveries d
             JOIN reminders r ON r.id = d.reminder_id
             WHERE d.state = 'retry' AND d.retry_at IS NOT NULL
               AND (d.leased_until IS NULL OR d.leased_until <= $1)
               AND r.clinic_id NOT IN (SELECT id FROM clinics WHERE paused)
               AND NOT EXISTS (SELECT 1 FROM server WHERE sending_paused)
             ORDER BY d.retry_at, d.id LIMIT 1) AS retry,
            (SELECT attempt_at FROM test_pushes
             WHERE state = 'planned' AND use_by > $1
               AND clinic_id NOT IN (SELECT id FROM clinics WHERE paused)
               AND NOT EXISTS (SELECT 1 FROM server WHERE sending_paused)
             ORDER BY attempt_at, id LIMIT 1) AS test",
            planned = self.planned(),
        );
        let now = At(self.now);
        with_conn!(self, |c| sql_query(&sql).bind::<Instant, _>(now).kept().get_result(c))
    }
}

/// One array for each column: the statement is the same however many rows there are, so that PostgreSQL
/// reads and plans it once. Locks in the order of ids, as re-planning does, so that neither waits for the other
/// in a circle.
fn complete_at_once(
    conn: &mut PgConnection,
    lease: LeaseId,
    now: At,
    completions: &[Completion<'_>],
) -> QueryResult<Vec<Changed>> {
    // Each join has one way only, by the key of reminders: PostgreSQL does not know how much it is given, and
    // would go through it once for every row.
    const COMPLETE: &str = "WITH mine AS (SELECT $1 AS lease, $2 AS now),
         done (id, state, reason, attempt_at, sent_at, said) AS (
            SELECT * FROM unnest($3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
                $8::jsonb[])),
         held AS MATERIALIZED (
            SELECT done.* FROM done CROSS JOIN reminders r
            WHERE r.id = done.id AND r.state = 'claimed'
              AND r.lease_id = (SELECT lease FROM mine) ORDER BY r.id FOR UPDATE OF r)
         UPDATE reminders SET state = held.state, reason = held.reason,
            attempt_at = held.attempt_at, sent_at = coalesce(held.sent_at, reminders.sent_at),
            said = coalesce(held.said, reminders.said),
            lease_id = NULL, leased_until = NULL, updated_at = (SELECT now FROM mine)
         FROM held
         WHERE reminders.id = held.id
         RETURNING reminders.id";
    let columns: Vec<Columns> = completions.iter().map(|one| one.outcome.columns()).collect();
    let ids: Vec<ReminderId> = completions.iter().map(|one| one.id).collect();
    let said = completions.iter().map(|one| one.said.map(Json));
    sql_query(COMPLETE)
        .bind::<Id, _>(lease)
        .bind::<Instant, _>(now)
        .bind::<Array<Id>, _>(ids)
        .bind::<Array<Text>, _>(columns.iter().map(|row| row.0).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(columns.iter().map(|row| row.1).collect::<Vec<_>>())
        .bind::<Array<Nullable<Instant>>, _>(instants(columns.iter().map(|row| row.2)))
        .bind::<Array<Nullable<Instant>>, _>(instants(columns.iter().map(|row| row.3)))
        .bind::<Array<Nullable<Doc>>, _>(said.collect::<Vec<_>>())
        .kept()
        .load(conn)
}

fn instants(all: impl Iterator<Item = Option<Timestamp>>) -> Vec<Option<At>> {
    all.map(|at| at.map(At)).collect()
}
