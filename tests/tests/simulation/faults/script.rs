//! The other end: what it answers, and whether it should have been asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aftercare::clock::Clock as _;
use aftercare::ids::ReminderId;
use serde_json::json;

use super::cells::{After, Body, Cell, Connection, Dial, Fault, Stream, Strikes, Words};
use super::crowd::owner;
use crate::message::Message;
use crate::time::WallClock;

/// How long a request may go without an answer, and the least wait after that.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Instants are cut to microseconds.
const CUT: Duration = Duration::from_millis(1);
/// How often a message may come again at once that was certainly not looked at.
const AT_ONCE: u32 = 3;
/// How long an access token is good for, less than what is refreshed early.
const LIFE: Duration = Duration::from_mins(54);

/// When a message may come again that met a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// After this, twice and four times this: Google asks for exponential waits.
    Doubled(Duration),
    /// As the answer says.
    Asked(Duration),
    /// At once, up to twice: it was certainly not looked at.
    Unread,
    /// When the credential is in order again.
    Credential,
    /// Never, and nothing else goes to that address.
    NeverThere,
    /// Never this one.
    Never,
}

/// A phone, as FCM knows it.
#[derive(Debug, Default)]
struct Phone {
    /// Whether a message is being answered.
    open: bool,
    not_before: Duration,
    failures: u32,
    gone: bool,
    tried: BTreeSet<ReminderId>,
    refused: BTreeSet<ReminderId>,
    accepted: BTreeSet<ReminderId>,
}

/// A message at FCM's door.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    address: String,
    reminder: ReminderId,
    pub(crate) struck: bool,
}

pub(crate) struct Script {
    pub(crate) cell: Cell,
    clock: Arc<WallClock>,
    phones: BTreeMap<String, Phone>,
    pub(crate) sends: usize,
    /// When they came.
    pub(crate) came: Vec<Duration>,
    pub(crate) retries: usize,
    pub(crate) early: usize,
    /// Answers that refuse the credential.
    pub(crate) refusals: usize,
    /// How often somebody asked for an access token, before the first one ran out.
    pub(crate) tokens: usize,
    token_not_before: Duration,
    /// What FCM took, in that order: the reminder, when it was due, and when it came first.
    pub(crate) taken: Vec<(ReminderId, jiff::Timestamp, Duration)>,
    known: BTreeSet<ReminderId>,
    pub(crate) wrongs: Vec<String>,
}

impl Script {
    pub(crate) fn new(cell: Cell, clock: Arc<WallClock>) -> Self {
        Self {
            cell,
            clock,
            phones: BTreeMap::new(),
            sends: 0,
            came: Vec::new(),
            retries: 0,
            early: 0,
            refusals: 0,
            tokens: 0,
            token_not_before: Duration::ZERO,
            taken: Vec::new(),
            known: BTreeSet::new(),
            wrongs: Vec::new(),
        }
    }

    fn wrong(&mut self, why: &str) {
        if self.wrongs.len() < 3 {
            self.wrongs.push(format!("{:?} {why}", self.clock.elapsed()));
        }
    }

    /// Whether the fault strikes now.
    pub(crate) fn is_on(&self) -> bool {
        self.cell.lasts.is_none_or(|lasts| self.clock.elapsed() < lasts)
    }

    pub(crate) fn dial(&self, tokens: bool) -> Option<Dial> {
        match self.cell.fault {
            Fault::Dial(dial) if !tokens => Some(dial).filter(|_| self.is_on()),
            Fault::TokenDial(dial) if tokens => Some(dial).filter(|_| self.is_on()),
            _ => None,
        }
    }

    pub(crate) fn connection(&self) -> Option<Connection> {
        match self.cell.fault {
            Fault::Connection(connection) if self.is_on() => Some(connection),
            _ => None,
        }
    }

