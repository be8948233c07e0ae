//! Months of an ordinary clinic's days, one after the other, and whether what is kept stays as large as it was.
//!
//! `cargo test` has five months with a session a day; `just soak` says how many, and looks at memory, too.

use std::fmt;

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::SignedDuration;

use crate::stage::Stage;

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// By then as many patients go each day as come, and of who stays as much as comes: kept for 30 days, and for as long
/// as a reminder is planned, or worth something.
const SETTLED: u32 = 80;
/// How many days lie between those on which somebody comes who comes every four weeks, and how many such there are.
const EVERY: u32 = 4;
const REGULARS: u32 = 7;
/// What grows for good: who did what, and who was erased, so that no backup brings them back; and for as long as
/// somebody stays, that they were treated.
const FOR_GOOD: [&str; 3] = ["audit", "erasures", "treatments"];

#[derive(Debug, Clone, Copy)]
struct Soak {
    days: u32,
    sessions: u32,
    /// Whether nothing else runs in this process, so that its memory says something.
    alone: bool,
}

impl Soak {
    fn read() -> Self {
        let number = |name: &str| {
            let text = std::env::var(format!("AFTERCARE_SOAK_{name}")).ok();
            text.map(|text| text.parse::<u32>().unwrap())
        };
        let days = number("DAYS");
        let sessions = number("SESSIONS").unwrap_or(1);
        Self { days: days.unwrap_or(SETTLED * 2), sessions, alone: days.is_some() }
    }
}

/// What there is at the end of a day.
#[derive(Debug, Clone)]
struct Size {
    day: u32,
    /// Rows, but for those that are there for good.
    rows: u64,
    for_good: u64,
    /// Bytes on the disk of those tables and their indexes; of SQLite, of everything.
    bytes: u64,
    /// Bytes in memory.
    resident: u64,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { day, rows, for_good, bytes, resident } = self;
        let kb = |bytes: &u64| bytes / 1024;
        write!(f, "| {day} | {rows} | {for_good} | {} | {} |", kb(bytes), kb(resident))
    }
}

impl Size {
    fn of(bed: &Bed, day: u32) -> Self {
        let count = |table: &str| -> u64 {
            bed.query(&format!("SELECT CAST(count(*) AS TEXT) FROM {table}"))[0].parse().unwrap()
        };
        let mut tables = bed.tables_with("patient_id");
        tables.extend(["patients", "refresh_tokens"].map(str::to_owned));
        let is_kept = |table: &&String| !FOR_GOOD.contains(&table.as_str());
        let rows = tables.iter().filter(is_kept).map(|table| count(table)).sum::<u64>();
        let bytes = if bed.database.is_some() {
            // What autovacuum does in a day that lasts a second.
            bed.execute("VACUUM");
            bed.query(&format!(
                "SELECT CAST(sum(pg_total_relation_size(oid)) AS TEXT) FROM pg_class
                 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                   AND relname NOT IN ('{}')",
                FOR_GOOD.join("', '")
            ))
        } else {
            bed.query(
                "SELECT (pages.page_count - free.freelist_count) * size.page_size
                 FROM pragma_page_count AS pages, pragma_freelist_count AS free, pragma_page_size AS size",
            )
        };
        Self {
            day,
            rows,
            for_good: FOR_GOOD.iter().map(|table| count(table)).sum(),
            bytes: bytes[0].parse().unwrap(),
            resident: resident(),
        }
    }
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kb.unwrap_or_default() * 1024
}

impl Stage {
    /// One of the clinic's days: so many sessions, each of a new patient, and all that is due. Every fourth day as
    /// many come who come every four weeks.
    async fn a_day(&self, day: u32, sessions: u32) {
        let end = self.now() + DAY;
        let apart = SignedDuration::from_hours(8) / i32::try_from(sessions.max(1)).unwrap();
        for n in 0..sessions {
            self.treated(&format!("patient-{day}-{n}")).await;
            if day.is_multiple_of(EVERY) {
                let (turn, regular) =
                    (day / EVERY, format!("regular-{}-{n}", day / EVERY % REGULARS));
                if turn <= REGULARS {
                    self.treated(&regular).await;
                } else {
                    self.session_done(&format!("visit-{day}-{n}"), &regular).await;
                }
            }
            self.play(&(self.now() + apart).to_string()).await;
        }
        self.play(&end.to_string()).await;
        self.scheduler.tidy().await;
        self.fcm.clear();
    }
}

async fn months_leave_what_is_kept_as_large_as_it_was(bed: Bed) {
    let soak = Soak::read();
    let mut stage = Stage::set(bed).await;
    stage.scheduler = stage.scheduler_keeping("P30D".parse().unwrap());
    let mut sizes = Vec::new();
    println!(
        "| day | rows | rows for good | kB on the disk | kB in memory |\n|---|---|---|---|---|"
    );
    for day in 1..=soak.days {
        stage.a_day(day, soak.sessions).await;
        if day % 10 == 0 {
            let size = Size::of(&stage.bed, day);
            println!("{size}");
            sizes.push(size);
        }
    }
    let settled: Vec<Size> = sizes.into_iter().filter(|size| size.day >= SETTLED).collect();
    let (first, last) = (settled.first().unwrap(), settled.last().unwrap());
    assert!(first.day < last.day, "{} days are too few to say anything: 90 at least", soak.days);
    let grew = |was: u64, is: u64| is * 10 > was * 11;
    assert!(!grew(first.rows, last.rows), "rows: {first} {last}");
    // On SQLite one file holds what is there for good, too.
    let on_its_own = stage.bed.database.is_some();
    assert!(!(on_its_own && grew(first.bytes, last.bytes)), "on the disk: {first} {last}");
    assert!(!(soak.alone && grew(first.resident, last.resident)), "in memory: {first} {last}");
}

on_both_engines!(months_leave_what_is_kept_as_large_as_it_was);
