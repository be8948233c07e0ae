//! Databases that are damaged, read-only, gone, or read by somebody who should not.

use std::collections::BTreeMap;

use aftercare::clock::Env;
use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreError, StoreOptions, Tx};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;

use crate::fixtures::{
    MINUTE, clinic_and_patient, due_reminders, make_clinic, make_patient, make_protocol,
    new_treatment, registration,
};

/// What must never be readable in the tables.
const SECRETS: [&str; 5] =
    ["ref-Andersen", "event-Bjornson", "installation-Celan", "token-Duras", "note-Eco"];

async fn personal_text_is_nowhere_in_the_tables(bed: Bed) {
    bed.store
        .write(|tx| {
            let clinic = make_clinic(tx)?;
            let patient = make_patient(tx, clinic.id, SECRETS[0])?;
            let protocol = make_protocol(tx, clinic.id)?;
            let mut new = new_treatment(tx, protocol, SECRETS[1]);
            new.metadata = Some(BTreeMap::from([("note".to_owned(), SECRETS[4].to_owned())]));
            let treatment = tx.draft_treatment(&patient, new);
            tx.insert_treatment(&patient, &treatment)?;
            tx.upsert_device(&patient, &registration(SECRETS[2], SECRETS[3]))?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let everything: Vec<u8> = match &bed.database {
        // The text form of a row has its bytes in hexadecimal.
        Some(database) => ["patients", "treatments", "devices", "audit"]
            .iter()
            .flat_map(|table| database.query(&format!("SELECT t::text FROM {table} t")))
            .flat_map(|row| row.to_lowercase().into_bytes())
            .collect(),
        None => std::fs::read_dir(bed.folder())
            .unwrap()
            .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect(),
    };
    assert!(everything.len() > 500);
    let holds = |wanted: &[u8]| everything.windows(wanted.len()).any(|window| window == wanted);
    for secret in SECRETS {
        let in_hex = hex::encode(secret);
        assert!(!holds(secret.as_bytes()) && !holds(in_hex.as_bytes()), "{secret}");
        assert!(!holds(secret.to_lowercase().as_bytes()), "{secret}");
    }
}

async fn a_sealed_value_moved_to_another_row_does_not_open(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store.write(move |tx| make_patient(tx, clinic.id, "P-2")).await.unwrap();
    for column in ["ref_sealed", "key_wrapped"] {
        bed.execute(&format!(
            "UPDATE patients SET {column} =
                (SELECT p.{column} FROM patients p WHERE p.id <> patients.id)"
        ));
        let id = patient.id;
        let refused = bed.store.read(move |tx| tx.patient(id)).await;
        assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{column}: {refused:?}");
        let said = refused.unwrap_err().to_string();
        assert!(!said.contains("P-1") && !said.contains("P-2"), "{said}");
    }
}

async fn an_unknown_code_is_noticed(bed: Bed) {
    let (clinic, _) = clinic_and_patient(&bed.store).await;
    bed.execute("UPDATE clinics SET time_zone = 'Mars/Olympus'");
    let refused = bed.store.read(move |tx| tx.clinic(clinic.id)).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
}

on_both_engines!(
    personal_text_is_nowhere_in_the_tables,
    a_sealed_value_moved_to_another_row_does_not_open,
    an_unknown_code_is_noticed,
);

async fn open(url: &str) -> Result<Store, StoreError> {
    let env = Env::system();
    Store::open(url, MasterKey::generate(&env), env, StoreOptions::default()).await
}

#[tokio::test]
async fn a_url_that_cannot_work_says_what_would() {
    for (url, says) in [
        ("mysql://root@localhost/x", "sqlite:aftercare.db"),
        ("aftercare.db", "postgres://user@host"),
        ("", "postgres://"),
        ("sqlite:", "needs a file"),
        ("sqlite::memory:", "forgets every reminder"),
        ("sqlite:/nonexistent/folder/a.db", "no folder /nonexistent/folder"),
        ("postgres://localhost/x?sslmode=maybe", "verify-full"),
        ("postgres://localhost:notaport/x", "port"),
    ] {
        let refused = open(url).await.unwrap_err();
        assert!(matches!(refused, StoreError::Settings(_)), "{url}: {refused:?}");
        assert!(refused.to_string().contains(says), "{url}: {refused}");
    }
}

#[tokio::test]
async fn a_password_is_never_repeated() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://u:hunter2@127.0.0.1:{closed}/x");
    let refused = open(&url).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(refused.is_transient());
    assert!(!format!("{refused} {refused:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("holiday.jpg");
    std::fs::write(&file, [7; 8192]).unwrap();
    let refused = open(&format!("sqlite:{}", file.display())).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
}

#[tokio::test]
async fn a_read_only_server_is_called_so() {
    let Some(bed) = Bed::postgres().await else { return };
    let database = bed.database.as_ref().unwrap();
    let name = bed.url.rsplit('/').next().unwrap().split('?').next().unwrap();
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let refused = bed.again().await.write(make_clinic).await;
    assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
}

#[tokio::test]
async fn a_read_only_file_is_called_so() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::sqlite().await;
    let (url, master, env) = (bed.url.clone(), bed.master.clone(), bed.store.env().clone());
    let mode = |bits| std::fs::Permissions::from_mode(bits);
    for file in std::fs::read_dir(bed.folder()).unwrap() {
        std::fs::set_permissions(file.unwrap().path(), mode(0o400)).unwrap();
    }
    std::fs::set_permissions(bed.folder(), mode(0o500)).unwrap();
    if std::fs::File::create(bed.folder().join("probe")).is_ok() {
        return; // Permissions mean nothing to root.
    }
    let refused = match Store::open(&url, master, env, StoreOptions::default()).await {
        Ok(store) => store.write(make_clinic).await.unwrap_err(),
        Err(refused) => refused,
    };
    std::fs::set_permissions(bed.folder(), mode(0o700)).unwrap();
    let clear = matches!(refused, StoreError::ReadOnly(_) | StoreError::Unavailable(_));
    assert!(clear, "{refused:?}");
}

#[tokio::test]
async fn connections_that_the_server_closed_are_replaced() {
    let Some(bed) = Bed::postgres().await else { return };
    let database = bed.database.as_ref().unwrap();
    let close_all = || {
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    };
    bed.store.write(make_clinic).await.unwrap();
    close_all();
    bed.store.write(make_clinic).await.unwrap();
    assert_eq!(bed.store.read(|tx| tx.clinics()).await.unwrap().len(), 2);
    close_all();
    assert_eq!(bed.store.look(|tx| tx.clinics()).await.unwrap().len(), 2);
}

#[tokio::test]
async fn connections_of_before_a_migration_go_on() {
    let Some(bed) = Bed::postgres().await else { return };
    due_reminders(&bed.store, 2).await;
    let claim = || {
        let work = |tx: &mut Tx<'_>| {
            let (lease, until) = (tx.env().id(), tx.now() + MINUTE);
            tx.claim_due(1, None, lease, until)
        };
        bed.store.write::<_, StoreError, _>(work)
    };
    assert_eq!(claim().await.unwrap().len(), 1);
    bed.execute("ALTER TABLE reminders ADD COLUMN of_a_newer_release integer");
    assert_eq!(claim().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_connection_that_dies_inside_a_unit_is_an_outage() {
    let Some(bed) = Bed::postgres().await else { return };
    let url = bed.database.as_ref().unwrap().url();
    let database = bed.database.unwrap();
    let died = bed
        .store
        .write(move |tx| {
            make_clinic(tx)?;
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            );
            make_clinic(tx)
        })
        .await;
    assert!(matches!(died, Err(StoreError::Unavailable(_))), "{url}: {died:?}");
    assert_eq!(bed.store.read(|tx| tx.clinics()).await.unwrap(), []);
}

#[tokio::test]
async fn a_connection_that_dies_before_its_commit_is_confirmed_leaves_a_doubt() {
    let Some(bed) = Bed::postgres().await else { return };
    let database = bed.database.unwrap();
    let died = bed
        .store
        .write(move |tx| {
            let made = make_clinic(tx);
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            );
            made
        })
        .await;
    assert!(matches!(died, Err(StoreError::InDoubt(_))), "{died:?}");
}
