//! The binary as its operators run it: a process of its own, on the real clock.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use aftercare::clock::{Clock as _, SystemClock};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::http::{Answer, Body, Http, wait_for};
use crate::stage::{device, done};

/// The binary, which `cargo test` builds beside the tests.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join("aftercare");
    assert!(binary.is_file(), "{} is missing: cargo build -p aftercare-api", binary.display());
    binary
}

/// The binary in a folder, with nobody's settings.
pub(crate) fn aftercare(folder: &Path) -> Command {
    let mut command = Command::new(binary());
    configure(&mut command, folder);
    command
}

/// Settings of this machine must not leak into tests, nor those of tests onto it.
pub(crate) fn configure(command: &mut Command, folder: &Path) {
    let ours = |name: &str| name.starts_with("AFTERCARE_") || name.starts_with("FCM_");
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.env_remove("DATABASE_URL").env_remove("SSL_CERT_FILE").current_dir(folder);
    command.env("AFTERCARE_LISTEN", "127.0.0.1:0").env("AFTERCARE_LOG_FORMAT", "json");
    command.stdin(Stdio::null());
}

/// A run that ends by itself.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// A process that is killed at the latest when the test is over.
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap();
        let lines = Arc::default();
        collect(child.stdout.take().unwrap(), &lines);
        collect(child.stderr.take().unwrap(), &lines);
        Self { child, lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line, of its output or its log, that something can be made of.
    pub(crate) async fn line<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        wait_for(what, || {
            let found = self.lines.lock().unwrap().iter().find_map(|line| read(line));
            let ended = found.is_none() && self.child.try_wait().unwrap().is_some();
            assert!(!ended, "it ended before {what}: {:#?}", self.lines.lock().unwrap());
            std::future::ready(found)
        })
        .await
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.end().await
    }

    /// Waits until it has ended.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        wait_for("the end of the process", || std::future::ready(self.child.try_wait().unwrap()))
            .await
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Kills it, as a machine does that loses its power.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The filter that lets everybody speak at that level, libraries too.
pub(crate) fn everybody_at(level: &str) -> String {
    let libraries = [
        "tokio_cron_scheduler",
        "actix_server",
        "actix_web",
        "actix_http",
        "tracing_actix_web",
        "h2",
        "hyper",
        "hyper_util",
        "rustls",
        "mio",
        "tokio_postgres",
    ];
    let named = libraries.iter().map(|name| format!("{name}={level}"));
    named.chain([level.to_owned()]).collect::<Vec<_>>().join(",")
}

fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<Vec<String>>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    });
}

/// A running `aftercare serve`, and a clinic of it.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) http: Http,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(command: &mut Command) -> Self {
        let mut process = Process::start(command);
        let address = process.line("its address", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let listens = line["message"] == "the API listens";
            listens.then(|| line["address"].as_str()?.parse::<SocketAddr>().ok()).flatten()
        });
        let http = Http(address.await);
        Self { process, http }
    }

    /// The emulator that it started beside itself.
    pub(crate) async fn emulator(&mut self) -> Http {
        let address = self.process.line("the emulator's inbox", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let inbox = line["inbox"].as_str()?.strip_prefix("http://")?;
            inbox.strip_suffix("/inbox")?.parse::<SocketAddr>().ok()
        });
        Http(address.await)
    }
}

/// A clinic's software, with a token of a quarter of an hour.
pub(crate) struct Clinic {
    pub(crate) http: Http,
    token: String,
}

/// Makes a clinic with the binary; `settings` are those of the server.
pub(crate) fn make_clinic(folder: &Path, settings: &[(&str, &str)]) -> Value {
    let mut command = aftercare(folder);
    command.envs(settings.iter().copied());
    command.args(["clinic", "create", "--name", "Pele Nova", "--time-zone", "Europe/Lisbon"]);
    let output = run(command.arg("--json"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Clinic {
    pub(crate) async fn sign_in(http: Http, clinic: &Value) -> Self {
        let token = Self::token_of(http, clinic).await.unwrap();
        Self { http, token }
    }

    /// A clinic's token from a server that may not be there.
    pub(crate) async fn token_of(http: Http, clinic: &Value) -> io::Result<String> {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            clinic["client_id"].as_str().unwrap(),
            clinic["client_secret"].as_str().unwrap()
        );
        let answer = http.attempt("POST", "/v1/oauth/token", None, Body::Form(&form)).await?;
        if answer.status == 503 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(answer.expect(200)["access_token"].as_str().unwrap().to_owned())
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Body<'_>) -> Value {
        let answer = self.attempt(method, path, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer.expect(answer.status)
    }

    /// A call that may be refused.
    pub(crate) async fn attempt(&self, method: &str, path: &str, body: Body<'_>) -> Answer {
        self.http.call(method, path, Some(&self.token), body).await
    }

    /// A patient with a phone of the same name; gives the token of the phone's app.
    pub(crate) async fn patient(&self, name: &str) -> String {
        let body = json!({"time_zone": "Europe/Lisbon", "locale": "en"});
        self.call("PUT", &format!("/v1/patients/{name}"), Body::Json(&body)).await;
        let path = format!("/v1/patients/{name}/enrolments");
        let enrolment = self.call("POST", &path, Body::None).await;
        let redeem = json!({"code": enrolment["code"], "installation_id": name});
        let path = "/v1/enrolments/redeem";
        let tokens = self.http.call("POST", path, None, Body::Json(&redeem)).await.expect(200);
        let path = format!("/v1/me/devices/{name}");
        let token = tokens["access_token"].as_str().unwrap();
        self.http.call("PUT", &path, Some(token), Body::Json(&device(name))).await.expect(204);
        token.to_owned()
    }

    /// Their session was done so long ago: the first reminder is due after a quarter of an hour.
    pub(crate) async fn session_done(&self, name: &str, ago: SignedDuration) -> Value {
        let event = done(&format!("visit-{name}"), name, now() - ago);
        self.call("POST", "/v1/treatments", Body::Json(&event)).await
    }

    /// The state of the patient's first reminder.
    pub(crate) async fn first_state(&self, name: &str) -> String {
        let timeline = format!("/v1/patients/{name}/timeline");
        let timeline = self.call("GET", &timeline, Body::None).await;
        let reminders = timeline["reminders"].as_array().unwrap();
        // After nine in the evening, on the machine's own clock, bedtime's came too late to be wanted.
        let wanted = reminders.iter().filter(|reminder| reminder["state"] != "skipped");
        let first = wanted.min_by_key(|reminder| reminder["due_at"].as_str()).unwrap();
        first["state"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}
