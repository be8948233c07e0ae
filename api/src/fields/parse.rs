//! From one JSON value to one domain value. Each parser says what would be right, and never repeats
//! what the caller sent: that may be somebody's name.

mod lists;
mod wishes;

pub use lists::*;
pub use wishes::*;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::str::FromStr;

use aftercare::clock::to_micros;
use aftercare::locale::Locale;
use aftercare::protocol::{Area, NotAName};
use aftercare::words::UnknownWord;
use aftercare::zone::Zone;
use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::{Map, Value};

use super::{Faults, bad, bad_below, kind};

/// The calendar years, in UTC, that an instant may name; beyond lie typing errors and overflows.
pub const YEARS: RangeInclusive<i16> = 1900..=2199;

/// Entries of `metadata` at most.
pub const METADATA_ENTRIES: usize = 16;
/// Characters of a metadata key at most.
pub const METADATA_KEY: usize = 64;
/// Characters of a metadata value at most.
pub const METADATA_VALUE: usize = 512;

/// A string.
///
/// # Errors
/// Any other kind of value, and a string with a NUL character (PostgreSQL cannot keep one).
pub fn string(value: &Value) -> Result<&str, Faults> {
    match value {
        Value::String(text) if text.contains('\0') => bad("must not contain a NUL character"),
        Value::String(text) => Ok(text),
        other => bad(format!("must be a string, not {}", kind(other))),
    }
}

/// A boolean.
///
/// # Errors
/// Any other kind of value.
pub fn boolean(value: &Value) -> Result<bool, Faults> {
    match value {
        Value::Bool(value) => Ok(*value),
        other => bad(format!("must be true or false, not {}", kind(other))),
    }
}

/// A string of 1 to `longest` characters.
pub fn text(longest: usize) -> impl FnOnce(&Value) -> Result<String, Faults> {
    move |value| {
        let text = string(value)?;
        let length = text.chars().count();
        if text.trim().is_empty() || length > longest {
            return bad(format!("must have 1 to {longest} characters and not only spaces"));
        }
        Ok(text.to_owned())
    }
}

/// A word of a closed list.
///
/// # Errors
/// Other values and other words; whoever gives one is told those that are known.
pub fn word<T: FromStr<Err = UnknownWord>>(value: &Value) -> Result<T, Faults> {
    string(value)?.parse().or_else(|unknown| bad(must_be_one_of(&unknown)))
}

fn must_be_one_of(unknown: &UnknownWord) -> String {
    format!("must be one of {}", unknown.known.join(", "))
}

/// A time zone by its IANA name.
///
/// # Errors
/// Offsets, abbreviations and names that the bundled database does not hold.
pub fn zone(value: &Value) -> Result<Zone, Faults> {
    match string(value)?.parse() {
        Ok(zone) => Ok(zone),
        Err(_) => bad("is not a time zone; give an IANA name, such as Europe/Lisbon"),
    }
}

/// A language tag.
///
/// # Errors
/// What is not a BCP 47 tag.
pub fn locale(value: &Value) -> Result<Locale, Faults> {
    match string(value)?.parse() {
        Ok(locale) => Ok(locale),
        Err(_) => bad("is not a language tag; give one of BCP 47, such as en or pt-BR"),
    }
}

/// An instant: RFC 3339, the offset said. Kept to the microsecond.
///
/// # Errors
/// Other formats, dates that do not exist, and years outside [`YEARS`].
pub fn instant(value: &Value) -> Result<Timestamp, Faults> {
    let text = string(value)?;
    if text.starts_with(['-', '+']) {
        return bad(outside_the_years());
    }
    if !looks_like_rfc3339(text.as_bytes()) {
        return bad("must be an instant with an offset, such as 2026-11-22T15:40:00Z");
    }
    let year: Option<i16> = text.get(..4).and_then(|year| year.parse().ok());
    if year.is_none_or(|year| !YEARS.contains(&year)) {
        return bad(outside_the_years());
    }
    match text.parse::<Timestamp>() {
        Ok(at) if in_years(at) => Ok(to_micros(at)),
        Ok(_) => bad(outside_the_years()),
        Err(_) => bad("is not a date and time that exists"),
    }
}

/// Whether an instant lies in the [`YEARS`] that requests may name.
#[must_use]
pub fn in_years(at: Timestamp) -> bool {
    YEARS.contains(&Offset::UTC.to_datetime(at).year())
}

fn outside_the_years() -> String {
    format!("must lie in the years {} to {}", YEARS.start(), YEARS.end())
}

/// `date "T" time [fraction] ("Z" | offset)`, digits only where RFC 3339 has digits.
fn looks_like_rfc3339(text: &[u8]) -> bool {
    let Some((date_time, rest)) = text.split_at_checked(19) else { return false };
    let shape = date_time.iter().zip(b"0000-00-00T00:00:00").all(|(byte, like)| match like {
        b'0' => byte.is_ascii_digit(),
        like => byte.eq_ignore_ascii_case(like),
    });
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
        None => rest,
    };
    let offset = match rest {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            let digits = [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit());
            digits && (*h1, *h2) <= (b'2', b'3') && *m1 <= b'5'
        }
        _ => false,
    };
    shape && offset
}

