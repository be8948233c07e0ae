//! The shapes of requests and answers, apart from the domain's own types: the domain may change, these
//! are the contract.

mod calendar;
mod care;
mod consents;
mod devices;
mod events;
mod export;
mod fhir;
mod oauth;
mod patients;
mod preferences;
mod protocols;
mod reachability;
mod receipts;
mod test_push;
mod treatments;
mod webhooks;
mod why;

pub use calendar::*;
pub use care::*;
pub use consents::*;
pub use devices::*;
pub use events::*;
pub use export::*;
pub use fhir::*;
pub use oauth::*;
pub use patients::*;
pub use preferences::*;
pub use protocols::*;
pub use reachability::*;
pub use receipts::*;
pub use test_push::*;
pub use treatments::*;
pub use webhooks::*;
pub use why::*;
