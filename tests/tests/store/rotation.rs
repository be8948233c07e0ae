//! The master key is replaced while servers run.

use std::path::{Path, PathBuf};

use aftercare::seal::{KeyFile, KeyId, MasterKey, UnderMaster};
use aftercare::store::{AuditEntry, Replacement, Store, StoreError, StoreOptions};
use aftercare::webhook::EventType;
use aftercare_tests::bed::Bed;
use aftercare_tests::envelope::{self, Key, derive, master_keys};
use aftercare_tests::on_both_engines;
use secrecy::ExposeSecret as _;

use crate::fixtures::{HOUR, make_clinic, make_patient, make_treatment};

/// What is sealed under keys that stay: patients' own, and such as the index key gives.
const NOT_UNDER_THE_MASTER: [&str; 8] = [
    "amendments.content_sealed",
    "calendars.token_sealed",
    "devices.address_sealed",
    "devices.installation_sealed",
    "patients.ref_sealed",
    "treatments.event_sealed",
    "treatments.metadata_sealed",
    "webhook_answers.body_sealed",
];

/// More than two batches.
const PATIENTS: usize = 450;
/// What signs a clinic's events.
const SECRET: &[u8] = b"a secret of a clinic's";

/// Where a webhook leads.
const URL: &str = "https://hooks.example/";

/// The bed's database made anew, with a master key that is in a file.
async fn with_key_file(bed: &Bed) -> (PathBuf, Store) {
    bed.store.revert_all().await.unwrap();
    let path = bed.folder().join("master.key");
    MasterKey::load_or_create(&path, bed.store.env()).unwrap();
    let store = open(bed, &path).await.unwrap();
    store.migrate().await.unwrap();
    (path, store)
}

async fn open(bed: &Bed, key_file: &Path) -> Result<Store, StoreError> {
    let (key, env) = (MasterKey::load(key_file).unwrap(), bed.store.env().clone());
    Store::open(&bed.url, key, env, StoreOptions::default()).await
}

fn add_key(bed: &Bed, file: &Path) -> KeyId {
    KeyFile::hold(file).unwrap().add_key(bed.store.env()).unwrap()
}

/// Goes through all that is left; gives how many values.
async fn finish(mut replacement: Replacement) -> usize {
    let mut values = 0;
    while let Some(batch) = replacement.step().await.unwrap() {
        values += batch.values;
    }
    assert_eq!(replacement.left().await.unwrap(), 0);
    values
}

/// A clinic with so many patients, of whom the first has a treatment; two signing keys, of which one has
/// lost its private half; a signing secret, and a webhook.
async fn fill(bed: &Bed, store: &Store, key_file: &Path, patients: usize) {
    let filled = store.write(move |tx| {
        let clinic = make_clinic(tx)?;
        for n in 0..patients {
            let patient = make_patient(tx, clinic.id, &format!("P-{n}"))?;
            if n == 0 {
                make_treatment(tx, &patient, "visit-0")?;
            }
        }
        let now = tx.now();
        tx.insert_signing_key("retired", b"private", b"public", now - HOUR)?;
        tx.insert_signing_key("signing", b"private", b"public", now)?;
        tx.retire_signing_keys(now, "signing")?;
        tx.destroy_private_halves(now)?;
        tx.insert_webhook(clinic.id, URL, &"whsec_x".into(), [EventType::PatientErased].into())?;
        let entry = AuditEntry { clinic_id: None, actor: "system", action: "x.y", subject: None };
        tx.append_audit(&entry)?;
        Ok::<_, StoreError>(clinic.id)
    });
    let clinic = filled.await.unwrap();
    store.seal_audit().await.unwrap();
    let (id, master) = master_keys(key_file)[0];
    let column = UnderMaster::SigningSecret.column();
    let key = derive(&master, "seal signing keys");
    let sealed = hex::encode(envelope::seal(&key, id, clinic.0.as_bytes(), column, SECRET));
    let bytes =
        if bed.database.is_some() { format!("'\\x{sealed}'") } else { format!("x'{sealed}'") };
    bed.execute(&format!(
        "INSERT INTO signing_secrets SELECT id, id, {bytes}, created_at FROM clinics"
    ));
}

