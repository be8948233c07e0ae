//! What one platform makes of a message: what is shown, what replaces what, how long it is kept.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::message::{MAX_TTL_SECONDS, digits, lower_case};
use crate::schema::duration_seconds;

/// The system a phone runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Android.
    #[default]
    Android,
    /// iOS, by way of APNs.
    Ios,
    /// A browser, by way of web push.
    Web,
}

/// What FCM keeps a message for on APNs unless `apns-expiration` says otherwise: 30 days.
const APNS_DEFAULT_SECONDS: i64 = 30 * 86_400;
/// The collapse key of an Android notification that names none; Google takes the app's package.
const PACKAGE: &str = "(package name)";

/// A message as one platform gets it.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) platform: Platform,
    pub(crate) message_id: String,
    pub(crate) accepted_at: Timestamp,
    /// Whether the system shows a notification; otherwise the app alone gets the data.
    pub(crate) visible: bool,
    pub(crate) title: Option<String>,
    pub(crate) body: Option<String>,
    /// What is shown under the same tag is replaced.
    pub(crate) tag: Option<String>,
    pub(crate) data: BTreeMap<String, String>,
    /// What is stored under the same key is replaced.
    pub(crate) collapse_key: Option<String>,
    /// Until when it is stored for a phone that is offline; `None`: now or never.
    pub(crate) keep_until: Option<Timestamp>,
}

impl Delivery {
    /// What `platform` makes of a checked message accepted at `accepted_at`.
    pub(crate) fn new(
        message: &Value,
        platform: Platform,
        message_id: &str,
        accepted_at: Timestamp,
    ) -> Self {
        let parts = Parts { message, accepted_at };
        let mut delivery = match platform {
            Platform::Android => parts.android(),
            Platform::Ios => parts.ios(),
            Platform::Web => parts.web(),
        };
        message_id.clone_into(&mut delivery.message_id);
        delivery
    }
}

struct Parts<'a> {
    message: &'a Value,
    accepted_at: Timestamp,
}

impl Parts<'_> {
    fn object(&self, pointer: &str) -> Option<&Map<String, Value>> {
        self.message.pointer(pointer)?.as_object()
    }

    /// The first of the pointers that holds a string.
    fn text(&self, pointers: [&str; 2]) -> Option<String> {
        let text = |pointer| self.message.pointer(pointer)?.as_str().map(str::to_owned);
        pointers.into_iter().find_map(text)
    }

    fn base(&self, platform: Platform) -> Delivery {
        Delivery {
            platform,
            message_id: String::new(),
            accepted_at: self.accepted_at,
            visible: self.object("/notification").is_some(),
            title: None,
            body: None,
            tag: None,
            data: texts(self.object("/data")),
            collapse_key: None,
            keep_until: None,
        }
    }

    fn after(&self, seconds: i64) -> Option<Timestamp> {
        let until = self.accepted_at.checked_add(SignedDuration::from_secs(seconds));
        (seconds > 0).then(|| until.unwrap_or(Timestamp::MAX))
    }

    fn android(&self) -> Delivery {
        let mut delivery = self.base(Platform::Android);
        delivery.visible |= self.object("/android/notification").is_some();
        delivery.title = self.text(["/android/notification/title", "/notification/title"]);
        delivery.body = self.text(["/android/notification/body", "/notification/body"]);
        delivery.tag = self.text(["/android/notification/tag", ""]);
        if let Some(own) = self.object("/android/data") {
            delivery.data = texts(Some(own));
        }
        let package = || delivery.visible.then(|| PACKAGE.to_owned());
        delivery.collapse_key = self.text(["/android/collapse_key", ""]).or_else(package);
        let ttl = self.text(["/android/ttl", ""]).and_then(|ttl| duration_seconds(&ttl));
        delivery.keep_until = self.after(ttl.unwrap_or(MAX_TTL_SECONDS));
        delivery
    }

    fn ios(&self) -> Delivery {
        let mut delivery = self.base(Platform::Ios);
        let alert = "/apns/payload/aps/alert";
        delivery.visible |= self.message.pointer(alert).is_some();
        delivery.title = self.text(["/apns/payload/aps/alert/title", "/notification/title"]);
        let body = self.text([alert, "/apns/payload/aps/alert/body"]);
        delivery.body = body.or_else(|| self.text(["/notification/body", ""]));
        let custom = texts(self.object("/apns/payload"));
        delivery.data.extend(custom.into_iter().filter(|(key, _)| key != "aps"));
        let headers = lower_case(self.object("/apns/headers"));
        let header = |name| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        delivery.tag = header("apns-collapse-id").cloned();
        delivery.collapse_key.clone_from(&delivery.tag);
        delivery.keep_until = match header("apns-expiration").and_then(|at| digits(at)) {
            None => self.after(APNS_DEFAULT_SECONDS),
            Some(0) => None,
            Some(at) => Timestamp::from_second(at).ok().filter(|at| *at > self.accepted_at),
        };
        delivery
    }

    fn web(&self) -> Delivery {
        let mut delivery = self.base(Platform::Web);
        delivery.visible |= self.object("/webpush/notification").is_some();
        delivery.title = self.text(["/webpush/notification/title", "/notification/title"]);
        delivery.body = self.text(["/webpush/notification/body", "/notification/body"]);
        if let Some(own) = self.object("/webpush/data") {
            delivery.data = texts(Some(own));
        }
        let headers = lower_case(self.object("/webpush/headers"));
        let header = |name| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        delivery.collapse_key = header("topic").cloned();
        let tag = self.text(["/webpush/notification/tag", ""]);
        delivery.tag = tag.or_else(|| delivery.collapse_key.clone());
        let ttl = header("ttl").and_then(|ttl| digits(ttl)).unwrap_or(MAX_TTL_SECONDS);
        delivery.keep_until = self.after(ttl);
        delivery
    }
}

/// A map as strings: a string as it is, anything else as its JSON.
fn texts(map: Option<&Map<String, Value>>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}
