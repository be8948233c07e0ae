//! The message that FCM gets for one reminder and one device.
//!
//! `data` carries strings only, the contract with the app (`docs/mobile.md`):
//!
//! | key | value |
//! |---|---|
//! | `kind` | `reminder`, or `test`: show it, report it, and keep it nowhere |
//! | `reminder_id` | the reminder's id, or the test's; also the Android tag and collapse key, the APNs collapse id |
//! | `content` | `text`, `discreet` or `reference` (fetch the timeline and show it from there) |
//! | `due_at`, `use_by` | RFC 3339 instants in UTC; show nothing at or after `use_by` |
//! | `title`, `body` | only in a data-only message, and never with `reference` |
//!
//! A message is data-only, so that the app decides what is shown, on Android when the device asked
//! for `local_fallback`, the content is `reference` or it is a test, which the app is to report, and on the
//! web with `reference`. An iPhone always gets an alert with `mutable-content`: a silent push may be held back
//! for hours.

use std::collections::HashMap;

use aftercare::ids::ReminderId;
use aftercare::store::{DeliveryMode, Platform, PushContent};
use bytes::Bytes;
use fcm::api::{
    AndroidConfig, AndroidNotification, ApnsConfig, Message, Notification, SendMessageRequest,
    WebpushConfig,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::compact;

/// FCM refuses a larger message.
pub const PAYLOAD_MAX: usize = 4_096;
/// FCM keeps a message for four weeks at most.
const TTL_MAX: i64 = 2_419_200;

/// What a push is, as the app is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A reminder.
    Reminder,
    /// A test that pushes arrive; it is on no timeline.
    Test,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Reminder => "reminder",
            Self::Test => "test",
        }
    }
}

/// One reminder, or one test, for one device.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// Which of the two.
    pub kind: Kind,
    /// The reminder; a repeat under the same id replaces what the phone shows.
    pub reminder: ReminderId,
    /// The registration token, or the Firebase installation id: `token` takes both.
    pub address: &'a str,
    /// What the device runs.
    pub platform: Platform,
    /// Who shows the reminders on it.
    pub mode: DeliveryMode,
    /// How much the push says.
    pub content: PushContent,
    /// The title, already neutral when `content` is not [`PushContent::Text`].
    pub title: &'a str,
    /// The body, likewise.
    pub body: &'a str,
    /// When the reminder was due.
    pub due_at: Timestamp,
    /// When it loses its point; FCM and the phone drop it then.
    pub use_by: Timestamp,
}

/// Why there is no message to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The use-by has come; sending would say something that is no longer true.
    #[error("the reminder's use-by has passed")]
    PastUseBy,
    /// Larger than FCM takes.
    #[error("the message has {0} bytes, FCM takes 4,096")]
    TooLarge(usize),
    /// The message cannot be written as JSON.
    #[error("the message cannot be written: {0}")]
    Unwritable(String),
}

/// The request body, with a time to live of what is left until use-by at `now`.
///
/// # Errors
/// See [`MessageError`]; the use-by is the first thing checked.
pub fn encode(push: &Push<'_>, now: Timestamp) -> Result<Bytes, MessageError> {
    if now >= push.use_by {
        return Err(MessageError::PastUseBy);
    }
    let request = SendMessageRequest { message: Some(message(push, now)), validate_only: None };
    let body = write(&request)?;
    // Google counts what reaches the phone: not the address, not the request around the message.
    let size = body.len().saturating_sub(push.address.len());
    if size > PAYLOAD_MAX {
        return Err(MessageError::TooLarge(size));
    }
    Ok(Bytes::from(body))
}

fn write(request: &SendMessageRequest) -> Result<Vec<u8>, MessageError> {
    let mut out = Vec::with_capacity(1_024);
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut out, compact::WithoutNulls::default());
    request
        .serialize(&mut serializer)
        .map_err(|error| MessageError::Unwritable(error.to_string()))?;
    Ok(out)
}

fn message(push: &Push<'_>, now: Timestamp) -> Message {
    let data_only = match push.platform {
        Platform::Android => {
            push.kind == Kind::Test
                || push.mode == DeliveryMode::LocalFallback
                || push.content == PushContent::Reference
        }
        Platform::Web => push.content == PushContent::Reference,
        Platform::Ios => false,
    };
    let left = push.use_by.duration_since(now).as_secs().clamp(0, TTL_MAX);
    let mut message = Message {
        token: Some(push.address.to_owned()),
        data: Some(data(push, data_only)),
        notification: (!data_only).then(|| Notification {
            title: Some(push.title.to_owned()),
            body: Some(push.body.to_owned()),
            image: None,
        }),
        ..Message::default()
    };
    match push.platform {
        Platform::Android => message.android = Some(android(push, left, data_only)),
        Platform::Ios => message.apns = Some(apns(push)),
        Platform::Web => message.webpush = Some(webpush(push, left, data_only)),
    }
    message
}