/// An id that callers or apps make: `event_id`, `installation_id`.
///
/// # Errors
/// What is not 1 to 128 of `[A-Za-z0-9._:-]`.
pub fn token(value: &Value) -> Result<String, Faults> {
    let text = string(value)?;
    if is_token(text) {
        Ok(text.to_owned())
    } else {
        bad("must be 1 to 128 of A-Z, a-z, 0-9, dot, underscore, colon and hyphen")
    }
}

/// Whether `text` is 1 to 128 of `[A-Za-z0-9._:-]`.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

/// A patient's `ref`: the clinic's own opaque number for them.
///
/// # Errors
/// What is not 1 to 128 printable characters, and what looks like an e-mail address or a phone
/// number: such a `ref` would be personal data in every link and log of the clinic's own software.
pub fn patient_ref(value: &Value) -> Result<String, Faults> {
    let text = string(value)?;
    match check_ref(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(detail) => bad(detail),
    }
}

/// Checks a patient's `ref`; the error says what is wrong.
///
/// # Errors
/// See [`patient_ref`].
pub fn check_ref(text: &str) -> Result<(), &'static str> {
    // U+FFFD is what stands where the bytes of a path were no text.
    let unprintable = |c: char| {
        c.is_control() || c == char::REPLACEMENT_CHARACTER || (c.is_whitespace() && c != ' ')
    };
    if !(1..=128).contains(&text.chars().count())
        || text.contains(unprintable)
        || text.trim() != text
    {
        return Err("must be 1 to 128 printable characters, with no space at either end");
    }
    if matches!(text, "." | "..") {
        return Err("must not be . or .., which mean something else in an address");
    }
    if looks_like_email(text) {
        return Err("looks like an e-mail address; use an opaque number of your own");
    }
    if looks_like_phone(text) {
        return Err("looks like a phone number; use an opaque number of your own");
    }
    Ok(())
}

/// Something, an `@`, and a host with a dot in it.
fn looks_like_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(user, host)| {
        !user.trim().is_empty() && host.split('.').filter(|label| !label.is_empty()).count() > 1
    })
}

/// Only digits and what people write between them: 9 to 15 digits, or 7 to 15 after a plus sign.
/// Shorter rows of digits are what practice software numbers its patients with.
fn looks_like_phone(text: &str) -> bool {
    let rest = text.strip_prefix('+').unwrap_or(text);
    let digits = rest.chars().filter(char::is_ascii_digit).count();
    let fewest = if rest.len() < text.len() { 7 } else { 9 };
    (fewest..=15).contains(&digits)
        && rest.chars().all(|c| c.is_ascii_digit() || " ().-/".contains(c))
}

/// An object as it is, for a reader of its own.
///
/// # Errors
/// Other values.
pub fn object(value: &Value) -> Result<Map<String, Value>, Faults> {
    match value {
        Value::Object(members) => Ok(members.clone()),
        other => bad(format!("must be an object, not {}", kind(other))),
    }
}

/// The most codes that a protocol is called by.
pub const ALIASES: usize = 100;
/// Characters of a clinic's own code at most.
pub const ALIAS: usize = 64;

/// The clinic's own codes.
///
/// # Errors
/// Other values, more than [`ALIASES`], codes that are empty, or longer than [`ALIAS`].
pub fn aliases(value: &Value) -> Result<Vec<String>, Faults> {
    let Value::Array(items) = value else {
        return bad(format!("must be an array, not {}", kind(value)));
    };
    if items.len() > ALIASES {
        return bad(format!("must have at most {ALIASES} items"));
    }
    let mut codes: Vec<String> = Vec::with_capacity(items.len());
    let mut faults = Faults::new();
    for (index, item) in items.iter().enumerate() {
        match text(ALIAS)(item) {
            Ok(code) => codes.push(code),
            Err(wrong) => {
                faults.extend(wrong.into_iter().map(|w| bad_below(&index.to_string(), w.detail)));
            }
        }
    }
    if faults.is_empty() { Ok(codes) } else { Err(faults) }
}

/// The most areas that one treatment can name.
pub const AREAS: usize = 64;

/// The areas treated, written as an array; which of them there are is the protocol's to say.
///
/// # Errors
/// Other values, an empty array, more than [`AREAS`] of them, words that are none.
pub fn areas(value: &Value) -> Result<BTreeSet<Area>, Faults> {
    let Value::Array(items) = value else {
        return bad(format!("must be an array, not {}", kind(value)));
    };
    if items.is_empty() {
        return bad("must name at least one, or be left out");
    }
    if items.len() > AREAS {
        return bad(format!("must name at most {AREAS}"));
    }
    let mut set = BTreeSet::new();
    let mut faults = Faults::new();
    for (index, item) in items.iter().enumerate() {
        match item.as_str().unwrap_or_default().parse() {
            Ok(word) => drop(set.insert(word)),
            Err(NotAName) => {
                faults.push(bad_below(&index.to_string(), NotAName.to_string()));
            }
        }
    }
    if faults.is_empty() { Ok(set) } else { Err(faults) }
}

