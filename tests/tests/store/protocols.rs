use aftercare::store::StoreError;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::json;

use crate::fixtures::make_clinic;

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

on_both_engines!(
    a_shipped_version_is_stored_once,
    a_clinics_own_version_goes_before_a_shipped_one,
    a_version_is_never_replaced,
);
