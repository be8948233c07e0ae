use aftercare::ids::LeaseId;
use aftercare::planner::ReminderState;
use aftercare::store::{Outcome, Patient, ReceiptKind, StoreError, TestPush, Tx};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::SignedDuration;

use crate::fixtures::{MINUTE, make_clinic, make_patient};

/// Of use for ten minutes.
async fn asked(bed: &Bed) -> (Patient, TestPush) {
    bed.store
        .write(|tx| {
            let clinic = make_clinic(tx)?;
            let patient = make_patient(tx, clinic.id, "p-1")?;
            let push = again(tx, &patient)?;
            Ok::<_, StoreError>((patient, push))
        })
        .await
        .unwrap()
}

fn again(tx: &mut Tx<'_>, patient: &Patient) -> Result<TestPush, StoreError> {
    let use_by = tx.now() + 10 * MINUTE;
    tx.put_test_push(patient.clinic_id, patient.id, use_by, use_by)
}

async fn claim(bed: &Bed) -> (LeaseId, Vec<TestPush>) {
    bed.store
        .write(|tx| {
            let lease: LeaseId = tx.env().id();
            let until = tx.now() + MINUTE;
            Ok::<_, StoreError>((lease, tx.claim_test_pushes(10, lease, until)?))
        })
        .await
        .unwrap()
}

async fn stored(bed: &Bed, patient: &Patient) -> TestPush {
    let id = patient.id;
    bed.store.read(move |tx| tx.test_push(id)).await.unwrap().unwrap()
}

async fn the_last_one_is_kept(bed: Bed) {
    let (patient, push) = asked(&bed).await;
    assert_eq!(stored(&bed, &patient).await, push);
    claim(&bed).await;
    bed.clock.advance(MINUTE);
    let id = patient.id;
    let of = patient.clone();
    let next = bed
        .store
        .write(move |tx| {
            tx.note_test_receipt(&push, ReceiptKind::Displayed, tx.now())?;
            assert!(tx.test_push(id)?.unwrap().displayed_at.is_some());
            again(tx, &of)
        })
        .await
        .unwrap();
    assert_eq!(stored(&bed, &patient).await, next, "nothing of the one before is left in it");
}

async fn it_is_settled_by_its_lease_only(bed: Bed) {
    let (patient, push) = asked(&bed).await;
    let due = bed.store.read(|tx| tx.next_due().map(|next| next.test)).await.unwrap();
    assert_eq!(due, Some(bed.now()));
    let (zombie, claimed) = claim(&bed).await;
    assert_eq!((claimed.len(), claimed[0].attempts), (1, 1));
    assert!(claim(&bed).await.1.is_empty(), "under a lease that holds");
    bed.clock.advance(MINUTE);
    let released = bed.store.write(|tx| tx.release_expired_test_leases()).await.unwrap();
    assert_eq!(released, 1);
    let (heir, again) = claim(&bed).await;
    assert_eq!(again[0].attempts, 2);
    let sent = Outcome::Sent { at: bed.now() };
    bed.store
        .write(move |tx| {
            assert!(!tx.complete_test_push(zombie, push.id, &sent)?);
            assert!(tx.complete_test_push(heir, push.id, &sent)?);
            assert!(!tx.complete_test_push(heir, push.id, &sent)?);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let push = stored(&bed, &patient).await;
    assert_eq!((push.state, push.sent_at), (ReminderState::Sent, Some(bed.now())));
}

async fn what_is_of_no_use_any_more_is_not_claimed(bed: Bed) {
    let (patient, push) = asked(&bed).await;
    for (pause, resume) in [
        ("UPDATE clinics SET paused = TRUE", "UPDATE clinics SET paused = FALSE"),
        ("UPDATE server SET sending_paused = TRUE", "UPDATE server SET sending_paused = FALSE"),
    ] {
        bed.execute(pause);
        assert_eq!(
            bed.store.read(|tx| tx.next_due().map(|next| next.test)).await.unwrap(),
            None,
            "{pause}"
        );
        assert!(claim(&bed).await.1.is_empty(), "{pause}");
        bed.execute(resume);
    }
    bed.clock.set(push.use_by - SignedDuration::from_micros(1));
    assert_eq!(bed.store.write(|tx| tx.expire_test_pushes()).await.unwrap(), 0);
    bed.clock.set(push.use_by);
    assert_eq!(bed.store.read(|tx| tx.next_due().map(|next| next.test)).await.unwrap(), None);
    assert!(claim(&bed).await.1.is_empty());
    assert_eq!(bed.store.write(|tx| tx.expire_test_pushes()).await.unwrap(), 1);
    assert_eq!(stored(&bed, &patient).await.state, ReminderState::Expired);
}

on_both_engines!(
    the_last_one_is_kept,
    it_is_settled_by_its_lease_only,
    what_is_of_no_use_any_more_is_not_claimed,
);
