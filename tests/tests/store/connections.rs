//! How the store reaches its database.

use aftercare::clock::Env;
use aftercare::seal::MasterKey;
use aftercare::store::{Mode, Store, StoreError, StoreOptions};
use aftercare_tests::bed::Bed;
use aftercare_tests::postgres;
use futures_util::FutureExt;

use crate::fixtures::make_clinic;

async fn open(url: &str) -> Result<Store, StoreError> {
    let env = Env::system();
    Store::open(url, MasterKey::generate(&env), env, StoreOptions::default()).await
}

#[tokio::test]
async fn tls_checks_as_much_as_was_asked() {
    let Some(database) = postgres::database() else { return };
    let ca = database.ca_file();
    let (named, unnamed) = (database.url_at("localhost"), database.url_at("127.0.0.1"));
    let ca = format!("sslrootcert={}", ca.to_str().unwrap().replace('/', "%2F"));
    for (url, encrypted) in [
        (format!("{unnamed}?sslmode=disable"), false),
        (unnamed.clone(), true),
        (format!("{unnamed}?sslmode=require"), true),
        (format!("{unnamed}?sslmode=verify-ca&{ca}"), true),
        (format!("{named}?sslmode=verify-full&{ca}"), true),
    ] {
        let store = open(&url).await.expect(&url);
        store.read(|_| Ok::<_, StoreError>(())).await.unwrap();
        let used = database.query(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name = 'aftercare' AND datname = current_database()
             ORDER BY backend_start DESC LIMIT 1",
        );
        assert_eq!(used, [if encrypted { "t" } else { "f" }], "{url}");
    }
    for (url, says) in [
        (format!("{unnamed}?sslmode=verify-full&{ca}"), "not valid for name"),
        (format!("{named}?sslmode=verify-full"), "UnknownIssuer"),
        (format!("{named}?sslmode=verify-ca&sslrootcert=system"), "UnknownIssuer"),
    ] {
        let refused = open(&url).await.expect_err(&url);
        assert!(matches!(refused, StoreError::Unavailable(_)), "{url}: {refused:?}");
        assert!(refused.to_string().contains(says), "{url}: {refused}");
    }
}

#[test]
fn without_threads_sqlite_works_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("inline.db").display());
    let options = StoreOptions { mode: Mode::Inline, ..StoreOptions::default() };
    let env = Env::system();
    let store = Store::open(&url, MasterKey::generate(&env), env, options)
        .now_or_never()
        .expect("no await")
        .unwrap();
    store.migrate().now_or_never().expect("no await").unwrap();
    let clinic = store.write(make_clinic).now_or_never().expect("no await").unwrap();
    let clinics = store.read(|tx| tx.clinics()).now_or_never().expect("no await").unwrap();
    assert_eq!(clinics, [clinic]);
}

#[test]
fn without_threads_postgres_is_refused() {
    let options = StoreOptions { mode: Mode::Inline, ..StoreOptions::default() };
    let env = Env::system();
    let url = "postgres://localhost/x";
    let opened = Store::open(url, MasterKey::generate(&env), env, options).now_or_never();
    assert!(matches!(opened, Some(Err(StoreError::Settings(_)))));
}

#[tokio::test]
async fn more_units_than_connections_take_turns() {
    let bed = Bed::sqlite().await;
    let many = (0..100).map(|n| {
        let store = bed.store.clone();
        async move {
            if n % 3 == 0 {
                store.write(make_clinic).await.map(|_| ())
            } else {
                store.read(|tx| tx.clinics()).await.map(|_| ())
            }
        }
    });
    for done in futures_util::future::join_all(many).await {
        done.unwrap();
    }
    assert_eq!(bed.store.read(|tx| tx.clinics()).await.unwrap().len(), 34);
}
