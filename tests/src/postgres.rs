//! A throw-away PostgreSQL: one cluster for each test process, one database for each test.
//!
//! The cluster is run by a small shell that watches a pipe from this process. When the process ends,
//! however it ends, the pipe closes, and the shell stops the server and removes its folder. As root,
//! which PostgreSQL refuses to run as, everything belongs to the user `postgres` or `nobody`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness that cannot go on must stop"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use aftercare::clock::Env;
use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreOptions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The oldest major version that is supported.
const OLDEST: u32 = 15;
/// The database that every test's is a copy of.
const TEMPLATE: &str = "aftercare_template";
/// How the folders of clusters begin.
const PREFIX: &str = "aftercare-test-postgres-";
/// Small, and nothing waits for the disk: what a crash would lose is a test's.
const CARELESS: &str = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off \
     -c shared_buffers=64MB -c deadlock_timeout=100ms";
/// How often a port that somebody else took meanwhile is given up for another.
const ATTEMPTS: u32 = 5;

/// Starts the server and says `ready`; stops it, starts it, or kills and starts it when told to, with a word for
/// each; at the end of its input stops the server and tidies up.
const WATCHER: &str = r#"
trap '' INT TERM HUP
trap 'cd /; rm -rf "$FOLDER"' EXIT
cd "$FOLDER" || exit 1
"$BIN/initdb" -D data -U postgres -A trust -E UTF8 --locale=C -N >log 2>&1 || { cat log >&2; exit 1; }
cp ca.pem server.pem server.key data/ && chmod 600 data/server.key
boot() {
    "$BIN/postgres" -D data -p "$PORT" -k "$FOLDER" -c listen_addresses=127.0.0.1 \
        -c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.key \
        -c max_connections=300 -c log_line_prefix='%d ' $SETTINGS >>log 2>&1 </dev/null &
    server=$!
}
ready() {
    [ "$(head -n 1 data/postmaster.pid 2>/dev/null)" = $server ] && grep -qs '^ready' data/postmaster.pid
}
start() {
    boot
    until ready; do
        kill -0 $server 2>/dev/null || { cat log >&2; exit 1; }
        sleep 0.05
    done
    echo ready
}
# The processes that it leaves behind end by themselves; until then no other may start.
crash() {
    kill -KILL $server
    wait $server 2>/dev/null
    boot
    until ready; do
        kill -0 $server 2>/dev/null || boot
        sleep 0.05
    done
    echo ready
}
start
while read -r word; do
    case $word in
        stop) kill -INT $server; wait $server; echo stopped ;;
        start) start ;;
        crash) crash ;;
    esac
done
kill -QUIT $server
wait $server
"#;

/// A database that holds the migrated schema and nothing else; no master key is noted in it yet.
#[derive(Debug)]
pub struct TestDatabase {
    cluster: &'static Cluster,
    name: String,
}

