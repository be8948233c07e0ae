//! What happened, in lines.

use std::hash::{DefaultHasher, Hasher as _};

#[derive(Debug, Default, Clone)]
pub(crate) struct Story {
    pub(crate) lines: Vec<String>,
    hash: DefaultHasher,
}

impl Story {
    pub(crate) fn tell(&mut self, line: String) {
        self.hash.write(line.as_bytes());
        self.lines.push(line);
    }

    /// The same for the same story.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }
}
