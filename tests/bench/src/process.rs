//! Other processes: starting them, and how much CPU they took.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// Linux counts CPU time in hundredths of a second.
const TICKS: f64 = 100.0;

/// CPU seconds of a process and of all that came of it, those that ended included.
pub(crate) fn cpu(root: u32) -> f64 {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name is in brackets and may hold anything.
        let fields: Vec<f64> = stat
            .rsplit_once(") ")?
            .1
            .split(' ')
            .skip(1)
            .map(|f| f.parse().unwrap_or(0.0))
            .collect();
        let parent = *fields.first()? as u32;
        let own = fields.get(10)? + fields.get(11)?;
        Some((pid, (parent, own, fields.get(12)? + fields.get(13)?)))
    });
    let all: BTreeMap<u32, (u32, f64, f64)> = processes.collect();
    let of_root = |mut pid: u32| loop {
        match all.get(&pid) {
            _ if pid == root => return true,
            Some((parent, ..)) if *parent != 0 => pid = *parent,
            _ => return false,
        }
    };
    let ticks: f64 =
        all.iter().filter(|(pid, _)| of_root(**pid)).map(|(_, (_, own, ended))| own + ended).sum();
    ticks / TICKS
}

/// A process that ends with whoever holds this.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts it; what it says of itself goes where ours does.
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

/// A program of another kind, with its dependencies beside it.
pub(crate) fn peer(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A sink that runs.
pub(crate) struct Sink {
    running: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) port: u16,
}

impl Sink {
    pub(crate) fn start(keys: &Path, delay: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("sink").arg(keys).args(["--delay", &delay.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut sink = Self { running: Running(child), input, output, port: 0 };
        sink.port = sink.line().trim().parse().unwrap();
        sink
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// What it has seen so far.
    pub(crate) fn report(&mut self) -> Value {
        writeln!(self.input).unwrap();
        serde_json::from_str(&self.line()).unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }
}
