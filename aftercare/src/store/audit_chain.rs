//! The chain of the audit trail: each sealed row carries the keyed hash of itself and of the row before,
//! so that no row can be changed, taken out, put in or moved without its being found.
//!
//! Rows are written unsealed in the transaction of the deed and sealed later, in batches. Whoever holds
//! the database but not the master key cannot make a hash. What the chain alone cannot show is that its
//! *end* was cut off: for that its head is logged once a day, and asked for ([`Store::verify_audit`]).

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary};
use jiff::{SignedDuration, Timestamp};

use super::conn::Conn;
use super::kept::{Keep as _, NoRow};
use super::schema::{audit, server};
use super::sql::{At, Id};
use super::{Store, StoreError, Tx, with_conn};
use crate::ids::{AuditId, ClinicId};
use crate::seal::{Digest, MasterKey};

/// How many rows one transaction seals, or checks, at most.
pub const SEAL_BATCH: i64 = 500;

/// Whoever seals holds this lock: two at once would both go on from the same head.
const SEALING: &str = "SELECT pg_advisory_xact_lock(7104612839)";

/// What stands before the first row.
const GENESIS: [u8; 32] = [0; 32];

/// The last link of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// Its number, from 1.
    pub seq: i64,
    /// Its hash.
    pub hash: Digest,
}

/// What a look at the whole chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// Sealed rows.
    pub sealed: i64,
    /// The last of them.
    pub head: Option<AuditHead>,
    /// Rows that are still to be sealed: nothing can be said of them.
    pub unsealed: i64,
    /// Where the head that was asked for is in the chain.
    pub asked_for: Option<i64>,
    /// What is wrong; empty when all is well.
    pub findings: Vec<AuditFinding>,
}

/// One thing that is wrong with the chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFinding {
    /// Rows were taken out.
    #[error("{from}..{to}: removed")]
    Removed {
        /// The first number that is missing.
        from: i64,
        /// The last.
        to: i64,
    },
    /// A row is not what was sealed, or was never sealed by this server.
    #[error("{seq}: edited or forged")]
    Edited {
        /// Its number.
        seq: i64,
    },
    /// A row does not follow the one before it.
    #[error("{seq}: does not follow the row before")]
    Misplaced {
        /// Its number.
        seq: i64,
    },
    /// Rows that bear marks of the seal but no number.
    #[error("{rows} rows lost their number")]
    Unnumbered {
        /// How many.
        rows: i64,
    },
    /// The head that was asked for is not in the chain: it was cut off, or is another database's.
    #[error("the head that was asked for is not in the chain: its end was cut off")]
    HeadMissing,
}

impl AuditFinding {
    /// A stable code for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Removed { .. } => "removed",
            Self::Edited { .. } => "edited",
            Self::Misplaced { .. } => "misplaced",
            Self::Unnumbered { .. } => "unnumbered",
            Self::HeadMissing => "head-missing",
        }
    }

    /// The first number that it is about, if it is about one.
    #[must_use]
    pub const fn seq(&self) -> Option<i64> {
        match self {
            Self::Removed { from: seq, .. } | Self::Edited { seq } | Self::Misplaced { seq } => {
                Some(*seq)
            }
            Self::Unnumbered { .. } | Self::HeadMissing => None,
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = audit)]
struct Deed {
    id: AuditId,
    #[diesel(deserialize_as = At)]
    at: Timestamp,
    clinic_id: Option<ClinicId>,
    actor: String,
    action: String,
    subject: Option<String>,
}

impl Deed {
    fn link(&self, master: &MasterKey, seq: i64, prev: &[u8]) -> Digest {
        let clinic = self.clinic_id.map(|id| *id.0.as_bytes());
        master.audit(&[
            &seq.to_be_bytes(),
            prev,
            self.id.0.as_bytes(),
            &self.at.as_microsecond().to_be_bytes(),
            clinic.as_ref().map_or(&[][..], |id| &id[..]),
            self.actor.as_bytes(),
            self.action.as_bytes(),
            // None and the empty text are told apart.
            &[u8::from(self.subject.is_some())],
            self.subject.as_deref().unwrap_or_default().as_bytes(),
        ])
    }
}

type StoredRow = (Option<i64>, Option<Vec<u8>>, Option<Vec<u8>>, Deed);
type SealedRow = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Deed);

