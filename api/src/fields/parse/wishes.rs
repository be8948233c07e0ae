//! What only patients' apps send.

use std::ops::RangeInclusive;

use aftercare::protocol::RuleId;
use jiff::civil::Time;
use serde_json::Value;
use uuid::Uuid;

use super::super::{Faults, bad, bad_below, kind};
use super::string;

/// The most rules that one list names.
pub const RULES: usize = 100;
/// The longest id of a rule, in characters.
pub const RULE_ID: usize = 64;

/// An hour of the day as a clock on the wall shows it.
///
/// # Errors
/// What is not `HH:MM`, from 00:00 to 23:59.
pub fn time_of_day(value: &Value) -> Result<Time, Faults> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i8::try_from(byte - b'0').ok()).flatten();
    let two = |tens, ones| Some(digit(tens)? * 10 + digit(ones)?);
    let read = match string(value)?.as_bytes() {
        [h1, h2, b':', m1, m2] => two(*h1, *h2).zip(two(*m1, *m2)),
        _ => None,
    };
    match read.and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok()) {
        Some(time) => Ok(time),
        None => bad("must be an hour of the day from 00:00 to 23:59, such as 21:30"),
    }
}

/// A whole number.
pub fn number(range: RangeInclusive<u32>) -> impl FnOnce(&Value) -> Result<u32, Faults> {
    move |value| match value.as_u64().map(u32::try_from) {
        Some(Ok(number)) if range.contains(&number) => Ok(number),
        _ => bad(format!("must be a whole number from {} to {}", range.start(), range.end())),
    }
}

/// An id that the server made.
///
/// # Errors
/// What is not a UUID.
pub fn id<T: From<Uuid>>(value: &Value) -> Result<T, Faults> {
    match Uuid::try_parse(string(value)?) {
        Ok(id) => Ok(id.into()),
        Err(_) => bad("must be an id as the server gave it: a UUID"),
    }
}

/// Ids of rules, in the order in which they came; none is as good as many.
///
/// # Errors
/// What is not an array of at most [`RULES`] short strings.
pub fn rules(value: &Value) -> Result<Vec<RuleId>, Faults> {
    let Value::Array(items) = value else {
        return bad(format!("must be an array, not {}", kind(value)));
    };
    if items.len() > RULES {
        return bad(format!("must name at most {RULES} rules"));
    }
    let mut rules = Vec::with_capacity(items.len());
    let mut faults = Faults::new();
    for (index, item) in items.iter().enumerate() {
        match item.as_str() {
            Some(rule) if rule.chars().count() <= RULE_ID && !rule.contains('\0') => {
                rules.push(rule.into());
            }
            _ => faults.push(bad_below(&index.to_string(), "must be the id of a rule")),
        }
    }
    if faults.is_empty() { Ok(rules) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;
    use serde_json::json;

    use super::*;

    #[test]
    fn hours_of_the_day_are_written_in_one_way() {
        assert_eq!(time_of_day(&json!("00:00")), Ok(time(0, 0, 0, 0)));
        assert_eq!(time_of_day(&json!("23:59")), Ok(time(23, 59, 0, 0)));
        for wrong in ["24:00", "23:60", "9:30", "09:30:00", "-1:00", "+1:00", "0900", "", "aa:bb"] {
            assert!(time_of_day(&json!(wrong)).is_err(), "{wrong}");
        }
        assert!(time_of_day(&json!(930)).is_err());
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        assert_eq!(number(5..=60)(&json!(5)), Ok(5));
        for wrong in [json!(4), json!(61), json!(-5), json!(5.5), json!("5"), json!(1e300)] {
            assert!(number(5..=60)(&wrong).is_err(), "{wrong}");
        }
    }
}
