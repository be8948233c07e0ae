//! The emulator over real HTTP.
//!
//! `cfg(test)` always holds here; it tells clippy that helpers are test code, too.

#[cfg(test)]
mod faults;
#[cfg(test)]
mod firebase_admin;
#[cfg(test)]
mod oauth;
#[cfg(test)]
mod phones;
#[cfg(test)]
mod send;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transport;
