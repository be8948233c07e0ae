use std::collections::BTreeSet;

use aftercare::store::{StoreError, Tx};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;

use crate::fixtures::{HOUR, clinic_and_patient, make_patient, make_treatment, reminder};

async fn whose_treatments_are_old_is_found_page_by_page(bed: Bed) {
    let (clinic, _) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let mut old = BTreeSet::new();
            for name in ["A", "B", "C"] {
                let patient = make_patient(tx, clinic.id, name)?;
                make_treatment(tx, &patient, &format!("visit-{name}-1"))?;
                make_treatment(tx, &patient, &format!("visit-{name}-2"))?;
                old.insert(patient.id);
            }
            let first = tx.patients_to_close(tx.now(), None, 2)?;
            let second = tx.patients_to_close(tx.now(), first.last().copied(), 2)?;
            assert_eq!((first.len(), second.len()), (2, 1));
            assert_eq!(tx.patients_to_close(tx.now(), second.last().copied(), 2)?, []);
            assert_eq!(first.into_iter().chain(second).collect::<BTreeSet<_>>(), old);
            assert_eq!(tx.patients_to_close(tx.now() - HOUR, None, 2)?, []);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn closing_takes_the_reminders_of_one_treatment(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let closed = make_treatment(tx, &patient, "visit-1")?;
            let open = make_treatment(tx, &patient, "visit-2")?;
            let rows = [&closed, &open].map(|one| reminder(tx, one, "start", tx.now()));
            tx.save_reminders(&rows)?;
            tx.close_treatment(closed.id)?;
            assert_eq!(tx.reminders(patient.id)?, [rows[1].clone()]);
            let at = |tx: &mut Tx<'_>, id| {
                Ok::<_, StoreError>(tx.treatment(clinic.id, id)?.and_then(|one| one.closed_at))
            };
            assert_eq!((at(tx, closed.id)?, at(tx, open.id)?), (Some(tx.now()), None));
            tx.close_treatment(open.id)?;
            assert_eq!(tx.patients_to_close(tx.now(), None, 9)?, []);
            let versions = tx.protocol_versions(clinic.id, "microneedling")?;
            let running =
                |tx: &mut Tx<'_>| tx.count_running_patients(clinic.id, &versions, tx.now() - HOUR);
            assert_eq!(running(tx)?, 0, "what is closed moves to no other version");
            tx.reopen_treatment(closed.id)?;
            assert_eq!((at(tx, closed.id)?, running(tx)?), (None, 1));
            let to_close = |tx: &mut Tx<'_>| tx.patients_to_close(tx.now(), None, 9);
            assert_eq!(to_close(tx)?, [patient.id]);
            tx.set_over(closed.id, tx.now() + HOUR)?;
            assert_eq!(to_close(tx)?, []);
            tx.amend_treatment(&patient, &closed)?;
            assert_eq!(to_close(tx)?, [patient.id]);
            tx.set_over(closed.id, tx.now() + HOUR)?;
            tx.set_voided(closed.id)?;
            assert_eq!(to_close(tx)?, [patient.id]);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

on_both_engines!(
    whose_treatments_are_old_is_found_page_by_page,
    closing_takes_the_reminders_of_one_treatment,
);
