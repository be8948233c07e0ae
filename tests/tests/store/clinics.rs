use aftercare::store::{AuditEntry, StoreError};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;

use crate::fixtures::make_clinic;

async fn a_clinic_comes_back_as_it_was_kept(bed: Bed) {
    let clinic = bed.store.write(make_clinic).await.unwrap();
    let (id, client_id) = (clinic.id, clinic.client_id.clone());
    bed.store
        .read(move |tx| {
            assert_eq!(tx.clinic(id)?, Some(clinic.clone()));
            assert_eq!(tx.clinics()?, std::slice::from_ref(&clinic));
            assert_eq!(tx.clinics_by_id(&[id, tx.env().id()])?, std::slice::from_ref(&clinic));
            assert_eq!(tx.clinic_by_client_id(&client_id)?, Some((clinic, Vec::new())));
            assert_eq!(tx.clinic_by_client_id("nobody")?, None);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn a_client_id_is_taken_once(bed: Bed) {
    let clinic = bed.store.write(make_clinic).await.unwrap();
    let again = bed
        .store
        .write(move |tx| {
            let id = tx.env().id();
            tx.insert_clinic(&aftercare::store::Clinic { id, ..clinic })
        })
        .await;
    let Err(StoreError::Conflict { on }) = again else { panic!("{again:?}") };
    assert!(on.contains("client_id"), "{on}");
}

async fn revoked_secrets_do_not_count(bed: Bed) {
    let clinic = bed.store.write(make_clinic).await.unwrap();
    bed.store
        .write(move |tx| {
            let old = tx.insert_client_secret(clinic.id, "$argon2id$old")?;
            let new = tx.insert_client_secret(clinic.id, "$argon2id$new")?;
            assert!(tx.revoke_client_secret(old)?);
            assert!(!tx.revoke_client_secret(old)?);
            let (_, live) = tx.clinic_by_client_id(&clinic.client_id)?.unwrap();
            assert_eq!(live.iter().map(|secret| secret.id).collect::<Vec<_>>(), [new]);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn one_clinic_or_all_are_paused(bed: Bed) {
    bed.store
        .write(|tx| {
            let (one, other) = (make_clinic(tx)?, make_clinic(tx)?);
            assert!(tx.set_paused(one.id, true)?);
            assert!(tx.clinic(one.id)?.unwrap().paused);
            assert!(!tx.clinic(other.id)?.unwrap().paused);
            assert!(!tx.all_paused()?);
            tx.set_all_paused(true)?;
            assert!(tx.all_paused()?);
            tx.set_all_paused(false)?;
            assert!(!tx.all_paused()? && tx.clinic(one.id)?.unwrap().paused, "who is paused alone");
            let unknown = tx.env().id();
            assert!(!tx.set_paused(unknown, true)?);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn deeds_are_written_down(bed: Bed) {
    bed.store
        .write(|tx| {
            let clinic = make_clinic(tx)?;
            let entry = AuditEntry {
                clinic_id: Some(clinic.id),
                actor: "operator",
                action: "clinic.created",
                subject: None,
            };
            let first = tx.append_audit(&entry)?;
            assert_ne!(first, tx.append_audit(&AuditEntry { clinic_id: None, ..entry })?);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

on_both_engines!(
    a_clinic_comes_back_as_it_was_kept,
    a_client_id_is_taken_once,
    revoked_secrets_do_not_count,
    one_clinic_or_all_are_paused,
    deeds_are_written_down,
);
