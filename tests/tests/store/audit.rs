use aftercare::seal::Digest;
use aftercare::store::{AuditEntry, AuditFinding, AuditReport, Store, StoreError};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use futures_util::future::join_all;

use crate::fixtures::{HOUR, clinic_and_patient, make_clinic};

/// Writes `count` deeds down and seals all there are.
async fn deeds(store: &Store, count: usize) {
    store
        .write(move |tx| {
            let clinic = make_clinic(tx)?.id;
            for n in 0..count {
                let subject = format!("patient:{n}");
                tx.append_audit(&AuditEntry {
                    clinic_id: Some(clinic),
                    actor: "operator",
                    action: "timeline.read",
                    subject: Some(&subject),
                })?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn seal(store: &Store) -> usize {
    let mut sealed = 0;
    loop {
        match store.write(|tx| tx.seal_audit(7)).await.unwrap() {
            0 => return sealed,
            some => sealed += some,
        }
    }
}

async fn look(bed: &Bed) -> AuditReport {
    bed.store.verify_audit(None).await.unwrap()
}

async fn an_untouched_trail_is_found_whole(bed: Bed) {
    assert_eq!(look(&bed).await.findings, []);
    deeds(&bed.store, 20).await;
    let report = look(&bed).await;
    assert_eq!((report.sealed, report.unsealed, report.head), (0, 20, None));
    assert_eq!(seal(&bed.store).await, 20);
    let report = look(&bed).await;
    assert_eq!((report.sealed, report.unsealed), (20, 0));
    assert_eq!(report.findings, []);
    let head = report.head.unwrap();
    assert_eq!(head.seq, 20);

    // A head stays in the chain when the chain grows; the unsealed tail is reported.
    deeds(&bed.store, 3).await;
    assert_eq!(seal(&bed.store).await, 3);
    deeds(&bed.store, 2).await;
    let report = bed.store.verify_audit(Some(head.hash)).await.unwrap();
    assert_eq!((report.sealed, report.unsealed, report.asked_for), (23, 2, Some(20)));
    assert_eq!(report.findings, []);
    let other: Digest = "00".repeat(32).parse().unwrap();
    let report = bed.store.verify_audit(Some(other)).await.unwrap();
    assert_eq!(report.findings, [AuditFinding::HeadMissing]);
}

/// Each statement is one way to tamper with rows 1 to 20, with the numbers that it must be found at.
const TAMPERING: &[(&str, &[i64])] = &[
    ("UPDATE audit SET actor = 'system' WHERE seq = 4", &[4]),
    ("UPDATE audit SET action = 'timeline.reaD' WHERE seq = 5", &[5]),
    ("UPDATE audit SET subject = NULL WHERE seq = 6", &[6]),
    ("UPDATE audit SET subject = '' WHERE seq = 1", &[1]),
    ("UPDATE audit SET clinic_id = NULL WHERE seq = 6", &[6]),
    ("UPDATE audit SET clinic_id = id WHERE seq = 1", &[1]),
    ("UPDATE audit SET id = (SELECT id FROM clinics) WHERE seq = 20", &[20]),
    ("UPDATE audit SET hash = prev WHERE seq = 7", &[7, 8]),
    ("UPDATE audit SET prev = hash WHERE seq = 8", &[8]),
    ("UPDATE audit SET hash = NULL WHERE seq = 20", &[20]),
    ("UPDATE audit SET prev = NULL WHERE seq = 9", &[9]),
    ("UPDATE audit SET seq = 21 WHERE seq = 20", &[20, 21]),
    ("UPDATE audit SET seq = 0 WHERE seq = 1", &[0, 1]),
    ("DELETE FROM audit WHERE seq = 1", &[1]),
    ("DELETE FROM audit WHERE seq IN (10, 11)", &[10]),
    // The numbers closed up after a removal.
    (
        "DELETE FROM audit WHERE seq = 19; UPDATE audit SET seq = 19 WHERE seq = 20",
        &[19],
    ),
    // Two rows that change places, links and all.
    (
        "UPDATE audit SET seq = 99 WHERE seq = 12; UPDATE audit SET seq = 12 WHERE seq = 13;
         UPDATE audit SET seq = 13 WHERE seq = 99",
        &[12, 13, 14],
    ),
    // A row put in at the end, made of another.
    (
        "INSERT INTO audit (id, at, actor, action, seq, prev, hash)
         SELECT (SELECT id FROM clinics), at, actor, action, 21, hash, hash FROM audit WHERE seq = 20",
        &[21],
    ),
];

fn numbers(report: &AuditReport) -> Vec<i64> {
    report.findings.iter().filter_map(AuditFinding::seq).collect()
}

async fn any_tampering_is_found_where_it_was(bed: Bed) {
    deeds(&bed.store, 20).await;
    seal(&bed.store).await;
    bed.execute("CREATE TABLE untouched AS SELECT * FROM audit");
    let later = if bed.database.is_some() {
        "UPDATE audit SET at = at + interval '1 microsecond' WHERE seq = 3"
    } else {
        "UPDATE audit SET at = at + 1 WHERE seq = 3"
    };
    for (sql, at) in TAMPERING.iter().chain(&[(later, &[3_i64][..])]) {
        bed.execute(sql);
        let report = look(&bed).await;
        let mut found = numbers(&report);
        found.sort_unstable();
        found.dedup();
        assert_eq!(&found, at, "{sql}: {:?}", report.findings);
        bed.execute("DELETE FROM audit; INSERT INTO audit SELECT * FROM untouched");
        assert_eq!(look(&bed).await.findings, [], "{sql}");
    }
}

async fn what_cannot_even_be_read_is_found_too(bed: Bed) {
    if bed.database.is_some() {
        return; // PostgreSQL does not take such values.
    }
    deeds(&bed.store, 20).await;
    seal(&bed.store).await;
    bed.execute("UPDATE audit SET id = x'00' WHERE seq = 5; UPDATE audit SET clinic_id = x'' WHERE seq = 20");
    assert_eq!(numbers(&look(&bed).await), [5, 20]);
}

async fn an_end_that_was_cut_off_is_found_by_a_head_that_was_kept(bed: Bed) {
    deeds(&bed.store, 20).await;
    seal(&bed.store).await;
    let head = look(&bed).await.head.unwrap().hash;
    bed.execute("DELETE FROM audit WHERE seq > 17");
    assert_eq!(look(&bed).await.findings, [], "the chain alone cannot tell");
    let report = bed.store.verify_audit(Some(head)).await.unwrap();
    assert_eq!(report.findings, [AuditFinding::HeadMissing]);
    // Nor can it be made good by writing other rows.
    deeds(&bed.store, 3).await;
    seal(&bed.store).await;
    let report = bed.store.verify_audit(Some(head)).await.unwrap();
    assert_eq!(report.findings, [AuditFinding::HeadMissing]);
}

async fn rows_that_lost_their_number_are_found(bed: Bed) {
    deeds(&bed.store, 20).await;
    seal(&bed.store).await;
    bed.execute("UPDATE audit SET seq = NULL WHERE seq = 20");
    assert_eq!(look(&bed).await.findings, [AuditFinding::Unnumbered { rows: 1 }]);
}

async fn sealers_at_once_never_fork_the_chain(bed: Bed) {
    deeds(&bed.store, 150).await;
    let others = [bed.again().await, bed.again().await, bed.again().await];
    let sealing = others.iter().map(|store| async move {
        for _ in 0..10 {
            deeds(store, 2).await;
            store.write(|tx| tx.seal_audit(11)).await.unwrap();
        }
        store.seal_audit().await.unwrap();
    });
    join_all(sealing).await;
    let report = look(&bed).await;
    assert_eq!((report.sealed, report.unsealed), (210, 0));
    assert_eq!(report.findings, []);
}

async fn erasing_leaves_the_trail_whole(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    deeds(&bed.store, 5).await;
    seal(&bed.store).await;
    let erase = move |tx: &mut aftercare::store::Tx<'_>| {
        aftercare::care::erase_patient(tx, patient.id, aftercare::care::ErasedBy::Patient)
    };
    bed.store.write(erase).await.unwrap().unwrap();
    seal(&bed.store).await;
    let report = look(&bed).await;
    assert_eq!((report.sealed, report.findings), (6, Vec::new()));
}

async fn the_head_is_logged_by_one_scheduler_a_day(bed: Bed) {
    let day = 24 * HOUR;
    let other = bed.again().await;
    let turn = |store: Store| async move {
        store.write(move |tx| tx.take_turn_to_log_head(day)).await.unwrap()
    };
    let turns = [turn(bed.store.clone()).await, turn(other.clone()).await];
    assert_eq!(turns, [true, false]);
    bed.clock.advance(day);
    let turns = [turn(other).await, turn(bed.store.clone()).await];
    assert_eq!(turns, [true, false]);
}

on_both_engines!(
    an_untouched_trail_is_found_whole,
    any_tampering_is_found_where_it_was,
    what_cannot_even_be_read_is_found_too,
    an_end_that_was_cut_off_is_found_by_a_head_that_was_kept,
    rows_that_lost_their_number_are_found,
    sealers_at_once_never_fork_the_chain,
    erasing_leaves_the_trail_whole,
    the_head_is_logged_by_one_scheduler_a_day,
);
