//! Units of work: what they keep, what they take back, and what they see.

use aftercare::store::StoreError;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;

use crate::fixtures::{HOUR, clinic_and_patient, make_clinic, make_patient};

/// An error of a caller's own.
#[derive(Debug)]
enum Refusal {
    Unwanted,
    Store,
}

impl From<StoreError> for Refusal {
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

async fn an_error_takes_everything_back(bed: Bed) {
    let refused = bed
        .store
        .write(|tx| {
            make_clinic(tx)?;
            Err::<(), _>(Refusal::Unwanted)
        })
        .await;
    assert!(matches!(refused, Err(Refusal::Unwanted)), "{refused:?}");
    assert_eq!(bed.store.read(|tx| tx.clinics()).await.unwrap(), []);
}

async fn a_dry_run_sees_its_own_writes_and_keeps_none(bed: Bed) {
    let seen = bed
        .store
        .dry_run(|tx| {
            make_clinic(tx)?;
            Ok::<_, StoreError>(tx.clinics()?.len())
        })
        .await
        .unwrap();
    assert_eq!(seen, 1);
    assert_eq!(bed.store.read(|tx| tx.clinics()).await.unwrap(), []);
}

async fn a_read_writes_nothing(bed: Bed) {
    let refused = bed.store.read(make_clinic).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
    bed.store.check_writable().await.unwrap();
}

async fn nothing_is_committed_after_a_failed_query(bed: Bed) {
    let clinic = bed.store.write(make_clinic).await.unwrap();
    let id = clinic.id;
    let went_on = bed
        .store
        .write(move |tx| {
            make_patient(tx, id, "P-1")?;
            // A caller that ignores the error would lose its work without a word.
            let _ = tx.insert_clinic(&clinic);
            Ok::<_, StoreError>(())
        })
        .await;
    assert!(matches!(went_on, Err(StoreError::Internal(_))), "{went_on:?}");
    let patient = bed.store.read(move |tx| tx.patient_by_ref(id, "P-1")).await.unwrap();
    assert!(patient.is_none());
}

async fn a_unit_has_one_instant(bed: Bed) {
    let clock = std::sync::Arc::clone(&bed.clock);
    let start = bed.now();
    bed.store
        .write(move |tx| {
            clock.advance(HOUR);
            assert_eq!(tx.now(), start);
            let clinic = make_clinic(tx)?;
            assert_eq!(tx.clinic(clinic.id)?.unwrap().created_at, start);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let next = bed.store.read(|tx| Ok::<_, StoreError>(tx.now())).await.unwrap();
    assert_eq!(next, start + HOUR);
}

async fn a_panic_takes_everything_back_and_harms_nobody(bed: Bed) {
    let store = bed.store.clone();
    let panicked = tokio::spawn(async move {
        store
            .write(|tx| {
                make_clinic(tx)?;
                assert!(tx.clinics()?.is_empty(), "on purpose");
                Ok::<_, StoreError>(())
            })
            .await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(bed.store.read(|tx| tx.clinics()).await.unwrap(), []);
    bed.store.write(make_clinic).await.unwrap();
}

async fn a_read_sees_one_snapshot(bed: Bed) {
    let (clinic, _) = clinic_and_patient(&bed.store).await;
    let (began, has_begun) = std::sync::mpsc::channel();
    let (wrote, has_written) = std::sync::mpsc::channel();
    let reader = bed.store.read(move |tx| {
        let before = tx.clinics()?.len();
        began.send(()).unwrap();
        has_written.recv().unwrap();
        Ok::<_, StoreError>((before, tx.clinics()?.len()))
    });
    let other = bed.again().await;
    let writer = async {
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
        other.write(make_clinic).await.unwrap();
        wrote.send(()).unwrap();
    };
    let (seen, ()) = futures_util::join!(reader, writer);
    assert_eq!(seen.unwrap(), (1, 1));
    assert_eq!(bed.store.read(|tx| tx.clinics()).await.unwrap().len(), 2);
    drop(clinic);
}

on_both_engines!(
    an_error_takes_everything_back,
    a_dry_run_sees_its_own_writes_and_keeps_none,
    a_read_writes_nothing,
    nothing_is_committed_after_a_failed_query,
    a_unit_has_one_instant,
    a_panic_takes_everything_back_and_harms_nobody,
    a_read_sees_one_snapshot,
);
