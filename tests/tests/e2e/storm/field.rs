//! Where a storm blows: a database, an FCM that outlives everybody, a clinic and its patients.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use aftercare::care;
use aftercare::clock::Env;
use aftercare::ids::ClinicId;
use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreError, StoreOptions, Tx};
use aftercare_tests::phone::android;
use aftercare_tests::postgres::{self, TestDatabase};
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::sqlite::SqliteConnection;
use diesel::{QueryableByName, RunQueryDsl as _};
use fcm_emulator::{Emulator, EmulatorConfig, EmulatorHandle, Fault, FaultKind};
use serde_json::Value;

use crate::http::Http;
use crate::process::{Process, aftercare, make_clinic};

/// Half of FCM's answers take so long, so that whoever is killed has something in hand.
const SLOW: Duration = Duration::from_millis(250);
/// Patients in one unit of work.
const TOGETHER: u64 = 200;

pub(super) struct Field {
    pub(super) fcm: EmulatorHandle,
    pub(super) http: Http,
    pub(super) account: Value,
    database: Option<TestDatabase>,
    settings: Vec<(&'static str, String)>,
    folder: tempfile::TempDir,
}

/// A reminder, and under which lease it is held.
pub(super) type Held = BTreeSet<(String, String)>;

/// What became of a reminder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) treatment: String,
    pub(super) step: String,
    pub(super) state: String,
    pub(super) reason: String,
    /// How many attempts are written down.
    deliveries: String,
}

impl Fate {
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "planned" | "claimed")
    }
}

