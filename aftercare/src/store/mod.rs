//! Everything durable: one [`Store`] over SQLite or PostgreSQL.
//!
//! A unit of work is a closure over one open transaction ([`Tx`]): [`Store::write`] commits it when
//! the closure returns `Ok` and rolls it back otherwise, [`Store::read`] gives it one consistent
//! snapshot; a single question needs none ([`Store::look`]). The queries are methods of [`Tx`], one file
//! for each aggregate. No network call and no `await` happens inside a transaction.
//!
//! Personal text leaves this module opened and enters it plain; the tables hold it sealed
//! ([`crate::seal`]). Times are the ones of [`Tx::now`], fixed when the transaction began, so that
//! all rows of one unit of work agree.
//!
//! # Waiting for each other
//! Whoever changes a patient's plan locks the patient first ([`Tx::lock_patient`]), then the
//! patient's reminders, in the order of their ids. Claims skip what is locked and never wait.

mod aliases;
mod amendments;
mod audit;
mod audit_chain;
mod backup;
mod calendars;
mod clinics;
mod conn;
mod consents;
mod deliveries;
mod devices;
mod enrolments;
mod erasure_file;
mod erasures;
mod error;
mod fail_points;
mod fcm_lines;
mod intake;
mod kept;
mod migrate;
mod patients;
mod postgres;
mod protocol_moves;
mod protocols;
mod queue;
mod reachability;
mod receipts;
mod reminders;
mod retention;
mod rotation;
mod schema;
mod server;
mod session_dues;
mod sessions;
mod shelf;
mod signing_keys;
mod signing_secrets;
mod snoozes;
mod sql;
mod sqlite;
mod staff;
mod test_pushes;
mod treatments;
mod tx;
mod unit;
mod webhook_answers;
mod webhook_events;
mod webhooks;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::Env;
use crate::seal::MasterKey;
use conn::{Access, Conn, Pool, with_conn};
use unit::pools;

pub use amendments::{
    AmendedFields, AmendingEvent, Amendment, AmendmentKind, Booking, NewAmendment,
};
pub use audit::{AuditEntry, AuditRow};
pub use audit_chain::{AuditFinding, AuditHead, AuditReport, SEAL_BATCH};
pub use backup::{Backup, BackupError, back_up};
pub use calendars::Calendar;
pub use clinics::{ClientSecret, Clinic, PushContent};
pub use consents::{Consent, ConsentKind};
pub use deliveries::{Delivery, DeliveryState};
pub use devices::{
    AddressKind, DeliveryMode, Device, DeviceRegistration, DeviceState, Platform, SILENT,
};
pub use enrolments::Enrolment;
pub use erasure_file::{ErasureFile, ErasureFileError};
pub use erasures::{Erasure, ErasureError};
pub use error::StoreError;
pub use fail_points::{FailPoints, Side};
pub use fcm_lines::FcmLine;
pub use intake::Intake;
pub use patients::{Patient, PatientsOf, Preferences};
pub use protocol_moves::ProtocolMove;
pub use protocols::ProtocolRecord;
pub use queue::{Completion, NextDue, Outcome, Place};
pub use receipts::{Receipt, ReceiptKind};
pub use reminders::Reminder;
pub use rotation::{Replacement, Rewrapped};
pub use sessions::{RefreshToken, Session};
pub use signing_keys::SigningKey;
pub use signing_secrets::SigningSecret;
pub use snoozes::Snooze;
pub use staff::{Staff, StaffSession};
pub use test_pushes::TestPush;
pub use treatments::{NewTreatment, Treatment, TreatmentFilter, TreatmentState};
pub use tx::Tx;
pub use webhook_answers::WebhookAnswer;
pub use webhook_events::{NewWebhookEvent, WebhookEvent, WebhookEventState, WebhookOutcome};
pub use webhooks::{Listener, Webhook};

/// The most rows that one statement writes: within SQLite's 32,766 and PostgreSQL's 65,535 bound
/// values for the widest table.
const BATCH: usize = 1000;

/// How units of work run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// On tokio's threads for blocking work: for servers.
    #[default]
    Blocking,
    /// On the caller's thread, before the first `await` returns: for deterministic tests. SQLite only.
    Inline,
}

/// What each unit of work waits for before it begins: a simulation's busy machine. Whoever waits there can
/// be stopped between two transactions, or be overtaken.
pub trait Pace: fmt::Debug + Send + Sync {
    /// Waits for the turn of the next unit of work.
    fn turn(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// How many connections at most. SQLite has one more, for its one writer.
    pub connections: usize,
    /// How units of work run.
    pub mode: Mode,
    /// Where erasures are noted outside the database; without one, a restored backup brings back whom
    /// it still holds.
    pub erasures: Option<ErasureFile>,
    /// What units of work wait for; servers' wait for nothing but a connection.
    pub pace: Option<Arc<dyn Pace>>,
    /// What units of work pass on both sides of their commits; servers' pass nothing.
    pub fail_points: Option<Arc<dyn FailPoints>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        let (erasures, pace, fail_points) = (None, None, None);
        Self { connections: 8, mode: Mode::Blocking, erasures, pace, fail_points }
    }
}

/// The database, with the keys to what is sealed in it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    readers: Arc<Pool>,
    /// PostgreSQL's readers; SQLite's one writer.
    writers: Arc<Pool>,
    master: MasterKey,
    env: Env,
    mode: Mode,
    pace: Option<Arc<dyn Pace>>,
    fail_points: Option<Arc<dyn FailPoints>>,
    erased: erasures::Erased,
}

