//! Where a world stands: a fresh copy of a migrated database in memory, and the Firebase project's account.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aftercare::care;
use aftercare::clock::{Clock, Env, ManualClock};
use aftercare::seal::MasterKey;
use aftercare::store::{Mode, Pace, Store, StoreOptions};
use aftercare_scheduler::push::ServiceAccount;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::sqlite::SqliteConnection;

use crate::dice::{Bytes, Dice};

/// What all worlds have in common.
pub(crate) struct Ground {
    template: PathBuf,
    master: MasterKey,
    pub(crate) account: ServiceAccount,
    folder: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let folder = folder();
        let template = folder.path().join("template.db");
        let env = Env {
            clock: Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap())),
            rng: Arc::new(Bytes::new(Dice::of(0, 0), 0)),
        };
        let master = MasterKey::generate(&env);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let url = format!("sqlite:{}", template.display());
            let options =
                StoreOptions { mode: Mode::Inline, connections: 1, ..StoreOptions::default() };
            let store = Store::open(&url, master.clone(), env, options).await.unwrap();
            store.migrate().await.unwrap();
            store.write(care::seed_protocols).await.unwrap();
        });
        let mut conn = SqliteConnection::establish(template.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        Self { template, master, account: account(), folder }
    }

    /// A world's own database.
    pub(crate) fn database(&self, seed: u64, telling: u64) -> Database {
        let path = self.folder.path().join(format!("world-{seed}-{telling}.db"));
        std::fs::copy(&self.template, &path).unwrap();
        Database { path, master: self.master.clone() }
    }

    /// Another of the same, as it is now and nobody has open.
    pub(crate) fn copy(&self, of: &Database) -> Database {
        static COPIES: AtomicU64 = AtomicU64::new(0);
        let name = format!("copy-{}.db", COPIES.fetch_add(1, Ordering::Relaxed));
        let path = self.folder.path().join(name);
        std::fs::copy(&of.path, &path).unwrap();
        Database { path, master: self.master.clone() }
    }
}

pub(crate) struct Database {
    path: PathBuf,
    master: MasterKey,
}

impl Database {
    /// As one process opens it.
    pub(crate) async fn open(
        &self,
        clock: Arc<dyn Clock>,
        rng: Bytes,
        pace: Option<Arc<dyn Pace>>,
    ) -> Store {
        let url = format!("sqlite:{}", self.path.display());
        let env = Env { clock, rng: Arc::new(rng) };
        let options =
            StoreOptions { mode: Mode::Inline, connections: 1, pace, ..StoreOptions::default() };
        Store::open(&url, self.master.clone(), env, options).await.unwrap()
    }

    /// For looking at it from outside.
    pub(crate) fn look(&self) -> SqliteConnection {
        let mut conn = SqliteConnection::establish(self.path.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA query_only = ON").unwrap();
        conn
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let file = format!("{}{end}", self.path.display());
            let _ = std::fs::remove_file(file);
        }
    }
}

/// In memory where the machine has such a folder.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Its key is another in each run: nothing of it is ever told.
fn account() -> ServiceAccount {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let file = serde_json::json!({
        "type": "service_account",
        "project_id": "simulated",
        "client_email": "aftercare@simulated.iam.gserviceaccount.com",
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"),
        "token_uri": format!("http://127.0.0.1:{}/token", crate::network::TOKENS),
    });
    ServiceAccount::from_json(&file.to_string()).unwrap()
}