/// Everything is found and opens, and the trail is whole.
async fn all_is_well(store: &Store, patients: usize) {
    let found = store.read(move |tx| {
        let clinic = tx.clinics()?.remove(0).id;
        assert_eq!(tx.webhooks(clinic)?[0].url.expose_secret(), URL);
        for n in 0..patients {
            let reference = format!("P-{n}");
            let patient = tx.patient_by_ref(clinic, &reference)?.expect("found by its hash");
            assert_eq!(patient.reference, reference);
            if n == 0 {
                assert_eq!(tx.treatments(patient.id)?[0].event_id, "visit-0");
            }
        }
        let keys = tx.signing_keys()?;
        Ok::<_, StoreError>(keys.iter().map(|key| key.private.is_some()).collect::<Vec<_>>())
    });
    assert_eq!(found.await.unwrap(), [true, false]);
    let report = store.verify_audit(None).await.unwrap();
    assert!(report.sealed > 0);
    assert_eq!(report.findings, []);
}

/// The column's values, each with the id of its row, which the server's has none of.
fn values(bed: &Bed, what: UnderMaster) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (table, column) = what.column().split_once('.').unwrap();
    let id = match what {
        UnderMaster::IndexKey | UnderMaster::AuditKey => format!("'{}'", "00".repeat(16)),
        UnderMaster::SigningKey => "'00'".to_owned(),
        _ if bed.database.is_some() => "replace(id::text, '-', '')".to_owned(),
        _ => "hex(id)".to_owned(),
    };
    let hex = if bed.database.is_some() { "encode(it, 'hex')" } else { "hex(it)" };
    let bytes = hex.replace("it", column);
    let sql = format!("SELECT {id} || ' ' || {bytes} FROM {table} WHERE {column} IS NOT NULL");
    let decode = |line: String| {
        let (id, bytes) = line.split_once(' ').unwrap();
        (hex::decode(id).unwrap(), hex::decode(bytes).unwrap())
    };
    bed.query(&sql).into_iter().map(decode).collect()
}

/// Every value opens under this master key, but for those of signing keys, which the store opens; no value
/// names another.
fn all_is_under(bed: &Bed, (id, master): (u8, Key)) {
    for what in UnderMaster::ALL {
        let purpose = match what {
            UnderMaster::PatientKey => "wrap patients' keys",
            UnderMaster::SigningKey | UnderMaster::SigningSecret | UnderMaster::WebhookTarget => {
                "seal signing keys"
            }
            UnderMaster::IndexKey | UnderMaster::AuditKey => "wrap the database's keys",
        };
        let (key, column) = (derive(&master, purpose), what.column());
        let values = values(bed, what);
        assert!(!values.is_empty(), "{column}");
        for (row, bytes) in values {
            assert_eq!(bytes[1], id, "{column}");
            let plain = envelope::open(&key, &row, column, &bytes);
            assert!(plain.is_some() || what == UnderMaster::SigningKey, "{column}");
            assert!(what != UnderMaster::SigningSecret || plain.as_deref() == Some(SECRET));
        }
    }
}

