//! Random bytes from dice: the same seed makes the same ids.

use std::fmt;
use std::sync::Mutex;

use aftercare::clock::Rng;
pub(crate) use aftercare_tests::dice::Dice;

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
            *byte = dice.byte();
        }
        if bytes.len() == OF_AN_ID {
            bytes[OF_AN_ID - 1] = self.process;
        }
    }
}
