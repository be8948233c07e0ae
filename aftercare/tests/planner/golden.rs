//! Timelines held against files that people have read. `just golden` writes them anew; read the
//! difference before you commit it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use aftercare::planner::{
    Chart, Fate, Preview, Reason, ReminderState, Trial, local, of_treatment, plan, preview,
};
use aftercare::protocol::shipped;
use jiff::SignedDuration;

use crate::support::{LISBON, areas, at, replan, sessions, zone};

struct Story {
    name: &'static str,
    at: &'static str,
    zone: &'static str,
    late: SignedDuration,
    protocol: &'static str,
    areas: Option<&'static [&'static str]>,
}

const fn story(name: &'static str, at: &'static str, zone: &'static str) -> Story {
    Story { name, at, zone, late: SignedDuration::ZERO, protocol: "microneedling", areas: None }
}

const fn peel(name: &'static str, at: &'static str) -> Story {
    Story { protocol: "chemical-peel", ..story(name, at, LISBON) }
}

const fn laser(name: &'static str, at: &'static str) -> Story {
    Story { protocol: "laser-hair-removal", ..story(name, at, LISBON) }
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
    Story { areas: Some(&["scalp"]), ..story("scalp-only", "2026-11-22T15:40", "Europe/Lisbon") },
    peel("peel-plain-afternoon", "2026-11-22T15:40"),
    peel("peel-covered-evening", "2026-11-22T18:50"),
    peel("peel-lisbon-autumn", "2026-10-17T17:30"),
    Story {
        areas: Some(&["hands"]),
        late: SignedDuration::from_hours(24 * 5),
        ..peel("peel-of-hands-posted-five-days-late", "2026-11-22T15:40")
    },
    laser("laser-plain-afternoon", "2026-11-22T15:40"),
    laser("laser-before-midnight", "2026-11-22T23:50"),
    laser("laser-lisbon-spring", "2026-03-21T17:30"),
    Story { areas: Some(&["legs", "arms"]), ..laser("laser-legs-and-arms", "2026-11-22T15:40") },
    Story { areas: Some(&["face"]), ..laser("laser-face-of-an-early-morning", "2026-11-22T06:30") },
];

/// A patient whose phone is registered only some time after the session, in Lisbon.
struct Enrolment {
    name: &'static str,
    at: &'static str,
    after: SignedDuration,
}

const ENROLMENTS: &[Enrolment] = &[
    Enrolment {
        name: "enrolled-five-hours-later",
        at: "2026-11-22T14:00",
        after: SignedDuration::from_hours(5),
    },
    Enrolment {
        name: "enrolled-five-hours-later-in-the-evening",
        at: "2026-11-22T16:10",
        after: SignedDuration::from_hours(5),
    },
    Enrolment {
        name: "enrolled-five-hours-later-at-night",
        at: "2026-11-22T17:30",
        after: SignedDuration::from_hours(5),
    },
    Enrolment {
        name: "enrolled-when-two-had-waited",
        at: "2026-11-22T18:30",
        after: SignedDuration::from_mins(160),
    },
];

fn tell(story: &Story) -> Preview {
    let completed_at = at(story.at, story.zone);
    let shipped = shipped().iter().find(|shipped| shipped.protocol.slug == story.protocol);
    preview(Trial {
        protocol: shipped.unwrap().protocol.clone(),
        completed_at,
        recorded_at: completed_at + story.late,
        zone: zone(story.zone),
        areas: story.areas.map(areas),
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

/// Plans at the session's end, lets what falls due wait for a phone, and plans again once there is
/// one.
fn enrol(enrolment: &Enrolment) -> String {
    let zone = zone(LISBON);
    let mut facts = sessions(&[enrolment.at]);
    let completed_at = facts.treatments[0].completed_at;
    facts.reachable = false;
    replan(&mut facts, completed_at);
    let now = completed_at + enrolment.after;
    facts.standing.sort_by_key(|row| row.due_at);
    let due = facts.standing.iter_mut().filter(|row| row.state == ReminderState::Planned);
    let mut waited = String::new();
    for row in due.filter(|row| row.due_at < now) {
        row.reason = Some(Reason::NoDevice);
        writeln!(waited, "  {}  {}", local(row.due_at, &zone), row.key.step.as_str()).unwrap();
    }
    facts.reachable = true;
    let plan = plan(&facts, now);

    let mut page = format!("completed {}\n", local(completed_at, &zone));
    writeln!(page, "enrolled {:#} later, {}", enrolment.after, local(now, &zone)).unwrap();
    page.push_str("\nholds\n");
    for held in of_treatment(&facts, &facts.treatments[0]) {
        let until = held.until.map_or("open-ended".to_owned(), |until| local(until, &zone));
        writeln!(page, "  {:<16} {until}", held.rule.as_str()).unwrap();
    }
    write!(page, "\nwaited for a phone\n{waited}\nsends\n").unwrap();
    for reminder in &plan.reminders {
        let keys: Vec<_> = reminder.members.iter().map(|member| member.key.clone()).collect();
        let steps: Vec<_> = keys.iter().map(|key| key.step.as_str()).collect();
        let said = Chart::of(&facts).describe(&keys, reminder.due_at);
        writeln!(page, "  {}  {}", local(reminder.due_at, &zone), steps.join(" + ")).unwrap();
        writeln!(page, "    use by {}", local(reminder.use_by, &zone)).unwrap();
        writeln!(page, "    {} | {}", said.title, said.body).unwrap();
    }
    page.push_str("\nends unsaid\n");
    for (key, outcome) in &plan.steps {
        let end = match outcome.fate {
            Fate::Expired(reason) => format!("expired: {reason}"),
            Fate::Skipped(reason) => format!("skipped: {reason}"),
            _ => continue,
        };
        writeln!(page, "  {:<16} {end}", key.step.as_str()).unwrap();
    }
    page
}

#[test]
fn timelines_are_as_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/planner/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let planned = STORIES.iter().map(|story| (story.name, page(story, &tell(story))));
    let enrolled = ENROLMENTS.iter().map(|enrolment| (enrolment.name, enrol(enrolment)));
    for (name, page) in planned.chain(enrolled) {
        let file = folder.join(format!("{name}.txt"));
        if update {
            std::fs::write(&file, page).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != page {
            wrong.push(format!("{}:\n{page}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