impl Tx<'_> {
    /// Seals up to `limit` rows ([`SEAL_BATCH`] at most), in the order of their ids, after those that are
    /// sealed already; gives how many. Sealers take turns.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn seal_audit(&mut self, limit: i64) -> Result<usize, StoreError> {
        self.lock_chain()?;
        let deeds: Vec<Deed> = with_conn!(self, |c| audit::table
            .filter(audit::seq.is_null())
            .order(audit::id)
            .limit(limit.min(SEAL_BATCH))
            .select(Deed::as_select())
            .load(c))?;
        if deeds.is_empty() {
            return Ok(0);
        }
        let head = self.audit_head()?;
        let (mut seq, mut prev) = head.map_or((0, Digest(GENESIS)), |head| (head.seq, head.hash));
        let mut links = Vec::with_capacity(deeds.len());
        for deed in &deeds {
            seq += 1;
            let hash = deed.link(self.master, seq, prev.as_bytes());
            links.push((deed.id, seq, prev, hash));
            prev = hash;
        }
        self.write_links(&links)
    }

    fn write_links(
        &mut self,
        links: &[(AuditId, i64, Digest, Digest)],
    ) -> Result<usize, StoreError> {
        if let Conn::Sqlite(_) = self.conn {
            return links.iter().try_fold(0, |written, link| Ok(written + self.write_link(link)?));
        }
        let row =
            |n: usize| format!("(${},${},${},${})", n * 4 + 1, n * 4 + 2, n * 4 + 3, n * 4 + 4);
        let rows: Vec<String> = (0..links.len()).map(row).collect();
        let sql = format!(
            "WITH links (id, seq, prev, hash) AS (VALUES {})
             UPDATE audit SET seq = links.seq, prev = links.prev, hash = links.hash
             FROM links WHERE audit.id = links.id AND audit.seq IS NULL",
            rows.join(",")
        );
        with_conn!(self, |c: Db| {
            let mut query = sql_query(&sql).into_boxed::<Db>();
            for (id, seq, prev, hash) in links {
                query = query
                    .bind::<Id, _>(*id)
                    .bind::<BigInt, _>(*seq)
                    .bind::<Binary, _>(*prev)
                    .bind::<Binary, _>(*hash);
            }
            query.execute(c)
        })
    }

    /// A link at a time for SQLite: given all of them, it would go through everything that is not sealed.
    fn write_link(&mut self, link: &(AuditId, i64, Digest, Digest)) -> Result<usize, StoreError> {
        const LINK: &str = "UPDATE audit SET seq = $1, prev = $2, hash = $3
             WHERE id = $4 AND seq IS NULL RETURNING id";
        let (id, seq, prev, hash) = *link;
        let written: Vec<NoRow> = with_conn!(self, |c| sql_query(LINK)
            .bind::<BigInt, _>(seq)
            .bind::<Binary, _>(prev)
            .bind::<Binary, _>(hash)
            .bind::<Id, _>(id)
            .kept()
            .load(c))?;
        Ok(written.len())
    }

    /// SQLite has one writer.
    fn lock_chain(&mut self) -> Result<(), StoreError> {
        if let Conn::Pg(c) = &mut *self.conn {
            let locked = sql_query(SEALING).execute(&mut **c);
            locked.map_err(|error| self.refused(error))?;
        }
        Ok(())
    }

    /// The last link; none before the first row was sealed.
    ///
    /// # Errors
    /// When the database refuses; [`StoreError::Corrupt`] when its hash is none.
    pub fn audit_head(&mut self) -> Result<Option<AuditHead>, StoreError> {
        let head: Option<(Option<i64>, Option<Digest>)> = with_conn!(self, |c| audit::table
            .filter(audit::seq.is_not_null())
            .order(audit::seq.desc())
            .select((audit::seq, audit::hash))
            .first(c)
            .optional())?;
        match head {
            None => Ok(None),
            Some((Some(seq), Some(hash))) => Ok(Some(AuditHead { seq, hash })),
            Some(_) => Err(StoreError::Corrupt("audit: the head has no hash".to_owned())),
        }
    }

    fn has_unsealed(&mut self) -> Result<bool, StoreError> {
        let first: Option<AuditId> = with_conn!(self, |c| audit::table
            .filter(audit::seq.is_null())
            .select(audit::id)
            .first(c)
            .optional())?;
        Ok(first.is_some())
    }

    /// Whether it is this caller's turn to log the head: for `every`, in elapsed time, nobody did. Of
    /// several callers one has the turn.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn take_turn_to_log_head(&mut self, every: SignedDuration) -> Result<bool, StoreError> {
        let now = At(self.now);
        let before = At(self.now.checked_sub(every).unwrap_or(Timestamp::MIN));
        let taken = with_conn!(self, |c| diesel::update(server::table)
            .filter(
                server::audit_head_logged_at.is_null().or(server::audit_head_logged_at.le(before))
            )
            .set(server::audit_head_logged_at.eq(now))
            .execute(c))?;
        Ok(taken > 0)
    }

    fn sealed_rows(&mut self, after: i64, limit: i64) -> Result<Vec<SealedRow>, StoreError> {
        let rows: Vec<StoredRow> = with_conn!(self, |c| audit::table
            .filter(audit::seq.gt(after))
            .order(audit::seq)
            .limit(limit)
            .select((audit::seq, audit::prev, audit::hash, Deed::as_select()))
            .load(c))?;
        let numbered = |(seq, prev, hash, deed): StoredRow| Some((seq?, prev, hash, deed));
        Ok(rows.into_iter().filter_map(numbered).collect())
    }

    /// The next number after this one, whatever the rest of its row looks like.
    fn next_seq(&mut self, after: i64) -> Result<Option<i64>, StoreError> {
        let next: Option<Option<i64>> = with_conn!(self, |c| audit::table
            .filter(audit::seq.gt(after))
            .order(audit::seq)
            .select(audit::seq)
            .first(c)
            .optional())?;
        Ok(next.flatten())
    }

    fn count_unsealed(&mut self) -> Result<(i64, i64), StoreError> {
        let all: i64 =
            with_conn!(self, |c| audit::table.filter(audit::seq.is_null()).count().get_result(c))?;
        let marked: i64 = with_conn!(self, |c| audit::table
            .filter(audit::seq.is_null())
            .filter(audit::hash.is_not_null().or(audit::prev.is_not_null()))
            .count()
            .get_result(c))?;
        Ok((all - marked, marked))
    }
}

