//! Where stories are told: a database of either engine, on a clock that the story moves. One story after
//! another has it for itself.

use std::path::Path;
use std::sync::{Arc, Mutex};

use aftercare::care;
use aftercare::clock::{Clock, Env, ManualClock, Rng};
use aftercare::seal::MasterKey;
use aftercare::store::{Mode, Store, StoreOptions};
use aftercare_tests::dice::Dice;
use aftercare_tests::postgres::{self, TestDatabase};
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::sqlite::SqliteConnection;
use tokio::runtime::Runtime;

use crate::story::Story;

/// Nobody's and the shipped protocols stay.
const CLEAR: &str = "DELETE FROM patients; DELETE FROM clinics; DELETE FROM audit;";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// The same numbers for the same story, so that ids, too, are the same each time that it is told.
#[derive(Debug)]
struct StoryRng(Mutex<Dice>);

impl Rng for StoryRng {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.0.lock().unwrap();
        for byte in bytes {
            *byte = dice.byte();
        }
    }
}

pub(crate) struct Ground {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    rng: Arc<StoryRng>,
    runtime: Runtime,
    file: Option<SqliteConnection>,
    database: Option<TestDatabase>,
    _folder: tempfile::TempDir,
}

impl Ground {
    /// `None`: this machine has no such engine.
    pub(crate) fn new(engine: Engine) -> Option<Self> {
        let folder = folder();
        let file = folder.path().join("aftercare.db");
        let (url, mode, database) = match engine {
            Engine::Sqlite => (format!("sqlite:{}", file.display()), Mode::Inline, None),
            Engine::Postgres => {
                let database = postgres::database()?;
                (database.url(), Mode::Blocking, Some(database))
            }
        };
        let clock = Arc::new(ManualClock::new("2025-01-01T00:00:00Z".parse().unwrap()));
        let rng = Arc::new(StoryRng(Mutex::new(Dice::new(0))));
        let env = Env {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            rng: Arc::clone(&rng) as Arc<dyn Rng>,
        };
        let master = MasterKey::generate(&env);
        let options = StoreOptions { mode, connections: 1, ..StoreOptions::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = runtime.block_on(async {
            let store = Store::open(&url, master, env, options).await.unwrap();
            store.migrate().await.unwrap();
            store.write(care::seed_protocols).await.unwrap();
            store
        });
        let file = (engine == Engine::Sqlite).then(|| {
            let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
            conn.batch_execute("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF").unwrap();
            conn
        });
        Some(Self { store, clock, rng, runtime, file, database, _folder: folder })
    }

    /// Clears away what the story before has left, and puts the clock where this one starts.
    pub(crate) fn prepare(&mut self, story: &Story) {
        if let Some(conn) = &mut self.file {
            conn.batch_execute(CLEAR).unwrap();
        }
        if let Some(database) = &self.database {
            database.execute(CLEAR);
        }
        self.clock.set(story.start.parse().unwrap());
        *self.rng.0.lock().unwrap() = Dice::new(story.seed);
    }

    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// In memory where the machine has such a folder: what a story writes is not worth a disk's time.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}
