//! Where tests let units of work fail: on both sides of every commit.
//!
//! No setting, no variable and no feature sets one: only Rust code that fills
//! [`StoreOptions`](super::StoreOptions) can, and no server's does. Without one a commit costs a look at a
//! pointer.

use std::fmt;

use super::StoreError;

/// On which side of its commit a unit of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// All is done and nothing is kept yet: an error here takes everything back.
    BeforeCommit,
    /// Everything is kept, and nobody knows yet.
    AfterCommit,
}

/// What every unit of work passes that wants to keep what it did. Whoever blocks here holds the unit up,
/// whoever panics ends it as the end of the process would.
pub trait FailPoints: fmt::Debug + Send + Sync {
    /// The unit passes. `unit` is the path of its code, as [`std::any::type_name`] has it.
    ///
    /// # Errors
    /// What the unit of work is then to come to: [`StoreError::Unavailable`] as a rule, and after the commit
    /// [`StoreError::InDoubt`].
    fn pass(&self, unit: &'static str, side: Side) -> Result<(), StoreError>;
}
