//! What is done survives whatever happens at any point: on both sides of every commit and at every HTTP
//! boundary, the end of the process, an error, and a long wait.
//!
//! A commit's point is named after the code of its unit of work, so that a new one needs no name of its own;
//! it only has to be reached here, or to be among those that [`ELSEWHERE`] speaks of.

mod housekeeping;
mod operations;
mod sending;
mod trap;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aftercare::store::Side;
use aftercare_tests::bed::Bed;

use trap::Harm;

/// Every cell of the matrix that was played.
type Played = BTreeSet<(String, Side, Harm)>;

const SIDES: [Side; 2] = [Side::BeforeCommit, Side::AfterCommit];
const HARMS: [Harm; 3] = [Harm::Abort, Harm::Error, Harm::Delay];

/// Functions with a unit of work that is not played here, by file. At the desk: forms do what operations of
/// the API do, and name it with an id of their own, so that one that is sent again does it once (see `desk`).
/// A signed message: it is kept with its answer (see `signed_events`). Commands: somebody sees whether they
/// ended, and can type them again (see `commands`, `database`, `master_key`). Looking whether writes are taken:
/// nothing is written.
const ELSEWHERE: [&str; 32] = [
    "clients::add_client_secret",
    "clients::create_clinic",
    "clients::revoke_client_secret",
    "clinics::set",
    "door::accept_invitation",
    "door::sign_out",
    "door::welcome",
    "erasures::replay",
    "events::receive_signed",
    "keys::cared_for",
    "keys::keys",
    "keys::rotate",
    "operate::pause",
    "replan::run",
    "rotation::master_key_in_use",
    "rotation::replace_master_key",
    "rotation::step",
    "session::authenticate",
    "settings::migrate",
    "staff::add_staff",
    "staff::remove_staff",
    "store::check_writable",
    "store::migrate",
    "test_push::show_test_push",
    "work::add_patient",
    "work::handout",
    "work::home",
    "work::invite",
    "work::record",
    "work::show_patient",
    "work::show_treatment",
    "work::undo",
];

/// An abort and an error are over with the transaction, whichever engine's it was; who waits for whom is each
/// engine's own.
fn harms_on(bed: &Bed) -> &'static [Harm] {
    if bed.database.is_some() { &[Harm::Delay] } else { &HARMS }
}

/// Both sides of a commit, each with each of these harms.
fn each_of(harms: &[Harm]) -> impl Iterator<Item = (Side, Harm)> {
    SIDES.into_iter().flat_map(move |side| harms.iter().map(move |harm| (side, *harm)))
}

/// Asserts that each point of these was reached on both sides and in each form.
#[track_caller]
fn assert_whole(played: &Played, units: &[&str], harms: &[Harm]) {
    let cells = units.iter().flat_map(|unit| each_of(harms).map(move |cell| (unit, cell)));
    let expected: Played =
        cells.map(|(unit, (side, harm))| ((*unit).to_owned(), side, harm)).collect();
    let differ: Vec<_> = played.symmetric_difference(&expected).collect();
    assert!(differ.is_empty(), "not played, or not known: {differ:#?}");
    println!("{} cells of {} points", played.len(), 2 * units.len());
}

/// How many rows each table has, but for what is noted of everybody who asks, and what each reminder is.
fn rows(bed: &Bed) -> BTreeMap<String, String> {
    let tables = if bed.database.is_some() {
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table'"
    };
    let tables = bed.query(tables).into_iter().filter(|name| !name.starts_with("audit"));
    let counts = tables.map(|name| format!("SELECT '{name} ' || count(*) FROM {name}"));
    let counts = bed.query(&counts.collect::<Vec<_>>().join(" UNION ALL "));
    let mut rows: BTreeMap<String, String> = counts
        .into_iter()
        .map(|line| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap())
        .collect();
    let reminders = "SELECT step_id || state || due_at FROM reminders ORDER BY 1";
    rows.insert("the plan".to_owned(), bed.query(reminders).join(" "));
    rows
}

/// The functions of a file that hand a unit of work to the store, each behind the file's name.
fn units_in(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let file = stem(path);
    let file = if file == "mod" { stem(path.parent().unwrap()) } else { file };
    let (mut function, mut found) = ("", BTreeSet::new());
    for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
        if let Some((_, name)) = line.split_once("fn ") {
            function = name.split(['(', '<']).next().unwrap_or_default();
        }
        let calls = [".write(", ".write::<", ".read_on_record(", ".read_on_record::<"];
        let others = ["OpenOptions", "options.", "PoisonError", "self.write(&"];
        let has = |any: &[&str]| any.iter().any(|one| line.contains(one));
        if has(&calls) && !has(&others) {
            found.insert(format!("{file}::{function}"));
        }
    }
    found
}

/// The same of a unit of work that was played: the last of its path, without types and what is in them.
fn place(unit: &str) -> String {
    let mut depth = 0_u32;
    let outside = |letter: &char| {
        depth += u32::from(*letter == '<');
        let is_outside = depth == 0;
        depth -= u32::from(*letter == '>');
        is_outside
    };
    let path: String = unit.chars().filter(outside).take_while(|letter| *letter != '#').collect();
    let path: Vec<&str> =
        path.split("::").filter(|part| part.starts_with(char::is_lowercase)).collect();
    path[path.len().saturating_sub(2)..].join("::")
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_unit_of_work_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for folder in ["aftercare/src", "api/src", "scheduler/src"] {
        sources(&root.join(folder), &mut found);
    }
    let all: BTreeSet<String> = found.iter().flat_map(|path| units_in(path)).collect();
    let played = operations::UNITS.iter().chain(&sending::UNITS).chain(&housekeeping::UNITS);
    let mut known: BTreeSet<String> = played.map(|unit| place(unit)).collect();
    // What is handed over under its own name. What FCM accepted of a session that was taken back meanwhile is not
    // played here: whoever dies there has lost the answer (see `amend`).
    known.extend(["look::look_into", "write::insist"].map(str::to_owned));
    known.extend(ELSEWHERE.map(str::to_owned));
    let forgotten: Vec<&String> = all.difference(&known).collect();
    assert!(all.len() > 60 && forgotten.is_empty(), "nobody lets these crash: {forgotten:#?}");
}