fn data(push: &Push<'_>, data_only: bool) -> HashMap<String, String> {
    let mut data = strings([
        ("kind", push.kind.as_str().to_owned()),
        ("reminder_id", push.reminder.to_string()),
        ("content", push.content.as_str().to_owned()),
        ("due_at", push.due_at.to_string()),
        ("use_by", push.use_by.to_string()),
    ]);
    if data_only && push.content != PushContent::Reference {
        data.insert("title".to_owned(), push.title.to_owned());
        data.insert("body".to_owned(), push.body.to_owned());
    }
    data
}

/// While a phone is offline, FCM keeps one notification for each collapse key, and without keys one
/// for the whole app: a key of its own keeps a reminder from displacing another. Data messages are
/// kept one by one.
fn android(push: &Push<'_>, left: i64, data_only: bool) -> AndroidConfig {
    AndroidConfig {
        priority: Some("HIGH".to_owned()),
        ttl: chrono::Duration::try_seconds(left),
        collapse_key: (!data_only).then(|| push.reminder.to_string()),
        notification: (!data_only).then(|| AndroidNotification {
            tag: Some(push.reminder.to_string()),
            ..AndroidNotification::default()
        }),
        ..AndroidConfig::default()
    }
}

/// For an iPhone that is offline, APNs keeps one notification of an app, the last: a test is tried once and
/// not kept, so that it never takes the place of a reminder.
fn apns(push: &Push<'_>) -> ApnsConfig {
    let expiration = match push.kind {
        Kind::Reminder => push.use_by.as_second(),
        Kind::Test => 0,
    };
    let headers = strings([
        ("apns-priority", "10".to_owned()),
        ("apns-push-type", "alert".to_owned()),
        ("apns-expiration", expiration.to_string()),
        ("apns-collapse-id", push.reminder.to_string()),
    ]);
    let aps = json!({"mutable-content": 1, "sound": "default"});
    ApnsConfig {
        headers: Some(headers),
        payload: Some(HashMap::from([("aps".to_owned(), aps)])),
        ..ApnsConfig::default()
    }
}

fn webpush(push: &Push<'_>, left: i64, data_only: bool) -> WebpushConfig {
    let headers = strings([
        ("TTL", left.to_string()),
        ("Urgency", "high".to_owned()),
        // At most 32 URL-safe characters: the id without its hyphens.
        ("Topic", push.reminder.0.as_simple().to_string()),
    ]);
    let tag = || HashMap::from([("tag".to_owned(), json!(push.reminder.to_string()))]);
    WebpushConfig {
        headers: Some(headers),
        notification: (!data_only).then(tag),
        ..WebpushConfig::default()
    }
}

