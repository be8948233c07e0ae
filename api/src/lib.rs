//! Aftercare's REST API: authentication, requests read whole or refused with every fault, answers as
//! the contract has them.
//!
//! [`start`] runs a server over a [`Store`](aftercare::store::Store). Handlers are thin: an extractor
//! says who calls, another reads the body, a unit of work of [`aftercare::care`] runs in one
//! transaction, and the result is turned into the contract's shape.
//!
//! What is never logged: bodies, query strings and paths as they came, header values, tokens, codes,
//! secrets, addresses, a patient's `ref`.

mod address;
mod apps;
mod auth;
mod cors;
mod desk;
pub mod dto;
pub mod fields;
mod heavy;
mod icalendar;
mod limits;
mod outcome;
mod pages;
pub mod problem;
mod routes;
mod server;
mod state;
mod telemetry;

pub use address::{Network, NetworkError, client_address};
pub use apps::{AndroidApp, AppError, Apps, IosApp};
pub use auth::{
    HashError, NewClinic, NewClinicError, NewSecret, NewStaff, Role, SecretError, StaffError,
    add_client_secret, add_staff, client_secrets, create_clinic, remove_staff,
    revoke_client_secret, staff, token_holds,
};
pub use cors::{Origin, OriginError};
pub use limits::{Limits, Rate, RateError};
pub use routes::openapi_document;
pub use server::{ApiConfig, ApiHandle, Patience, StartError, start};
pub use state::{Check, NothingElse, Readiness, Waker};
