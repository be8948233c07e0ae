use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreError, StoreOptions};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;

use crate::fixtures::{clinic_and_patient, make_clinic};

async fn migrations_run_up_and_down_and_up(bed: Bed) {
    assert_eq!(bed.store.pending().await.unwrap(), [""; 0]);
    assert_eq!(bed.store.migrate().await.unwrap(), [""; 0], "nothing to do");
    bed.store.write(make_clinic).await.unwrap();

    let reverted = bed.store.revert_all().await.unwrap();
    let pending = bed.store.pending().await.unwrap();
    assert_eq!(reverted.len(), pending.len());
    assert!(bed.store.read(|tx| tx.clinics()).await.is_err(), "no table is left");

    assert_eq!(bed.store.migrate().await.unwrap(), pending);
    assert_eq!(bed.store.read(|tx| tx.clinics()).await.unwrap(), []);
    bed.store.write(make_clinic).await.unwrap();
}

async fn servers_that_start_together_migrate_once(bed: Bed) {
    bed.store.revert_all().await.unwrap();
    let other = bed.again().await;
    let (one, two) = futures_util::join!(bed.store.migrate(), other.migrate());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.is_empty() != two.is_empty(), "{one:?} {two:?}");
}

async fn another_master_key_is_refused(bed: Bed) {
    clinic_and_patient(&bed.store).await;
    let env = bed.store.env().clone();
    let other = MasterKey::generate(&env);
    let refused = Store::open(&bed.url, other, env, StoreOptions::default()).await;
    assert!(matches!(refused, Err(StoreError::WrongKey)), "{refused:?}");
    bed.again().await;
}

async fn a_newer_schema_is_refused(bed: Bed) {
    bed.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')");
    let env = bed.store.env().clone();
    let refused =
        Store::open(&bed.url, bed.master.clone(), env, StoreOptions::default()).await.unwrap_err();
    let StoreError::SchemaTooNew { newest, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(newest, "99990101000000");
    assert!(refused.to_string().contains("newer release"), "{refused}");
    assert!(matches!(bed.store.migrate().await, Err(StoreError::SchemaTooNew { .. })));
}

on_both_engines!(
    migrations_run_up_and_down_and_up,
    servers_that_start_together_migrate_once,
    another_master_key_is_refused,
    a_newer_schema_is_refused,
);