async fn a_master_key_is_replaced_while_servers_run_and_after_a_crash(bed: Bed) {
    let (path, running) = with_key_file(&bed).await;
    fill(&bed, &running, &path, PATIENTS).await;
    let first = master_keys(&path)[0];
    all_is_under(&bed, first);
    let old = MasterKey::from_bytes(&first.1);

    // Prepared, but not in use; a second file would be a copy of it on another machine.
    assert_eq!(add_key(&bed, &path).get(), 2);
    all_is_well(&open(&bed, &path).await.unwrap(), PATIENTS).await;
    all_is_under(&bed, first);

    // It breaks off after the second batch.
    let mut broken = open(&bed, &path).await.unwrap().replace_master_key().await.unwrap();
    for _ in 0..2 {
        let batch = broken.step().await.unwrap().unwrap();
        assert_eq!((batch.column, batch.values), ("patients.key_wrapped", 200));
    }
    drop(broken);
    // A server that has run all along reads both kinds and writes the new one.
    all_is_well(&running, PATIENTS).await;
    let added = running.write(|tx| {
        let clinic = tx.clinics()?.remove(0).id;
        make_patient(tx, clinic, &format!("P-{PATIENTS}"))
    });
    added.await.unwrap();

    let again = open(&bed, &path).await.unwrap().replace_master_key().await.unwrap();
    assert_eq!(again.left().await.unwrap(), 53);
    assert_eq!(
        finish(again).await,
        PATIENTS - 400 + 3,
        "and a signing key, a secret and a webhook"
    );
    let replaced = bed.query("SELECT subject FROM audit WHERE action = 'master-key.replaced'");
    assert_eq!(replaced, ["master-key:2"], "noted once");

    let env = bed.store.env().clone();
    let second = "2".parse().unwrap();
    let before = KeyFile::hold(&path).unwrap().retire_all_but(second, &env).unwrap().unwrap();
    assert_eq!(master_keys(&before)[1], first);
    let [only] = master_keys(&path)[..] else { panic!("the old key is in the file still") };
    all_is_under(&bed, only);
    let fresh = open(&bed, &path).await.unwrap();
    fresh.seal_audit().await.unwrap();
    all_is_well(&fresh, PATIENTS + 1).await;
    all_is_well(&running, PATIENTS + 1).await;
    let refused = Store::open(&bed.url, old, env, StoreOptions::default()).await.unwrap_err();
    assert!(matches!(refused, StoreError::MissingKey(id) if id == second), "{refused:?}");
    assert!(refused.to_string().contains("lacks master key 2"), "{refused}");
}

async fn a_server_without_the_new_key_needs_only_the_file(bed: Bed) {
    let (path, store) = with_key_file(&bed).await;
    fill(&bed, &store, &path, 3).await;
    let elsewhere = bed.folder().join("other-machine.key");
    std::fs::copy(&path, &elsewhere).unwrap();
    let other = open(&bed, &elsewhere).await.unwrap();
    add_key(&bed, &path);
    finish(open(&bed, &path).await.unwrap().replace_master_key().await.unwrap()).await;

    let read = other.read(|tx| tx.clinics().map(|mut clinics| clinics.remove(0).id));
    let clinic = read.await.unwrap();
    let read = other.read(move |tx| tx.patient_by_ref(clinic, "P-0")).await.map(|_| ());
    let write = other.write(move |tx| make_patient(tx, clinic, "P-3")).await.map(|_| ());
    for refused in [read, write] {
        assert!(matches!(refused, Err(StoreError::MissingKey(_))), "{refused:?}");
    }
    std::fs::copy(&path, &elsewhere).unwrap();
    other.write(move |tx| make_patient(tx, clinic, "P-3")).await.unwrap();
    all_is_well(&other, 4).await;
}

/// Two who replace the key apart from each other have two keys of one number.
async fn another_key_of_the_same_number_is_refused(bed: Bed) {
    let (path, store) = with_key_file(&bed).await;
    let elsewhere = bed.folder().join("other-machine.key");
    std::fs::copy(&path, &elsewhere).unwrap();
    for file in [&path, &elsewhere] {
        add_key(&bed, file);
    }
    let late = open(&bed, &elsewhere).await.unwrap();
    finish(open(&bed, &path).await.unwrap().replace_master_key().await.unwrap()).await;
    let refused = late.replace_master_key().await.map(|_| ());
    assert!(matches!(refused, Err(StoreError::WrongKey)), "{refused:?}");
    let refused = open(&bed, &elsewhere).await.map(|_| ());
    assert!(matches!(refused, Err(StoreError::WrongKey)), "{refused:?}");
    store.write(make_clinic).await.unwrap();
}

