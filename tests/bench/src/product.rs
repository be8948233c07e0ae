//! The product's binary beside this one, as its operators run it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::keys::Keys;
use crate::process::Running;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than anything here asks for.
const UNLIMITED: &str = "1000000000";

/// The binary on one database.
pub(crate) struct Product<'k> {
    pub(crate) keys: &'k Keys,
    pub(crate) database: String,
}

impl Product<'_> {
    /// `aftercare scheduler`, which sends to the sink on that port.
    pub(crate) fn scheduler(&self, sink: u16) -> Running {
        Running::start(self.sending("scheduler", sink))
    }

    /// `aftercare serve`, once it listens.
    pub(crate) fn serve(&self, sink: u16) -> Running {
        listening(self.sending("serve", sink)).0
    }

    /// `aftercare api`, and the port that it listens on; no caller is held back.
    pub(crate) fn api(&self) -> (Running, u16) {
        let mut command = self.command("api");
        let rate = format!("{UNLIMITED}/s:{UNLIMITED}");
        command.env("AFTERCARE_LIMIT_CREDENTIAL", rate);
        listening(command)
    }

    /// Makes a clinic there; gives what `aftercare clinic create --json` prints.
    pub(crate) fn clinic(&self, time_zone: &str) -> Value {
        let mut command = self.command("clinic");
        command.args(["create", "--name", "Bench", "--time-zone", time_zone, "--json"]);
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "no clinic could be made");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn sending(&self, what: &str, sink: u16) -> Command {
        let mut command = self.command(what);
        command.env("FCM_CREDENTIALS", self.keys.account(sink));
        command.env("AFTERCARE_FCM_URL", format!("https://localhost:{sink}"));
        command.env("AFTERCARE_FCM_RATE", UNLIMITED);
        command.env("SSL_CERT_FILE", self.keys.authority());
        command
    }

    fn command(&self, what: &str) -> Command {
        let binary = std::env::current_exe().unwrap().with_file_name("aftercare");
        assert!(binary.is_file(), "{} is not built: just bench builds it", binary.display());
        let mut command = Command::new(binary);
        command.arg(what).current_dir(self.keys.path());
        command.env("DATABASE_URL", &self.database);
        command.env("AFTERCARE_KEY_FILE", self.keys.master());
        command.env("AFTERCARE_ERASURES", self.keys.path().join("erasures"));
        command.env("AFTERCARE_LOG", "warn");
        command
    }
}

/// Starts a server, and waits until it listens.
fn listening(mut command: Command) -> (Running, u16) {
    let port = free_port();
    command.env("AFTERCARE_LISTEN", format!("127.0.0.1:{port}"));
    let mut running = Running::start(command);
    wait_for_port(&mut running, port);
    (running, port)
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until the process listens there.
pub(crate) fn wait_for_port(running: &mut Running, port: u16) {
    let began = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let ended = running.0.try_wait().unwrap();
        assert!(ended.is_none(), "it ended before it listened: {ended:?}");
        assert!(began.elapsed() < PATIENCE, "nobody listens on port {port}");
        sleep(Duration::from_millis(20));
    }
}
