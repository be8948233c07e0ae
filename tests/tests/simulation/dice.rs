//! Deterministic numbers (SplitMix64): the same seed plays the same world.

use std::fmt;
use std::sync::Mutex;

use aftercare::clock::Rng;

#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Numbers of their own for each of a seed's purposes, so that one more throw here changes nothing there.
    pub(crate) fn of(seed: u64, purpose: u64) -> Self {
        let mut dice = Self(seed ^ purpose.wrapping_mul(0x2545_f491_4f6c_dd1d));
        dice.next();
        dice
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn range(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(to.abs_diff(from))).expect("a small range")
    }

    /// One in a thousand, and so on.
    pub(crate) fn chance(&mut self, thousandths: u64) -> bool {
        self.below(1_000) < thousandths
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    pub(crate) fn index(&mut self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).expect("a small list")
    }
}

/// One process's random bytes. Its ids end in its number, so that a row says who wrote it.
pub(crate) struct Bytes {
    dice: Mutex<Dice>,
    process: u8,
}

impl Bytes {
    pub(crate) fn new(dice: Dice, process: u8) -> Self {
        Self { dice: Mutex::new(dice), process }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the random bytes of process {}", self.process)
    }
}

impl Rng for Bytes {
    fn fill(&self, bytes: &mut [u8]) {
        /// How many random bytes an id has.
        const OF_AN_ID: usize = 10;
        let mut dice = self.dice.lock().unwrap();
        for byte in bytes.iter_mut() {
            *byte = dice.next().to_le_bytes()[3];
        }
        if bytes.len() == OF_AN_ID {
            bytes[OF_AN_ID - 1] = self.process;
        }
    }
}
