use aftercare::ids::{DeliveryId, LeaseId, ReminderId};
use aftercare::store::{Delivery, DeliveryState, Store, StoreError, Tx};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::Timestamp;

use crate::fixtures::{HOUR, MINUTE, due_reminders};

fn delivery(tx: &Tx<'_>, of: &aftercare::store::Reminder, retry_at: Option<Timestamp>) -> Delivery {
    Delivery {
        id: tx.env().id::<DeliveryId>(),
        reminder_id: of.id,
        patient_id: of.patient_id,
        device_id: tx.env().id(),
        attempt: 1,
        state: if retry_at.is_some() { DeliveryState::Retry } else { DeliveryState::Sent },
        status: Some(if retry_at.is_some() { 503 } else { 200 }),
        code: retry_at.map(|_| "UNAVAILABLE".to_owned()),
        detail: None,
        at: tx.now(),
        retry_at,
        lease_id: None,
        leased_until: None,
    }
}

/// One reminder with a sent delivery and three retries, in 1, 2 and 60 minutes.
async fn with_retries(bed: &Bed) -> (ReminderId, Vec<DeliveryId>) {
    due_reminders(&bed.store, 1).await;
    bed.store
        .write(|tx| {
            let (lease, until) = (tx.env().id(), tx.now() + MINUTE);
            let [of] = tx.claim_due(1, None, lease, until)?.try_into().unwrap();
            let now = tx.now();
            let retry = |at| delivery(tx, &of, Some(at));
            let rows = [retry(now + 2 * MINUTE), retry(now + MINUTE), retry(now + HOUR)];
            tx.insert_deliveries(&rows)?;
            tx.insert_deliveries(&[delivery(tx, &of, None)])?;
            assert_eq!(tx.deliveries(of.id)?.len(), 4);
            assert!(tx.deliveries_of(&[of.id])?.contains(&rows[0]));
            Ok::<_, StoreError>((of.id, rows.iter().map(|row| row.id).collect()))
        })
        .await
        .unwrap()
}

async fn claim(store: &Store) -> (LeaseId, Vec<Delivery>) {
    store
        .write(|tx| {
            let lease: LeaseId = tx.env().id();
            let until = tx.now() + MINUTE;
            Ok::<_, StoreError>((lease, tx.claim_retries(10, lease, until)?))
        })
        .await
        .unwrap()
}

async fn due_retries_are_claimed_in_their_order(bed: Bed) {
    let (_, ids) = with_retries(&bed).await;
    assert!(claim(&bed.store).await.1.is_empty());
    let next = bed.store.read(|tx| tx.next_due().map(|next| next.reminders())).await.unwrap();
    assert_eq!(next, Some(bed.now() + MINUTE));

    bed.clock.advance(2 * MINUTE);
    let (_, claimed) = claim(&bed.store).await;
    assert_eq!(claimed.iter().map(|row| row.id).collect::<Vec<_>>(), [ids[1], ids[0]]);
    assert!(claim(&bed.store).await.1.is_empty(), "under a lease that holds");
}

async fn a_retry_is_finished_by_its_lease_only(bed: Bed) {
    let (reminder, _) = with_retries(&bed).await;
    bed.clock.advance(2 * MINUTE);
    let (zombie, claimed) = claim(&bed.store).await;
    let ids: Vec<_> = claimed.iter().map(|row| row.id).collect();
    bed.clock.advance(MINUTE);
    let (heir, again) = claim(&bed.store).await;
    assert_eq!(again.len(), 2, "the lease ran out");
    bed.store
        .write(move |tx| {
            assert_eq!(tx.finish_retries(zombie, &ids)?, []);
            assert_eq!(tx.finish_retries(heir, &ids)?.len(), 2);
            assert_eq!(tx.finish_retries(heir, &ids)?, []);
            let finished: Vec<_> = tx
                .deliveries(reminder)?
                .into_iter()
                .filter(|row| ids.contains(&row.id))
                .map(|row| (row.state, row.retry_at, row.lease_id))
                .collect();
            assert_eq!(finished, [(DeliveryState::Retry, None, None); 2]);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    bed.clock.advance(2 * MINUTE);
    assert!(claim(&bed.store).await.1.is_empty(), "only the third one is left, in an hour");
}

on_both_engines!(due_retries_are_claimed_in_their_order, a_retry_is_finished_by_its_lease_only);
