//! What the end-to-end tests stand on: throw-away databases of both engines.

pub mod bed;
pub mod postgres;
