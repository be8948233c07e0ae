//! What a phone gets, read from the request's body.

use aftercare::ids::ReminderId;
use jiff::Timestamp;
use serde_json::Value;

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) address: String,
    pub(crate) reminder: ReminderId,
    pub(crate) due_at: Timestamp,
    pub(crate) use_by: Timestamp,
    pub(crate) words: String,
}

impl Message {
    /// What it says, if it says the same wherever it says it, and is not kept past its use-by.
    pub(crate) fn read(body: &[u8], now: Timestamp) -> Result<Self, String> {
        let body: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let text = |at: &str| {
            let text = body.pointer(&format!("/message{at}")).and_then(Value::as_str);
            text.map(str::to_owned)
        };
        let needed = |at: &str| text(at).ok_or_else(|| format!("no {at} in {body}"));
        let reminder = needed("/data/reminder_id")?;
        let tags = [
            text("/android/notification/tag"),
            text("/android/collapse_key"),
            text("/apns/headers/apns-collapse-id"),
            body.pointer("/message/webpush/notification/tag")
                .and_then(Value::as_str)
                .map(str::to_owned),
        ];
        let tags: Vec<String> = tags.into_iter().flatten().collect();
        if tags.is_empty() || tags.iter().any(|tag| *tag != reminder) {
            return Err(format!("sent under {tags:?}, and it is {reminder}"));
        }
        let at = |text: String| text.parse::<Timestamp>().map_err(|error| error.to_string());
        let use_by = at(needed("/data/use_by")?)?;
        let left = use_by.duration_since(now).as_secs();
        let seconds = |text: String| text.trim_end_matches('s').parse::<i64>().unwrap_or(i64::MAX);
        let kept = text("/android/ttl").or(text("/webpush/headers/TTL")).map(seconds);
        let kept = kept
            .or(text("/apns/headers/apns-expiration").map(seconds).map(|at| at - now.as_second()));
        if kept.is_none_or(|kept| kept > left + 1) {
            return Err(format!("kept for {kept:?} s, of use for {left} s"));
        }
        let words = text("/notification/title").zip(text("/notification/body"));
        Ok(Self {
            address: needed("/token")?,
            reminder: reminder.parse().map_err(|_| format!("{reminder} is no id"))?,
            due_at: at(needed("/data/due_at")?)?,
            use_by,
            words: words.map(|(title, body)| format!("{title}: {body}")).unwrap_or_default(),
        })
    }
}
