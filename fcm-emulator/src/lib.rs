//! An emulator of Firebase Cloud Messaging: the HTTP v1 API, the OAuth token endpoint before it,
//! and the phones behind it.
//!
//! Firebase's own emulator suite has none for messaging. This one takes messages as strictly as
//! Google's published schema says, fails on demand in every way Google's does, and shows what a
//! phone would show: it replaces what has the same tag, and honours times to live and collapse
//! keys while the phone is offline. All its time but delays comes from an injected clock, so a
//! month of reminders can pass in seconds. It listens on loopback only and never talks to Google.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use fcm_emulator::{Emulator, EmulatorConfig, Fault, FaultKind, PhoneSettings};
//!
//! let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
//! let credentials = emulator.credentials_json(); // for the sender, with a token_uri of this emulator
//! assert!(credentials.contains(emulator.base_url()));
//!
//! emulator.set_fault(Fault::new(FaultKind::DropAfter).for_address("phone-1").times(1));
//! emulator.set_phone("phone-1", PhoneSettings { online: Some(false), ..Default::default() });
//! // … messages are sent …
//! assert!(emulator.inbox("phone-1").is_empty());
//! emulator.stop().await;
//! # });
//! ```
//!
//! # Endpoints
//! `GET /` lists them all: Google's (`POST /token`, `POST /v1/projects/{project}/messages:send`, and
//! `POST /iid/v1:batchAdd` and `…:batchRemove` for topics), the phones (`/inbox…`, `/phones…`) and the remote control (`/emulator/v1/…`).
//!
//! # Where it differs from Google, on purpose
//! - Addresses may be short (`phone-1`): any 1 to 4,096 letters, digits and `-_:.`.
//! - `apns-expiration` between 1 and 999,999,999, or of a hundred milliards and more, is refused:
//!   it is a duration or milliseconds, not the epoch second APNs wants. Google passes it on.
//! - Google's documentation says both that a notification's `collapse_key` is used and that it is
//!   ignored. Here it is used; without one, Android notifications share one key, so that only the
//!   last of those stored for an offline phone is shown.
//! - Of more than four collapse keys the oldest goes; Google does not say which.

mod answer;
mod bearer;
mod condition;
mod control;
mod delivery;
mod emulator;
mod fault_answers;
mod faults;
mod history;
mod http2_scheme;
mod inbox;
mod message;
mod oauth;
mod phone;
mod routes;
mod schema;
mod send;
mod server;
mod stream;
mod tls;
mod topics;

pub use delivery::Platform;
pub use emulator::{Emulator, EmulatorConfig, EmulatorHandle, StartError};
pub use faults::{Endpoint, Fault, FaultKind, RetryAfter, SetFault};
pub use history::{AcceptedPush, Stats};
pub use phone::{PhoneSettings, PhoneView, ShownKind, ShownNotification};
