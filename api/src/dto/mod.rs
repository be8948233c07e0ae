//! The shapes of requests and answers, apart from the domain's own types: the domain may change, these
//! are the contract.

mod calendar;
mod care;
mod devices;
mod export;
mod oauth;
mod patients;
mod protocols;
mod treatments;

pub use calendar::*;
pub use care::*;
pub use devices::*;
pub use export::*;
pub use oauth::*;
pub use patients::*;
pub use protocols::*;
pub use treatments::*;
