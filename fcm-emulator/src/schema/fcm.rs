//! FCM HTTP v1's messages: Google's published API description of `projects.messages.send`, plus
//! `Message.fid`, which replaces `token` in 2026.

use super::{EnumType, Kind, Schema};

const fn schema(name: &'static str, fields: &'static [(&'static str, Kind)]) -> Schema {
    Schema { name, fields, one_of: None }
}
/// The body of `messages:send`.
pub(crate) static REQUEST: Schema = schema(
    "google.firebase.fcm.v1.SendMessageRequest",
    &[("message", Kind::Message(&MESSAGE)), ("validate_only", Kind::Bool)],
);

static MESSAGE: Schema = Schema {
    name: "google.firebase.fcm.v1.Message",
    fields: &[
        ("name", Kind::Text),
        ("data", Kind::TextMap),
        ("notification", Kind::Message(&NOTIFICATION)),
        ("android", Kind::Message(&ANDROID)),
        ("webpush", Kind::Message(&WEBPUSH)),
        ("apns", Kind::Message(&APNS)),
        ("fcm_options", Kind::Message(&FCM_OPTIONS)),
        ("token", Kind::Text),
        ("fid", Kind::Text),
        ("topic", Kind::Text),
        ("condition", Kind::Text),
    ],
    one_of: Some(("target", &["token", "fid", "topic", "condition"])),
};

static NOTIFICATION: Schema = schema(
    "google.firebase.fcm.v1.Notification",
    &[("title", Kind::Text), ("body", Kind::Text), ("image", Kind::Text)],
);

static FCM_OPTIONS: Schema =
    schema("google.firebase.fcm.v1.FcmOptions", &[("analytics_label", Kind::Text)]);

static ANDROID: Schema = schema(
    "google.firebase.fcm.v1.AndroidConfig",
    &[
        ("collapse_key", Kind::Text),
        ("priority", Kind::Enum(&ANDROID_PRIORITY)),
        ("ttl", Kind::Duration),
        ("restricted_package_name", Kind::Text),
        ("data", Kind::TextMap),
        ("notification", Kind::Message(&ANDROID_NOTIFICATION)),
        ("fcm_options", Kind::Message(&FCM_OPTIONS)),
        ("direct_boot_ok", Kind::Bool),
        ("bandwidth_constrained_ok", Kind::Bool),
        ("restricted_satellite_ok", Kind::Bool),
    ],
);

static ANDROID_PRIORITY: EnumType =
    EnumType { name: "google.firebase.fcm.v1.AndroidMessagePriority", values: &["NORMAL", "HIGH"] };

static ANDROID_NOTIFICATION: Schema = schema(
    "google.firebase.fcm.v1.AndroidNotification",
    &[
        ("title", Kind::Text),
        ("body", Kind::Text),
        ("icon", Kind::Text),
        ("color", Kind::Text),
        ("sound", Kind::Text),
        ("tag", Kind::Text),
        ("click_action", Kind::Text),
        ("body_loc_key", Kind::Text),
        ("body_loc_args", Kind::List(&Kind::Text)),
        ("title_loc_key", Kind::Text),
        ("title_loc_args", Kind::List(&Kind::Text)),
        ("channel_id", Kind::Text),
        ("ticker", Kind::Text),
        ("sticky", Kind::Bool),
        ("event_time", Kind::Timestamp),
        ("local_only", Kind::Bool),
        ("notification_priority", Kind::Enum(&NOTIFICATION_PRIORITY)),
        ("default_sound", Kind::Bool),
        ("default_vibrate_timings", Kind::Bool),
        ("default_light_settings", Kind::Bool),
        ("vibrate_timings", Kind::List(&Kind::Duration)),
        ("visibility", Kind::Enum(&VISIBILITY)),
        ("notification_count", Kind::Int32),
        ("light_settings", Kind::Message(&LIGHT_SETTINGS)),
        ("image", Kind::Text),
        ("bypass_proxy_notification", Kind::Bool),
        ("proxy", Kind::Enum(&PROXY)),
    ],
);

static NOTIFICATION_PRIORITY: EnumType = EnumType {
    name: "google.firebase.fcm.v1.AndroidNotification.NotificationPriority",
    values: &[
        "PRIORITY_UNSPECIFIED",
        "PRIORITY_MIN",
        "PRIORITY_LOW",
        "PRIORITY_DEFAULT",
        "PRIORITY_HIGH",
        "PRIORITY_MAX",
    ],
};

static VISIBILITY: EnumType = EnumType {
    name: "google.firebase.fcm.v1.AndroidNotification.Visibility",
    values: &["VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"],
};

static PROXY: EnumType = EnumType {
    name: "google.firebase.fcm.v1.AndroidNotification.Proxy",
    values: &["PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"],
};

static LIGHT_SETTINGS: Schema = schema(
    "google.firebase.fcm.v1.LightSettings",
    &[
        ("color", Kind::Message(&COLOR)),
        ("light_on_duration", Kind::Duration),
        ("light_off_duration", Kind::Duration),
    ],
);

static COLOR: Schema = schema(
    "google.type.Color",
    &[("red", Kind::Float), ("green", Kind::Float), ("blue", Kind::Float), ("alpha", Kind::Float)],
);

static WEBPUSH: Schema = schema(
    "google.firebase.fcm.v1.WebpushConfig",
    &[
        ("headers", Kind::TextMap),
        ("data", Kind::TextMap),
        ("notification", Kind::Object),
        ("fcm_options", Kind::Message(&WEBPUSH_OPTIONS)),
    ],
);

static WEBPUSH_OPTIONS: Schema = schema(
    "google.firebase.fcm.v1.WebpushFcmOptions",
    &[("link", Kind::Text), ("analytics_label", Kind::Text)],
);

static APNS: Schema = schema(
    "google.firebase.fcm.v1.ApnsConfig",
    &[
        ("headers", Kind::TextMap),
        ("payload", Kind::Object),
        ("fcm_options", Kind::Message(&APNS_OPTIONS)),
        ("live_activity_token", Kind::Text),
    ],
);

static APNS_OPTIONS: Schema = schema(
    "google.firebase.fcm.v1.ApnsFcmOptions",
    &[("analytics_label", Kind::Text), ("image", Kind::Text)],
);