impl Store {
    /// Opens the database at `url`: `sqlite:FILE` (made when absent) or
    /// `postgres://USER@HOST/DATABASE`, there with `sslmode` and `sslrootcert` as libpq has them.
    ///
    /// The schema may be empty or old: see [`Store::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Settings`] for a URL that cannot work, [`StoreError::Unavailable`] when the database
    /// cannot be reached, [`StoreError::SchemaTooNew`], [`StoreError::WrongKey`] and
    /// [`StoreError::MissingKey`] when it is not this binary's or not this key's.
    pub async fn open(
        url: &str,
        master: MasterKey,
        env: Env,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let (readers, writers) = pools(url, &options)?;
        let StoreOptions { mode, pace, fail_points, erasures, .. } = options;
        let erased = erasures::Erased::new(erasures);
        let master = master.of_database();
        let inner = Inner { readers, writers, master, env, mode, pace, fail_points, erased };
        let store = Self(Arc::new(inner));
        store.pending().await?;
        Ok(store)
    }

    /// The clock and the random numbers this store was opened with.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.0.env
    }

    /// Whether the database answers and takes writes: writes something of no consequence.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`] or [`StoreError::Full`] when it takes no writes;
    /// [`StoreError::Unavailable`] or [`StoreError::Busy`] when it does not answer.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.write(|tx| tx.leave_a_mark()).await
    }

    /// Runs the migrations that this database lacks, all or nothing, and gives their versions. Servers
    /// that do it at once wait for each other.
    ///
    /// # Errors
    /// As [`Store::open`], and when a migration fails.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let ran = self.on_connection(migrate::run).await?;
        self.write(|tx| tx.remember_master_key()).await?;
        Ok(ran)
    }

    /// The versions of the migrations that this database lacks, oldest first.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn pending(&self) -> Result<Vec<String>, StoreError> {
        let pending = self.on_connection(migrate::pending).await?;
        if pending.is_empty() {
            self.read(|tx| tx.take_up_keys()).await?;
        }
        Ok(pending)
    }

    /// Runs every migration backwards, which **deletes everything**, and gives their versions.
    ///
    /// # Errors
    /// When a migration fails.
    pub async fn revert_all(&self) -> Result<Vec<String>, StoreError> {
        self.on_connection(migrate::revert_all).await
    }

    /// Runs `work` over one consistent snapshot.
    ///
    /// # Errors
    /// Those of `work`, and those of the store.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.run(Access::Read, |inner| inner.unit(Access::Read, false, work)).await
    }

    /// Asks one question of one statement, which needs no transaction around it: a third of the way of
    /// [`Store::read`]. It must write nothing, which nobody checks here, and may be asked twice where a
    /// connection turns out to have died.
    ///
    /// # Errors
    /// Those of the question, and those of the store.
    pub async fn look<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.run(Access::Read, move |inner| inner.look(question)).await
    }

    /// Runs `work` in one transaction, committed when it returns `Ok`. The work may have been done
    /// even when the caller stops waiting for it.
    ///
    /// # Errors
    /// Those of `work`, and those of the store. After an error nothing is written, but for
    /// [`StoreError::InDoubt`], after which it may be.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.run(Access::Write, |inner| inner.unit(Access::Write, true, work)).await
    }

    /// Runs `work` over one consistent snapshot, as [`Store::read`] does, and keeps what it adds: the
    /// note that somebody read this. Nothing that was there may be changed.
    ///
    /// # Errors
    /// As [`Store::write`]: what cannot be noted is not read.
    pub async fn read_on_record<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.run(Access::Note, |inner| inner.unit(Access::Note, true, work)).await
    }

    /// Runs `work` as [`Store::write`] does and then takes everything back.
    ///
    /// # Errors
    /// Those of `work`, and those of the store.
    pub async fn dry_run<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        self.run(Access::Write, |inner| inner.unit(Access::Write, false, work)).await
    }

    /// Takes what was deleted out of SQLite's write-ahead log; false when readers were in the way.
    /// PostgreSQL's log is the operator's to keep or throw away.
    async fn truncate_log(&self) -> Result<bool, StoreError> {
        self.run(Access::Write, |inner| inner.writers.source().connect()?.truncate_log()).await
    }

    /// Runs `work` on a connection of its own, outside any transaction.
    async fn on_connection<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    {
        self.run(Access::Write, |inner| work(&mut inner.writers.source().connect()?)).await
    }

    async fn run<T, E, F>(&self, access: Access, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Inner) -> Result<T, E> + Send + 'static,
    {
        let inner = Arc::clone(&self.0);
        if let Some(pace) = &inner.pace {
            pace.turn().await;
        }
        if inner.mode == Mode::Inline {
            return work(&inner);
        }
        let turn = inner.pool(access).turn().await?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&inner);
            drop(turn);
            result
        });
        match done.await {
            Ok(result) => result,
            Err(stopped) if stopped.is_panic() => std::panic::resume_unwind(stopped.into_panic()),
            Err(_) => Err(StoreError::Unavailable("the server is shutting down".into()).into()),
        }
    }
}

/// Refuses a URL that [`Store::open`] would refuse, without touching any database.
///
/// # Errors
/// [`StoreError::Settings`].
pub fn check_url(url: &str) -> Result<(), StoreError> {
    pools(url, &StoreOptions::default()).map(|_| ())
}
