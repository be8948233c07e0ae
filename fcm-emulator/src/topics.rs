//! Topic subscriptions, as the SDKs manage them: `POST /iid/v1:batchAdd` and `…:batchRemove`
//! (Google's Instance ID API, `iid.googleapis.com`).

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{self, Answer};
use crate::bearer::authorize;
use crate::emulator::Shared;
use crate::message::{is_address, is_topic};
use crate::phone::PhoneSettings;
use crate::routes::Call;

/// Addresses that one request may name (Google's limit).
const MAX_ADDRESSES: usize = 1_000;

#[derive(Deserialize)]
struct Change {
    to: String,
    registration_tokens: Vec<String>,
}

/// Subscribes addresses to a topic, or ends their subscriptions. The answer has one result an
/// address, in their order: `{}`, or an `error`.
pub(crate) fn change(shared: &Shared, call: &Call, subscribe: bool) -> Answer {
    if let Err(refused) = authorize(&shared.oauth, &call.headers) {
        return *refused;
    }
    let bad = |said| answer::json(StatusCode::BAD_REQUEST, &json!({ "error": said }));
    let Ok(change) = serde_json::from_slice::<Change>(&call.body) else {
        return bad("InvalidJson");
    };
    let topic = change.to.strip_prefix("/topics/").filter(|name| is_topic(name));
    let Some(topic) = topic else { return bad("InvalidTopicName") };
    if !(1..=MAX_ADDRESSES).contains(&change.registration_tokens.len()) {
        return bad("InvalidNumberOfTokens");
    }
    let one = |address: &String| change_one(shared, address, topic, subscribe);
    let results: Vec<Value> = change.registration_tokens.iter().map(one).collect();
    answer::ok(json!({ "results": results }))
}

fn change_one(shared: &Shared, address: &str, topic: &str, subscribe: bool) -> Value {
    if !is_address(address) {
        return json!({ "error": "INVALID_ARGUMENT" });
    }
    if shared.phones.is_uninstalled(address) {
        return json!({ "error": "NOT_FOUND" });
    }
    let phone = shared.phones.view(address);
    let mut topics = phone.map(|phone| phone.topics).unwrap_or_default();
    if subscribe {
        topics.insert(topic.to_owned());
    } else {
        topics.remove(topic);
    }
    let settings = PhoneSettings { topics: Some(topics), ..PhoneSettings::default() };
    shared.phones.set(address, settings);
    json!({})
}
