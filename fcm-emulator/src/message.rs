//! What a message must keep to beyond its schema: ranges, formats, sizes and reserved names.

use serde_json::{Map, Value};

use crate::condition::Condition;
use crate::fault_answers::MALFORMED_TOKEN;
use crate::schema::{Violation, duration_seconds};

/// The longest `android.ttl` and web `TTL`, in seconds: four weeks.
pub(crate) const MAX_TTL_SECONDS: i64 = 2_419_200;
/// The payload limit in bytes, for each platform's own form of the message.
const MAX_PAYLOAD: usize = 4_096;
const MAX_COLLAPSE_ID: usize = 64;
const MAX_WEB_TOPIC: usize = 32;
const MAX_ADDRESS: usize = 4_096;

/// Epoch seconds from 2001 to 5138. Google forwards any number to APNs; here a duration
/// (`3600`) or milliseconds are called out, as either would be a silent mistake.
const EPOCH_SECONDS: std::ops::Range<i64> = 1_000_000_000..100_000_000_000;

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// One app installation, by registration token or FID.
    Address(String),
    /// Everybody who subscribed to the topic (its name without `/topics/`).
    Topic(String),
    /// Everybody whose topics meet the condition.
    Condition(Condition, String),
}

impl Target {
    /// The name faults and the log know it by: the address, `/topics/name`, or the condition.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Address(address) => address.clone(),
            Self::Topic(name) => format!("/topics/{name}"),
            Self::Condition(_, text) => text.clone(),
        }
    }
}

/// Checks a message that was read by the schema; returns whom it is for.
///
/// # Errors
/// Every rule it breaks.
pub(crate) fn check(message: &Value) -> Result<Target, Vec<Violation>> {
    let mut rules = Rules { message, violations: Vec::new() };
    let target = rules.target();
    rules.data();
    rules.android();
    rules.apns();
    rules.webpush();
    rules.labels();
    rules.sizes();
    match target {
        Some(target) if rules.violations.is_empty() => Ok(target),
        _ => Err(rules.violations),
    }
}

struct Rules<'a> {
    message: &'a Value,
    violations: Vec<Violation>,
}