/// A database from before databases kept keys of their own.
async fn what_was_hashed_under_the_master_key_is_found_after_it_is_gone(bed: Bed) {
    let (path, new) = with_key_file(&bed).await;
    let kept = "server SET index_key_wrapped = NULL, audit_key_wrapped = NULL";
    bed.execute(&format!("UPDATE {kept}"));
    drop(new);
    let first = open(&bed, &path).await.unwrap();
    fill(&bed, &first, &path, 3).await;

    let store = open(&bed, &path).await.unwrap();
    assert_eq!(store.migrate().await.unwrap(), [""; 0]);
    all_is_well(&store, 3).await;
    let second = add_key(&bed, &path);
    finish(open(&bed, &path).await.unwrap().replace_master_key().await.unwrap()).await;
    KeyFile::hold(&path).unwrap().retire_all_but(second, bed.store.env()).unwrap();
    all_is_well(&open(&bed, &path).await.unwrap(), 3).await;
    all_is_under(&bed, master_keys(&path)[0]);
}

/// What a new database keeps is random: an old master key gives nothing away of it.
async fn a_new_database_keeps_keys_that_no_master_key_implies(bed: Bed) {
    let (path, _) = with_key_file(&bed).await;
    let (_, master) = master_keys(&path)[0];
    let keeping = derive(&master, "wrap the database's keys");
    for (what, purpose) in
        [(UnderMaster::IndexKey, "index"), (UnderMaster::AuditKey, "chain the audit trail")]
    {
        let (row, bytes) = values(&bed, what).remove(0);
        let kept = envelope::open(&keeping, &row, what.column(), &bytes).unwrap();
        assert_ne!(kept, derive(&master, purpose));
    }
}

async fn no_sealed_column_is_forgotten(bed: Bed) {
    let columns = if bed.database.is_some() {
        "SELECT table_name || '.' || column_name FROM information_schema.columns
         WHERE table_schema = 'public' AND (column_name LIKE '%sealed' OR column_name LIKE '%wrapped')"
    } else {
        "SELECT t.name || '.' || c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND (c.name LIKE '%sealed' OR c.name LIKE '%wrapped')"
    };
    let mut found = bed.query(columns);
    found.retain(|column| !NOT_UNDER_THE_MASTER.contains(&column.as_str()));
    found.sort();
    let mut known = UnderMaster::ALL.map(|what| what.column().to_owned());
    known.sort();
    assert_eq!(found, known, "is a new column under the master key? see UnderMaster");
}

on_both_engines!(
    a_master_key_is_replaced_while_servers_run_and_after_a_crash,
    a_server_without_the_new_key_needs_only_the_file,
    another_key_of_the_same_number_is_refused,
    what_was_hashed_under_the_master_key_is_found_after_it_is_gone,
    a_new_database_keeps_keys_that_no_master_key_implies,
    no_sealed_column_is_forgotten,
);

/// Whoever has begun to wrap under the old key is waited for: what they commit is not left behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_waits_for_whoever_goes_by_the_old_key() {
    let Some(bed) = Bed::postgres().await else { return };
    let (path, store) = with_key_file(&bed).await;
    fill(&bed, &store, &path, 1).await;
    add_key(&bed, &path);
    let (wrapped, is_wrapped) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let slow = store.clone();
    let slow = tokio::spawn(async move {
        let write = slow.write(move |tx| {
            let clinic = tx.clinics()?.remove(0).id;
            make_patient(tx, clinic, "P-1")?;
            wrapped.send(()).unwrap();
            may_go_on.recv().unwrap();
            Ok::<_, StoreError>(())
        });
        write.await.unwrap();
    });
    is_wrapped.await.unwrap();
    let replacing = open(&bed, &path).await.unwrap();
    let replacing =
        tokio::spawn(async move { finish(replacing.replace_master_key().await.unwrap()).await });
    let waiting = "SELECT pid::text FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while bed.query(waiting).is_empty() {
        assert!(!replacing.is_finished(), "it did not wait");
        tokio::task::yield_now().await;
    }
    go_on.send(()).unwrap();
    slow.await.unwrap();
    let replaced = replacing.await.unwrap();
    assert_eq!(replaced, 5, "two patients, a signing key, a secret and a webhook");
    all_is_under(&bed, master_keys(&path)[0]);
    all_is_well(&store, 2).await;
}
