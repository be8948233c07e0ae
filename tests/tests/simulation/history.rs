//! What something was, and since when.

use std::time::Duration;

/// What was looked at may leave this long after it was looked at: a lease of a minute, but for its last twenty
/// seconds, and a little.
pub(crate) const UNDER_WAY: Duration = Duration::from_secs(45);
/// The same, where nothing is in the way.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub(crate) struct History<T>(Vec<(Duration, T)>);

impl<T: Clone + PartialEq> History<T> {
    pub(crate) fn new(at: Duration, value: T) -> Self {
        Self(vec![(at, value)])
    }

    pub(crate) fn now(&self) -> &T {
        &self.0[self.0.len() - 1].1
    }

    pub(crate) fn set(&mut self, at: Duration, value: T) {
        if *self.now() != value {
            self.0.push((at, value));
        }
    }

    /// What it was at any moment since then.
    pub(crate) fn since(&self, then: Duration) -> impl Iterator<Item = &T> {
        self.between(then, Duration::MAX)
    }

    pub(crate) fn between(&self, from: Duration, until: Duration) -> impl Iterator<Item = &T> {
        let ends = self.0.iter().skip(1).map(|(at, _)| *at).chain([Duration::MAX]);
        let within =
            move |((began, _), end): &(&(Duration, T), Duration)| *began <= until && *end >= from;
        self.0.iter().zip(ends).filter(within).map(|((_, value), _)| value)
    }

    pub(crate) fn changed_at(&self) -> Duration {
        self.0[self.0.len() - 1].0
    }
}