impl Rules<'_> {
    fn refuse(&mut self, field: &str, description: impl Into<String>) {
        self.violations
            .push(Violation { field: field.to_owned(), description: description.into() });
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.message.pointer(pointer)?.as_str()
    }

    fn target(&mut self) -> Option<Target> {
        for name in ["token", "fid"] {
            let Some(address) = self.text(&format!("/{name}")).map(str::to_owned) else {
                continue;
            };
            if is_address(&address) {
                return Some(Target::Address(address));
            }
            self.refuse(&format!("message.{name}"), MALFORMED_TOKEN);
            return None;
        }
        if let Some(topic) = self.text("/topic").map(str::to_owned) {
            let name = topic.strip_prefix("/topics/").unwrap_or(&topic);
            if is_topic(name) {
                return Some(Target::Topic(name.to_owned()));
            }
            self.refuse("message.topic", "Invalid topic name: it must match [a-zA-Z0-9-_.~%]+");
            return None;
        }
        if let Some(text) = self.text("/condition").map(str::to_owned) {
            match Condition::parse(&text) {
                Ok(condition) => return Some(Target::Condition(condition, text)),
                Err(fault) => {
                    let said = format!("Invalid condition expression provided: {fault}");
                    self.refuse("message.condition", said);
                }
            }
            return None;
        }
        self.refuse("message", "Recipient of the message is not set.");
        None
    }

    fn data(&mut self) {
        for path in ["data", "android.data", "webpush.data"] {
            let pointer = format!("/{}", path.replace('.', "/"));
            let reserved: Vec<String> = object(self.message, &pointer)
                .map(|data| data.keys().filter(|key| is_reserved(key)).cloned().collect())
                .unwrap_or_default();
            for key in reserved {
                self.refuse(&format!("message.{path}"), format!("Invalid data payload key: {key}"));
            }
        }
    }

    fn android(&mut self) {
        let ttl = self.text("/android/ttl").and_then(duration_seconds);
        if ttl.is_some_and(|ttl| !(0..=MAX_TTL_SECONDS).contains(&ttl)) {
            let said = format!("Invalid ttl: it must be 0s to {MAX_TTL_SECONDS}s");
            self.refuse("message.android.ttl", said);
        }
        let color = self.text("/android/notification/color");
        if color.is_some_and(|color| !is_color(color)) {
            self.refuse("message.android.notification.color", "Invalid color: expected #rrggbb");
        }
    }

    fn apns(&mut self) {
        let headers = lower_case(object(self.message, "/apns/headers"));
        let field = "message.apns.headers";
        for (name, value) in &headers {
            let fault = match name.as_str() {
                "apns-expiration" if !is_expiration(value) => {
                    "expected seconds since 1970 (an instant, not a duration), or 0"
                }
                "apns-priority" if !["1", "5", "10"].contains(&value.as_str()) => {
                    "expected 1, 5 or 10"
                }
                "apns-collapse-id" if value.is_empty() || value.len() > MAX_COLLAPSE_ID => {
                    "expected 1 to 64 bytes"
                }
                "apns-push-type" if !PUSH_TYPES.contains(&value.as_str()) => {
                    "expected a push type that APNs knows"
                }
                _ => continue,
            };
            self.refuse(field, format!("Invalid value for the {name} header, {value:?}: {fault}"));
        }
        let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, v)| v);
        let background = header("apns-push-type").is_some_and(|kind| kind == "background");
        if background && header("apns-priority").is_some_and(|priority| priority == "10") {
            self.refuse(field, "apns-priority 10 is an error with push type background: use 5");
        }
    }

    fn webpush(&mut self) {
        let headers = lower_case(object(self.message, "/webpush/headers"));
        for (name, value) in &headers {
            let fault = match name.as_str() {
                "ttl" if !is_web_ttl(value) => "expected a number of seconds up to 2419200",
                "topic" if !is_web_topic(value) => "expected 1 to 32 URL-safe base64 characters",
                "urgency" if !URGENCIES.contains(&value.as_str()) => {
                    "expected very-low, low, normal or high"
                }
                _ => continue,
            };
            let said = format!("Invalid value for the {name} header, {value:?}: {fault}");
            self.refuse("message.webpush.headers", said);
        }
        let link = self.text("/webpush/fcm_options/link");
        if link.is_some_and(|link| !link.starts_with("https://")) {
            let field = "message.webpush.fcm_options.link";
            self.refuse(field, "Invalid link: it must be an https URL");
        }
    }

    fn labels(&mut self) {
        for owner in ["", "android.", "apns.", "webpush."] {
            let path = format!("{owner}fcm_options.analytics_label");
            let label = self.text(&format!("/{}", path.replace('.', "/")));
            if label.is_some_and(|label| !is_topic(label) || label.len() > 50) {
                let said = "Invalid analytics label: it must match ^[a-zA-Z0-9-_.~%]{1,50}$";
                self.refuse(&format!("message.{path}"), said);
            }
        }
    }

    /// Measures what each platform would get, as compact JSON.
    fn sizes(&mut self) {
        let part = |pointer| self.message.pointer(pointer).unwrap_or(&Value::Null);
        let (data, notification) = (part("/data"), part("/notification"));
        let or = |own, common| if part(own).is_null() { common } else { part(own) };
        let sizes = [
            (
                "Android",
                size(or("/android/data", data))
                    + size(notification)
                    + size(part("/android/notification")),
            ),
            ("Apple", size(data) + size(notification) + size(part("/apns/payload"))),
            (
                "Web",
                size(or("/webpush/data", data))
                    + size(notification)
                    + size(part("/webpush/notification")),
            ),
        ];
        if let Some((platform, _)) = sizes.iter().find(|(_, size)| *size > MAX_PAYLOAD) {
            let said = format!("{platform} message is too big");
            self.refuse("message", said);
        }
    }
}

const PUSH_TYPES: [&str; 11] = [
    "alert",
    "background",
    "location",
    "voip",
    "complication",
    "fileprovider",
    "mdm",
    "liveactivity",
    "pushtotalk",
    "widgets",
    "controls",
];

const URGENCIES: [&str; 4] = ["very-low", "low", "normal", "high"];

/// Whether an address can have been given to an app: looser than Google's tokens (some 150
/// characters with `:APA91b` in them), so that tests may use short names.
pub(crate) fn is_address(address: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    (1..=MAX_ADDRESS).contains(&address.len()) && address.bytes().all(allowed)
}

/// Whether a name can be a topic's (or an analytics label, which has the same letters).
pub(crate) fn is_topic(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

/// Google's reserved data keys: `from`, `message_type`, and all that begin with `google` or `gcm`.
fn is_reserved(key: &str) -> bool {
    matches!(key, "from" | "message_type") || key.starts_with("google") || key.starts_with("gcm")
}

fn is_color(color: &str) -> bool {
    color.strip_prefix('#').is_some_and(|digits| {
        digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

fn is_expiration(value: &str) -> bool {
    digits(value).is_some_and(|seconds| seconds == 0 || EPOCH_SECONDS.contains(&seconds))
}

fn is_web_ttl(value: &str) -> bool {
    digits(value).is_some_and(|seconds| seconds <= MAX_TTL_SECONDS)
}

fn is_web_topic(topic: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=MAX_WEB_TOPIC).contains(&topic.len()) && topic.bytes().all(allowed)
}

/// A number written with nothing but digits.
pub(crate) fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The bytes of a value as compact JSON; nothing for what is not there.
fn size(value: &Value) -> usize {
    if value.is_null() { 0 } else { value.to_string().len() }
}

fn object<'a>(message: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    message.pointer(pointer)?.as_object()
}

/// Headers with lower-case names, as header names have no case.
pub(crate) fn lower_case(headers: Option<&Map<String, Value>>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = headers.into_iter().flatten();
    entries.map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect()
}