/// The clinic's own notes on a treatment: a few short strings under short names.
///
/// # Errors
/// More than [`METADATA_ENTRIES`], longer names or values, values that are not strings.
pub fn metadata(value: &Value) -> Result<BTreeMap<String, String>, Faults> {
    let Value::Object(members) = value else {
        return bad(format!("must be an object of strings, not {}", kind(value)));
    };
    if members.len() > METADATA_ENTRIES {
        return bad(format!("must have at most {METADATA_ENTRIES} entries"));
    }
    let mut entries = BTreeMap::new();
    let mut faults = Faults::new();
    for (name, value) in members {
        if !(1..=METADATA_KEY).contains(&name.chars().count()) || name.contains('\0') {
            let detail = format!("must have a name of 1 to {METADATA_KEY} characters");
            faults.push(bad_below(name, detail));
            continue;
        }
        match value {
            Value::String(text)
                if text.chars().count() <= METADATA_VALUE && !text.contains('\0') =>
            {
                entries.insert(name.clone(), text.clone());
            }
            Value::String(_) => {
                let detail =
                    format!("must have at most {METADATA_VALUE} characters, none of them NUL");
                faults.push(bad_below(name, detail));
            }
            other => {
                faults.push(bad_below(name, format!("must be a string, not {}", kind(other))));
            }
        }
    }
    if faults.is_empty() { Ok(entries) } else { Err(faults) }
}

/// A whole number in a query parameter.
pub fn whole(range: RangeInclusive<u32>) -> impl FnOnce(&Value) -> Result<u32, Faults> {
    move |value| match string(value)?.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => bad(format!("must be a whole number from {} to {}", range.start(), range.end())),
    }
}

/// `true` or `false` in a query parameter.
///
/// # Errors
/// Anything else.
pub fn flag(value: &Value) -> Result<bool, Faults> {
    match string(value)? {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => bad("must be true or false"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn instants_are_rfc3339_with_an_offset() {
        for good in [
            "2026-11-22T15:40:00Z",
            "2026-11-22T15:40:00+01:00",
            "2026-11-22t15:40:00.123456789z",
            "2024-02-29T23:59:60Z",
        ] {
            assert!(instant(&json!(good)).is_ok(), "{good}");
        }
        for (wrong, says) in [
            ("2026-11-22T15:40:00", "offset"),
            ("2026-11-22 15:40:00Z", "offset"),
            ("2026-11-22T15:40Z", "offset"),
            ("2026-11-22T15:40:00Z[Europe/Lisbon]", "offset"),
            ("2026-11-22T15:40:00.Z", "offset"),
            ("2026-11-22T15:40:00+24:00", "offset"),
            ("2026-11-22T15:40:00-01:60", "offset"),
            ("tomorrow", "offset"),
            ("-000001-11-22T15:40:00Z", "1900 to 2199"),
            ("-0001-11-22T15:40:00Z", "1900 to 2199"),
            ("0000-01-01T00:00:00Z", "1900 to 2199"),
            ("9999-12-31T23:59:59Z", "1900 to 2199"),
            ("9999-12-31T23:59:59-23:59", "1900 to 2199"),
            ("2199-12-31T23:59:59-23:59", "1900 to 2199"),
            ("2026-02-29T10:00:00Z", "exists"),
            ("2026-13-01T10:00:00Z", "exists"),
            ("2026-01-01T25:00:00Z", "exists"),
        ] {
            let faults = instant(&json!(wrong)).unwrap_err();
            assert!(faults[0].detail.contains(says), "{wrong}: {}", faults[0].detail);
        }
        assert!(instant(&json!(1_795_000_000)).unwrap_err()[0].detail.contains("not a number"));
    }

    #[test]
    fn a_ref_is_opaque() {
        for good in ["p-1", "1001", "00012345", "Ünïcode 7", "2026-0001", "a@b", "MRN:555-0100-22"]
        {
            assert_eq!(check_ref(good), Ok(()), "{good}");
        }
        for wrong in
            ["", "..", "\u{fffd}", " p", "p\n", "a\u{2028}b", "ana@example.org", "+351 912 345 678"]
        {
            assert!(check_ref(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["912345678", "(212) 555-0123", "+1234567", &"x".repeat(129)] {
            assert!(check_ref(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_bad_entry_of_metadata_is_named() {
        let faults = metadata(&json!({"ok": "x", "a/b": 1, "c": "y".repeat(513)})).unwrap_err();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a~1b", "/c"]);
        let many: serde_json::Map<_, _> = (0..17).map(|n| (n.to_string(), json!("x"))).collect();
        assert!(metadata(&Value::Object(many)).is_err());
    }
}
