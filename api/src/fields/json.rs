//! JSON as callers send it: one object or array, no member twice.
//!
//! A caller who sends `completed_at` twice has a fault in their software, and which of the two they
//! meant is not ours to guess.

use std::ops::ControlFlow;

use aftercare::strict_json;
use serde_json::{Map, Value};

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

/// Parses a body that may be any JSON; `wanted` says what it should be, should it be empty.
///
/// # Errors
/// Malformed JSON and a repeated member, with line and column.
pub(super) fn value(body: &[u8], wanted: &str) -> Result<Value, Problem> {
    let mut repeated = false;
    let parsed = strict_json::parse(body, |_| {
        repeated = true;
        ControlFlow::Break(())
    });
    match parsed {
        Ok(value) => Ok(value),
        Err(error)
            if body.is_empty() || error.is_eof() && body.iter().all(u8::is_ascii_whitespace) =>
        {
            let detail = format!("The body is empty; it must be a JSON {wanted}");
            Err(Problem::new(Code::MalformedJson, detail))
        }
        Err(error) => Err(Problem::new(Code::MalformedJson, sentence(&error, repeated))),
    }
}

/// What the parser says, without quoting what the caller sent.
fn sentence(error: &serde_json::Error, repeated: bool) -> String {
    let (line, column) = (error.line(), error.column());
    let what = if repeated {
        "An object names the same member twice"
    } else if error.is_eof() {
        "The body ends too early"
    } else {
        "The body is not valid JSON"
    };
    format!("{what}, at line {line}, column {column}")
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
        assert_eq!(detail, "An object names the same member twice, at line 1, column 19");
    }

    #[test]
    fn refuses_what_is_not_one_object() {
        assert_eq!(refused("[]").0, Code::InvalidFields);
        assert_eq!(refused("").0, Code::MalformedJson);
        assert_eq!(refused("{} {}").0, Code::MalformedJson);
        assert_eq!(refused(&"[".repeat(4000)).0, Code::MalformedJson);
    }
}
