//! Timelines held against files that people have read. `UPDATE_GOLDEN=1 cargo test -p aftercare
//! --test golden` writes them anew; read the difference before you commit it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use aftercare::planner::{Preview, Trial, preview};
use aftercare::protocol::{Area, shipped};
use aftercare::zone::Zone;
use jiff::SignedDuration;
use jiff::civil::DateTime;

struct Story {
    name: &'static str,
    at: &'static str,
    zone: &'static str,
    late: SignedDuration,
    areas: Option<&'static [Area]>,
}

const fn story(name: &'static str, at: &'static str, zone: &'static str) -> Story {
    Story { name, at, zone, late: SignedDuration::ZERO, areas: None }
}

const STORIES: &[Story] = &[
    story("plain-afternoon", "2026-11-22T15:40", "Europe/Lisbon"),
    story("late-morning", "2026-11-22T11:00", "Europe/Lisbon"),
    story("covered-evening", "2026-11-22T18:50", "Europe/Lisbon"),
    story("before-midnight", "2026-11-22T23:50", "Europe/Lisbon"),
    story("lisbon-spring", "2026-03-28T17:30", "Europe/Lisbon"),
    story("lisbon-autumn", "2026-10-24T17:30", "Europe/Lisbon"),
    story("new-york-spring", "2026-03-07T17:30", "America/New_York"),
    story("new-york-autumn", "2026-10-31T17:30", "America/New_York"),
    story("lord-howe-autumn", "2026-04-04T17:30", "Australia/Lord_Howe"),
    story("lord-howe-spring", "2026-10-03T17:30", "Australia/Lord_Howe"),
    story("cairo-spring-midnight-gap", "2026-04-23T17:30", "Africa/Cairo"),
    story("cairo-autumn", "2026-10-29T17:30", "Africa/Cairo"),
    story("casablanca-before-ramadan", "2026-02-14T17:30", "Africa/Casablanca"),
    story("casablanca-after-ramadan", "2026-03-21T17:30", "Africa/Casablanca"),
    story("thirty-first-of-january", "2026-01-31T15:40", "Europe/Lisbon"),
    story("leap-day", "2028-02-29T15:40", "Europe/Lisbon"),
    Story {
        late: SignedDuration::from_hours(6),
        ..story("posted-six-hours-late", "2026-11-22T15:40", "Europe/Lisbon")
    },
    Story {
        late: SignedDuration::from_mins(8 * 60 + 10),
        ..story("posted-at-two-at-night", "2026-11-22T17:50", "Europe/Lisbon")
    },
    Story {
        areas: Some(&[Area::Scalp]),
        ..story("scalp-only", "2026-11-22T15:40", "Europe/Lisbon")
    },
];

fn tell(story: &Story) -> Preview {
    let zone: Zone = story.zone.parse().unwrap();
    let at: DateTime = story.at.parse().unwrap();
    let completed_at = zone.tz().to_ambiguous_timestamp(at).compatible().unwrap();
    preview(Trial {
        protocol: shipped()[0].protocol.clone(),
        completed_at,
        recorded_at: completed_at + story.late,
        zone,
        areas: story.areas.map(|areas| areas.iter().copied().collect::<BTreeSet<_>>()),
        locale: "en".parse().unwrap(),
        slots: BTreeMap::new(),
    })
}

fn page(story: &Story, preview: &Preview) -> String {
    let mut page = format!("completed {}\n", preview.treatment.completed_local);
    if !story.late.is_zero() {
        writeln!(page, "recorded {:#} later", story.late).unwrap();
    }
    page.push_str("\nholds\n");
    for held in &preview.restrictions {
        let until = held.until_local.as_deref().unwrap_or("open-ended");
        writeln!(page, "  {:<16} {until}", held.rule.as_str()).unwrap();
    }
    page.push_str("\nsends\n");
    for reminder in &preview.reminders {
        let steps: Vec<_> =
            reminder.steps.iter().map(aftercare::protocol::StepId::as_str).collect();
        writeln!(page, "  {}  {}", reminder.due_local, steps.join(" + ")).unwrap();
        writeln!(page, "    use by {}", reminder.use_by_local).unwrap();
        writeln!(page, "    {} | {}", reminder.title, reminder.body).unwrap();
    }
    page.push_str("\nskips\n");
    for skipped in &preview.skipped {
        writeln!(page, "  {:<16} {}", skipped.step.as_str(), skipped.reason).unwrap();
    }
    page
}

#[test]
fn timelines_are_as_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for story in STORIES {
        let page = page(story, &tell(story));
        let file = folder.join(format!("{}.txt", story.name));
        if update {
            std::fs::write(&file, page).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != page {
            wrong.push(format!("{}:\n{page}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