    pub(crate) fn stream(&self) -> Option<Stream> {
        match self.cell.fault {
            Fault::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// A message arrives.
    pub(crate) fn arrives(&mut self, body: &[u8]) -> Option<Caller> {
        let (now, on) = (self.clock.elapsed(), self.is_on());
        self.sends += 1;
        self.came.push(now);
        let message = match Message::read(body, self.clock.now()) {
            Ok(message) => message,
            Err(why) => {
                self.wrong(&why);
                return None;
            }
        };
        let reached =
            self.cell.strikes == Strikes::All || owner(&message.address).0.is_multiple_of(10);
        let (reminder, due_at) = (message.reminder, message.due_at);
        if message.use_by <= self.clock.now() {
            self.wrong(&format!("{reminder} at or after its use-by"));
        }
        let phone = self.phones.entry(message.address.clone()).or_default();
        self.retries += usize::from(!phone.tried.insert(reminder));
        let wrong = if phone.gone {
            Some("to an address that FCM said is gone".to_owned())
        } else if phone.refused.contains(&reminder) {
            Some("after FCM refused it for good".to_owned())
        } else if phone.accepted.contains(&reminder) {
            Some("after FCM took it and said so".to_owned())
        } else if phone.open || now + CUT < phone.not_before {
            Some(format!("{:?} too early", phone.not_before.saturating_sub(now)))
        } else {
            None
        };
        phone.open = true;
        if let Some(wrong) = wrong {
            self.early += 1;
            self.wrong(&format!("{reminder} went to {} {wrong}", message.address));
        }
        let struck =
            on && reached && matches!(self.cell.fault, Fault::Answer(_) | Fault::Stream(_));
        if !struck || self.is_taken_all_the_same() {
            self.take(reminder, due_at);
        }
        Some(Caller { address: message.address, reminder, struck })
    }

    /// Whether the phone gets what the scheduler gets no answer to.
    fn is_taken_all_the_same(&self) -> bool {
        match self.cell.fault {
            Fault::Stream(Stream::Reset { taken, .. })
            | Fault::Connection(Connection::Cut { taken }) => taken,
            Fault::Stream(_) => true,
            _ => false,
        }
    }

    fn take(&mut self, reminder: ReminderId, due_at: jiff::Timestamp) {
        if self.known.insert(reminder) {
            self.taken.push((reminder, due_at, self.clock.elapsed()));
        }
    }

    /// FCM took it, and the scheduler knows.
    pub(crate) fn accepted(&mut self, caller: &Caller) {
        if let Some(phone) = self.phones.get_mut(&caller.address) {
            (phone.open, phone.not_before, phone.failures) = (false, Duration::ZERO, 0);
            phone.accepted.insert(caller.reminder);
        }
    }

    /// The scheduler learnt, or will after that time, that there is no success.
    pub(crate) fn failed(&mut self, caller: &Caller, learns_in: Duration) {
        let again = self.again(&caller.address);
        let learnt = self.clock.elapsed() + learns_in;
        self.refusals += usize::from(again == Again::Credential);
        let Some(phone) = self.phones.get_mut(&caller.address) else { return };
        phone.open = false;
        phone.failures += 1;
        phone.not_before = match again {
            Again::Doubled(base) => learnt + base * (1 << (phone.failures - 1).min(2)),
            Again::Asked(asked) => learnt + asked,
            Again::Unread if phone.failures.is_multiple_of(AT_ONCE) => learnt + PATIENCE,
            Again::Unread | Again::Credential => learnt,
            Again::NeverThere => {
                phone.gone = true;
                learnt
            }
            Again::Never => {
                phone.refused.insert(caller.reminder);
                learnt
            }
        };
    }

    /// What Google asks for after this cell's fault.
    fn again(&self, address: &str) -> Again {
        let ten = Again::Doubled(Duration::from_secs(10));
        match self.cell.fault {
            Fault::Answer(words) => answered(words, owner(address).1),
            Fault::Stream(Stream::Reset { reason: h2::Reason::REFUSED_STREAM, .. })
            | Fault::Connection(Connection::Goaway(h2::Reason::NO_ERROR) | Connection::Leaves) => {
                Again::Unread
            }
            _ => ten,
        }
    }

    /// Somebody asks for an access token: the status, `Retry-After`, and the body.
    pub(crate) fn token(&mut self) -> (u16, Option<String>, String) {
        let now = self.clock.elapsed();
        self.tokens += usize::from(now < LIFE);
        if now + CUT < self.token_not_before {
            self.early += 1;
            self.wrong("asked for a token too early");
        }
        match self.cell.fault {
            Fault::Token(words) if self.is_on() => {
                self.token_not_before = now + asked(words, 0).unwrap_or(Duration::from_secs(1));
                (words.status, self.retry_after(words, 0), body(words))
            }
            _ => {
                let token = format!("token-{}", self.tokens);
                let granted = json!({"access_token": token, "expires_in": 3_599});
                (200, None, granted.to_string())
            }
        }
    }

    /// FCM's words for who is struck.
    pub(crate) fn words(&self, caller: &Caller) -> Option<(u16, Option<String>, String)> {
        let Fault::Answer(words) = self.cell.fault else { return None };
        let phone = owner(&caller.address).1;
        Some((words.status, self.retry_after(words, phone), body(words)))
    }

    fn retry_after(&self, words: Words, phone: usize) -> Option<String> {
        let seconds = asked(words, phone)?.as_secs();
        if let Some(After::Date(_)) = words.after {
            let seconds = i64::try_from(seconds).unwrap();
            let at = self.clock.now() + jiff::SignedDuration::from_secs(seconds);
            return jiff::fmt::rfc2822::DateTimePrinter::new()
                .timestamp_to_rfc9110_string(&at)
                .ok();
        }
        Some(seconds.to_string())
    }
}

fn asked(words: Words, phone: usize) -> Option<Duration> {
    words.after.map(|after| match after {
        After::Seconds(seconds) | After::Date(seconds) => Duration::from_secs(seconds),
        After::Phones(first, second) => Duration::from_secs([first, second][phone]),
    })
}

fn answered(words: Words, phone: usize) -> Again {
    match (words.status, words.body) {
        (400, Body::Google(_, Some("INVALID_ARGUMENT"), None | Some("message.token")))
        | (403, Body::Google(_, Some("SENDER_ID_MISMATCH"), _))
        | (404, Body::Google(_, Some("UNREGISTERED"), _)) => Again::NeverThere,
        (401, Body::Google(_, Some("THIRD_PARTY_AUTH_ERROR"), _)) => Again::Never,
        (401, _) | (403, Body::Google(_, None, _)) => Again::Credential,
        (400 | 403 | 404, _) => Again::Never,
        (status, _) => {
            let base = Duration::from_secs(if status == 429 { 60 } else { 10 });
            // A date has whole seconds only.
            let cut = Duration::from_secs(u64::from(matches!(words.after, Some(After::Date(_)))));
            match asked(words, phone) {
                Some(asked) if !asked.is_zero() => Again::Asked(asked.saturating_sub(cut)),
                _ => Again::Doubled(base),
            }
        }
    }
}

fn body(words: Words) -> String {
    match words.body {
        Body::Text(text) => text.to_owned(),
        Body::OAuth(error) => json!({"error": error, "error_description": "no"}).to_string(),
        Body::Google(status, code, field) => {
            let kind = |name: &str| format!("type.googleapis.com/google.{name}");
            let code = code
                .map(|code| json!({"@type": kind("firebase.fcm.v1.FcmError"), "errorCode": code}));
            let field = field.map(|field| {
                let violation = json!({"field": field, "description": "no"});
                json!({"@type": kind("rpc.BadRequest"), "fieldViolations": [violation]})
            });
            let details: Vec<_> = code.into_iter().chain(field).collect();
            let error = json!({"code": words.status, "message": "no", "status": status, "details": details});
            json!({"error": error}).to_string()
        }
    }
}
