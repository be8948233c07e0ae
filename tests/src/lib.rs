//! What the end-to-end tests stand on: throw-away databases of both engines, the entries of fuzzing, phones, and dice.

pub mod bed;
pub mod dice;
pub mod envelope;
pub mod fuzz;
pub mod phone;
pub mod postgres;