impl Field {
    pub(super) async fn sqlite(patients: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("aftercare.db").display());
        Self::lay(folder, url, None, patients).await
    }

    /// On a server of its own that waits for the disk as it does unless told otherwise.
    pub(super) async fn postgres(patients: u64) -> Option<Self> {
        let database = postgres::durable_server()?;
        let (folder, url) = (tempfile::tempdir().unwrap(), database.url());
        Some(Self::lay(folder, url, Some(database), patients).await)
    }

    async fn lay(
        folder: tempfile::TempDir,
        url: String,
        database: Option<TestDatabase>,
        patients: u64,
    ) -> Self {
        let emulator = EmulatorConfig { history: usize::MAX, ..EmulatorConfig::default() };
        let fcm = Emulator::start(emulator).await.unwrap();
        fcm.set_fault(Fault::new(FaultKind::DelayAnswer).delay(SLOW).with_probability(0.5));
        std::fs::write(folder.path().join("fcm.json"), fcm.credentials_json()).unwrap();
        let env = Env::system();
        let key = MasterKey::load_or_create(&folder.path().join("master.key"), &env).unwrap();
        let store = Store::open(&url, key, env, StoreOptions::default()).await.unwrap();
        store.migrate().await.unwrap();
        store.write(care::seed_protocols).await.unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let settings = vec![
            ("DATABASE_URL", url),
            ("AFTERCARE_KEY_FILE", "master.key".to_owned()),
            ("AFTERCARE_LISTEN", address.to_string()),
            ("AFTERCARE_LIMIT_CREDENTIAL", "100000/s:100000".to_owned()),
            ("FCM_CREDENTIALS", "fcm.json".to_owned()),
            ("AFTERCARE_FCM_URL", fcm.base_url().to_owned()),
        ];
        let named: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let account = make_clinic(folder.path(), &named);
        let clinic: ClinicId = account["clinic_id"].as_str().unwrap().parse().unwrap();
        for first in (0..patients).step_by(usize::try_from(TOGETHER).unwrap()) {
            let some = first..patients.min(first + TOGETHER);
            let enrol =
                move |tx: &mut Tx<'_>| some.into_iter().try_for_each(|n| enrol(tx, clinic, n));
            store.write(enrol).await.unwrap();
        }
        Self { fcm, http: Http(address), account, database, settings, folder }
    }

    fn command(&self) -> Command {
        let mut command = aftercare(self.folder.path());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) fn run(&self, role: &str) -> Process {
        Process::start(self.command().arg(role))
    }

    /// Kills the database's server and starts it again.
    pub(super) fn crash_database(&self) {
        self.database.as_ref().unwrap().crash_server();
    }

    /// Which reminders somebody holds.
    pub(super) fn held(&self) -> Held {
        let (id, lease) = (self.id("id"), self.id("lease_id"));
        let sql = format!("SELECT {id} || ' ' || {lease} FROM reminders WHERE state = 'claimed'");
        let pair = |line: String| {
            let (id, lease) = line.split_once(' ').unwrap();
            (id.to_owned(), lease.to_owned())
        };
        self.query(&sql).into_iter().map(pair).collect()
    }

    /// Lets the leases of these end now.
    pub(super) fn end_leases(&self, of: &Held) {
        for (id, lease) in of {
            self.execute(&format!(
                "UPDATE reminders SET leased_until = created_at WHERE state = 'claimed'
                 AND {} = '{id}' AND {} = '{lease}'",
                self.id("id"),
                self.id("lease_id"),
            ));
        }
    }

    /// Every reminder by its id.
    pub(super) fn fates(&self) -> BTreeMap<String, Fate> {
        let (id, treatment, of) = (self.id("r.id"), self.id("treatment_id"), self.id("r.id"));
        let sql = format!(
            "SELECT {id} || ' ' || {treatment} || ' ' || step_id || ' ' || state || ' ' ||
             (SELECT count(*) FROM deliveries d WHERE {} = {of}) || ' ' || coalesce(reason, '')
             FROM reminders r",
            self.id("d.reminder_id"),
        );
        let fate = |line: String| {
            let mut words = line.splitn(6, ' ').map(str::to_owned);
            let mut word = || words.next().unwrap_or_default();
            let (id, treatment, step, state) = (word(), word(), word(), word());
            let (deliveries, reason) = (word(), word());
            (id, Fate { treatment, step, state, reason, deliveries })
        };
        self.query(&sql).into_iter().map(fate).collect()
    }

    /// How many reminders are due, or in somebody's hands.
    pub(super) fn count_due(&self) -> u64 {
        let now = match &self.database {
            Some(_) => "now()",
            None => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
        };
        let sql = format!(
            "SELECT count(*) FROM reminders
             WHERE state = 'claimed' OR (state = 'planned' AND attempt_at <= {now})"
        );
        self.number(&sql)
    }

    pub(super) fn number(&self, sql: &str) -> u64 {
        self.query(sql)[0].parse().unwrap()
    }

    /// An id as text without hyphens.
    fn id(&self, column: &str) -> String {
        match &self.database {
            Some(_) => format!("replace({column}::text, '-', '')"),
            None => format!("lower(hex({column}))"),
        }
    }

    fn query(&self, sql: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            first: String,
        }
        if let Some(database) = &self.database {
            return database.query(sql);
        }
        let named =
            format!("WITH rows (first) AS ({sql}) SELECT CAST(first AS TEXT) AS first FROM rows");
        let rows: Vec<Row> = diesel::sql_query(named).load(&mut self.sqlite_file()).unwrap();
        rows.into_iter().map(|row| row.first).collect()
    }

    fn execute(&self, sql: &str) {
        match &self.database {
            Some(database) => database.execute(sql),
            None => self.sqlite_file().batch_execute(sql).unwrap(),
        }
    }

    fn sqlite_file(&self) -> SqliteConnection {
        let file: PathBuf = self.folder.path().join("aftercare.db");
        let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
        conn
    }
}

/// A patient's name, and the address of their phone.
pub(super) fn name(n: u64) -> String {
    format!("patient-{n}")
}

fn enrol(tx: &mut Tx<'_>, clinic: ClinicId, n: u64) -> Result<(), StoreError> {
    let name = name(n);
    let zone: aftercare::zone::Zone = "Europe/Lisbon".parse().unwrap();
    let patient = care::upsert_patient(tx, clinic, &name, Some(zone.clone()), None)?.0;
    let registration = android(&name, &name);
    care::register_device(tx, patient.id, &registration)?;
    Ok(())
}
