//! The outbox of webhooks: what is to be told, written with the deed itself, claimed under a lease and
//! settled by whoever holds it.
//!
//! A later event of a patient waits for an earlier one of the same webhook. A claim moves `attempt_at` to
//! the end of its lease, so that what was claimed by somebody who died comes due again by itself.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use jiff::{SignedDuration, Timestamp};

use super::schema::webhook_events;
use super::sql::{At, Count, Id, Instant, Json, MaybeAt};
use super::{BATCH, StoreError, Tx, with_conn};
use crate::ids::{LeaseId, PatientId, WebhookEventId, WebhookId};
use crate::webhook::{EventData, EventType};
use crate::words::words;

/// How long an event is tried, elapsed.
const TRIED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// That an event `e` is due at `$1`, and no earlier one of its patient is still to be told there. It stands
/// before every other parameter: SQLite counts them as they appear.
const READY: &str = "e.state = 'pending' AND e.attempt_at <= $1 AND NOT EXISTS (
    SELECT 1 FROM webhook_events b
    WHERE b.webhook_id = e.webhook_id AND b.subject = e.subject
      AND b.state = 'pending' AND b.seq < e.seq)";

words! {
    /// How far an event has come.
    WebhookEventState {
        /// It is still to be told.
        Pending = "pending",
        /// The receiver took it.
        Delivered = "delivered",
        /// The receiver did not take it in time.
        Failed = "failed",
    }
}

/// One thing to tell one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhookEvent {
    /// Where.
    pub webhook: WebhookId,
    /// What.
    pub kind: EventType,
    /// About what.
    pub data: EventData,
    /// A name under which this webhook is told no second time, while the first is remembered.
    pub once: Option<String>,
    /// Not before then.
    pub not_before: Timestamp,
}

/// One thing told, or to be told, to one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, QueryableByName, Selectable)]
#[diesel(table_name = webhook_events)]
pub struct WebhookEvent {
    /// Its place in the order of all.
    pub seq: i64,
    /// Its id: the receiver sees it, the same at each attempt.
    pub id: WebhookEventId,
    /// Where it is told.
    pub webhook_id: WebhookId,
    /// Whose events follow each other.
    pub subject: PatientId,
    /// The patient; none in the word of an erasure.
    pub patient_id: Option<PatientId>,
    /// What.
    pub kind: EventType,
    /// About what.
    #[diesel(deserialize_as = Json<EventData>)]
    pub data: EventData,
    /// How far it has come.
    pub state: WebhookEventState,
    /// When it happened.
    #[diesel(deserialize_as = At)]
    pub created_at: Timestamp,
    /// How often it was tried, or is being tried.
    #[diesel(deserialize_as = Count)]
    pub attempts: u32,
    /// When it is given up.
    #[diesel(deserialize_as = At)]
    pub give_up_at: Timestamp,
    /// When it was delivered or given up.
    #[diesel(deserialize_as = MaybeAt)]
    pub settled_at: Option<Timestamp>,
    /// Why the last attempt failed, in our words.
    pub trouble: Option<String>,
}

#[derive(Insertable)]
#[diesel(table_name = webhook_events, treat_none_as_default_value = false)]
struct Row {
    id: WebhookEventId,
    webhook_id: WebhookId,
    subject: PatientId,
    patient_id: Option<PatientId>,
    kind: EventType,
    #[diesel(serialize_as = Json<EventData>)]
    data: EventData,
    once: Option<String>,
    state: WebhookEventState,
    #[diesel(serialize_as = At)]
    created_at: Timestamp,
    #[diesel(serialize_as = Count)]
    attempts: u32,
    #[diesel(serialize_as = MaybeAt)]
    attempt_at: Option<Timestamp>,
    #[diesel(serialize_as = At)]
    give_up_at: Timestamp,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// The receiver took it.
    Delivered,
    /// It is tried again.
    Retry {
        /// When.
        at: Timestamp,
        /// Why it failed.
        trouble: String,
    },
    /// It is given up.
    Failed {
        /// Why it failed.
        trouble: String,
    },
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Id)]
    id: WebhookId,
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    pending: i64,
    #[diesel(sql_type = BigInt)]
    failed: i64,
}

