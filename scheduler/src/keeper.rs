//! What is done once an hour: forgetting what nobody needs any more, and whom nobody may keep any longer.

use aftercare::care::{self, Retention};
use aftercare::ids::PatientId;
use aftercare::store::Store;
use jiff::{SignedDuration, Timestamp};

use crate::sealing;

/// How long sessions that are over, and refresh tokens that were spent, stay known: for as long a
/// stolen token that comes back still ends its whole family.
const SESSIONS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long an amendment waits for its session. It is no patient's yet, so no erasure reaches it.
const AMENDMENTS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long the answer to a signed message is given again: long after the message itself is too old.
const ANSWERS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);
/// How many patients are looked up at once whose devices are silent.
const SILENT_AT_ONCE: i64 = 50;
/// How many patients are looked up at once whose time is over. Each goes in a transaction of its own.
const OVER_AT_ONCE: i64 = 50;

/// Keeps the house in order.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) store: Store,
    pub(crate) retention: Retention,
}

impl Keeper {
    /// Forgets what nobody needs any more, and does what is done once a day. What fails now is done in an hour.
    pub(crate) async fn tidy(&self) {
        sealing::daily(&self.store).await;
        self.forget_sessions().await;
        self.forget_waiting_amendments().await;
        self.forget_webhook_answers().await;
        self.drop_silent_devices().await;
        self.erase_who_is_over().await;
    }

    async fn forget_sessions(&self) {
        let over = self.store.env().now().checked_sub(SESSIONS_KEPT).unwrap_or(Timestamp::MIN);
        match self.store.write(move |tx| tx.forget_sessions(over)).await {
            Ok(forgotten) => tracing::debug!(forgotten, "forgot old sessions"),
            Err(error) => tracing::warn!(%error, "could not forget old sessions"),
        }
    }

    async fn forget_waiting_amendments(&self) {
        let over = self.store.env().now().checked_sub(AMENDMENTS_KEPT).unwrap_or(Timestamp::MIN);
        match self.store.write(move |tx| tx.forget_waiting_amendments(over)).await {
            Ok(0) => {}
            Ok(forgotten) => {
                tracing::warn!(forgotten, "forgot amendments whose session never came");
            }
            Err(error) => tracing::warn!(%error, "could not forget amendments that wait"),
        }
    }

    async fn forget_webhook_answers(&self) {
        let over = self.store.env().now().checked_sub(ANSWERS_KEPT).unwrap_or(Timestamp::MIN);
        match self.store.write(move |tx| tx.forget_webhook_answers(over)).await {
            Ok(forgotten) => tracing::debug!(forgotten, "forgot answers to signed messages"),
            Err(error) => tracing::warn!(%error, "could not forget answers to signed messages"),
        }
    }

    /// Each patient goes in a transaction of its own: one whose rows cannot be read stops nobody else's.
    async fn drop_silent_devices(&self) {
        let mut dropped = 0_usize;
        let mut after: Option<PatientId> = None;
        loop {
            let found = self
                .store
                .read(move |tx| care::patients_with_silent_devices(tx, after, SILENT_AT_ONCE));
            let patients = match found.await {
                Ok(patients) => patients,
                Err(error) => {
                    tracing::warn!(%error, "could not look for silent devices");
                    break;
                }
            };
            let Some(last) = patients.last() else { break };
            after = Some(*last);
            for patient in patients {
                match self.store.write(move |tx| care::drop_silent_devices(tx, patient)).await {
                    Ok(devices) => dropped += devices,
                    Err(error) => {
                        tracing::error!(%patient, %error, "could not drop a patient's silent devices");
                    }
                }
            }
        }
        if dropped > 0 {
            tracing::info!(dropped, "dropped the addresses of silent devices");
        }
    }

    async fn erase_who_is_over(&self) {
        let mut erased = 0_usize;
        let mut after: Option<PatientId> = None;
        loop {
            let before = self.retention.before(self.store.env().now());
            let found = self.store.read(move |tx| tx.patients_over(before, after, OVER_AT_ONCE));
            let patients = match found.await {
                Ok(patients) => patients,
                Err(error) => {
                    tracing::warn!(%error, "could not look for patients whose retention is over");
                    break;
                }
            };
            let Some(last) = patients.last() else { break };
            after = Some(*last);
            for patient in patients {
                erased += usize::from(self.erase(patient).await);
            }
        }
        if erased > 0 {
            tracing::info!(erased, retention = %self.retention, "erased patients whose retention is over");
        }
    }

    /// What a crash leaves undone after the commit, the heartbeat finishes.
    async fn erase(&self, patient: PatientId) -> bool {
        let retention = self.retention;
        let erased = self.store.write(move |tx| care::erase_if_over(tx, patient, retention)).await;
        match erased {
            Ok(false) => return false,
            Ok(true) => {}
            Err(error) => {
                tracing::warn!(%patient, %error, "could not erase a patient whose retention is over");
                return false;
            }
        }
        if let Err(error) = self.store.finish_erasures().await {
            tracing::warn!(%error, "could not finish erasures; trying again");
        }
        true
    }
}
