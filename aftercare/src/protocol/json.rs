//! JSON as it stands in a file, where a member that comes twice is a fault with a pointer:
//! `serde_json` alone would keep the last of the two without a word.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::reader::{Fault, Faults, join};

/// Parses a document; `None` when the text is not JSON at all. Of members that come twice, the
/// first is read on.
pub(super) fn parse(faults: &mut Faults, text: &str) -> Option<Value> {
    let repeated = RefCell::new(Vec::new());
    let mut parser = serde_json::Deserializer::from_str(text);
    let seed = Strict { pointer: String::new(), repeated: &repeated };
    let parsed = seed.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    faults.0.append(&mut repeated.into_inner());
    parsed.map_err(|error| faults.add("", format!("this is not JSON: {error}"))).ok()
}

/// Builds the value at `pointer`.
struct Strict<'r> {
    pointer: String,
    repeated: &'r RefCell<Vec<Fault>>,
}

impl Strict<'_> {
    fn below(&self, name: &str) -> Self {
        Self { pointer: join(&self.pointer, name), repeated: self.repeated }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(self.below(&values.len().to_string()))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let inner = self.below(&name);
            let pointer = inner.pointer.clone();
            let value = members.next_value_seed(inner)?;
            if values.contains_key(&name) {
                let detail = "this stands here twice".to_owned();
                self.repeated.borrow_mut().push(Fault { pointer, detail });
            } else {
                values.insert(name, value);
            }
        }
        Ok(Value::Object(values))
    }
}