impl Tx<'_> {
    /// Writes events into the outbox, in this order. What is told once and was told already is left out,
    /// and what is for a webhook that was deleted meanwhile.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_webhook_events(&mut self, events: &[NewWebhookEvent]) -> Result<(), StoreError> {
        let now = self.now;
        let webhooks: BTreeSet<WebhookId> = events.iter().map(|event| event.webhook).collect();
        let webhooks = self.hold_webhooks(webhooks)?;
        let events: Vec<_> =
            events.iter().filter(|event| webhooks.contains(&event.webhook)).collect();
        for events in events.chunks(BATCH) {
            let row = |event: &&NewWebhookEvent| {
                let outlives = event.kind == EventType::PatientErased;
                Row {
                    id: self.env.id(),
                    webhook_id: event.webhook,
                    subject: event.data.patient_id,
                    patient_id: (!outlives).then_some(event.data.patient_id),
                    kind: event.kind,
                    data: event.data.clone(),
                    once: event.once.clone(),
                    state: WebhookEventState::Pending,
                    created_at: now,
                    attempts: 0,
                    attempt_at: Some(event.not_before),
                    give_up_at: now.checked_add(TRIED_FOR).unwrap_or(Timestamp::MAX),
                }
            };
            let rows: Vec<Row> = events.iter().map(row).collect();
            with_conn!(self, |c| diesel::insert_into(webhook_events::table)
                .values(rows)
                .on_conflict_do_nothing()
                .execute(c))?;
        }
        Ok(())
    }

    /// The webhooks that have something to be told now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn due_webhooks(&mut self) -> Result<Vec<WebhookId>, StoreError> {
        let due = format!(
            "SELECT w.id FROM webhooks w WHERE w.disabled_at IS NULL AND EXISTS (
                SELECT 1 FROM webhook_events e WHERE e.webhook_id = w.id AND {READY})"
        );
        let now = At(self.now);
        let found: Vec<Found> =
            with_conn!(self, |c| sql_query(&due).bind::<Instant, _>(now).load(c))?;
        Ok(found.into_iter().map(|found| found.id).collect())
    }

    /// Claims up to `limit` events of one webhook that are due, the most overdue first, until
    /// `lease_until`. Of each patient none but the first that is not told yet. On PostgreSQL, claimers pass
    /// by what others are claiming.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn claim_webhook_events(
        &mut self,
        webhook: WebhookId,
        limit: i64,
        lease: LeaseId,
        lease_until: Timestamp,
    ) -> Result<Vec<WebhookEvent>, StoreError> {
        let sql = format!(
            "WITH due AS MATERIALIZED (
                SELECT e.seq FROM webhook_events e WHERE {READY} AND e.webhook_id = $2
                ORDER BY e.attempt_at, e.seq LIMIT $3 {lock})
             UPDATE webhook_events SET lease_id = $4, attempt_at = $5, attempts = attempts + 1
             WHERE seq IN (SELECT seq FROM due)
             RETURNING *",
            lock = self.on_postgres("FOR UPDATE OF e SKIP LOCKED"),
        );
        let now = At(self.now);
        let mut claimed: Vec<WebhookEvent> = with_conn!(self, |c| sql_query(&sql)
            .bind::<Instant, _>(now)
            .bind::<Id, _>(webhook)
            .bind::<BigInt, _>(limit)
            .bind::<Id, _>(lease)
            .bind::<Instant, _>(At(lease_until))
            .load(c))?;
        claimed.sort_by_key(|event| event.seq);
        Ok(claimed)
    }

    /// Writes what came of one attempt; false when the claim is another's by now, or the event is gone:
    /// then nothing is written.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn settle_webhook_event(
        &mut self,
        lease: LeaseId,
        seq: i64,
        outcome: &WebhookOutcome,
    ) -> Result<bool, StoreError> {
        let (state, at, trouble) = match outcome {
            WebhookOutcome::Delivered => (WebhookEventState::Delivered, None, None),
            WebhookOutcome::Retry { at, trouble } => {
                (WebhookEventState::Pending, Some(*at), Some(trouble))
            }
            WebhookOutcome::Failed { trouble } => (WebhookEventState::Failed, None, Some(trouble)),
        };
        let settled_at = at.is_none().then_some(self.now);
        let written = with_conn!(self, |c| diesel::update(webhook_events::table.find(seq))
            .filter(webhook_events::lease_id.eq(lease))
            .filter(webhook_events::state.eq(WebhookEventState::Pending))
            .set((
                webhook_events::state.eq(state),
                webhook_events::attempt_at.eq(MaybeAt::from(at)),
                webhook_events::settled_at.eq(MaybeAt::from(settled_at)),
                webhook_events::trouble.eq(trouble),
                webhook_events::lease_id.eq(None::<LeaseId>),
            ))
            .execute(c))?;
        Ok(written > 0)
    }

    /// Gives up all that is still to be told at a webhook; gives how much.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn fail_webhook_events(
        &mut self,
        webhook: WebhookId,
        trouble: &str,
    ) -> Result<usize, StoreError> {
        let settled_at = MaybeAt::from(Some(self.now));
        with_conn!(self, |c| diesel::update(webhook_events::table)
            .filter(webhook_events::webhook_id.eq(webhook))
            .filter(webhook_events::state.eq(WebhookEventState::Pending))
            .set((
                webhook_events::state.eq(WebhookEventState::Failed),
                webhook_events::attempt_at.eq(MaybeAt::from(None)),
                webhook_events::settled_at.eq(settled_at),
                webhook_events::trouble.eq(trouble),
                webhook_events::lease_id.eq(None::<LeaseId>),
            ))
            .execute(c))
    }

    /// Puts all that was given up at a webhook to be told again, from now and for as long; gives how much.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn replay_webhook_events(&mut self, webhook: WebhookId) -> Result<usize, StoreError> {
        let give_up_at = At(self.now.checked_add(TRIED_FOR).unwrap_or(Timestamp::MAX));
        let now = MaybeAt::from(Some(self.now));
        with_conn!(self, |c| diesel::update(webhook_events::table)
            .filter(webhook_events::webhook_id.eq(webhook))
            .filter(webhook_events::state.eq(WebhookEventState::Failed))
            .set((
                webhook_events::state.eq(WebhookEventState::Pending),
                webhook_events::attempt_at.eq(now),
                webhook_events::settled_at.eq(MaybeAt::from(None)),
                webhook_events::attempts.eq(Count::from(0)),
                webhook_events::give_up_at.eq(give_up_at),
            ))
            .execute(c))
    }

    /// Up to `limit` events that were given up at a webhook, in the order in which they were, from after the
    /// cursor: the (`settled_at`, `id`) of the last one of the page before.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn failed_webhook_events(
        &mut self,
        webhook: WebhookId,
        after: Option<(Timestamp, WebhookEventId)>,
        limit: i64,
    ) -> Result<Vec<WebhookEvent>, StoreError> {
        const FAILED: &str = "SELECT * FROM webhook_events
             WHERE webhook_id = $1 AND state = 'failed' AND (settled_at, id) > ($2, $3)
             ORDER BY settled_at, id LIMIT $4";
        let nobody = (Timestamp::UNIX_EPOCH, WebhookEventId(uuid::Uuid::nil()));
        let (at, id) = after.unwrap_or(nobody);
        with_conn!(self, |c| sql_query(FAILED)
            .bind::<Id, _>(webhook)
            .bind::<Instant, _>(At(at))
            .bind::<Id, _>(id)
            .bind::<BigInt, _>(limit)
            .load(c))
    }

    /// What is remembered of the events about a patient, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn webhook_events_of(
        &mut self,
        patient: PatientId,
    ) -> Result<Vec<WebhookEvent>, StoreError> {
        with_conn!(self, |c| webhook_events::table
            .filter(webhook_events::patient_id.eq(patient))
            .order(webhook_events::seq)
            .select(WebhookEvent::as_select())
            .load(c))
    }

    /// When the last of the leases ends under which events about a patient are on their way.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn webhook_lease_of(
        &mut self,
        patient: PatientId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let ends: Vec<MaybeAt> = with_conn!(self, |c| webhook_events::table
            .filter(webhook_events::patient_id.eq(patient))
            .filter(webhook_events::lease_id.is_not_null())
            .select(webhook_events::attempt_at)
            .load(c))?;
        Ok(ends.into_iter().filter_map(Into::into).max())
    }

    /// How many events are to be told, and how many were given up.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_webhook_events(&mut self) -> Result<(i64, i64), StoreError> {
        const COUNT: &str = "SELECT
             (SELECT count(*) FROM webhook_events WHERE state = 'pending') AS pending,
             (SELECT count(*) FROM webhook_events WHERE state = 'failed') AS failed";
        let counted: Counted = with_conn!(self, |c| sql_query(COUNT).get_result(c))?;
        Ok((counted.pending, counted.failed))
    }

    /// Forgets what was delivered at `delivered` or earlier, and what was given up at `failed` or earlier;
    /// gives how much.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_webhook_events(
        &mut self,
        delivered: Timestamp,
        failed: Timestamp,
    ) -> Result<usize, StoreError> {
        const FORGET: &str = "DELETE FROM webhook_events WHERE settled_at IS NOT NULL
             AND ((state = 'delivered' AND settled_at <= $1) OR (state = 'failed' AND settled_at <= $2))";
        with_conn!(self, |c| sql_query(FORGET)
            .bind::<Instant, _>(At(delivered))
            .bind::<Instant, _>(At(failed))
            .execute(c))
    }
}
