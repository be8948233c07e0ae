//! The calendar feed, read by an independent parser while a patient's plans change.
//!
//! Runs when `AFTERCARE_TEST_CALENDAR_PYTHON` names a Python that has `tests/calendar/requirements.txt`
//! installed, or `target/calendar` is such a virtual environment; with
//! `AFTERCARE_TEST_CALENDAR=required` it fails otherwise.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::{Value, json};

use crate::http::Body;
use crate::stage::Stage;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A Python that has the parser; says so in one line when there is none.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("AFTERCARE_TEST_CALENDAR_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root().join("target/calendar/bin/python"));
    let probe = Command::new(&python).args(["-c", "import icalendar"]).output();
    if probe.is_ok_and(|probe| probe.status.success()) {
        return Some(python);
    }
    let said = format!("{} has no icalendar package", python.display());
    let required = std::env::var("AFTERCARE_TEST_CALENDAR").as_deref() == Ok("required");
    assert!(!required, "{said}");
    println!("Not run with an independent calendar parser: {said}.");
    None
}

/// A patient's feed, and who reads it.
struct Reader<'s> {
    python: PathBuf,
    stage: &'s Stage,
    path: String,
}

impl Reader<'_> {
    /// The feed as the parser understands it.
    async fn read(&self) -> Value {
        let answer = self.stage.http.call("GET", &self.path, None, Body::None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/calendar; charset=utf-8"));
        let mut parser = Command::new(&self.python)
            .arg(root().join("tests/calendar/read.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        parser.stdin.take().unwrap().write_all(answer.text().as_bytes()).unwrap();
        let output = parser.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", answer.text());
        for secret in ["microneedling", "Pele Nova", "ana", "makeup", "skin"] {
            assert!(!answer.text().contains(secret), "the feed says {secret}");
        }
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Start and status of each entry, by start.
    async fn entries(&self) -> Vec<(String, String)> {
        let feed = self.read().await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let events = feed["events"].as_array().unwrap().iter();
        let mut entries: Vec<_> =
            events.map(|event| (text(&event["start"]), text(&event["status"]))).collect();
        entries.sort();
        entries
    }
}

fn event<'f>(feed: &'f Value, id: &str) -> &'f Value {
    let mut events = feed["events"].as_array().unwrap().iter();
    events.find(|event| event["uid"] == id).unwrap_or_else(|| panic!("no {id} in {feed}"))
}

fn entry(start: &str, status: &str) -> (String, String) {
    (start.to_owned(), status.to_owned())
}

async fn a_calendar_follows_the_plan(bed: Bed) {
    let Some(python) = python() else { return };
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let token = stage.phone("ana", "ana").await;
    let treated = stage.session_done("visit-ana", "ana").await;
    let calendar = stage.http.call("GET", "/v1/me/calendar", Some(&token), Body::None).await;
    let url = calendar.expect(200)["url"].as_str().unwrap().to_owned();
    let path = url[url.find("/calendar/").unwrap()..].to_owned();
    let reader = Reader { python, stage: &stage, path };

    let feed = reader.read().await;
    assert_eq!((&feed["name"], &feed["refresh"]), (&json!("Reminders"), &json!("6:00:00")));
    assert_eq!(
        reader.entries().await,
        [
            entry("2026-11-22T15:55:00+00:00", "CONFIRMED"),
            entry("2026-11-22T21:05:00+00:00", "CONFIRMED"),
            entry("2026-11-23T07:50:00+00:00", "CONFIRMED"),
            entry("2026-11-23T17:05:00+00:00", "CONFIRMED"),
            entry("2026-11-24T07:50:00+00:00", "CONFIRMED"),
            entry("2026-12-15T10:05:00+00:00", "CONFIRMED"),
            entry("2026-12-22", "TENTATIVE"),
            entry("2026-12-29T10:05:00+00:00", "CONFIRMED"),
        ]
    );
    let treatment = treated["treatment"]["id"].as_str().unwrap();
    let reminder = treated["reminders"][6]["id"].as_str().unwrap();
    let before = (event(&feed, treatment).clone(), event(&feed, reminder).clone());
    assert_eq!(before.0["summary"], "Appointment to book");
    assert_eq!((&before.1["summary"], &before.1["alarms"]), (&json!("Reminder"), &json!(0)));

    stage.play("2026-11-24T12:00:00Z").await;
    assert_eq!(reader.entries().await.len(), 4, "what was said and is over by now is gone");

    stage.void(&treated).await.expect(200);
    let feed = reader.read().await;
    for (id, before) in [(treatment, &before.0), (reminder, &before.1)] {
        let event = event(&feed, id);
        assert_eq!(event["status"], "CANCELLED");
        assert!(event["sequence"].as_i64() > before["sequence"].as_i64(), "{event}");
        assert!(event["modified"].as_str() > before["modified"].as_str(), "{event}");
        assert_eq!((&event["start"], &event["stamp"]), (&before["start"], &event["modified"]));
    }
    stage.set_clock("2026-12-01T12:00:01Z");
    assert_eq!(reader.entries().await, [], "a week is enough for calendars that ask daily");
}

async fn a_newer_session_takes_over_the_next_one(bed: Bed) {
    let Some(python) = python() else { return };
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let token = stage.phone("ana", "ana").await;
    let mut first = crate::stage::done("visit-1", "ana", stage.now());
    first["next_session_at"] = json!("2026-12-20T11:00:00Z");
    let first = stage.post(&first).await.expect(201)["treatment"]["id"].clone();
    let first = first.as_str().unwrap();
    let calendar = stage.http.call("GET", "/v1/me/calendar", Some(&token), Body::None).await;
    let url = calendar.expect(200)["url"].as_str().unwrap().to_owned();
    let path = url[url.find("/calendar/").unwrap()..].to_owned();
    let reader = Reader { python, stage: &stage, path };

    let booked = reader.read().await;
    let booked = event(&booked, first);
    assert_eq!(
        (&booked["summary"], &booked["status"]),
        (&json!("Appointment"), &json!("CONFIRMED"))
    );
    assert_eq!(booked["start"], "2026-12-20T11:00:00+00:00");
    assert_eq!(booked["end"], "2026-12-20T12:00:00+00:00");

    stage.play("2026-12-18T10:00:00Z").await;
    let second = stage.session_done("visit-2", "ana").await;
    let feed = reader.read().await;
    assert_eq!(event(&feed, first)["status"], "CANCELLED");
    assert!(event(&feed, first)["sequence"].as_i64() > booked["sequence"].as_i64());
    let next = event(&feed, second["treatment"]["id"].as_str().unwrap());
    assert_eq!((&next["start"], &next["status"]), (&json!("2027-01-18"), &json!("TENTATIVE")));
}

on_both_engines!(a_calendar_follows_the_plan, a_newer_session_takes_over_the_next_one);
