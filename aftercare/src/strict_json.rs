//! JSON in which a member that comes twice does not go unseen: `serde_json` alone would keep the last
//! of the two without a word.

use std::fmt;
use std::ops::ControlFlow;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses a text and calls `repeated` with the RFC 6901 pointer of each member that comes again in its
/// object, as soon as its name is read. [`ControlFlow::Break`] ends the parsing there; where it goes on,
/// the first of the two counts.
///
/// # Errors
/// With line and column, when the text is not one JSON value or `repeated` broke off.
pub fn parse(
    text: &[u8],
    mut repeated: impl FnMut(String) -> ControlFlow<()>,
) -> serde_json::Result<Value> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    let strict = Strict { place: Place::Root, repeated: &mut repeated };
    let value = strict.deserialize(&mut parser)?;
    parser.end().map(|()| value)
}

/// The pointer of a member of what stands at `pointer`.
pub(crate) fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Where a value stands; written out only when somebody asks.
enum Place<'p> {
    Root,
    Member(&'p Place<'p>, &'p str),
    Element(&'p Place<'p>, usize),
}

impl Place<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Member(above, name) => member(&above.pointer(), name),
            Self::Element(above, index) => format!("{}/{index}", above.pointer()),
        }
    }
}

/// Builds the value at `place`.
struct Strict<'p, F> {
    place: Place<'p>,
    repeated: &'p mut F,
}

impl<'de, F: FnMut(String) -> ControlFlow<()>> DeserializeSeed<'de> for Strict<'_, F> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(String) -> ControlFlow<()>> Visitor<'de> for Strict<'_, F> {
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
        let Self { place, repeated } = self;
        let mut values = Vec::new();
        loop {
            let place = Place::Element(&place, values.len());
            let element = Strict { place, repeated: &mut *repeated };
            let Some(value) = elements.next_element_seed(element)? else { break };
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let Self { place, repeated } = self;
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let again = values.contains_key(&name);
            let place = Place::Member(&place, &name);
            if again && repeated(place.pointer()).is_break() {
                return Err(A::Error::custom("a member comes twice"));
            }
            let value = members.next_value_seed(Strict { place, repeated: &mut *repeated })?;
            if !again {
                values.insert(name, value);
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    const TWICE: &str = r#"{
        "a/b": [0, {"c": 1, "c": 2}],
        "d": 3,
        "d": {"e~": 4, "e~": 5}
    }"#;

    #[test]
    fn goes_on_after_a_repeat_with_the_first_of_the_two() {
        let mut pointers = Vec::new();
        let read = parse(TWICE.as_bytes(), |pointer| {
            pointers.push(pointer);
            ControlFlow::Continue(())
        });
        assert_eq!(read.unwrap(), serde_json::json!({"a/b": [0, {"c": 1}], "d": 3}));
        assert_eq!(pointers, ["/a~1b/1/c", "/d", "/d/e~0"]);
    }

    #[test]
    fn ends_where_it_is_told_to() {
        let mut pointers = Vec::new();
        let read = parse(TWICE.as_bytes(), |pointer| {
            pointers.push(pointer);
            ControlFlow::Break(())
        });
        let error = read.unwrap_err();
        assert_eq!((error.line(), pointers), (2, vec!["/a~1b/1/c".to_owned()]));
    }

    #[test]
    fn keeps_every_kind_of_value() {
        let text = r#"{"a":[null,true,-1,18446744073709551615,1.5,"x\u0000"],"b":{}}"#;
        let read = parse(text.as_bytes(), |_| ControlFlow::Break(())).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
    }
}
