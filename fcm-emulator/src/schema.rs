//! The strict reading of a JSON body by a schema, a table of names and kinds.
//!
//! A field that is not in the table, or a value of another kind, is refused with the words
//! Google's JSON front end uses, because those are what a developer will paste into a search box.

mod fcm;

use serde_json::{Map, Value};

pub(crate) use fcm::REQUEST;

/// What a field holds.
pub(crate) enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Bool,
    /// An integer of 32 bits, as a number or as digits in a string.
    Int32,
    /// A number.
    Float,
    /// `google.protobuf.Duration`: seconds with up to nine decimals and the suffix `s`.
    Duration,
    /// `google.protobuf.Timestamp`: RFC 3339.
    Timestamp,
    /// One of a list of names, in any case, or its number.
    Enum(&'static EnumType),
    /// A message of its own.
    Message(&'static Schema),
    /// A list of one kind.
    List(&'static Kind),
    /// A map of strings to strings.
    TextMap,
    /// Any JSON object (`google.protobuf.Struct`).
    Object,
}

/// An enumeration: its type name at Google and the names it knows.
pub(crate) struct EnumType {
    name: &'static str,
    values: &'static [&'static str],
}

/// A message type: its name at Google, its fields, and the union field it may have.
pub(crate) struct Schema {
    name: &'static str,
    fields: &'static [(&'static str, Kind)],
    one_of: Option<(&'static str, &'static [&'static str])>,
}

/// One thing wrong with a body, as `google.rpc.BadRequest.FieldViolation` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The path of the field (`message.android.ttl`); empty for the body itself.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) description: String,
}

/// Reads `body` by `schema`.
///
/// On success: the same document with proto field names (`collapse_key`, whichever spelling was
/// sent) and without nulls, which mean "unset" in proto JSON.
///
/// # Errors
/// Every violation found, in the order of the document's keys.
pub(crate) fn read(schema: &Schema, body: &Value) -> Result<Value, Vec<Violation>> {
    let mut reader = Reader { violations: Vec::new() };
    let read = reader.message(schema, body, "");
    if reader.violations.is_empty() { Ok(read) } else { Err(reader.violations) }
}

struct Reader {
    violations: Vec<Violation>,
}

impl Reader {
    fn message(&mut self, schema: &Schema, value: &Value, path: &str) -> Value {
        let Value::Object(object) = value else {
            self.invalid(path, &format!("type.googleapis.com/{}", schema.name), value);
            return Value::Null;
        };
        let mut read = Map::new();
        for (key, value) in object {
            let Some((name, kind)) = schema.fields.iter().find(|(name, _)| is_named(name, key))
            else {
                self.unknown(path, key);
                continue;
            };
            if value.is_null() {
                continue;
            }
            let value = self.value(kind, value, &join(path, name));
            read.insert((*name).to_owned(), value);
        }
        self.check_union(schema, &read, path);
        Value::Object(read)
    }

    fn check_union(&mut self, schema: &Schema, read: &Map<String, Value>, path: &str) {
        let Some((union, members)) = schema.one_of else { return };
        for extra in members.iter().filter(|name| read.contains_key(**name)).skip(1) {
            self.refuse(
                path,
                format!(
                    "Invalid value at '{path}' (oneof), oneof field '{union}' is already set. \
                     Cannot set '{extra}'"
                ),
            );
        }
    }

    fn value(&mut self, kind: &Kind, value: &Value, path: &str) -> Value {
        match kind {
            Kind::Text if value.is_string() => {}
            Kind::Text => self.invalid(path, "TYPE_STRING", value),
            Kind::Bool if value.is_boolean() => {}
            Kind::Bool => self.invalid(path, "TYPE_BOOL", value),
            Kind::Int32 if as_int32(value).is_some() => {}
            Kind::Int32 => self.invalid(path, "TYPE_INT32", value),
            Kind::Float if value.is_number() => {}
            Kind::Float => self.invalid(path, "TYPE_FLOAT", value),
            Kind::Duration => self.duration(value, path),
            Kind::Timestamp => self.timestamp(value, path),
            Kind::Enum(known) if known.holds(value) => {}
            Kind::Enum(known) => {
                self.invalid(path, &format!("type.googleapis.com/{}", known.name), value);
            }
            Kind::Message(schema) => return self.message(schema, value, path),
            Kind::List(kind) => return self.list(kind, value, path),
            Kind::TextMap => self.text_map(value, path),
            Kind::Object if value.is_object() => {}
            Kind::Object => self.invalid(path, "type.googleapis.com/google.protobuf.Struct", value),
        }
        value.clone()
    }

