//! Where a page of a list ended: an instant and an id, as callers carry it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use uuid::Uuid;

use crate::fields::parse;
use crate::problem::{Code, Problem};

/// The text of a cursor.
pub(super) fn write(at: Timestamp, id: Uuid) -> String {
    let at = at.as_microsecond().to_be_bytes();
    URL_SAFE_NO_PAD.encode([at.as_slice(), id.as_bytes()].concat())
}

/// Reads a cursor back.
///
/// # Errors
/// 422 for a text that [`write`] did not write.
pub(super) fn read(text: &str) -> Result<(Timestamp, Uuid), Problem> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (at, id) = bytes.split_first_chunk::<8>()?;
        let at = Timestamp::from_microsecond(i64::from_be_bytes(*at)).ok();
        let at = at.filter(|at| parse::in_years(*at))?;
        Some((at, Uuid::from_slice(id).ok()?))
    };
    let detail = "is not a next_cursor of this list";
    read().ok_or_else(|| Problem::field(Code::InvalidFields, "?cursor", detail))
}
