//! `aftercare protocol`.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use aftercare::protocol::{Fault, Protocol, SCHEMA};

use super::Failure;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Name every fault of a protocol document, with its JSON pointer
    Check {
        /// The document; `-` reads standard input
        file: PathBuf,
        /// Print one JSON document instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of protocol documents, for editors
    Schema,
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Check { file, json } => check(file, *json),
        Command::Schema => Ok(io::stdout().lock().write_all(SCHEMA.as_bytes())?),
    }
}

fn check(file: &Path, json: bool) -> Result<(), Failure> {
    let parsed = Protocol::parse(&text_of(file)?);
    let mut out = io::stdout().lock();
    let faults = parsed.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    if json {
        let faults: Vec<_> = faults
            .iter()
            .map(|f| serde_json::json!({"pointer": f.pointer, "detail": f.detail}))
            .collect();
        writeln!(out, "{}", serde_json::json!({"ok": faults.is_empty(), "faults": faults}))?;
    } else if let Ok(protocol) = &parsed {
        let (slug, version) = (&protocol.slug, protocol.version);
        let (rules, steps) = (protocol.rules.len(), protocol.steps.len());
        let locales: Vec<_> = protocol.locales.iter().map(ToString::to_string).collect();
        let locales = locales.join(", ");
        writeln!(out, "{slug} v{version} is sound: {rules} rules, {steps} steps, in {locales}")?;
    } else {
        out.write_all(lines(faults).as_bytes())?;
    }
    match faults.len() {
        0 => Ok(()),
        1 => Err(Failure::Work("the document has 1 fault".to_owned())),
        n => Err(Failure::Work(format!("the document has {n} faults"))),
    }
}

/// A protocol from a file.
pub(super) fn load(file: &Path) -> Result<Protocol, Failure> {
    Protocol::parse(&text_of(file)?)
        .map_err(|faults| Failure::Work(format!("{}:\n{}", file.display(), lines(&faults))))
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().fold(String::new(), |lines, fault| lines + &fault.to_string() + "\n")
}

fn text_of(file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))
}
