use aftercare::store::{
    AmendedFields, AmendingEvent, AmendmentKind, Booking, NewAmendment, StoreError, Tx,
};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::Timestamp;

use crate::fixtures::{HOUR, MINUTE, clinic_and_patient, make_treatment};

fn amended(tx: &Tx<'_>, event: &str, supersedes: &str, at: Timestamp) -> NewAmendment {
    let event = AmendingEvent {
        event_id: event.to_owned(),
        supersedes: supersedes.to_owned(),
        content_hash: tx.content_hash(event.as_bytes()),
    };
    let fields = AmendedFields { next_session: Some(Booking::At(at)), ..AmendedFields::default() };
    let namespace = "api".to_owned();
    NewAmendment { kind: AmendmentKind::Amended, namespace, event: Some(event), at, fields }
}

async fn what_comes_before_its_session_waits_for_it(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            tx.lock_events(clinic.id, "api", false)?;
            tx.lock_events(clinic.id, "api", true)?;
            let now = tx.now();
            tx.insert_amendment(clinic.id, None, amended(tx, "late", "visit-1", now + HOUR))?;
            tx.insert_amendment(clinic.id, None, amended(tx, "of-late", "late", now + MINUTE))?;
            tx.insert_amendment(clinic.id, None, amended(tx, "other", "visit-2", now))?;
            let waiting = tx.waiting_for(clinic.id, "api", "visit-1")?;
            let ids: Vec<_> = waiting.iter().map(|said| said.event_id.clone().unwrap()).collect();
            assert_eq!(ids, ["late", "of-late"], "also what is said of what is said");
            assert!(tx.waiting_for(clinic.id, "fhir", "visit-1")?.is_empty());

            let said = tx.amendment_by_event(clinic.id, "api", "of-late")?.unwrap();
            assert_eq!(said.treatment_id, None);
            assert_eq!(said.fields, waiting[1].fields);
            let treatment = make_treatment(tx, &patient, "visit-1")?;
            for waiting in &waiting {
                tx.settle_amendment(waiting, &patient, treatment.id)?;
            }
            assert!(tx.waiting_for(clinic.id, "api", "visit-1")?.is_empty());
            let said = tx.amendments(&patient, treatment.id)?;
            let ids: Vec<_> = said.iter().map(|said| said.event_id.clone().unwrap()).collect();
            assert_eq!(ids, ["of-late", "late"], "in the order in which they were true");
            assert_eq!(said[0].fields, waiting[1].fields);
            let found = tx.amendment_by_event(clinic.id, "api", "late")?.unwrap();
            assert_eq!(found.treatment_id, Some(treatment.id));
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn an_id_says_one_thing(bed: Bed) {
    let (clinic, _) = clinic_and_patient(&bed.store).await;
    let again = bed.store.write(move |tx| {
        let now = tx.now();
        tx.insert_amendment(clinic.id, None, amended(tx, "late", "visit-1", now))?;
        tx.insert_amendment(clinic.id, None, amended(tx, "late", "visit-2", now))
    });
    assert!(matches!(again.await, Err(StoreError::Conflict { .. })));
}

async fn what_waits_for_ever_is_forgotten(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let now = tx.now();
            let treatment = make_treatment(tx, &patient, "visit-1")?;
            let about = Some((&patient, treatment.id));
            tx.insert_amendment(clinic.id, about, amended(tx, "kept", "visit-1", now))?;
            tx.insert_amendment(clinic.id, None, amended(tx, "lost", "visit-9", now))?;
            assert_eq!(tx.forget_waiting_amendments(now)?, 0);
            assert_eq!(tx.forget_waiting_amendments(now + MINUTE)?, 1);
            assert_eq!(tx.amendments(&patient, treatment.id)?.len(), 1);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

on_both_engines!(
    what_comes_before_its_session_waits_for_it,
    an_id_says_one_thing,
    what_waits_for_ever_is_forgotten,
);
