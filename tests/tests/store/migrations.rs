use std::fs;
use std::path::Path;

use aftercare::ids::{LeaseId, ReminderId};
use aftercare::planner::Reason;
use aftercare::seal::MasterKey;
use aftercare::store::{Completion, Outcome, Store, StoreError, StoreOptions};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;

use crate::fixtures::{MINUTE, clinic_and_patient, due_reminders, make_clinic};

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

/// Reminders in every state of the queue.
async fn a_busy_queue(bed: &Bed) {
    let clinic = due_reminders(&bed.store, 9).await.0;
    let claim = |most: i64| {
        bed.write(move |tx| {
            let lease: LeaseId = tx.env().id();
            let claimed = tx.claim_due(most, None, lease, tx.now() + MINUTE)?;
            let ids: Vec<ReminderId> = claimed.iter().map(|one| one.id).collect();
            Ok::<_, StoreError>((lease, ids))
        })
    };
    let (lease, ids) = claim(5).await;
    let now = bed.now();
    bed.write(move |tx| {
        let outcomes = [
            Outcome::Sent { at: now },
            Outcome::Retry { attempt_at: now + MINUTE },
            Outcome::NoDevice { attempt_at: now + MINUTE },
            Outcome::Expired { reason: Reason::PastUseBy },
            Outcome::Failed { reason: Reason::Rejected },
        ];
        let done: Vec<Completion<'_>> = std::iter::zip(ids, outcomes)
            .map(|(id, outcome)| Completion { id, outcome, said: None })
            .collect();
        tx.complete(lease, &done)
    })
    .await;
    claim(2).await;
    bed.write(move |tx| tx.set_paused(clinic.id, true)).await;
    assert_eq!(bed.write(|tx| tx.shelve(1)).await, 1);
}

/// What an upgrade meets: the newest migration, back and forth over rows.
async fn the_newest_migration_keeps_what_is_in_the_queue(bed: Bed) {
    a_busy_queue(&bed).await;
    let engine = if bed.database.is_some() { "postgres" } else { "sqlite" };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(engine);
    let newest = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let rows = "SELECT step_id || ' ' || state || coalesce(reason, '') || coalesce(attempt_at, due_at) || attempts
            || CASE WHEN shelved THEN ' shelved' ELSE '' END
            || CASE WHEN lease_id IS NULL THEN '' ELSE ' leased' END
         FROM reminders ORDER BY step_id";
    let indexes = if bed.database.is_some() {
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexdef"
    } else {
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY sql"
    };
    let (before, known) = (bed.query(rows), bed.query(indexes));
    assert_eq!(before.len(), 9);
    for file in ["down.sql", "up.sql"] {
        bed.execute(&fs::read_to_string(newest.join(file)).unwrap());
        assert_eq!(bed.query(rows), before, "{file}");
    }
    assert_eq!(bed.query(indexes), known);
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
    the_newest_migration_keeps_what_is_in_the_queue,
    servers_that_start_together_migrate_once,
    another_master_key_is_refused,
    a_newer_schema_is_refused,
);
