use std::collections::BTreeSet;

use aftercare::care::{ConsentError, ConsentWord, tell_consent};
use aftercare::protocol::QuietHours;
use aftercare::store::{Consent, ConsentKind, Preferences, PushContent, StoreError};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use futures_util::future::join_all;
use jiff::civil::time;

use crate::fixtures::{HOUR, clinic_and_patient, make_clinic, make_patient};

async fn a_reference_is_found_in_its_own_clinic_only(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let other = make_clinic(tx)?;
            let found = tx.patient_by_ref(clinic.id, "P-1")?.unwrap();
            assert_eq!((found.id, found.reference.as_str()), (patient.id, "P-1"));
            assert_eq!(tx.patient_id_by_ref(clinic.id, "P-1")?, Some(patient.id));
            assert_eq!(tx.patient_id_by_ref(other.id, "P-1")?, None);
            assert!(tx.patient_by_ref(other.id, "P-1")?.is_none());
            assert!(tx.patient_by_ref(clinic.id, "p-1")?.is_none());
            assert!(tx.insert_patient(clinic.id, "P-1", None, None, tx.now())?.is_none());
            let namesake = make_patient(tx, other.id, "P-1")?;
            assert_ne!(namesake.id, patient.id);
            let both = tx.patients_by_id(&[namesake.id, patient.id, tx.env().id()])?;
            assert_eq!(both.iter().map(|patient| patient.id).collect::<Vec<_>>(), {
                let mut ids = vec![namesake.id, patient.id];
                ids.sort_unstable();
                ids
            });
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn what_a_patient_wishes_comes_back(bed: Bed) {
    let (_, mut patient) = clinic_and_patient(&bed.store).await;
    bed.clock.advance(HOUR);
    let now = bed.now();
    bed.store
        .write(move |tx| {
            patient.time_zone = Some("America/New_York".parse().unwrap());
            patient.locale = Some("es".parse().unwrap());
            patient.preferences = Preferences {
                time_zone: Some("Asia/Tokyo".parse().unwrap()),
                locale: None,
                quiet_hours: Some(QuietHours { from: time(22, 0, 0, 0), until: time(8, 0, 0, 0) }),
                exercise_hour: Some(time(18, 30, 0, 0)),
                push_content: Some(PushContent::Reference),
                muted_rules: BTreeSet::from(["hydrate".into()]),
            };
            tx.update_patient(&patient)?;
            let found = tx.patient(patient.id)?.unwrap();
            assert_eq!(found.preferences, patient.preferences);
            assert_eq!(found.time_zone, patient.time_zone);
            assert_eq!(found.locale, patient.locale);
            assert_eq!((found.created_at, found.updated_at), (now - HOUR, now));
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn plan_versions_grow_one_by_one_under_the_lock(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    let other = bed.again().await;
    let bumps = (0..20).map(|n| {
        let store = if n % 2 == 0 { &bed.store } else { &other };
        store.write(move |tx| {
            let before = tx.lock_patient(patient.id)?.unwrap().plan_version;
            let after = tx.bump_plan_version(patient.id)?;
            assert_eq!(after, before + 1, "nobody else came between");
            Ok::<_, StoreError>(after)
        })
    });
    let mut versions: Vec<i64> = join_all(bumps).await.into_iter().map(Result::unwrap).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<_>>());

    let nobody = bed.store.write(|tx| tx.bump_plan_version(tx.env().id())).await;
    assert_eq!(nobody.unwrap(), 0);
}

async fn one_reference_is_one_patient_however_many_ask_at_once(bed: Bed) {
    let clinic = bed.store.write(make_clinic).await.unwrap();
    let other = bed.again().await;
    let asks = (0..16).map(|n| {
        let store = if n % 2 == 0 { &bed.store } else { &other };
        store.write(move |tx| {
            if let Some(made) = tx.insert_patient(clinic.id, "P-9", None, None, tx.now())? {
                return Ok((made.id, true));
            }
            Ok::<_, StoreError>((tx.patient_by_ref(clinic.id, "P-9")?.unwrap().id, false))
        })
    });
    let answers: Vec<_> = join_all(asks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|(_, made)| *made).count(), 1);
    assert_eq!(answers.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), 1);
}

async fn the_latest_word_on_a_consent_counts(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    let now = bed.now();
    bed.store
        .write(move |tx| {
            let yes = Consent {
                patient_id: patient.id,
                kind: ConsentKind::Aftercare,
                granted: true,
                notice_version: Some("2026-11".to_owned()),
                at: now,
            };
            let no =
                Consent { granted: false, notice_version: None, at: now + HOUR, ..yes.clone() };
            let recall = Consent { kind: ConsentKind::Recall, ..yes.clone() };
            tx.set_consent(&yes)?;
            tx.set_consent(&recall)?;
            tx.set_consent(&no)?;
            assert_eq!(tx.consents(patient.id)?, [no.clone(), recall.clone()]);
            assert_eq!(tx.consents_of(&[tx.env().id(), patient.id])?, [no, recall]);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn a_withdrawal_by_a_slow_clock_wins_over_the_implied_consent(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    let told = bed
        .store
        .write::<_, ConsentError, _>(move |tx| {
            let at = tx.now();
            let kind = ConsentKind::Aftercare;
            let implied =
                Consent { patient_id: patient.id, kind, granted: true, notice_version: None, at };
            tx.set_consent(&implied)?;
            let word = ConsentWord { granted: false, notice_version: None, at: Some(at - HOUR) };
            tell_consent(tx, patient.id, kind, word)
        })
        .await
        .unwrap();
    assert!(told.1 && !told.0.granted, "{told:?}");
}

on_both_engines!(
    a_reference_is_found_in_its_own_clinic_only,
    what_a_patient_wishes_comes_back,
    plan_versions_grow_one_by_one_under_the_lock,
    one_reference_is_one_patient_however_many_ask_at_once,
    the_latest_word_on_a_consent_counts,
    a_withdrawal_by_a_slow_clock_wins_over_the_implied_consent,
);
