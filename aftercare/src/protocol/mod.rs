//! Protocols: what a clinic asks of a patient after a treatment, as versioned JSON documents.
//!
//! A document is data, never code: rules (intervals in which something holds), steps (moments at
//! which something is said) and texts. [`Protocol::parse`] names every fault of a document with
//! its JSON pointer; what it returns can be planned without further checks.

mod check;
mod document;
mod limits;
mod read;
mod reader;

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

pub use document::*;
pub use limits::{WORDS_MAX, bytes_in_json};
pub use reader::Fault;

use reader::{Faults, Node};

use crate::strict_json;

/// The JSON Schema of a protocol document, for editors; [`Protocol::parse`] checks more.
pub const SCHEMA: &str = include_str!("schema.json");

/// A document that ships in the binary.
#[derive(Debug)]
pub struct Shipped {
    /// The document, word for word.
    pub json: &'static str,
    /// The document, checked.
    pub protocol: Arc<Protocol>,
}

/// The protocols that ship in the binary.
#[must_use]
pub fn shipped() -> &'static [Shipped] {
    static SHIPPED: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
        [
            include_str!("shipped/microneedling.json"),
            include_str!("shipped/chemical-peel.json"),
            include_str!("shipped/laser-hair-removal.json"),
        ]
        .into_iter()
        // A test holds that each of them parses, so none is ever left out.
        .filter_map(|json| Some(Shipped { json, protocol: Arc::new(Protocol::parse(json).ok()?) }))
        .collect()
    });
    &SHIPPED
}

impl Protocol {
    /// Reads and checks a document.
    ///
    /// # Errors
    ///
    /// Every fault of the document, in its own order; a text that is not JSON has just one.
    pub fn parse(json: &str) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let value = strict_json::parse(json.as_bytes(), |pointer| {
            faults.add(&pointer, "this stands here twice");
            ControlFlow::Continue(())
        });
        let protocol = match value {
            Ok(value) => read::protocol(&mut faults, &Node::root(&value)),
            Err(error) => {
                faults.add("", format!("this is not JSON: {error}"));
                None
            }
        };
        match protocol {
            Some(protocol) if faults.0.is_empty() => Ok(protocol),
            _ => Err(faults.0),
        }
    }
}
