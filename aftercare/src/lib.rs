//! What Aftercare is about: protocols, the planner, the clock and the store. No HTTP here.

pub mod care;
pub mod clock;
pub mod ids;
pub mod locale;
pub mod patch;
pub mod planner;
pub mod protocol;
pub mod seal;
pub mod store;
pub mod strict_json;
pub mod webhook;
pub mod words;
pub mod zone;
