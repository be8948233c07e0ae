use aftercare::planner::{Reason, ReminderState};
use aftercare::store::StoreError;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;

use crate::fixtures::{HOUR, clinic_and_patient, make_patient, make_treatment, reminder};

async fn saving_makes_new_ones_and_changes_known_ones(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let treatment = make_treatment(tx, &patient, "visit-1")?;
            let now = tx.now();
            let mut rows: Vec<_> = (0..3)
                .map(|n| reminder(tx, &treatment, &format!("step-{n}"), now + n * HOUR))
                .collect();
            tx.save_reminders(&rows)?;
            assert_eq!(tx.reminders(patient.id)?, rows);

            rows[1].state = ReminderState::Cancelled;
            rows[1].reason = Some(Reason::Voided);
            rows[1].attempt_at = None;
            rows[1].members.clear();
            rows.push(reminder(tx, &treatment, "step-3", now + 3 * HOUR));
            tx.save_reminders(&rows)?;
            assert_eq!(tx.lock_reminders(patient.id)?, rows);
            tx.save_reminders(&[])?;

            assert_eq!(tx.reminder(patient.id, rows[0].id)?.as_ref(), rows.first());
            let neighbour = make_patient(tx, clinic.id, "P-2")?;
            assert_eq!(tx.reminder(neighbour.id, rows[0].id)?, None);
            assert_eq!(tx.reminders_of(&[neighbour.id, patient.id])?, rows);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn a_key_names_one_reminder(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    let twice = bed
        .store
        .write(move |tx| {
            let treatment = make_treatment(tx, &patient, "visit-1")?;
            let rows = [0, 1].map(|_| reminder(tx, &treatment, "start", tx.now()));
            tx.save_reminders(&rows)
        })
        .await;
    assert!(matches!(twice, Err(StoreError::Conflict { .. })), "{twice:?}");
}

/// More rows than one statement may write.
async fn many_are_saved_at_once(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let treatment = make_treatment(tx, &patient, "visit-1")?;
            let rows: Vec<_> = (0..2500)
                .map(|n| reminder(tx, &treatment, &format!("step-{n}"), tx.now()))
                .collect();
            tx.save_reminders(&rows)?;
            tx.save_reminders(&rows)?;
            assert_eq!(tx.reminders(patient.id)?.len(), rows.len());
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

on_both_engines!(
    saving_makes_new_ones_and_changes_known_ones,
    a_key_names_one_reminder,
    many_are_saved_at_once,
);
