use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aftercare::ids::PatientId;
use aftercare::store::{Erasure, ErasureFile, Store, StoreError, StoreOptions};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;

use crate::fixtures::{HOUR, clinic_and_patient, due_reminders, make_patient, registration};

/// Another store over the same database, with a file of erasures.
async fn with_file(bed: &Bed, file: &Path) -> Store {
    let erasures = Some(ErasureFile::at(file));
    let options = StoreOptions { erasures, ..StoreOptions::default() };
    let env = bed.store.env().clone();
    Store::open(&bed.url, bed.master.clone(), env, options).await.unwrap()
}

async fn erase(store: &Store, patient: PatientId) -> Option<Erasure> {
    let erased = store.write(move |tx| tx.erase_patient(patient)).await.unwrap();
    store.finish_erasures().await.unwrap();
    erased
}

async fn a_patient_goes_once_and_stays_noted(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let neighbour = bed.store.write(move |tx| make_patient(tx, clinic.id, "P-2")).await.unwrap();
    let erasure = erase(&bed.store, patient.id).await.unwrap();
    assert_eq!(erasure.patient_id, patient.id);
    assert_eq!((erasure.clinic_id, erasure.at), (clinic.id, bed.now()));
    assert_eq!(erase(&bed.store, patient.id).await, None);
    assert!(bed.store.was_erased(patient.id) && !bed.store.was_erased(neighbour.id));
    bed.store
        .read(move |tx| {
            assert!(tx.patient_by_ref(clinic.id, "P-1")?.is_none());
            assert!(tx.patient(neighbour.id)?.is_some());
            assert_eq!(tx.erasures(None)?, [erasure]);
            assert_eq!(tx.erasures(Some(tx.now() + HOUR))?, []);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn what_other_processes_erase_is_heard_of(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    let other = bed.again().await;
    other.write(move |tx| tx.erase_patient(patient.id)).await.unwrap();
    assert!(!bed.store.was_erased(patient.id));
    bed.store.finish_erasures().await.unwrap();
    assert!(bed.store.was_erased(patient.id));
}

async fn the_file_gets_what_a_crash_left_out_and_nothing_twice(bed: Bed) {
    let (clinic, _) = due_reminders(&bed.store, 1).await;
    let path = bed.folder().join("erasures");
    let (one, two) = (with_file(&bed, &path).await, with_file(&bed, &path).await);
    let mut all = Vec::new();
    for n in 2..8 {
        let name = format!("P-{n}");
        let patient = bed.store.write(move |tx| make_patient(tx, clinic.id, &name)).await.unwrap();
        // Every third is erased by a process that dies before it writes to the file.
        match n % 3 {
            0 => all.extend(erase(&one, patient.id).await),
            1 => all.extend(erase(&two, patient.id).await),
            _ => all.extend(bed.store.write(move |tx| tx.erase_patient(patient.id)).await.unwrap()),
        }
        bed.clock.advance(HOUR);
    }
    one.finish_erasures().await.unwrap();
    two.finish_erasures().await.unwrap();
    let mut noted = ErasureFile::at(&path).read(bed.now()).unwrap();
    noted.sort_by_key(|erasure| erasure.at);
    assert_eq!(noted, all);
}

async fn whom_the_file_names_is_erased_again(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let path = bed.folder().join("erasures");
    let erasure = Erasure { patient_id: patient.id, clinic_id: clinic.id, at: bed.now() - HOUR };
    std::fs::write(&path, format!("{erasure}\n")).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let store = with_file(&bed, &path).await;
    assert_eq!(store.replay_erasures().await.unwrap(), 1);
    assert_eq!(store.replay_erasures().await.unwrap(), 0);
    let (known, noted) = store
        .read(move |tx| Ok::<_, StoreError>((tx.patient(patient.id)?, tx.erasures(None)?)))
        .await
        .unwrap();
    assert!(known.is_none());
    assert_eq!(noted, [erasure], "it keeps its instant");
    assert_eq!(ErasureFile::at(&path).read(bed.now()).unwrap(), [erasure]);
}

async fn a_clock_that_was_ahead_hides_no_later_erasure(bed: Bed) {
    let (clinic, one) = clinic_and_patient(&bed.store).await;
    let two = bed.store.write(move |tx| make_patient(tx, clinic.id, "P-2")).await.unwrap();
    let path = bed.folder().join("erasures");
    let (here, there) = (with_file(&bed, &path).await, bed.again().await);
    let now = bed.now();
    bed.clock.set(now + HOUR * 1000);
    there.write(move |tx| tx.erase_patient(one.id)).await.unwrap().unwrap();
    bed.clock.set(now);
    here.finish_erasures().await.unwrap();
    bed.clock.advance(HOUR);
    there.write(move |tx| tx.erase_patient(two.id)).await.unwrap().unwrap();
    assert_eq!(here.finish_erasures().await.unwrap(), 1);
    assert!(here.was_erased(two.id));
}

async fn a_clock_that_is_set_back_hides_no_later_erasure(bed: Bed) {
    let (clinic, one) = clinic_and_patient(&bed.store).await;
    let two = bed.store.write(move |tx| make_patient(tx, clinic.id, "P-2")).await.unwrap();
    let now = bed.now();
    bed.clock.advance(HOUR);
    erase(&bed.store, one.id).await.unwrap();
    bed.clock.set(now);
    erase(&bed.store, two.id).await.unwrap();
    assert!(bed.store.was_erased(two.id));
}

async fn a_line_of_another_clinic_erases_nobody(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let path = bed.folder().join("erasures");
    let foreign =
        Erasure { patient_id: patient.id, clinic_id: bed.store.env().id(), at: bed.now() };
    std::fs::write(&path, format!("{foreign}\n")).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let store = with_file(&bed, &path).await;
    assert_eq!(store.replay_erasures().await.unwrap(), 0);
    let known = store
        .read(move |tx| Ok::<_, StoreError>((tx.patient(patient.id)?, tx.erasures(None)?)))
        .await
        .unwrap();
    assert!(known.0.is_some() && known.1.is_empty());
    let erasure = erase(&store, patient.id).await.unwrap();
    assert_eq!(erasure.clinic_id, clinic.id);
    let noted = ErasureFile::at(&path).read(bed.now()).unwrap();
    assert_eq!(noted, [foreign, erasure], "the wrong line does not stand for the right one");
}

async fn who_writes_for_a_patient_that_goes_is_told_to_try_again(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    let refused = bed
        .store
        .write(move |tx| {
            tx.erase_patient(patient.id)?;
            tx.upsert_device(&patient, &registration("phone", "address"))
        })
        .await;
    assert!(matches!(refused, Err(StoreError::Busy(_))), "{refused:?}");
}

on_both_engines!(
    a_patient_goes_once_and_stays_noted,
    what_other_processes_erase_is_heard_of,
    the_file_gets_what_a_crash_left_out_and_nothing_twice,
    whom_the_file_names_is_erased_again,
    a_clock_that_was_ahead_hides_no_later_erasure,
    a_clock_that_is_set_back_hides_no_later_erasure,
    a_line_of_another_clinic_erases_nobody,
    who_writes_for_a_patient_that_goes_is_told_to_try_again,
);

fn contains(file: &Path, bytes: &[u8]) -> bool {
    let all = std::fs::read(file).unwrap_or_default();
    all.windows(bytes.len()).any(|window| window == bytes)
}

#[tokio::test]
async fn no_byte_of_an_erased_patient_stays_in_the_file() {
    let bed = Bed::sqlite().await;
    let (_, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| tx.upsert_device(&patient, &registration("phone", "address")))
        .await
        .unwrap();
    let database = PathBuf::from(bed.url.strip_prefix("sqlite:").unwrap());
    let log = database.with_extension("db-wal");
    let sealed = [
        bed.query("SELECT hex(key_wrapped) FROM patients").remove(0),
        bed.query("SELECT hex(ref_sealed) FROM patients").remove(0),
        bed.query("SELECT hex(address_sealed) FROM devices").remove(0),
    ];
    let sealed = sealed.map(|text| hex::decode(text).unwrap());
    for bytes in &sealed {
        assert!(contains(&log, bytes) || contains(&database, bytes));
    }
    let id = bed.query("SELECT hex(id) FROM patients").remove(0);
    let id = PatientId(id.parse().unwrap());
    erase(&bed.store, id).await.unwrap();
    for bytes in &sealed {
        assert!(!contains(&log, bytes) && !contains(&database, bytes));
    }
}
