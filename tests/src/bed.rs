//! A migrated, empty store of either engine under a clock that the test moves.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a harness that cannot go on must stop"
)]

use std::sync::Arc;

use aftercare::clock::{Clock, Env, ManualClock};
use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreError, StoreOptions, Tx, back_up};
use diesel::RunQueryDsl as _;
use diesel::connection::{Connection, SimpleConnection};
use diesel::sqlite::SqliteConnection;
use jiff::Timestamp;

use crate::postgres::{self, TestDatabase};

/// Where the clocks of test beds stand at first: 15:40 in Lisbon, a winter afternoon.
pub const START: &str = "2026-11-22T15:40:00Z";

/// A store, and what is needed to open it again.
#[derive(Debug)]
pub struct Bed {
    /// The store.
    pub store: Store,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Where it is.
    pub url: String,
    /// Its master key.
    pub master: MasterKey,
    /// The PostgreSQL database, if it is one.
    pub database: Option<TestDatabase>,
    folder: tempfile::TempDir,
}

impl Bed {
    /// On SQLite, in a folder that goes when the bed goes.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("aftercare.db").display());
        Self::open(url, None, folder).await
    }

    /// On PostgreSQL, unless this machine has none.
    pub async fn postgres() -> Option<Self> {
        let database = postgres::database()?;
        let folder = tempfile::tempdir().unwrap();
        Some(Self::open(database.url(), Some(database), folder).await)
    }

    /// On a PostgreSQL server that no other test uses, unless this machine has none.
    pub async fn own_postgres() -> Option<Self> {
        let database = postgres::on_its_own_server()?;
        let folder = tempfile::tempdir().unwrap();
        Some(Self::open(database.url(), Some(database), folder).await)
    }

    async fn open(url: String, database: Option<TestDatabase>, folder: tempfile::TempDir) -> Self {
        let start: Timestamp = START.parse().unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let env = Env::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let master = MasterKey::generate(&env);
        let store = Store::open(&url, master.clone(), env, StoreOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        Self { store, clock, url, master, database, folder }
    }

    /// A copy of the database as it is now, made as its operator would and opened under the same key and
    /// clock.
    pub async fn backup(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("copy");
        let (url, database) = if let Some(database) = &self.database {
            database.dump(&file);
            let restored = database.restored(&file);
            (restored.url(), Some(restored))
        } else {
            back_up(&self.url, &file).unwrap();
            (format!("sqlite:{}", file.display()), None)
        };
        let (clock, master) = (Arc::clone(&self.clock), self.master.clone());
        let env = self.store.env().clone();
        let store = Store::open(&url, master.clone(), env, StoreOptions::default()).await.unwrap();
        Self { store, clock, url, master, database, folder }
    }

    /// Another store over the same database, as another process would have it.
    pub async fn again(&self) -> Store {
        self.again_with(StoreOptions::default()).await
    }

    /// The same with other options.
    pub async fn again_with(&self, options: StoreOptions) -> Store {
        let env = self.store.env().clone();
        Store::open(&self.url, self.master.clone(), env, options).await.unwrap()
    }

    /// What a unit of work comes to that cannot fail.
    pub async fn write<T, F>(&self, work: F) -> T
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.store.write(work).await.unwrap()
    }

    /// Runs statements behind the store's back.
    pub fn execute(&self, sql: &str) {
        match (&self.database, self.url.strip_prefix("sqlite:")) {
            (Some(database), _) => database.execute(sql),
            (None, Some(file)) => {
                SqliteConnection::establish(file).unwrap().batch_execute(sql).unwrap();
            }
            (None, None) => unreachable!("a bed stands on one of two engines"),
        }
    }

    /// The first column, as text, of a query behind the store's back.
    #[must_use]
    pub fn query(&self, sql: &str) -> Vec<String> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            first: String,
        }
        match (&self.database, self.url.strip_prefix("sqlite:")) {
            (Some(database), _) => database.query(sql),
            (None, Some(file)) => {
                let named = format!(
                    "WITH rows (first) AS ({sql}) SELECT CAST(first AS TEXT) AS first FROM rows"
                );
                let mut conn = SqliteConnection::establish(file).unwrap();
                let rows: Vec<Row> = diesel::sql_query(named).load(&mut conn).unwrap();
                rows.into_iter().map(|row| row.first).collect()
            }
            (None, None) => unreachable!("a bed stands on one of two engines"),
        }
    }

    /// The tables that have a column of this name, by name.
    #[must_use]
    pub fn tables_with(&self, column: &str) -> Vec<String> {
        let sql = if self.database.is_some() {
            format!(
                "SELECT table_name FROM information_schema.columns
                 WHERE table_schema = 'public' AND column_name = '{column}' ORDER BY table_name"
            )
        } else {
            format!(
                "SELECT t.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
                 WHERE t.type = 'table' AND c.name = '{column}' ORDER BY t.name"
            )
        };
        self.query(&sql)
    }

    /// A folder of the test's own.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The clock's instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Makes two tests, one for each engine, of each `async fn(Bed)` that is named.
#[macro_export]
macro_rules! on_both_engines {
    ($($check:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $check() {
                super::$check($crate::bed::Bed::sqlite().await).await;
            })+
        }

        mod postgres {
            $(#[tokio::test]
            async fn $check() {
                if let Some(bed) = $crate::bed::Bed::postgres().await {
                    super::$check(bed).await;
                }
            })+
        }
    };
}
