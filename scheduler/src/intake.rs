//! Watching what clinics send, so that somebody hears of a flood before patients do.

use std::collections::BTreeSet;

use aftercare::care;
use aftercare::ids::ClinicId;
use aftercare::store::Store;
use tokio::sync::Mutex;

use crate::metrics;

/// Watches all clinics.
pub(crate) struct IntakeWatch {
    store: Store,
    /// Whom the log has named.
    known: Mutex<BTreeSet<ClinicId>>,
}

impl IntakeWatch {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// Counts the clinics that send far more than they are used to, and names each once.
    pub(crate) async fn look(&self) {
        let surges = match self.store.read(care::surges).await {
            Ok(surges) => surges,
            Err(error) => {
                tracing::warn!(%error, "could not look at what clinics send; trying again");
                return;
            }
        };
        metrics::surging(surges.len());
        let mut known = self.known.lock().await;
        for surge in surges.iter().filter(|surge| !known.contains(&surge.clinic)) {
            tracing::warn!(
                clinic = %surge.clinic, last_day = surge.lately, four_weeks_before = surge.before,
                "a clinic records five times as many sessions as usual; if nobody meant it: \
                 aftercare pause --clinic ID"
            );
        }
        *known = surges.into_iter().map(|surge| surge.clinic).collect();
    }
}
