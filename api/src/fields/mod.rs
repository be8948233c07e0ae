//! Reading what callers send, so that they hear of every fault at once.
//!
//! A body is parsed to a JSON value first (a member that comes twice is refused) and then read field by
//! field with [`Fields`], which notes each fault with its pointer and goes on. A query string and a
//! form are read with the same reader, as an object of strings. Whatever nobody asked for is refused by
//! name, because a misspelt optional field would otherwise be dropped without a word.
//!
//! Handlers take [`Body`] and [`Query`], read them once they know who calls, and see only values that are
//! whole.

mod extract;
mod json;
pub mod parse;

pub use extract::{Body, Form, FromFields, Nothing, Query, read_body};
pub(crate) use extract::{
    body_bytes, form, media_parameter, media_type, read_form, read_json, read_object, read_query,
};

use aftercare::patch::Patch;
use serde_json::{Map, Value};

use crate::problem::Fault;

/// What a parser says of a value that is not right: what is wrong, and where below the value.
pub type Faults = Vec<Fault>;

/// One fault of the value itself.
pub(crate) fn bad<T>(detail: impl Into<String>) -> Result<T, Faults> {
    Err(vec![Fault { pointer: String::new(), detail: detail.into() }])
}

/// A fault of something inside the value, `below` being its pointer from there.
pub(crate) fn bad_below(below: &str, detail: impl Into<String>) -> Fault {
    Fault { pointer: format!("/{}", escaped(below)), detail: detail.into() }
}

/// How faults name their place.
#[derive(Debug, Clone)]
enum Place {
    /// The pointer of the object that is read.
    Object(String),
    /// Query parameters, named `?name`.
    Query,
}

/// One object that is being read: each field is asked for once, and [`Fields::finish`] refuses the
/// rest.
#[derive(Debug)]
pub struct Fields<'a> {
    values: &'a Map<String, Value>,
    place: Place,
    asked: Vec<&'static str>,
    /// Fields that nobody asks for and that are left alone.
    extension: fn(&str) -> bool,
    faults: &'a mut Faults,
}

impl<'a> Fields<'a> {
    fn new(values: &'a Map<String, Value>, place: Place, faults: &'a mut Faults) -> Self {
        Self { values, place, asked: Vec::new(), extension: |_| false, faults }
    }

    /// A field that must be there and not be null; `None` once its fault is noted.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, Faults>,
    ) -> Option<T> {
        let Some(value) = self.take(name) else {
            self.fault(name, "is required");
            return None;
        };
        self.noted(name, parse(value))
    }

    /// A field that may be absent or null; the two mean the same.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, Faults>,
    ) -> Option<T> {
        let value = self.take(name)?;
        self.noted(name, parse(value))
    }

    /// A field of a merge: absent keeps what there is, null empties it, a value replaces it. A value with
    /// a fault keeps it too, once the fault is noted.
    pub fn patch<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, Faults>,
    ) -> Patch<T> {
        if self.takes_null(name) {
            return Patch::Clear;
        }
        self.optional(name, parse).map_or(Patch::Keep, Patch::Set)
    }

    /// An object of a merge, which is replaced as a whole; else as [`Fields::patch`].
    pub fn patch_object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Patch<T> {
        if self.takes_null(name) {
            return Patch::Clear;
        }
        self.object(name, read).map_or(Patch::Keep, Patch::Set)
    }

    /// Whether the field was sent as null; then it is asked for.
    fn takes_null(&mut self, name: &'static str) -> bool {
        let null = self.values.get(name).is_some_and(Value::is_null);
        if null {
            self.asked.push(name);
        }
        null
    }

    /// An object inside this one, read with the same care.
    pub fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        let pointer = self.pointer(name);
        match self.take(name)? {
            Value::Object(values) => {
                let mut inner = Fields::new(values, Place::Object(pointer), self.faults);
                let read = read(&mut inner);
                inner.finish();
                read
            }
            other => {
                self.fault(name, format!("must be an object, not {}", kind(other)));
                None
            }
        }
    }

    /// An array of objects inside this one, each read with the same care; absent is as empty.
    pub(crate) fn objects<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Fields<'_>) -> Option<T>,
    ) -> Vec<T> {
        let at = self.pointer(name);
        let items = match self.take(name) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.fault(name, format!("must be an array, not {}", kind(other)));
                return Vec::new();
            }
        };
        let mut all = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let pointer = format!("{at}/{index}");
            let Value::Object(values) = item else {
                let detail = format!("must be an object, not {}", kind(item));
                self.faults.push(Fault { pointer, detail });
                continue;
            };
            let mut inner = Fields::new(values, Place::Object(pointer), self.faults);
            all.extend(read(&mut inner));
            inner.finish();
        }
        all
    }

    /// Whether the caller sent the field, and not as null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| !value.is_null())
    }

    /// Leaves fields alone that nobody asks for, where their names are of that kind.
    pub(crate) fn extensible(&mut self, extension: fn(&str) -> bool) {
        self.extension = extension;
    }

    /// Notes a fault of one field.
    pub fn fault(&mut self, name: &str, detail: impl Into<String>) {
        let fault = Fault { pointer: self.pointer(name), detail: detail.into() };
        self.faults.push(fault);
    }

    /// Refuses every field that nobody asked for.
    pub fn finish(mut self) {
        let known = |name: &str| self.asked.contains(&name) || (self.extension)(name);
        let unknown: Vec<&String> = self.values.keys().filter(|name| !known(name)).collect();
        let known = self.asked.join(", ");
        for name in unknown {
            let detail = if known.is_empty() {
                "is not known here; nothing is".to_owned()
            } else {
                format!("is not known here; known are {known}")
            };
            self.fault(name, detail);
        }
    }

    fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.push(name);
        self.values.get(name).filter(|value| !value.is_null())
    }

    fn noted<T>(&mut self, name: &str, parsed: Result<T, Faults>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(faults) => {
                let at = self.pointer(name);
                self.faults.extend(
                    faults
                        .into_iter()
                        .map(|fault| Fault { pointer: format!("{at}{}", fault.pointer), ..fault }),
                );
                None
            }
        }
    }

    fn pointer(&self, name: &str) -> String {
        match &self.place {
            Place::Object(at) => format!("{at}/{}", escaped(name)),
            Place::Query => format!("?{name}"),
        }
    }
}

/// A member's name as JSON pointers write it, cut to a length that is safe to repeat.
fn escaped(name: &str) -> String {
    name.chars().take(64).collect::<String>().replace('~', "~0").replace('/', "~1")
}

/// What a value is, in words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
