//! Lists of words.

use std::collections::BTreeSet;
use std::str::FromStr;

use aftercare::words::UnknownWord;
use serde_json::Value;

use super::super::{Faults, bad, bad_below, kind};
use super::word;

/// Words of a closed list, at least one, written as an array; twice is as good as once.
///
/// # Errors
/// Other values, an empty or very long array, other words.
pub fn words<T: FromStr<Err = UnknownWord> + Ord>(value: &Value) -> Result<BTreeSet<T>, Faults> {
    const MOST: usize = 100;
    let Value::Array(items) = value else {
        return bad(format!("must be an array, not {}", kind(value)));
    };
    if items.is_empty() || items.len() > MOST {
        return bad(format!("must have 1 to {MOST} items"));
    }
    let mut words = BTreeSet::new();
    let mut faults = Faults::new();
    for (index, item) in items.iter().enumerate() {
        match word(item) {
            Ok(word) => drop(words.insert(word)),
            Err(of_item) => {
                let below =
                    |fault: crate::problem::Fault| bad_below(&index.to_string(), fault.detail);
                faults.extend(of_item.into_iter().map(below));
            }
        }
    }
    if faults.is_empty() { Ok(words) } else { Err(faults) }
}
