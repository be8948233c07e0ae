//! What an app says of the phone that it runs on.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a harness that cannot go on must stop"
)]

use aftercare::store::{AddressKind, DeliveryMode, DeviceRegistration, Platform};

/// An Android phone in Lisbon that speaks English and shows what it is sent.
#[must_use]
pub fn android(installation: &str, address: &str) -> DeviceRegistration {
    DeviceRegistration {
        installation_id: installation.to_owned(),
        address_kind: AddressKind::Token,
        address: address.to_owned().into(),
        platform: Platform::Android,
        time_zone: "Europe/Lisbon".parse().unwrap(),
        locale: "en".parse().unwrap(),
        notifications_enabled: true,
        delivery: DeliveryMode::Push,
        session_id: None,
    }
}