impl TestDatabase {
    /// Its URL, for whoever may do everything; without TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}?sslmode=disable", self.url_at("127.0.0.1"))
    }

    /// Its URL under one of the server's names: `127.0.0.1` (which its certificate does not have) or
    /// `localhost` (which it has).
    #[must_use]
    pub fn url_at(&self, host: &str) -> String {
        format!("postgres://postgres@{host}:{}/{}", self.cluster.port, self.name)
    }

    /// The PEM file of the authority that signed the server's certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.cluster.folder.join("ca.pem")
    }

    /// The folder with all of the server's files: data, `pg_wal`, log.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.cluster.folder.clone()
    }

    /// How many deadlocks the server had to break in this database, by its log: its statistics come
    /// seconds late.
    ///
    /// # Panics
    /// When the log cannot be read.
    #[must_use]
    pub fn deadlocks(&self) -> usize {
        let log = fs::read_to_string(self.cluster.folder.join("log")).unwrap();
        let broken = format!("{} ERROR:  deadlock detected", self.name);
        log.lines().filter(|line| *line == broken).count()
    }

    /// One of the programs that came with the server, such as `psql`.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.cluster.bin.join(name))
    }

    /// Dumps the database into a file, as its operator would.
    ///
    /// # Panics
    /// When `pg_dump` fails.
    pub fn dump(&self, file: &Path) {
        let url = self.url_at("127.0.0.1");
        let file = file.to_str().unwrap();
        self.cluster.tool("pg_dump", &["--format=custom", "--file", file, &url]);
    }

    /// What such a file holds, in a database of its own.
    ///
    /// # Panics
    /// When `pg_restore` fails.
    #[must_use]
    pub fn restored(&self, file: &Path) -> Self {
        let cluster = self.cluster;
        let restored = Self { cluster, name: fresh_name() };
        cluster.execute("postgres", &format!("CREATE DATABASE {}", restored.name));
        let url = restored.url_at("127.0.0.1");
        cluster.tool("pg_restore", &["--exit-on-error", "--dbname", &url, file.to_str().unwrap()]);
        restored
    }

    /// A copy of it as it is now; nobody may be connected.
    #[must_use]
    pub fn copy(&self) -> Self {
        copy_of(self.cluster, &self.name)
    }

    /// An empty database on the same server.
    #[must_use]
    pub fn empty_beside(&self) -> Self {
        let name = fresh_name();
        self.cluster.execute("postgres", &format!("CREATE DATABASE {name}"));
        Self { cluster: self.cluster, name }
    }

    /// Drops it, whoever is connected.
    pub fn drop_it(self) {
        self.cluster.execute("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }

    /// The server's process.
    ///
    /// # Panics
    /// When the server has not said so.
    #[must_use]
    pub fn server_pid(&self) -> u32 {
        let file = self.cluster.folder.join("data/postmaster.pid");
        fs::read_to_string(file).unwrap().lines().next().unwrap().parse().unwrap()
    }

    /// Stops the server, as its operator would to restart it: sessions are ended, nothing
    /// committed is lost. For a database of [`on_its_own_server`] only.
    pub fn stop_server(&self) {
        self.cluster.tell("stop", "stopped");
    }

    /// Starts the server again.
    pub fn start_server(&self) {
        self.cluster.tell("start", "ready");
    }

    /// Kills the server, as a fault of its own would, and starts it again. For a database of
    /// [`durable_server`] only: others lose what they acknowledged last.
    pub fn crash_server(&self) {
        self.cluster.tell("crash", "ready");
    }

    /// Runs statements as the superuser, in this database.
    pub fn execute(&self, sql: &str) {
        self.cluster.execute(&self.name, sql);
    }

    /// Runs a query as the superuser, in this database, and gives the first column of its rows.
    #[must_use]
    pub fn query(&self, sql: &str) -> Vec<String> {
        self.cluster.simple_query(&self.name, sql)
    }
}

/// A fresh database, or `None` when this machine has no PostgreSQL: then one line on stderr has said
/// so, and the caller's test has nothing to do.
///
/// # Panics
/// When PostgreSQL is there but does not work, and when it is not there although
/// `AFTERCARE_TEST_POSTGRES=required`.
#[must_use]
pub fn database() -> Option<TestDatabase> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| start(CARELESS)).as_ref().map(copy_template)
}

/// As [`database`], on a server that no other test uses, so that it can be stopped.
///
/// # Panics
/// As [`database`].
#[must_use]
pub fn on_its_own_server() -> Option<TestDatabase> {
    start(CARELESS).map(|cluster| copy_template(Box::leak(Box::new(cluster))))
}

/// As [`on_its_own_server`], with PostgreSQL's own settings of what a commit waits for: what it has
/// acknowledged is there after a crash.
///
/// # Panics
/// As [`database`].
#[must_use]
pub fn durable_server() -> Option<TestDatabase> {
    start("").map(|cluster| copy_template(Box::leak(Box::new(cluster))))
}

fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn copy_template(cluster: &'static Cluster) -> TestDatabase {
    copy_of(cluster, TEMPLATE)
}

