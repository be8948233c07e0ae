//! Reads a JSON value field by field and keeps every fault with its pointer, instead of stopping
//! at the first one.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::Time;
use jiff::{SignedDuration, Span};
use serde_json::{Map, Value};

use super::document::{Calendar, NotAName, is_name};
use crate::strict_json::member;

/// One thing that is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// RFC 6901 pointer to the value (or to the object that lacks one).
    pub pointer: String,
    /// What is wrong and what could stand there.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{pointer}: {}", self.detail)
    }
}

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, pointer: &str, detail: impl Into<String>) {
        self.0.push(Fault { pointer: pointer.to_owned(), detail: detail.into() });
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'v> {
    pub(super) value: &'v Value,
    pub(super) pointer: String,
}

/// An object and where it stands.
pub(super) struct Fields<'v> {
    map: &'v Map<String, Value>,
    pub(super) pointer: String,
}

impl<'v> Node<'v> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self { value, pointer: String::new() }
    }

    fn child(&self, name: &str, value: &'v Value) -> Self {
        Node { value, pointer: member(&self.pointer, name) }
    }

    fn wrong<T>(&self, faults: &mut Faults, wanted: &str) -> Option<T> {
        faults.add(&self.pointer, format!("{wanted} expected, not {}", describe(self.value)));
        None
    }

    /// The object's fields; those that are not `known` are faults.
    pub(super) fn fields(&self, faults: &mut Faults, known: &[&str]) -> Option<Fields<'v>> {
        let Value::Object(map) = self.value else {
            return self.wrong(faults, "an object");
        };
        for name in map.keys().filter(|name| !known.contains(&name.as_str())) {
            let detail = format!("this field is not known; known are {}", known.join(", "));
            faults.add(&member(&self.pointer, name), detail);
        }
        Some(Fields { map, pointer: self.pointer.clone() })
    }

    /// The entries of an object whose names are free.
    pub(super) fn entries(&self, faults: &mut Faults) -> Option<Vec<(&'v str, Node<'v>)>> {
        let Value::Object(map) = self.value else {
            return self.wrong(faults, "an object");
        };
        Some(map.iter().map(|(name, value)| (name.as_str(), self.child(name, value))).collect())
    }

    pub(super) fn items(&self, faults: &mut Faults) -> Option<Vec<Node<'v>>> {
        let Value::Array(items) = self.value else {
            return self.wrong(faults, "an array");
        };
        let node = |(i, value): (usize, &'v Value)| self.child(&i.to_string(), value);
        Some(items.iter().enumerate().map(node).collect())
    }

    pub(super) fn text(&self, faults: &mut Faults) -> Option<&'v str> {
        match self.value {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            Value::String(_) => {
                faults.add(&self.pointer, "this text is empty");
                None
            }
            _ => self.wrong(faults, "a text"),
        }
    }

    pub(super) fn flag(&self, faults: &mut Faults) -> Option<bool> {
        self.value.as_bool().or_else(|| self.wrong(faults, "true or false"))
    }

    pub(super) fn integer(&self, faults: &mut Faults, min: i32, max: i32) -> Option<i32> {
        let wanted = format!("a whole number from {min} to {max}");
        let number = self.value.as_i64().and_then(|n| i32::try_from(n).ok());
        number.filter(|n| (min..=max).contains(n)).or_else(|| self.wrong(faults, &wanted))
    }

    pub(super) fn parsed<T>(&self, faults: &mut Faults) -> Option<T>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let parsed = self.text(faults)?.parse();
        parsed.map_err(|error: T::Err| faults.add(&self.pointer, error.to_string())).ok()
    }

    /// A lower-case name: `[a-z0-9]` and inner hyphens, at most 64 characters.
    pub(super) fn name(&self, faults: &mut Faults) -> Option<&'v str> {
        let text = self.text(faults)?;
        if !is_name(text) {
            faults.add(&self.pointer, NotAName.to_string());
            return None;
        }
        Some(text)
    }

    pub(super) fn set<T: FromStr<Err: fmt::Display> + Ord>(
        &self,
        faults: &mut Faults,
    ) -> Option<BTreeSet<T>> {
        let items = self.items(faults)?;
        if items.is_empty() {
            faults.add(&self.pointer, "this list is empty");
            return None;
        }
        let before = faults.0.len();
        let mut set = BTreeSet::new();
        for item in items {
            if let Some(value) = item.parsed(faults)
                && !set.insert(value)
            {
                faults.add(&item.pointer, "this stands in the list twice");
            }
        }
        (faults.0.len() == before).then_some(set)
    }

    /// An hour on the wall, `HH:MM`.
    pub(super) fn hour(&self, faults: &mut Faults) -> Option<Time> {
        let text = self.text(faults)?;
        let parsed = (text.len() == 5).then(|| Time::strptime("%H:%M", text).ok()).flatten();
        if parsed.is_none() {
            faults.add(&self.pointer, format!("\"{text}\" is no hour of the day; write 07:50"));
        }
        parsed
    }

    /// An elapsed time in hours, minutes and seconds, not negative.
    pub(super) fn elapsed(&self, faults: &mut Faults) -> Option<SignedDuration> {
        let text = self.text(faults)?;
        let Some(duration) = elapsed(text) else {
            let detail = format!(
                "\"{text}\" is no elapsed time; write PT24H, PT15M (a day is not an elapsed time: \
                 some have 23 hours)"
            );
            faults.add(&self.pointer, detail);
            return None;
        };
        if duration.is_negative() {
            faults.add(&self.pointer, format!("\"{text}\" is negative"));
            return None;
        }
        Some(duration)
    }

    /// A time on the calendar in whole months, weeks or days, at least one and at most ten years.
    pub(super) fn calendar(&self, faults: &mut Faults) -> Option<Calendar> {
        let text = self.text(faults)?;
        let read = calendar(text);
        if read.is_none() {
            let detail = format!(
                "\"{text}\" is no number of months, weeks or days up to ten years; write P1M, P6W or \
                 P28D"
            );
            faults.add(&self.pointer, detail);
        }
        read
    }
}

fn calendar(text: &str) -> Option<Calendar> {
    let (number, unit) = text.strip_prefix('P')?.split_at_checked(text.len().checked_sub(2)?)?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    let number = number.parse::<i32>().ok().filter(|_| digits)?;
    match unit {
        "M" => (number <= 120).then_some(Calendar::Months(number)),
        "W" => (number <= 520).then(|| Calendar::Days(number * 7)),
        "D" => (number <= 3650).then_some(Calendar::Days(number)),
        _ => None,
    }
}

fn elapsed(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    let clock_only = span.get_years() == 0
        && span.get_months() == 0
        && span.get_weeks() == 0
        && span.get_days() == 0;
    if !clock_only || !text.trim_start_matches(['-', '+']).starts_with("PT") {
        return None;
    }
    let limit = SignedDuration::from_hours(24 * 366);
    SignedDuration::try_from(span).ok().filter(|duration| duration.abs() <= limit)
}

impl<'v> Fields<'v> {
    /// The field, where it is there and not null.
    pub(super) fn maybe(&self, name: &str) -> Option<Node<'v>> {
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        Some(Node { value, pointer: member(&self.pointer, name) })
    }

    /// The field, whose absence is a fault.
    pub(super) fn need(&self, faults: &mut Faults, name: &str) -> Option<Node<'v>> {
        let node = self.maybe(name);
        if node.is_none() {
            faults.add(&self.pointer, format!("the field \"{name}\" is missing"));
        }
        node
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.chars().count() <= 40 => format!("\"{text}\""),
        Value::String(_) => "a long text".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
