//! What was measured, and on what: figures without it say nothing.

use std::fs;
use std::process::Command;

use aftercare_tests::postgres::TestDatabase;

/// Prints the machine and the versions in one line.
pub(crate) fn print(database: &TestDatabase) {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let model = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let kilobytes: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!(
        "\n{cores} cores ({model}), {:.0} GB, Linux {}, PostgreSQL {}, Node {}, {build} build",
        kilobytes / f64::from(1 << 20),
        kernel.trim(),
        database.query("SHOW server_version").concat(),
        node(),
    );
}

fn field(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_once(':')).map_or("?", |(_, value)| value.trim()).to_owned()
}

fn node() -> String {
    let output = Command::new("node").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.map_or_else(|_| "-".to_owned(), |text| text.trim().trim_start_matches('v').to_owned())
}
