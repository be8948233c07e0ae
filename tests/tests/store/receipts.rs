use aftercare::ids::ReminderId;
use aftercare::store::{Receipt, ReceiptKind, StoreError};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;

use crate::fixtures::{HOUR, MINUTE, clinic_and_patient, make_patient, make_treatment, reminder};

async fn the_earliest_receipt_of_a_kind_is_kept(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let treatment = make_treatment(tx, &patient, "visit-1")?;
            let now = tx.now();
            let row = reminder(tx, &treatment, "start", now);
            tx.save_reminders(std::slice::from_ref(&row))?;
            let (displayed, acknowledged) = (ReceiptKind::Displayed, ReceiptKind::Acknowledged);
            let receipt = |kind, at| Receipt {
                reminder_id: row.id,
                patient_id: patient.id,
                kind,
                at,
                reported_at: now,
            };
            tx.lock_patient(patient.id)?;
            tx.keep_receipts(&[
                receipt(displayed, now - MINUTE),
                receipt(displayed, now - 2 * MINUTE),
                receipt(acknowledged, now),
            ])?;
            tx.keep_receipts(&[receipt(displayed, now), receipt(acknowledged, now - MINUTE)])?;
            tx.keep_receipts(&[])?;
            let kept = tx.receipts_of(&[row.id])?;
            let kept: Vec<_> = kept.into_iter().map(|receipt| (receipt.kind, receipt.at)).collect();
            assert_eq!(kept, [(displayed, now - 2 * MINUTE), (acknowledged, now - MINUTE)]);

            let neighbour = make_patient(tx, clinic.id, "P-2")?;
            let nobodys: ReminderId = tx.env().id();
            let asked = [row.id, nobodys];
            assert_eq!(tx.known_reminders(patient.id, &asked)?, [row.id]);
            assert_eq!(tx.known_reminders(neighbour.id, &asked)?, []);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn snoozes_are_a_history_and_the_row_knows_the_last(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    let of = patient.id;
    let made = bed.store.write(move |tx| {
        let treatment = make_treatment(tx, &patient, "visit-1")?;
        let now = tx.now();
        let mut row = reminder(tx, &treatment, "start", now);
        tx.save_reminders(std::slice::from_ref(&row))?;
        row.snoozed_until = Some(now + HOUR);
        tx.save_reminders(std::slice::from_ref(&row))?;
        assert_eq!(tx.reminder(patient.id, row.id)?.unwrap().snoozed_until, Some(now + HOUR));
        let first = tx.insert_snooze(patient.id, row.id, now + HOUR)?;
        assert_eq!((first.at, first.until), (now, now + HOUR));
        Ok::<_, StoreError>((row.id, first))
    });
    let (id, first) = made.await.unwrap();
    bed.clock.set(bed.now() + MINUTE);
    bed.store
        .write(move |tx| {
            let second = tx.insert_snooze(of, id, tx.now() + MINUTE)?;
            assert_eq!(tx.snoozes(id)?, [first.clone(), second.clone()]);
            assert_eq!(tx.snoozes_of(of)?, [first, second]);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

on_both_engines!(
    the_earliest_receipt_of_a_kind_is_kept,
    snoozes_are_a_history_and_the_row_knows_the_last,
);