    fn list(&mut self, kind: &Kind, value: &Value, path: &str) -> Value {
        let Value::Array(items) = value else {
            self.refuse(path, format!("Invalid value at '{path}': a list is expected"));
            return Value::Null;
        };
        let read = |(index, item)| self.value(kind, item, &format!("{path}[{index}]"));
        items.iter().enumerate().map(read).collect()
    }

    fn text_map(&mut self, value: &Value, path: &str) {
        let Value::Object(entries) = value else {
            let map = "map, key: TYPE_STRING, value: TYPE_STRING";
            self.invalid(path, map, value);
            return;
        };
        for (index, value) in entries.values().enumerate() {
            if !value.is_string() {
                self.invalid(&format!("{path}[{index}].value"), "TYPE_STRING", value);
            }
        }
    }

    fn duration(&mut self, value: &Value, path: &str) {
        let fault = match value.as_str() {
            None => None,
            Some(text) if !text.ends_with('s') => {
                Some("Illegal duration format; duration must end with 's'")
            }
            Some(text) if duration_seconds(text).is_none() => {
                Some("Illegal duration format; a number of seconds is expected before 's'")
            }
            Some(_) => return,
        };
        let kind = "type.googleapis.com/google.protobuf.Duration";
        match fault {
            None => self.invalid(path, kind, value),
            Some(fault) => {
                let field = path.rsplit('.').next().unwrap_or(path);
                let text = format!("Invalid value at '{path}' ({kind}), Field '{field}', {fault}");
                self.refuse(path, text);
            }
        }
    }

    fn timestamp(&mut self, value: &Value, path: &str) {
        let parsed = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        if parsed.is_none() {
            self.invalid(path, "type.googleapis.com/google.protobuf.Timestamp", value);
        }
    }

    fn unknown(&mut self, path: &str, key: &str) {
        let place = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
        self.refuse(
            path,
            format!(
                "Invalid JSON payload received. Unknown name {}{place}: Cannot find field.",
                Value::from(key)
            ),
        );
    }

    fn invalid(&mut self, path: &str, kind: &str, value: &Value) {
        let place = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
        self.refuse(path, format!("Invalid value{place} ({kind}), {}", shorten(value)));
    }

    fn refuse(&mut self, path: &str, description: String) {
        self.violations.push(Violation { field: path.to_owned(), description });
    }
}

impl EnumType {
    fn holds(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.values.iter().any(|known| known.eq_ignore_ascii_case(text)),
            Value::Number(number) => number.as_u64().is_some_and(|n| n < self.values.len() as u64),
            _ => false,
        }
    }
}

/// The whole seconds (rounded down, as Google does) of a proto JSON duration: `3.5s` is 3.
pub(crate) fn duration_seconds(text: &str) -> Option<i64> {
    let number = text.strip_suffix('s')?;
    let (sign, digits) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let down = i64::from(sign < 0 && fraction.bytes().any(|b| b != b'0'));
    Some(sign * whole.parse::<i64>().ok()? - down)
}

fn as_int32(value: &Value) -> Option<i32> {
    let whole = match value {
        Value::String(text) => text.parse().ok()?,
        _ => value.as_i64()?,
    };
    i32::try_from(whole).ok()
}

fn is_named(name: &str, key: &str) -> bool {
    name == key || (name.contains('_') && camel(name) == key)
}

/// `collapse_key` as `collapseKey`: the JSON name of a proto field.
fn camel(name: &str) -> String {
    let mut up = false;
    let mut camel = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '_' => up = true,
            letter if std::mem::take(&mut up) => camel.extend(letter.to_uppercase()),
            letter => camel.push(letter),
        }
    }
    camel
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A value as it is quoted in an error, cut where a reader would stop reading.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
