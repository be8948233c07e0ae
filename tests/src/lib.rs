//! What the end-to-end tests stand on: throw-away databases of both engines, and the entries of fuzzing.

pub mod bed;
pub mod envelope;
pub mod fuzz;
pub mod postgres;