/// One row, or the number of one that cannot even be read.
enum Row {
    Read(Box<SealedRow>),
    Unreadable(i64),
}

/// The walk along the chain.
struct Walk {
    report: AuditReport,
    asked_for: Option<Digest>,
    /// The number and hash that the next row must follow; no hash where rows are missing.
    last: i64,
    prev: Option<Vec<u8>>,
}

impl Walk {
    fn step(&mut self, master: &MasterKey, row: Row) {
        let findings = &mut self.report.findings;
        let (seq, prev, hash, deed) = match row {
            Row::Read(row) => *row,
            Row::Unreadable(seq) => {
                findings.push(AuditFinding::Edited { seq });
                (self.last, self.prev) = (seq, None);
                return;
            }
        };
        self.report.sealed += 1;
        if seq > self.last + 1 {
            findings.push(AuditFinding::Removed { from: self.last + 1, to: seq - 1 });
            self.prev = None;
        }
        let sealed = hash.as_deref().and_then(|hash| <[u8; 32]>::try_from(hash).ok()).map(Digest);
        let own = deed.link(master, seq, prev.as_deref().unwrap_or_default());
        if sealed != Some(own) {
            findings.push(AuditFinding::Edited { seq });
        } else if self.prev.is_some() && self.prev != prev {
            findings.push(AuditFinding::Misplaced { seq });
        }
        if sealed.is_some() && sealed == self.asked_for && sealed == Some(own) {
            self.report.asked_for = Some(seq);
        }
        self.report.head = sealed.map(|hash| AuditHead { seq, hash });
        (self.last, self.prev) = (seq, hash);
    }
}

impl Store {
    /// Seals whatever is unsealed now, batch by batch; gives how many rows.
    ///
    /// # Errors
    /// The store's.
    pub async fn seal_audit(&self) -> Result<usize, StoreError> {
        let mut sealed = 0;
        while self.read(|tx| tx.has_unsealed()).await? {
            sealed += self.write(|tx| tx.seal_audit(SEAL_BATCH)).await?;
        }
        Ok(sealed)
    }

    /// Checks every sealed row, and that `head`, the hash of an earlier head, is still in the chain.
    ///
    /// # Errors
    /// The store's. What is wrong with the trail is no error but a finding.
    pub async fn verify_audit(&self, head: Option<Digest>) -> Result<AuditReport, StoreError> {
        let report = AuditReport {
            sealed: 0,
            head: None,
            unsealed: 0,
            asked_for: None,
            findings: Vec::new(),
        };
        let prev = Some(GENESIS.to_vec());
        let mut walk = Walk { report, asked_for: head, last: 0, prev };
        let mut after = i64::MIN;
        loop {
            let rows = self.rows_after(after).await?;
            let Some(last) = rows.last() else { break };
            after = match last {
                Row::Read(row) => row.0,
                Row::Unreadable(seq) => *seq,
            };
            for row in rows {
                walk.step(&self.0.master, row);
            }
        }
        let (unsealed, marked) = self.read(|tx| tx.count_unsealed()).await?;
        let mut report = walk.report;
        report.unsealed = unsealed;
        if marked > 0 {
            report.findings.push(AuditFinding::Unnumbered { rows: marked });
        }
        if head.is_some() && report.asked_for.is_none() {
            report.findings.push(AuditFinding::HeadMissing);
        }
        Ok(report)
    }

    /// The next rows. Where one of them cannot be read at all, only the next.
    async fn rows_after(&self, after: i64) -> Result<Vec<Row>, StoreError> {
        let read =
            |rows: Vec<SealedRow>| rows.into_iter().map(|row| Row::Read(Box::new(row))).collect();
        match self.read(move |tx| tx.sealed_rows(after, SEAL_BATCH)).await {
            Err(StoreError::Corrupt(_)) => {}
            other => return other.map(read),
        }
        match self.read(move |tx| tx.sealed_rows(after, 1)).await {
            Err(StoreError::Corrupt(_)) => {}
            other => return other.map(read),
        }
        let seq = self.read(move |tx| tx.next_seq(after)).await?;
        Ok(seq.map(Row::Unreadable).into_iter().collect())
    }
}
