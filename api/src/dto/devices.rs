//! Devices.

use aftercare::ids::SessionId;
use aftercare::locale::Locale;
use aftercare::store::{AddressKind, DeliveryMode, DeviceRegistration, Platform};
use aftercare::zone::Zone;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, SchemaType, Type};

use crate::fields::{Fields, FromFields, parse};

/// The longest push address that is taken, in characters; FCM's have some 160.
const LONGEST_ADDRESS: usize = 1024;

/// One of a closed list of words.
pub(super) fn one_of(words: impl Iterator<Item = &'static str>, description: &str) -> Object {
    Object::builder()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .description(Some(description))
        .build()
}

fn address_kinds() -> Object {
    let words = AddressKind::ALL.iter().map(|kind| kind.as_str());
    one_of(words, "An FCM registration token, or a Firebase installation id.")
}

fn platforms() -> Object {
    let words = Platform::ALL.iter().map(|platform| platform.as_str());
    one_of(words, "What the app runs on; a browser is `web`.")
}

fn deliveries() -> Object {
    let words = DeliveryMode::ALL.iter().map(|mode| Some(mode.as_str()));
    Object::builder()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(words.chain([None])))
        .description(Some(
            "How reminders reach the patient: the push shows itself, or the app schedules its own \
             notification and shows it unless the push came first. `push` if left out.",
        ))
        .build()
}

/// What an app tells of its installation; sent again on every start.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceFields {
    /// What kind of address it is.
    #[schema(schema_with = address_kinds)]
    pub address_kind: AddressKind,
    /// The push address.
    #[schema(min_length = 1, max_length = 1024, format = Password, example = "fKx3…:APA91b…")]
    pub address: String,
    /// What the app runs on.
    #[schema(schema_with = platforms)]
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
    #[schema(required = false, schema_with = deliveries)]
    pub delivery: DeliveryMode,
}

impl FromFields for DeviceFields {
    fn from_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let address_kind = fields.required("address_kind", parse::word);
        let address = fields.required("address", parse::text(LONGEST_ADDRESS));
        let platform = fields.required("platform", parse::word);
        let time_zone = fields.required("time_zone", parse::zone);
        let locale = fields.required("locale", parse::locale);
        let notifications_enabled = fields.required("notifications_enabled", parse::boolean);
        let delivery = fields.optional("delivery", parse::word);
        Some(Self {
            address_kind: address_kind?,
            address: address?,
            platform: platform?,
            time_zone: time_zone?,
            locale: locale?,
            notifications_enabled: notifications_enabled?,
            delivery: delivery.unwrap_or(DeliveryMode::Push),
        })
    }
}

impl DeviceFields {
    /// The registration of one installation, by the session that it signed in with.
    #[must_use]
    pub fn registration(self, installation_id: String, session: SessionId) -> DeviceRegistration {
        DeviceRegistration {
            installation_id,
            address_kind: self.address_kind,
            address: self.address.into(),
            platform: self.platform,
            time_zone: self.time_zone,
            locale: self.locale,
            notifications_enabled: self.notifications_enabled,
            delivery: self.delivery,
            session_id: Some(session),
        }
    }
}
