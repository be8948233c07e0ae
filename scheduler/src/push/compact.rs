//! JSON without nulls, in one pass.
//!
//! Google's generated types write every absent field as `null`, which triples a message. The
//! formatter holds each key back until it sees what its value is.

use std::io::{self, Write};

use serde_json::ser::{CharEscape, Formatter};

/// Leaves out object members whose value is `null`; nulls in arrays stay.
#[derive(Debug, Default)]
pub(crate) struct WithoutNulls {
    /// The key whose value has not begun, with its quotes.
    key: Vec<u8>,
    in_key: bool,
    /// For each open object: whether a member was written.
    members: Vec<bool>,
}

impl WithoutNulls {
    /// Writes the key that was held back: its value is something.
    fn release<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.in_key || self.key.is_empty() {
            return Ok(());
        }
        if let Some(written) = self.members.last_mut() {
            if *written {
                writer.write_all(b",")?;
            }
            *written = true;
        }
        writer.write_all(&self.key)?;
        self.key.clear();
        writer.write_all(b":")
    }
}

/// Everything that begins a value first releases its key.
macro_rules! values {
    ($($name:ident($($arg:ident: $type:ty)?) => $written:expr;)+) => {$(
        fn $name<W: ?Sized + Write>(&mut self, writer: &mut W $(, $arg: $type)?) -> io::Result<()> {
            if self.in_key {
                return write!(self.key, "{}", $written);
            }
            self.release(writer)?;
            write!(writer, "{}", $written)
        }
    )+};
}

impl Formatter for WithoutNulls {
    fn write_null<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.key.is_empty() {
            return writer.write_all(b"null");
        }
        self.key.clear();
        Ok(())
    }

    values! {
        write_bool(value: bool) => value;
        write_i8(value: i8) => value;
        write_i16(value: i16) => value;
        write_i32(value: i32) => value;
        write_i64(value: i64) => value;
        write_i128(value: i128) => value;
        write_u8(value: u8) => value;
        write_u16(value: u16) => value;
        write_u32(value: u32) => value;
        write_u64(value: u64) => value;
        write_u128(value: u128) => value;
        write_f32(value: f32) => value;
        write_f64(value: f64) => value;
        write_number_str(value: &str) => value;
        begin_string() => '"';
        end_string() => '"';
        begin_array() => '[';
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if self.in_key {
            return self.key.write_all(fragment.as_bytes());
        }
        writer.write_all(fragment.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let mut plain = serde_json::ser::CompactFormatter;
        if self.in_key {
            return plain.write_char_escape(&mut self.key, escape);
        }
        plain.write_char_escape(writer, escape)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.release(writer)?;
        self.members.push(false);
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.members.pop();
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, _: &mut W, _: bool) -> io::Result<()> {
        self.in_key = true;
        Ok(())
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.in_key = false;
        Ok(())
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;

    fn write(value: &Value) -> String {
        let mut out = Vec::new();
        let mut writer = serde_json::Serializer::with_formatter(&mut out, WithoutNulls::default());
        value.serialize(&mut writer).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nulls_in_objects_disappear() {
        assert_eq!(write(&json!({"a": null, "b": {"c": null}, "d": 1})), r#"{"b":{},"d":1}"#);
        assert_eq!(write(&json!({"a": 1, "b": null})), r#"{"a":1}"#);
        assert_eq!(write(&json!({"a": null})), "{}");
        assert_eq!(write(&json!(null)), "null");
    }

    #[test]
    fn everything_else_is_plain_json() {
        let value = json!({
            "quote\"and\nline": "a \"b\" \u{1} é",
            "numbers": [0, -1, 1.5, u64::MAX, i64::MIN],
            "nested": [{"x": [], "y": {}}, [null, true, false], ""],
            "": {"z": "last"},
        });
        assert_eq!(write(&value), value.to_string());
    }
}
