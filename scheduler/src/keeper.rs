//! What is done once an hour: forgetting what nobody needs any more, and whom nobody may keep any longer.

use aftercare::care::{self, Retention, each_patient};
use aftercare::ids::PatientId;
use aftercare::store::{Store, StoreError, Tx};
use jiff::{SignedDuration, Timestamp};

use crate::sealing;

/// How long sessions that are over, and refresh tokens that were spent, stay known: for as long a
/// stolen token that comes back still ends its whole family.
const SESSIONS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long an amendment waits for its session. It is no patient's yet, so no erasure reaches it.
const AMENDMENTS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How long the answer to a signed message is given again: long after the message itself is too old.
const ANSWERS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);
/// How long an event that a webhook took stays known: longer than any reminder is of use, so that what is told
/// once is not told again.
const DELIVERED_KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);
/// How long an event that a webhook did not take can be replayed.
const FAILED_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// How many patients are looked up at once.
const AT_ONCE: i64 = 50;

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
        self.forget_webhook_events().await;
        self.tell_due_sessions().await;
        self.drop_silent_devices().await;
        self.erase_who_is_over().await;
        self.close_what_is_over().await;
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

    async fn forget_webhook_events(&self) {
        match self.store.write(care::give_up_for_the_gone).await {
            Ok(given_up) => tracing::debug!(given_up, "gave up for receivers that are gone"),
            Err(error) => tracing::warn!(%error, "could not give up for receivers that are gone"),
        }
        let now = self.store.env().now();
        let before = |kept| now.checked_sub(kept).unwrap_or(Timestamp::MIN);
        let (delivered, failed) = (before(DELIVERED_KEPT), before(FAILED_KEPT));
        match self.store.write(move |tx| tx.forget_webhook_events(delivered, failed)).await {
            Ok(forgotten) => tracing::debug!(forgotten, "forgot what webhooks were told"),
            Err(error) => tracing::warn!(%error, "could not forget what webhooks were told"),
        }
    }

    async fn tell_due_sessions(&self) {
        let due = |tx: &mut Tx<'_>, after| tx.patients_with_due_sessions(after, AT_ONCE);
        let told = self.for_all("tell that a session is due", due, care::tell_due_sessions).await;
        if let Err(error) = told {
            tracing::warn!(%error, "could not tell of every session that is due");
        }
    }

    async fn drop_silent_devices(&self) {
        let silent =
            |tx: &mut Tx<'_>, after| care::patients_with_silent_devices(tx, after, AT_ONCE);
        let dropped = self.for_all("drop silent devices", silent, care::drop_silent_devices).await;
        match dropped.map(|devices| devices.into_iter().sum::<usize>()) {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "dropped the addresses of silent devices"),
            Err(error) => tracing::warn!(%error, "could not drop every silent device"),
        }
    }

    async fn erase_who_is_over(&self) {
        let retention = self.retention;
        let over = move |tx: &mut Tx<'_>, after| {
            tx.patients_over(retention.before(tx.now()), after, AT_ONCE)
        };
        let erase = move |tx: &mut Tx<'_>, patient| care::erase_if_over(tx, patient, retention);
        let erased = self.for_all("end the retention", over, erase).await;
        match erased.map(|erased| erased.into_iter().filter(|gone| *gone).count()) {
            Ok(0) => return,
            Ok(erased) => {
                tracing::info!(erased, %retention, "erased patients whose retention is over");
            }
            Err(error) => {
                tracing::warn!(%error, "could not erase everybody whose retention is over");
            }
        }
        // What a crash leaves undone after the commit, the heartbeat finishes.
        if let Err(error) = self.store.finish_erasures().await {
            tracing::warn!(%error, "could not finish erasures; trying again");
        }
    }

    async fn close_what_is_over(&self) {
        let retention = self.retention;
        let over = move |tx: &mut Tx<'_>, after| {
            tx.patients_to_close(retention.before(tx.now()), after, AT_ONCE)
        };
        let close = move |tx: &mut Tx<'_>, patient| care::close_if_over(tx, patient, retention);
        let closed = self.for_all("close old treatments", over, close).await;
        match closed.map(|treatments| treatments.into_iter().sum::<usize>()) {
            Ok(0) => {}
            Ok(treatments) => {
                tracing::info!(treatments, %retention, "forgot what was told of old treatments");
            }
            Err(error) => tracing::warn!(%error, "could not close every old treatment"),
        }
    }

    /// Does the work for every patient whom `page` names beyond the last one.
    async fn for_all<T, P, W>(
        &self,
        what: &'static str,
        page: P,
        work: W,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + 'static,
        P: Fn(&mut Tx<'_>, Option<PatientId>) -> Result<Vec<PatientId>, StoreError>
            + Copy
            + Send
            + 'static,
        W: Fn(&mut Tx<'_>, PatientId) -> Result<T, StoreError> + Copy + Send + 'static,
    {
        let (mut done, mut after) = (Vec::new(), None);
        loop {
            let patients = self.store.read(move |tx| page(tx, after)).await?;
            let Some(last) = patients.last() else { return Ok(done) };
            after = Some(*last);
            done.extend(each_patient(&self.store, what, patients, work).await?.done);
        }
    }
}
