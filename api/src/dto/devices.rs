//! Devices.

use std::str::FromStr;

use aftercare::ids::SessionId;
use aftercare::locale::Locale;
use aftercare::store::{self, DeviceRegistration};
use aftercare::zone::Zone;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::fields::{Fields, FromFields, parse};

/// The longest push address that is taken, in characters; FCM's have some 160.
const LONGEST_ADDRESS: usize = 1024;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident as $domain:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The words of the contract.
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(()),
                }
            }
        }

        impl From<$name> for store::$domain {
            fn from(word: $name) -> Self {
                match word { $($name::$variant => Self::$variant,)+ }
            }
        }
    )+};
}

words! {
    /// What kind of push address it is.
    AddressKind as AddressKind {
        /// An FCM registration token.
        Token = "token",
        /// A Firebase installation id.
        Fid = "fid",
    }

    /// What the app runs on.
    Platform as Platform {
        /// Android.
        Android = "android",
        /// iOS and iPadOS.
        Ios = "ios",
        /// A browser.
        Web = "web",
    }

    /// How reminders reach the patient.
    Delivery as DeliveryMode {
        /// The push shows itself.
        Push = "push",
        /// The app schedules its own notification and shows it unless the push came first.
        LocalFallback = "local_fallback",
    }
}

/// What an app tells of its installation; sent again on every start.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceFields {
    /// What kind of address it is.
    pub address_kind: AddressKind,
    /// The push address.
    #[schema(min_length = 1, max_length = 1024, format = Password, example = "fKx3…:APA91b…")]
    pub address: String,
    /// What the app runs on.
    pub platform: Platform,
    /// The phone's time zone.
    #[schema(value_type = String, example = "Europe/Lisbon")]
    pub time_zone: Zone,
    /// The phone's language.
    #[schema(value_type = String, example = "pt-PT")]
    pub locale: Locale,
    /// Whether the system lets the app show notifications.
    pub notifications_enabled: bool,
    /// How reminders reach the patient; `push` if left out.
    #[schema(required = false)]
    pub delivery: Delivery,
}

impl FromFields for DeviceFields {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let address_kind = fields.required("address_kind", parse::word(AddressKind::WORDS));
        let address = fields.required("address", parse::text(LONGEST_ADDRESS));
        let platform = fields.required("platform", parse::word(Platform::WORDS));
        let time_zone = fields.required("time_zone", parse::zone);
        let locale = fields.required("locale", parse::locale);
        let notifications_enabled = fields.required("notifications_enabled", parse::boolean);
        let delivery = fields.optional("delivery", parse::word(Delivery::WORDS));
        Some(Self {
            address_kind: address_kind?,
            address: address?,
            platform: platform?,
            time_zone: time_zone?,
            locale: locale?,
            notifications_enabled: notifications_enabled?,
            delivery: delivery.unwrap_or(Delivery::Push),
        })
    }
}

impl DeviceFields {
    /// The registration of one installation, by the session that it signed in with.
    #[must_use]
    pub fn registration(self, installation_id: String, session: SessionId) -> DeviceRegistration {
        DeviceRegistration {
            installation_id,
            address_kind: self.address_kind.into(),
            address: self.address.into(),
            platform: self.platform.into(),
            time_zone: self.time_zone,
            locale: self.locale,
            notifications_enabled: self.notifications_enabled,
            delivery: self.delivery.into(),
            session_id: Some(session),
        }
    }
}