fn copy_of(cluster: &'static Cluster, template: &str) -> TestDatabase {
    let name = fresh_name();
    cluster.execute("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
    TestDatabase { cluster, name }
}

fn start(settings: &str) -> Option<Cluster> {
    let Some(bin) = find_binaries() else {
        let missing = format!("no PostgreSQL (initdb and postgres, {OLDEST} or newer) was found");
        assert!(
            std::env::var_os("AFTERCARE_TEST_POSTGRES").is_none_or(|value| value != "required"),
            "{missing}, and AFTERCARE_TEST_POSTGRES=required"
        );
        // Not `eprintln!`, which the test harness swallows.
        let line = format!("{missing}: the PostgreSQL half of these tests was NOT run\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    };
    remove_stale();
    let cluster =
        (0..ATTEMPTS).find_map(|_| Cluster::start(&bin, settings)).expect("PostgreSQL must start");
    cluster.make_template();
    Some(cluster)
}

/// The folder with both programs: from `PATH`, else the newest in the places where packages put them.
fn find_binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut packaged: Vec<PathBuf> =
        ["/usr/lib/postgresql", "/usr/lib64/postgresql", "/opt/postgresql"]
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
    packaged.push("/usr/local/pgsql/bin".into());
    packaged.sort_by_key(|bin| std::cmp::Reverse(version(bin)));
    std::env::split_paths(&path).chain(packaged).find(|bin| version(bin) >= Some(OLDEST))
}

/// The major version of the server in this folder, if it is complete.
fn version(bin: &Path) -> Option<u32> {
    if !bin.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok())
}

/// Removes the folders of clusters whose watcher was killed. A live one's process keeps its lock.
fn remove_stale() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let abandoned = fs::File::open(path.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
        if abandoned && !path.join("data/postmaster.pid").exists() {
            // Its own watcher may be faster, which is as good.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// Whom the server runs as: nobody else's business unless we are root.
fn run_as(owner: u32) -> Option<(u32, u32)> {
    if owner != 0 {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |user: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).or(Some((65534, 65534)))
}

#[derive(Debug)]
struct Cluster {
    /// Where its programs are.
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    /// Held as long as this process lives: see [`remove_stale`].
    _lock: fs::File,
    /// Its input is the pipe that the watcher watches.
    watcher: Mutex<(Child, BufReader<ChildStdout>)>,
}

impl Cluster {
    /// One attempt; `None` when the server did not come up, as when its port was taken meanwhile.
    fn start(bin: &Path, settings: &str) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap().keep();
        let lock = fs::File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        write_certificates(&folder);
        let user = run_as(fs::metadata(&folder).unwrap().uid());
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).unwrap();
            for entry in fs::read_dir(&folder).unwrap() {
                chown(entry.unwrap().path(), Some(uid), Some(gid)).unwrap();
            }
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);

        let mut command = Command::new("sh");
        command.args(["-c", WATCHER]).process_group(0).current_dir("/");
        command.env("BIN", bin).env("FOLDER", &folder).env("PORT", port.to_string());
        command.env("SETTINGS", settings);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        let mut watcher = command.spawn().expect("sh must start");
        let mut answers = BufReader::new(watcher.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        if line.trim() != "ready" {
            watcher.wait().unwrap();
            return None;
        }
        let watcher = Mutex::new((watcher, answers));
        // What is on `PATH` may be a link to some of them only.
        let bin = fs::canonicalize(bin.join("initdb")).unwrap().parent().unwrap().to_owned();
        let cluster = Self { bin, folder, port, _lock: lock, watcher };
        cluster.is_ours().then_some(cluster)
    }

    fn tool(&self, name: &str, args: &[&str]) {
        let output = Command::new(self.bin.join(name)).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }

    /// Gives the watcher a word and waits for its answer.
    fn tell(&self, word: &str, answer: &str) {
        let mut watcher = self.watcher.lock().unwrap();
        let (child, answers) = &mut *watcher;
        writeln!(child.stdin.as_mut().unwrap(), "{word}").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), answer);
    }

    /// Whether the server that answers at our port is the one that we started.
    fn is_ours(&self) -> bool {
        let rows = self.simple_query("postgres", "SHOW data_directory");
        rows.iter().any(|row| Path::new(row) == self.folder.join("data"))
    }

    /// Migrates the template as a server would, and forgets the master key that did.
    fn make_template(&self) {
        self.execute("postgres", &format!("CREATE DATABASE {TEMPLATE}"));
        let url = format!("postgres://postgres@127.0.0.1:{}/{TEMPLATE}?sslmode=disable", self.port);
        block_on(async move {
            let env = Env::system();
            let options = StoreOptions { connections: 1, ..StoreOptions::default() };
            let store = Store::open(&url, MasterKey::generate(&env), env, options).await.unwrap();
            store.migrate().await.unwrap();
        });
        self.execute(TEMPLATE, "DELETE FROM server");
        let close = format!(
            "ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'"
        );
        self.execute("postgres", &close);
    }

    fn execute(&self, database: &str, sql: &str) {
        self.simple_query(database, sql);
    }

    /// Runs statements and gives the first column of the rows they give.
    fn simple_query(&self, database: &str, sql: &str) -> Vec<String> {
        use tokio_postgres::SimpleQueryMessage::Row;
        let mut config = tokio_postgres::Config::new();
        config.host(self.folder.to_str().unwrap()).port(self.port);
        config.user("postgres").dbname(database);
        let sql = sql.to_owned();
        block_on(async move {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
            let driver = tokio::spawn(connection);
            let messages = client.simple_query(&sql).await.unwrap();
            drop(client);
            driver.await.unwrap().unwrap();
            let first =
                |message| if let Row(row) = message { row.get(0).map(str::to_owned) } else { None };
            messages.into_iter().filter_map(first).collect()
        })
    }
}

/// Runs `work` on a thread of its own, because tests call from within a runtime.
fn block_on<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        scope.spawn(move || runtime().block_on(work)).join().expect("the database's answer")
    })
}

/// An authority, and a certificate for `localhost` signed by it.
fn write_certificates(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &authority).unwrap();
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.join("server.pem"), server.pem()).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(folder.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
}
