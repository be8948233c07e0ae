//! A small reading of the rules of time: when a step is due, until when it is of use, and when it is quiet.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use aftercare::protocol::shipped;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, ToSpan as _};
use serde_json::Value;

use crate::ledger::{Facts, Quiet};

/// The shipped documents, read as JSON.
#[derive(Debug)]
pub(crate) struct Rules(BTreeMap<String, Value>);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'r>(&'r Value, &'r Value);

impl Rules {
    pub(crate) fn read() -> Self {
        let documents = shipped().iter().map(|one| {
            let document: Value = serde_json::from_str(one.json).unwrap();
            (document["slug"].as_str().unwrap().to_owned(), document)
        });
        Self(documents.collect())
    }

    pub(crate) fn slugs(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub(crate) fn step(&self, slug: &str, id: &str) -> Option<Step<'_>> {
        let document = self.0.get(slug)?;
        let steps = document["steps"].as_array()?;
        steps.iter().find(|step| step["id"] == id).map(|step| Step(document, step))
    }
}

impl Step<'_> {
    pub(crate) fn due(self, facts: &Facts, patient: &TimeZone) -> Option<Timestamp> {
        self.moment(&self.1["due"], facts, patient)
    }

    pub(crate) fn use_by(self, facts: &Facts, patient: &TimeZone) -> Option<Timestamp> {
        let moment = &self.1["use_by"];
        if moment["clock"] != "after-due" {
            return self.moment(moment, facts, patient);
        }
        let due = self.due(facts, patient)?.to_zoned(patient.clone());
        instant(plus(due.date(), moment["days"].as_i64()?), due.time(), patient)
    }

    /// Whether the patient may name the hour.
    pub(crate) fn is_before_exercise(self) -> bool {
        self.1["before_exercise"] == true
    }

    /// Whether it only speaks of the next session.
    pub(crate) fn is_recall(self) -> bool {
        let rules = self.0["rules"].as_array().unwrap();
        let recall = |id: &Value| {
            rules.iter().any(|rule| rule["id"] == *id && rule["kind"] == "next-session")
        };
        let clauses = self.1["clauses"].as_array().unwrap();
        clauses.iter().any(|clause| recall(&clause["rule"]))
    }

    pub(crate) fn is_of_a_booking(self) -> bool {
        self.1["due"]["clock"] == "booking"
    }

    fn moment(self, moment: &Value, facts: &Facts, patient: &TimeZone) -> Option<Timestamp> {
        let of_treatment = facts.zone.tz();
        let day_zero = facts.completed_at.to_zoned(of_treatment.clone()).date();
        let days = moment["days"].as_i64().or(moment["day"].as_i64()).unwrap_or(0);
        let at = || Time::from_str(moment["at"].as_str().unwrap()).unwrap();
        match moment["clock"].as_str()? {
            "elapsed" => {
                let after = SignedDuration::from_str(moment["after"].as_str()?).unwrap();
                Some(facts.completed_at + after)
            }
            "wall" => instant(plus(day_zero, days), at(), patient),
            "end-of-day" => instant(plus(day_zero, days + 1), Time::midnight(), of_treatment),
            "interval" => {
                let interval = Span::from_str(self.0["course"]["interval"].as_str()?).unwrap();
                instant(plus(day_zero + interval, days), at(), patient)
            }
            "booking" => {
                let day = facts.booked?.to_zoned(of_treatment.clone()).date();
                instant(plus(day, days), at(), patient)
            }
            other => panic!("a moment by the clock {other}"),
        }
    }
}

fn plus(date: Date, days: i64) -> Date {
    date + days.days()
}

/// In a gap the later reading, in a fold the first.
fn instant(date: Date, time: Time, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(date.to_datetime(time)).compatible().ok()
}

/// When nobody is woken, unless they said otherwise.
pub(crate) fn usual() -> Quiet {
    (Time::constant(21, 30, 0, 0), Time::constant(7, 30, 0, 0))
}

/// Whether the wall shows an hour of quiet, and since when.
pub(crate) fn quiet_since(
    at: Timestamp,
    (from, until): Quiet,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let local = at.to_zoned(zone.clone());
    let (date, time) = (local.date(), local.time());
    let today = if from <= until {
        (from <= time && time < until).then_some(date)
    } else if time >= from {
        Some(date)
    } else {
        (time < until).then(|| plus(date, -1))
    };
    instant(today?, from, zone)
}
