//! FCM as the script has it: what it answers, when, and whether the phone got the message all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dice::Dice;

/// How FCM, or the way to it, is for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    /// 500 or 503, perhaps with a `Retry-After` in seconds.
    Down(u16, Option<u64>),
    /// 429.
    Throttled(Option<u64>),
    /// No connection.
    Unreachable,
    /// Connections that lead nowhere.
    BlackHole,
    /// Answers take so many seconds.
    Slow(u64),
    /// 401: the access token counts for nothing.
    TokenUnknown,
    /// 403: the account may not send.
    Forbidden,
    /// The token endpoint is down.
    NoTokens,
    /// The token endpoint refuses the account.
    AccountRefused,
    /// 400: there is something wrong with what we say.
    Rejecting,
}

/// How an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Answer,
    /// The connection is lost, and whatever is under way on it.
    Break,
    /// The stream is refused before anything was done.
    Refuse,
    /// There is no answer.
    Silence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Whether the phone gets it.
    pub(crate) taken: bool,
    pub(crate) status: u16,
    /// Google's word for the status, and FCM's.
    pub(crate) words: (&'static str, Option<&'static str>),
    pub(crate) retry_after: Option<u64>,
    /// From the request's arrival to its end.
    pub(crate) after: Duration,
    pub(crate) end: End,
}

impl Reply {
    const fn refusal(status: u16, google: &'static str, fcm: Option<&'static str>) -> Self {
        let (retry_after, after, end) = (None, Duration::from_millis(80), End::Answer);
        Self { taken: false, status, words: (google, fcm), retry_after, after, end }
    }

    const fn taken() -> Self {
        Self { taken: true, ..Self::refusal(200, "", None) }
    }

    fn lost(taken: bool, end: End) -> Self {
        Self { taken, end, ..Self::refusal(0, "", None) }
    }

    pub(crate) fn body(&self, n: u64) -> String {
        if self.taken {
            return match self.words.0 {
                "garbage" => "<html>OK</html>".to_owned(),
                _ => json!({"name": format!("projects/simulated/messages/{n}")}).to_string(),
            };
        }
        let (status, code) = self.words;
        let fcm = code.map(|code| {
            json!({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
        });
        let field = (status == "INVALID_ARGUMENT" && code.is_none()).then(|| {
            let violation = json!({"field": "message.data", "description": "no"});
            json!({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
        });
        let details: Vec<Value> = fcm.into_iter().chain(field).collect();
        let error =
            json!({"code": self.status, "message": "no", "status": status, "details": details});
        json!({"error": error}).to_string()
    }
}

#[derive(Debug)]
pub(crate) struct Fcm {
    pub(crate) weather: Weather,
    dice: Dice,
    /// Addresses of apps that were taken off their phones.
    pub(crate) gone: BTreeSet<String>,
    /// Addresses of another project's apps.
    pub(crate) foreign: BTreeSet<String>,
    tokens: u64,
}

impl Fcm {
    pub(crate) fn new(dice: Dice) -> Self {
        let (gone, foreign) = (BTreeSet::new(), BTreeSet::new());
        Self { weather: Weather::Fine, dice, gone, foreign, tokens: 0 }
    }

    /// The status and the body of an answer to who asks for an access token.
    pub(crate) fn token(&mut self) -> (u16, String) {
        self.tokens += 1;
        match self.weather {
            Weather::NoTokens => (503, String::new()),
            Weather::AccountRefused => (400, json!({"error": "invalid_grant"}).to_string()),
            _ => {
                let life = if self.dice.chance(100) { 3_599 } else { 86_400 };
                let token = format!("token-{}", self.tokens);
                (200, json!({"access_token": token, "expires_in": life}).to_string())
            }
        }
    }

    pub(crate) fn reply(&mut self, address: &str) -> Reply {
        let after = Duration::from_millis(20 + self.dice.below(400));
        Reply { after, ..self.settled(address) }.slowed(self.weather, &mut self.dice)
    }

    fn settled(&mut self, address: &str) -> Reply {
        const UNAVAILABLE: Reply = Reply::refusal(503, "UNAVAILABLE", Some("UNAVAILABLE"));
        const INTERNAL: Reply = Reply::refusal(500, "INTERNAL", Some("INTERNAL"));
        const QUOTA: Reply = Reply::refusal(429, "RESOURCE_EXHAUSTED", Some("QUOTA_EXCEEDED"));
        let again = |reply: Reply, retry_after| Reply { retry_after, ..reply };
        match self.weather {
            Weather::Down(500, after) => return again(INTERNAL, after),
            Weather::Down(_, after) => return again(UNAVAILABLE, after),
            Weather::Throttled(after) => return again(QUOTA, after),
            Weather::Unreachable | Weather::BlackHole => return Reply::lost(false, End::Break),
            Weather::TokenUnknown => {
                return Reply::refusal(401, "UNAUTHENTICATED", None);
            }
            Weather::Forbidden => return Reply::refusal(403, "PERMISSION_DENIED", None),
            Weather::Rejecting => return Reply::refusal(400, "INVALID_ARGUMENT", None),
            Weather::Fine | Weather::Slow(_) | Weather::NoTokens | Weather::AccountRefused => {}
        }
        if self.gone.contains(address) {
            return Reply::refusal(404, "NOT_FOUND", Some("UNREGISTERED"));
        }
        if self.foreign.contains(address) {
            return Reply::refusal(403, "PERMISSION_DENIED", Some("SENDER_ID_MISMATCH"));
        }
        let seconds = Some(self.dice.range(5, 900).unsigned_abs());
        match self.dice.below(1_000) {
            0..15 => UNAVAILABLE,
            15..30 => again(UNAVAILABLE, seconds),
            30..40 => again(QUOTA, seconds),
            40..45 => QUOTA,
            45..55 => INTERNAL,
            55..75 => Reply::lost(true, End::Break),
            75..80 => Reply::lost(false, End::Break),
            80..90 => Reply::lost(false, End::Refuse),
            90..105 => Reply::lost(true, End::Silence),
            105..110 => Reply::lost(false, End::Silence),
            110..115 => Reply { words: ("garbage", None), ..Reply::taken() },
            115..120 => Reply::refusal(401, "UNAUTHENTICATED", None),
            _ => Reply::taken(),
        }
    }
}

impl Reply {
    /// Answers that come too late, or nearly.
    fn slowed(self, weather: Weather, dice: &mut Dice) -> Self {
        let seconds = match weather {
            Weather::Slow(seconds) => seconds,
            // What goes out again at once would be under way for longer than anything else.
            _ if self.end == End::Refuse || self.status == 401 => return self,
            _ if dice.chance(15) => dice.pick(&[4, 8, 9, 11, 25, 70]),
            _ => return self,
        };
        Self { after: Duration::from_secs(seconds), ..self }
    }
}