fn strings<const N: usize>(pairs: [(&str, String); N]) -> HashMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ID: &str = "0197a000-0000-7000-8000-000000000001";

    fn push(platform: Platform, content: PushContent) -> Push<'static> {
        Push {
            kind: Kind::Reminder,
            reminder: ID.parse().unwrap(),
            address: "address-1",
            platform,
            mode: DeliveryMode::Push,
            content,
            title: "After your treatment",
            body: "No \"makeup\" until tomorrow 15:40.",
            due_at: "2026-11-22T15:55:00Z".parse().unwrap(),
            use_by: "2026-11-22T18:40:00Z".parse().unwrap(),
        }
    }

    fn sent(push: &Push<'_>) -> Value {
        let now = "2026-11-22T15:55:00.25Z".parse().unwrap();
        serde_json::from_slice(&encode(push, now).unwrap()).unwrap()
    }

    fn data(content: &str) -> Value {
        json!({
            "kind": "reminder",
            "reminder_id": ID,
            "content": content,
            "due_at": "2026-11-22T15:55:00Z",
            "use_by": "2026-11-22T18:40:00Z",
        })
    }

    fn notification() -> Value {
        json!({"title": "After your treatment", "body": "No \"makeup\" until tomorrow 15:40."})
    }

    #[test]
    fn android_gets_a_tag_and_a_time_to_live() {
        let expected = json!({"message": {
            "token": "address-1",
            "data": data("text"),
            "notification": notification(),
            "android": {
                "priority": "HIGH",
                "ttl": "9899s",
                "collapseKey": ID,
                "notification": {"tag": ID},
            },
        }});
        assert_eq!(sent(&push(Platform::Android, PushContent::Text)), expected);
    }

    #[test]
    fn a_test_says_that_it_is_one() {
        let test = Push { kind: Kind::Test, ..push(Platform::Android, PushContent::Text) };
        let test = sent(&test);
        let told = |pointer| test.pointer(pointer).and_then(Value::as_str);
        assert_eq!(told("/message/data/kind"), Some("test"));
        assert_eq!(told("/message/data/title"), Some("After your treatment"));
        assert_eq!(test.pointer("/message/notification"), None, "the app shows it, and reports it");
        let test = Push { kind: Kind::Test, ..push(Platform::Ios, PushContent::Text) };
        let test = sent(&test);
        let kept = test.pointer("/message/apns/headers/apns-expiration").and_then(Value::as_str);
        assert_eq!(kept, Some("0"), "a reminder that waits for the phone stays");
    }

    #[test]
    fn iphones_get_a_collapse_id_and_an_expiry_instant() {
        let expected = json!({"message": {
            "token": "address-1",
            "data": data("discreet"),
            "notification": notification(),
            "apns": {
                "headers": {
                    "apns-priority": "10",
                    "apns-push-type": "alert",
                    "apns-expiration": "1795372800",
                    "apns-collapse-id": ID,
                },
                "payload": {"aps": {"mutable-content": 1, "sound": "default"}},
            },
        }});
        assert_eq!(sent(&push(Platform::Ios, PushContent::Discreet)), expected);
    }

    #[test]
    fn browsers_get_a_topic_and_seconds() {
        let expected = json!({"message": {
            "token": "address-1",
            "data": data("text"),
            "notification": notification(),
            "webpush": {
                "headers": {"TTL": "9899", "Urgency": "high", "Topic": ID.replace('-', "")},
                "notification": {"tag": ID},
            },
        }});
        assert_eq!(sent(&push(Platform::Web, PushContent::Text)), expected);
    }

    #[test]
    fn local_fallback_on_android_is_data_only_with_the_words_in_it() {
        let fallback = Push {
            mode: DeliveryMode::LocalFallback,
            ..push(Platform::Android, PushContent::Text)
        };
        let message = sent(&fallback);
        let message = &message["message"];
        assert_eq!(message["data"]["body"], "No \"makeup\" until tomorrow 15:40.");
        assert_eq!(message["data"]["title"], "After your treatment");
        assert!(message.get("notification").is_none());
        assert!(message["android"].get("notification").is_none());
        let iphone =
            Push { mode: DeliveryMode::LocalFallback, ..push(Platform::Ios, PushContent::Text) };
        assert!(sent(&iphone)["message"].get("notification").is_some());
    }

    #[test]
    fn the_page_for_app_developers_shows_what_is_sent() {
        let page = include_str!("../../../docs/mobile.md");
        let blocks = page.split("```json\n").skip(1);
        let shown: Vec<Value> = blocks
            .map(|block| serde_json::from_str(block.split("```").next().unwrap()).unwrap())
            .collect();
        let plain = Push {
            body: "No makeup until tomorrow 15:40.",
            ..push(Platform::Android, PushContent::Text)
        };
        let data_only = Push { mode: DeliveryMode::LocalFallback, ..plain };
        let data = |push| sent(&push)["message"]["data"].clone();
        assert_eq!(shown, [data(plain), data(data_only)]);
    }

    #[test]
    fn a_reference_carries_no_words_but_the_alert_an_iphone_needs() {
        for platform in [Platform::Android, Platform::Web] {
            let message = sent(&push(platform, PushContent::Reference)).to_string();
            assert!(!message.contains("makeup") && !message.contains("treatment"), "{message}");
        }
        let message = sent(&push(Platform::Ios, PushContent::Reference));
        assert_eq!(message["message"]["data"], data("reference"));
        assert_eq!(message["message"]["apns"]["payload"]["aps"]["mutable-content"], 1);
    }

    #[test]
    fn nothing_is_made_at_or_after_use_by() {
        let push = push(Platform::Android, PushContent::Text);
        assert_eq!(encode(&push, push.use_by), Err(MessageError::PastUseBy));
        let last = "2026-11-22T18:39:59.5Z".parse().unwrap();
        let body: Value = serde_json::from_slice(&encode(&push, last).unwrap()).unwrap();
        assert_eq!(body["message"]["android"]["ttl"], "0s");
    }

    #[test]
    fn a_long_wait_is_cut_to_four_weeks() {
        let far = "2027-11-22T18:40:00Z".parse().unwrap();
        let push = Push { use_by: far, ..push(Platform::Android, PushContent::Text) };
        assert_eq!(sent(&push)["message"]["android"]["ttl"], "2419200s");
    }

    #[test]
    fn the_most_words_that_care_hands_over_fit_on_every_platform() {
        let title = "Μετά τη θεραπεία";
        let body = "ώ".repeat((aftercare::protocol::WORDS_MAX - title.len()) / 2);
        let now = "2026-11-22T15:55:00Z".parse().unwrap();
        for platform in [Platform::Android, Platform::Ios, Platform::Web] {
            for mode in [DeliveryMode::Push, DeliveryMode::LocalFallback] {
                let push = Push { title, body: &body, mode, ..push(platform, PushContent::Text) };
                assert!(encode(&push, now).is_ok(), "{platform:?} {mode:?}");
            }
        }
    }

    #[test]
    fn a_message_over_the_limit_is_not_sent() {
        let body = "é".repeat(2_000);
        let push = Push { body: &body, ..push(Platform::Android, PushContent::Text) };
        let now = "2026-11-22T15:55:00Z".parse().unwrap();
        assert!(matches!(encode(&push, now), Err(MessageError::TooLarge(size)) if size > 4_096));
        let address = "a".repeat(4_000);
        let push = Push { address: &address, body: "short", ..push };
        assert!(encode(&push, now).is_ok(), "the address does not count");
    }
}
