use aftercare::store::{Clinic, StoreError};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::json;

use crate::fixtures::{clinic_and_patient, make_clinic};

async fn a_shipped_version_is_stored_once(bed: Bed) {
    let other = bed.again().await;
    let seed = |store: &aftercare::store::Store| {
        let store = store.clone();
        async move {
            store
                .write(|tx| tx.seed_protocol("microneedling", 1, &json!({"rules": ["a", 1, null]})))
                .await
                .unwrap()
        }
    };
    let (one, two) = futures_util::join!(seed(&bed.store), seed(&other));
    assert!(one != two, "one of them stored it: {one}, {two}");
    assert!(!seed(&bed.store).await);
    bed.store
        .write(|tx| {
            let clinic = make_clinic(tx)?;
            let stored = tx.latest_protocol(clinic.id, "microneedling")?.unwrap();
            assert_eq!((stored.version, stored.clinic_id), (1, None));
            assert_eq!(stored.document, json!({"rules": ["a", 1, null]}));
            assert_eq!(tx.protocol(stored.id)?, Some(stored.clone()));
            assert_eq!(tx.protocols_by_id(&[stored.id, tx.env().id()])?, [stored]);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn a_clinics_own_version_goes_before_a_shipped_one(bed: Bed) {
    bed.store
        .write(|tx| {
            let (clinic, other) = (make_clinic(tx)?, make_clinic(tx)?);
            for version in 1..=3 {
                tx.seed_protocol("microneedling", version, &json!({}))?;
            }
            tx.seed_protocol("peel", 7, &json!({}))?;
            tx.insert_protocol(clinic.id, "microneedling", 1, &json!({"own": true}))?;
            tx.insert_protocol(clinic.id, "microneedling", 2, &json!({"own": true}))?;

            let own = tx.latest_protocol(clinic.id, "microneedling")?.unwrap();
            assert_eq!((own.version, own.clinic_id), (2, Some(clinic.id)));
            let shipped = tx.latest_protocol(other.id, "microneedling")?.unwrap();
            assert_eq!((shipped.version, shipped.clinic_id), (3, None));
            assert_eq!(tx.latest_protocol(clinic.id, "botox")?, None);

            let names = |records: Vec<aftercare::store::ProtocolRecord>| {
                records.into_iter().map(|record| (record.slug, record.version)).collect::<Vec<_>>()
            };
            let expected =
                |version| vec![("microneedling".to_owned(), version), ("peel".to_owned(), 7)];
            assert_eq!(names(tx.protocols(clinic.id)?), expected(2));
            assert_eq!(names(tx.protocols(other.id)?), expected(3));
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn a_version_is_never_replaced(bed: Bed) {
    let again = bed
        .store
        .write(|tx| {
            let clinic = make_clinic(tx)?;
            tx.insert_protocol(clinic.id, "peel", 1, &json!({}))?;
            tx.insert_protocol(clinic.id, "peel", 1, &json!({}))
        })
        .await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
}

async fn a_code_is_one_protocols_of_one_clinic(bed: Bed) {
    let clinic = bed
        .store
        .write(|tx| {
            let (clinic, other) = (make_clinic(tx)?, make_clinic(tx)?);
            for slug in ["microneedling", "peel"] {
                tx.seed_protocol(slug, 1, &json!({}))?;
            }
            tx.replace_aliases(clinic.id, "peel", &["A".to_owned(), "B".to_owned()])?;
            tx.replace_aliases(other.id, "microneedling", &["A".to_owned()])?;
            let mut slug = |of: &Clinic, code: &str| {
                let id = tx.protocol_by_code(of.id, code)?;
                let record = id.map(|id| tx.protocol(id)).transpose()?.flatten();
                Ok::<_, StoreError>(record.map(|record| record.slug))
            };
            assert_eq!(slug(&clinic, "A")?.as_deref(), Some("peel"));
            assert_eq!(slug(&other, "A")?.as_deref(), Some("microneedling"));
            assert_eq!(slug(&other, "B")?, None);
            assert_eq!(slug(&clinic, "microneedling")?.as_deref(), Some("microneedling"));
            tx.replace_aliases(clinic.id, "peel", &["B".to_owned()])?;
            assert_eq!(tx.protocol_by_code(clinic.id, "A")?, None, "a code left out is given up");
            assert_eq!(tx.aliases(clinic.id)?, [("B".to_owned(), "peel".to_owned())].into());
            Ok::<_, StoreError>(clinic.id)
        })
        .await
        .unwrap();
    let taken =
        bed.store.write(move |tx| tx.replace_aliases(clinic, "microneedling", &["B".to_owned()]));
    let refused = taken.await;
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
}

async fn a_move_that_began_anew_is_not_ended_by_the_old_one(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let id = patient.id;
    let begun = bed.store.write(move |tx| {
        let first = tx.insert_protocol(clinic.id, "peel", 1, &json!({}))?;
        tx.start_protocol_move(clinic.id, "peel", first.id)?;
        let old = tx.protocol_moves()?.remove(0);
        tx.advance_protocol_move(&old, id)?;
        assert_eq!(tx.protocol_moves()?[0].reached, Some(id));
        let second = tx.insert_protocol(clinic.id, "peel", 2, &json!({}))?;
        tx.start_protocol_move(clinic.id, "peel", second.id)?;
        Ok::<_, StoreError>((old, second.id))
    });
    let (old, second) = begun.await.unwrap();
    bed.store
        .write(move |tx| {
            tx.advance_protocol_move(&old, id)?;
            assert!(!tx.finish_protocol_move(&old)?);
            let new = tx.protocol_moves()?;
            assert_eq!((new[0].protocol_id, new[0].reached), (second, None), "from the first on");
            assert!(tx.finish_protocol_move(&new[0])?);
            assert!(!tx.finish_protocol_move(&new[0])?, "another server was first");
            assert_eq!(tx.protocol_moves()?, []);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

on_both_engines!(
    a_code_is_one_protocols_of_one_clinic,
    a_move_that_began_anew_is_not_ended_by_the_old_one,
    a_shipped_version_is_stored_once,
    a_clinics_own_version_goes_before_a_shipped_one,
    a_version_is_never_replaced,
);
