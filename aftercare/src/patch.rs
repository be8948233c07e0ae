//! Merging: what a caller wants of one field.

use serde::Deserialize;

/// What a merge does to one field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "Option<T>")]
pub enum Patch<T> {
    /// It was not spoken of: it stays as it is.
    #[default]
    Keep,
    /// It is to be empty.
    Clear,
    /// It is to have this value.
    Set(T),
}

impl<T> From<Option<T>> for Patch<T> {
    /// A field that was sent: null empties it.
    fn from(sent: Option<T>) -> Self {
        sent.map_or(Self::Clear, Self::Set)
    }
}

impl<T> Patch<T> {
    /// Does it to the field.
    pub fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(value) => *field = Some(value),
        }
    }
}
