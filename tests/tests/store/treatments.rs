use std::collections::{BTreeMap, BTreeSet};

use aftercare::store::{
    NewTreatment, Patient, StoreError, Treatment, TreatmentFilter, TreatmentState, Tx,
};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use futures_util::future::join_all;

use crate::fixtures::{
    HOUR, MINUTE, areas, clinic_and_patient, make_clinic, make_patient, make_protocol,
    make_treatment, new_treatment,
};

async fn a_treatment_comes_back_as_it_was_recorded(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let protocol = make_protocol(tx, clinic.id)?;
            let mut new = new_treatment(tx, protocol, "visit-1");
            new.metadata = Some(BTreeMap::from([("room".to_owned(), "três".to_owned())]));
            new.next_session_at = Some(tx.now() + 24 * HOUR);
            let recorded = tx.draft_treatment(&patient, new);
            assert!(tx.insert_treatment(&patient, &recorded)?);
            assert_eq!(recorded.recorded_at, tx.now());
            assert_eq!(tx.treatment(clinic.id, recorded.id)?, Some(recorded.clone()));
            let by_event = tx.treatment_by_event(clinic.id, "api", "visit-1")?;
            assert_eq!(by_event, Some(recorded.clone()));
            assert_eq!(tx.treatments(patient.id)?, std::slice::from_ref(&recorded));

            let other = make_clinic(tx)?;
            assert_eq!(tx.treatment(other.id, recorded.id)?, None);
            assert_eq!(tx.treatment_by_event(other.id, "api", "visit-1")?, None);
            assert_eq!(tx.treatment_by_event(clinic.id, "fhir", "visit-1")?, None);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn an_event_is_recorded_once_in_its_namespace(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let protocol = make_protocol(tx, clinic.id)?;
            let new = new_treatment(tx, protocol, "visit-1");
            let insert = |tx: &mut Tx<'_>, patient: &Patient, new: &NewTreatment| {
                let treatment = tx.draft_treatment(patient, new.clone());
                tx.insert_treatment(patient, &treatment)
            };
            assert!(insert(tx, &patient, &new)?);
            assert!(!insert(tx, &patient, &new)?);
            let neighbour = make_patient(tx, clinic.id, "P-2")?;
            assert!(!insert(tx, &neighbour, &new)?);
            let mut fhir = new;
            "fhir".clone_into(&mut fhir.namespace);
            assert!(insert(tx, &patient, &fhir)?);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn of_many_equal_events_at_once_one_is_recorded(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store.write(move |tx| make_protocol(tx, clinic.id)).await.unwrap();
    let other = bed.again().await;
    let events = (0..16).map(|n| {
        let store = if n % 2 == 0 { &bed.store } else { &other };
        let patient = patient.clone();
        store.write(move |tx| {
            let protocol = make_protocol(tx, clinic.id)?;
            let new = new_treatment(tx, protocol, "visit-1");
            let treatment = tx.draft_treatment(&patient, new);
            if tx.insert_treatment(&patient, &treatment)? {
                return Ok((treatment.id, true));
            }
            let known = tx.treatment_by_event(clinic.id, "api", "visit-1")?;
            Ok::<_, StoreError>((known.expect("the other one is visible by now").id, false))
        })
    });
    let answers: Vec<_> = join_all(events).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|(_, recorded)| *recorded).count(), 1);
    assert_eq!(answers.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 1);
}

async fn pages_follow_the_order_of_recording(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let mut recorded = Vec::new();
    for n in 0..7 {
        let patient = patient.clone();
        // Two at each instant, so that the id decides within one.
        let ids = bed.store.write(move |tx| {
            let one = make_treatment(tx, &patient, &format!("visit-{n}-a"))?.id;
            let two = make_treatment(tx, &patient, &format!("visit-{n}-b"))?.id;
            Ok::<_, StoreError>([one, two])
        });
        let mut ids = ids.await.unwrap();
        ids.sort_unstable();
        recorded.extend(ids);
        bed.clock.advance(MINUTE);
    }
    let since = bed.now() - 2 * MINUTE;
    bed.store
        .read(move |tx| {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = tx.treatments_page(clinic.id, &TreatmentFilter::default(), after, 5)?;
                let Some(last) = page.last() else { break };
                after = Some((last.recorded_at, last.id));
                seen.extend(page.iter().map(|treatment| treatment.id));
            }
            assert_eq!(seen, recorded);

            let mut count = |filter: TreatmentFilter| -> Result<usize, StoreError> {
                Ok(tx.treatments_page(clinic.id, &filter, None, 100)?.len())
            };
            let filter = TreatmentFilter { since: Some(since), ..TreatmentFilter::default() };
            assert_eq!(count(filter.clone())?, 4);
            let event_id = Some("visit-6-b".to_owned());
            assert_eq!(count(TreatmentFilter { event_id, ..filter.clone() })?, 1);
            let event_id = Some("visit-0-a".to_owned());
            assert_eq!(count(TreatmentFilter { event_id, ..filter })?, 0);
            let patient = Some(patient.id);
            assert_eq!(count(TreatmentFilter { patient, ..TreatmentFilter::default() })?, 14);
            let patient = Some(tx.env().id());
            let none = TreatmentFilter { patient, ..TreatmentFilter::default() };
            assert_eq!(tx.treatments_page(clinic.id, &none, None, 100)?.len(), 0);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn a_treatment_is_voided_once(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let treatment =
        bed.store.write(move |tx| make_treatment(tx, &patient, "visit-1")).await.unwrap();
    bed.clock.advance(HOUR);
    let now = bed.now();
    bed.store
        .write(move |tx| {
            assert!(tx.set_voided(treatment.id)?);
            assert!(!tx.set_voided(treatment.id)?);
            let voided = tx.treatment(clinic.id, treatment.id)?.unwrap();
            assert_eq!(voided.state, TreatmentState::Voided);
            assert_eq!((voided.voided_at, voided.updated_at), (Some(now), now));
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn a_treatment_becomes_what_it_turned_out_to_be(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let of = patient.clone();
    let treatment = bed.store.write(move |tx| make_treatment(tx, &of, "visit-1")).await.unwrap();
    bed.clock.advance(HOUR);
    bed.store
        .write(move |tx| {
            let amended = Treatment {
                completed_at: treatment.completed_at - HOUR,
                time_zone: "Atlantic/Azores".parse().unwrap(),
                areas: areas(&["chest"]),
                next_session_at: Some(tx.now() + 5 * HOUR),
                metadata: Some(BTreeMap::from([("room".to_owned(), "quatro".to_owned())])),
                updated_at: tx.now(),
                ..treatment.clone()
            };
            tx.amend_treatment(&patient, &amended)?;
            assert_eq!(tx.treatment(clinic.id, treatment.id)?.unwrap(), amended);
            let plain = Treatment { next_session_at: None, metadata: None, ..amended };
            tx.amend_treatment(&patient, &plain)?;
            assert_eq!(tx.treatment(clinic.id, treatment.id)?.unwrap(), plain);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

on_both_engines!(
    a_treatment_comes_back_as_it_was_recorded,
    an_event_is_recorded_once_in_its_namespace,
    of_many_equal_events_at_once_one_is_recorded,
    pages_follow_the_order_of_recording,
    a_treatment_is_voided_once,
    a_treatment_becomes_what_it_turned_out_to_be,
);
