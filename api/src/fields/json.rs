//! JSON as callers send it: one object or array, no member twice.
//!
//! `serde_json` keeps the last of two members of one name. A caller who sends `completed_at` twice has
//! a fault in their software, and which of the two they meant is not ours to guess.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::kind;
use crate::problem::{Code, Fault, Problem};

/// Parses a body that must be one object.
///
/// # Errors
/// Malformed JSON and a repeated member, with line and column; any other value than an object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match value(body, "object")? {
        Value::Object(members) => Ok(members),
        other => Err(other_kind("an object", &other)),
    }
}

/// Parses a body that must be one array.
///
/// # Errors
/// Malformed JSON and a repeated member, with line and column; any other value than an array.
pub(super) fn array(body: &[u8]) -> Result<Vec<Value>, Problem> {
    match value(body, "array")? {
        Value::Array(items) => Ok(items),
        other => Err(other_kind("an array", &other)),
    }
}

fn other_kind(wanted: &str, other: &Value) -> Problem {
    let detail = format!("the body must be {wanted}, not {}", kind(other));
    Problem::fields(vec![Fault { pointer: String::new(), detail }])
}

fn value(body: &[u8], wanted: &str) -> Result<Value, Problem> {
    let mut parser = serde_json::Deserializer::from_slice(body);
    let parsed = Strict.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    match parsed {
        Ok(value) => Ok(value),
        Err(error)
            if body.is_empty() || error.is_eof() && body.iter().all(u8::is_ascii_whitespace) =>
        {
            let detail = format!("The body is empty; it must be a JSON {wanted}");
            Err(Problem::new(Code::MalformedJson, detail))
        }
        Err(error) => Err(Problem::new(Code::MalformedJson, sentence(&error))),
    }
}

/// What the parser says, without quoting what the caller sent.
fn sentence(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        serde_json::error::Category::Eof => "The body ends too early",
        serde_json::error::Category::Data if error.to_string().starts_with(REPEATED) => {
            "An object names the same member twice"
        }
        _ => "The body is not valid JSON",
    };
    format!("{what}, at line {line}, column {column}")
}

const REPEATED: &str = "repeated member";

/// Builds a [`Value`] and refuses a member that comes twice in one object.
#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if values.contains_key(&name) {
                return Err(A::Error::custom(REPEATED));
            }
            values.insert(name, members.next_value_seed(self)?);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> (Code, String) {
        let problem = object(body.as_bytes()).unwrap_err();
        let document: Value =
            serde_json::from_str(&serde_json::to_string(&problem.document()).unwrap()).unwrap();
        (problem.code(), document["detail"].as_str().unwrap().to_owned())
    }

    #[test]
    fn says_where_the_json_breaks() {
        let (code, detail) = refused("{\n  \"a\": 1,\n  oops\n}");
        assert_eq!(code, Code::MalformedJson);
        assert!(detail.contains("line 3, column 3"), "{detail}");
    }

    #[test]
    fn refuses_a_member_that_comes_twice_at_any_depth() {
        let (code, detail) = refused(r#"{"a": [{"b": 1, "b": 2}]}"#);
        assert_eq!(code, Code::MalformedJson);
        assert!(detail.contains("twice"), "{detail}");
    }

    #[test]
    fn refuses_what_is_not_one_object() {
        assert_eq!(refused("[]").0, Code::InvalidFields);
        assert_eq!(refused("").0, Code::MalformedJson);
        assert_eq!(refused("{} {}").0, Code::MalformedJson);
        assert_eq!(refused(&"[".repeat(4000)).0, Code::MalformedJson);
    }

    #[test]
    fn keeps_every_kind_of_value() {
        let text = r#"{"a":[null,true,-1,18446744073709551615,1.5,"x\u0000"],"b":{}}"#;
        let read = object(text.as_bytes()).unwrap();
        assert_eq!(Value::Object(read), serde_json::from_str::<Value>(text).unwrap());
    }
}
