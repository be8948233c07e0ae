//! Scripted faults: what goes wrong, for whom, how often.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aftercare::clock::Rng;
use serde::{Deserialize, Serialize};

/// What goes wrong.
///
/// In JSON each is its name in capitals: `"UNREGISTERED"`, `"HTML_503"`, `"DROP_AFTER"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FaultKind {
    /// 400: [`Fault::field`] (`message.token` unless said otherwise) is not valid.
    InvalidArgument,
    /// 401: the access token is refused, as if it had expired.
    Unauthenticated,
    /// 401: Google's credentials for APNs or the web push service are refused.
    ThirdPartyAuthError,
    /// 403: the address belongs to another project.
    SenderIdMismatch,
    /// 404: the app is gone from that device.
    Unregistered,
    /// 429: too many messages.
    QuotaExceeded,
    /// 500 with a JSON body.
    Internal,
    /// 503 with a JSON body.
    Unavailable,
    /// 503 with an HTML page, as a front end gives when nothing behind it answers.
    #[serde(rename = "HTML_503")]
    Html503,
    /// The connection is cut before anything is accepted.
    DropBefore,
    /// The message is accepted and reaches the phone; the connection is cut instead of an answer.
    DropAfter,
    /// Nothing goes wrong, [`Fault::delay_ms`] is spent before the message is accepted.
    Delay,
    /// The message is accepted at once, its answer comes [`Fault::delay_ms`] later.
    DelayAnswer,
}

impl FaultKind {
    /// Its name, as in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::ThirdPartyAuthError => "THIRD_PARTY_AUTH_ERROR",
            Self::SenderIdMismatch => "SENDER_ID_MISMATCH",
            Self::Unregistered => "UNREGISTERED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::Html503 => "HTML_503",
            Self::DropBefore => "DROP_BEFORE",
            Self::DropAfter => "DROP_AFTER",
            Self::Delay => "DELAY",
            Self::DelayAnswer => "DELAY_ANSWER",
        }
    }
}

/// The endpoint that a fault strikes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// `messages:send`.
    #[default]
    Send,
    /// The OAuth token endpoint. Kinds that only make sense for a message are answered as
    /// `invalid_grant`; [`FaultKind::DropAfter`] loses the answer, the token is given.
    Token,
}

/// The `Retry-After` header of a faulty answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// As a number of seconds.
    Seconds(u32),
    /// As an HTTP date, this many seconds ahead on the emulator's clock.
    HttpDateIn(u32),
}

/// One scripted fault.
///
/// Faults are tried in the order they were set; the first that strikes decides.
///
/// ```
/// use fcm_emulator::{Fault, FaultKind, RetryAfter};
///
/// // Google is out of breath twice for this phone, and says when to come back.
/// let busy = Fault::new(FaultKind::Unavailable)
///     .for_address("phone-1")
///     .times(2)
///     .retry_after(RetryAfter::Seconds(30));
/// assert_eq!(busy.times, Some(2));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Where.
    #[serde(default)]
    pub endpoint: Endpoint,
    /// The token, FID or `/topics/…` it strikes; none means every send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How many requests it still strikes; none means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The chance, from 0 to 1, that it strikes a request it applies to.
    #[serde(default = "certain")]
    pub probability: f64,
    /// The `Retry-After` header of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<RetryAfter>,
    /// Real milliseconds to wait first, whatever the kind.
    #[serde(default)]
    pub delay_ms: u64,
    /// For [`FaultKind::InvalidArgument`]: the field to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

fn certain() -> f64 {
    1.0
}

impl Fault {
    /// A fault that strikes every send, for ever.
    #[must_use]
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            endpoint: Endpoint::Send,
            address: None,
            times: None,
            probability: certain(),
            retry_after: None,
            delay_ms: 0,
            field: None,
        }
    }

    /// Strikes one address only.
    #[must_use]
    pub fn for_address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Strikes the token endpoint instead of sends.
    #[must_use]
    pub fn on_token_endpoint(mut self) -> Self {
        self.endpoint = Endpoint::Token;
        self
    }

    /// Strikes this many requests, then never again.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Strikes with this chance, from 0 to 1.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Answers with a `Retry-After` header.
    #[must_use]
    pub fn retry_after(mut self, retry_after: RetryAfter) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// Waits this long (real time) first.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Blames this field ([`FaultKind::InvalidArgument`]).
    #[must_use]
    pub fn on_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The delay before (or, for [`FaultKind::DelayAnswer`], after) the work.
    pub(crate) fn delay_time(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }
}

/// A fault as it stands in the list.
#[derive(Debug, Clone, Serialize)]
pub struct SetFault {
    /// Its number, to remove it by.
    pub id: u64,
    /// The fault; `times` counts down.
    #[serde(flatten)]
    pub fault: Fault,
    /// How many requests it has struck.
    pub struck: u64,
}

/// The list of faults.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Script>);

#[derive(Default)]
struct Script {
    last_id: u64,
    faults: Vec<SetFault>,
}

impl Faults {
    /// Adds a fault behind the others.
    pub(crate) fn set(&self, fault: Fault) -> u64 {
        let mut script = self.script();
        script.last_id += 1;
        let id = script.last_id;
        script.faults.push(SetFault { id, fault, struck: 0 });
        id
    }

    /// Removes one fault; false when there is none of that number.
    pub(crate) fn remove(&self, id: u64) -> bool {
        let mut script = self.script();
        let before = script.faults.len();
        script.faults.retain(|set| set.id != id);
        script.faults.len() < before
    }

    /// Removes all faults.
    pub(crate) fn clear(&self) {
        self.script().faults.clear();
    }

    /// The faults that can still strike.
    pub(crate) fn list(&self) -> Vec<SetFault> {
        self.script().faults.clone()
    }

    /// The fault that strikes this request, if any; it is counted, and dropped when spent.
    pub(crate) fn strike(
        &self,
        endpoint: Endpoint,
        address: Option<&str>,
        rng: &dyn Rng,
    ) -> Option<Fault> {
        let mut script = self.script();
        let applies = |set: &&mut SetFault| {
            let fault = &set.fault;
            fault.endpoint == endpoint
                && fault.times != Some(0)
                && (fault.address.is_none() || fault.address.as_deref() == address)
                && (fault.probability >= 1.0 || chance(rng) < fault.probability)
        };
        let struck = script.faults.iter_mut().find(applies)?;
        struck.struck += 1;
        struck.fault.times = struck.fault.times.map(|times| times - 1);
        let fault = struck.fault.clone();
        script.faults.retain(|set| set.fault.times != Some(0));
        Some(fault)
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number from 0 up to, not including, 1.
fn chance(rng: &dyn Rng) -> f64 {
    let mut bytes = [0; 4];
    rng.fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
