//! What PostgreSQL's planner keeps of the rows: samples of columns, which outlive the rows.

use aftercare::store::StoreError;
use aftercare_tests::bed::Bed;

use crate::fixtures::{make_clinic, make_patient, make_treatment, registration};

/// Columns of sealed values of which samples may be taken.
const SAMPLED: &str = "SELECT attrelid::regclass || '.' || attname FROM pg_attribute
    WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r')
    AND (attname LIKE '%\\_sealed' OR attname LIKE '%\\_wrapped')
    AND attstattarget IS DISTINCT FROM 0";
/// Columns of sealed values of which there are samples.
const SAMPLES: &str = "SELECT tablename || '.' || attname FROM pg_stats WHERE schemaname = 'public'
    AND (attname LIKE '%\\_sealed' OR attname LIKE '%\\_wrapped') ORDER BY 1";
/// And of those beside them, by which queries are planned.
const OTHERS: &str = "SELECT tablename || '.' || attname FROM pg_stats WHERE schemaname = 'public'
    AND attname IN ('ref_hash', 'address_hash', 'event_hash') ORDER BY 1";

/// Patients, each with a phone and a treatment.
async fn fill(bed: &Bed) {
    let filled = bed.store.write(|tx| {
        let clinic = make_clinic(tx)?;
        for n in 0..20 {
            let patient = make_patient(tx, clinic.id, &format!("P-{n}"))?;
            make_treatment(tx, &patient, &format!("visit-{n}"))?;
            tx.upsert_device(&patient, &registration("phone", &format!("address-{n}")))?;
        }
        Ok::<_, StoreError>(())
    });
    filled.await.unwrap();
}

fn migration(part: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/postgres");
    std::fs::read_to_string(format!("{folder}/2026-11-22-000007_statistics/{part}.sql")).unwrap()
}

#[tokio::test]
async fn the_planner_keeps_no_sample_of_what_is_sealed() {
    let Some(bed) = Bed::postgres().await else { return };
    assert_eq!(bed.query(SAMPLED), [""; 0], "a new sealed column needs SET STATISTICS 0");
    fill(&bed).await;
    bed.execute("ANALYZE");
    assert_eq!(bed.query(SAMPLES), [""; 0]);
    let others = ["devices.address_hash", "patients.ref_hash", "treatments.event_hash"];
    assert_eq!(bed.query(OTHERS), others);
}

#[tokio::test]
async fn samples_from_before_are_dropped() {
    let Some(bed) = Bed::postgres().await else { return };
    fill(&bed).await;
    bed.execute(&migration("down"));
    bed.execute("ANALYZE");
    let found = bed.query(SAMPLES);
    for column in ["devices.address_sealed", "patients.key_wrapped", "treatments.event_sealed"] {
        assert!(found.iter().any(|found| found == column), "{column}: {found:?}");
    }
    bed.execute(&migration("up"));
    assert_eq!(bed.query(SAMPLES), [""; 0]);
    assert_eq!(bed.query(SAMPLED), [""; 0]);
}
