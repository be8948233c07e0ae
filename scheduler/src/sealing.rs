//! The audit trail's seal: whatever was written down is chained, and the chain's head is logged, so that
//! a log kept elsewhere can tell that the end of the trail was cut off.

use aftercare::store::{Store, StoreError};
use jiff::SignedDuration;
use tokio::sync::Mutex;

/// The head is logged once a day, by whichever scheduler comes first: looked at every hour, so somewhat
/// less than a day keeps it at the same hour.
const DAILY: SignedDuration = SignedDuration::from_mins(23 * 60 + 30);
/// Schedulers that start together log it once.
const AT_START: SignedDuration = SignedDuration::from_mins(1);

/// Seals rows as they come; one tick at a time.
pub(crate) struct Sealing {
    store: Store,
    /// Whether the head was logged since this scheduler started.
    begun: Mutex<bool>,
}

impl Sealing {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, begun: Mutex::new(false) }
    }

    /// Seals what is unsealed. What fails now is done at the next tick.
    pub(crate) async fn tick(&self) {
        let Ok(mut begun) = self.begun.try_lock() else { return };
        let sealed = self.store.seal_audit().await.map(|_| ());
        let done = match sealed {
            Ok(()) if !*begun => log_head(&self.store, AT_START).await,
            sealed => sealed,
        };
        match done {
            Ok(()) => *begun = true,
            Err(error) => tracing::warn!(%error, "could not seal the audit trail; trying again"),
        }
    }
}

/// Logs the head, unless somebody did today.
pub(crate) async fn daily(store: &Store) {
    if let Err(error) = log_head(store, DAILY).await {
        tracing::warn!(%error, "could not log the head of the audit trail; trying again in an hour");
    }
}

async fn log_head(store: &Store, every: SignedDuration) -> Result<(), StoreError> {
    let head = store
        .write(move |tx| if tx.take_turn_to_log_head(every)? { tx.audit_head() } else { Ok(None) });
    if let Some(head) = head.await? {
        let hash = head.hash.to_hex();
        tracing::info!(seq = head.seq, %hash, "the head of the audit trail");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aftercare::clock::{Clock, Env, ManualClock};
    use aftercare::seal::MasterKey;
    use aftercare::store::{AuditEntry, StoreOptions, Tx};

    use super::*;

    fn deed(tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let entry =
            AuditEntry { clinic_id: None, actor: "system", action: "x.done", subject: None };
        tx.append_audit(&entry).map(|_| ())
    }

    #[tokio::test]
    async fn what_is_written_down_is_sealed_and_the_head_is_logged_at_start_and_daily() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-11-22T15:40:00Z".parse().unwrap()));
        let env = Env::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let url = format!("sqlite:{}", folder.path().join("aftercare.db").display());
        let key = MasterKey::generate(&env);
        let store = Store::open(&url, key, env, StoreOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        // Whether nobody logged the head for that long: a look at it that takes the turn back.
        let silent = |for_: SignedDuration| {
            let store = store.clone();
            async move { store.dry_run(move |tx| tx.take_turn_to_log_head(for_)).await.unwrap() }
        };

        store.write(deed).await.unwrap();
        assert!(silent(AT_START).await);
        let sealing = Sealing::new(store.clone());
        sealing.tick().await;
        assert!(!silent(AT_START).await, "logged at start");
        clock.advance(DAILY - AT_START);
        store.write(deed).await.unwrap();
        sealing.tick().await;
        daily(&store).await;
        assert!(silent(AT_START).await, "not twice a day");
        clock.advance(AT_START);
        daily(&store).await;
        assert!(!silent(AT_START).await, "logged again the next day");

        let report = store.verify_audit(None).await.unwrap();
        assert_eq!((report.sealed, report.unsealed, report.findings), (2, 0, Vec::new()));
    }
}
