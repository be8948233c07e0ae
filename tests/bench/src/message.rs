//! A message as Aftercare writes one, for those who send without knowing anything of reminders.

use serde_json::json;

/// What is sent to an address.
pub(crate) fn to(address: &str) -> serde_json::Value {
    json!({ "message": {
        "token": address,
        "notification": { "title": TITLE, "body": BODY },
        "data": { "reminder_id": "0198c0de-0000-7000-8000-000000000000", "kind": "reminder" },
        "android": {
            "ttl": "9000s", "priority": "high", "collapse_key": "aftercare",
            "notification": { "tag": "0198c0de-0000-7000-8000-000000000000", "visibility": "private" }
        },
        "apns": {
            "headers": { "apns-priority": "10", "apns-expiration": "1800000000",
                         "apns-collapse-id": "0198c0de-0000-7000-8000-000000000000" },
            "payload": { "aps": { "sound": "default" } }
        }
    } })
}

pub(crate) const TITLE: &str = "Your next 48 hours";
pub(crate) const BODY: &str = "Do not wash your face until midnight tonight. Hydrate your skin with an \
    alcohol-free toner or serum until tomorrow 10:40. Avoid sunlight, wear sunscreen and a hat until \
    tomorrow 10:40. No makeup until tomorrow 10:40. No sweating until Wednesday 10:40: avoid intense \
    exercise, saunas and steam rooms. Expect some redness, skin irritation and peeling.";
