//! What can go wrong: every `errorCode` that Google documents for FCM, with and without `Retry-After`, OAuth's
//! answers, and the way there.

use std::time::Duration;

use h2::Reason;

use super::crowd::Start;

/// One thing that goes wrong, for a while or for ever, and what must come of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) fault: Fault,
    /// For how long it strikes; `None`: for ever.
    pub(crate) lasts: Option<Duration>,
    pub(crate) strikes: Strikes,
    pub(crate) start: Start,
    /// How each reminder may end: state and reason.
    pub(crate) ends: &'static [(&'static str, &'static str)],
    pub(crate) alarm: Option<Alarm>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// FCM's answer to a message.
    Answer(Words),
    /// The same, and the token endpoint works.
    Token(Words),
    /// How the answer to a message fails to come.
    Stream(Stream),
    /// What happens to a connection that has carried five messages.
    Connection(Connection),
    /// What happens to who connects: to FCM, and to the token endpoint.
    Dial(Dial),
    TokenDial(Dial),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Reset before or after the message was taken.
    Reset {
        reason: Reason,
        taken: bool,
    },
    /// Taken, and never answered.
    Silence,
    /// The head of a success, and never a body.
    HeadOnly,
    /// Half a body, as if it were all; shorter than it was said to be; broken off.
    Half,
    Short,
    BrokenOff,
    /// 103 before the answer.
    EarlyHints,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Cut, before or after the message was taken.
    Cut { taken: bool },
    /// TLS ends without a word, as it does when a middle-box forgets the connection.
    TlsEnds,
    /// The server says that it leaves, and finishes what it has.
    Leaves,
    /// It leaves at once.
    Goaway(Reason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dial {
    Refused,
    /// Nobody answers.
    Silent,
    /// Closed as soon as it is open.
    Closed,
    /// Closed in the middle of TLS's handshake; FCM is spoken to over TLS, which the script has not.
    TlsClosed,
}

/// Whom it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strikes {
    All,
    /// One patient in ten.
    Some,
}

/// What operators hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// Sending is paused: `/readyz` and the metric of the credential say so.
    Paused,
    /// `/readyz` says that there is no token to be had.
    NoToken,
    /// The metric of messages that are refused for good.
    Rejected,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    pub(crate) status: u16,
    pub(crate) body: Body,
    pub(crate) after: Option<After>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    /// Google's `status`, FCM's `errorCode`, and the field to blame.
    Google(&'static str, Option<&'static str>, Option<&'static str>),
    /// OAuth's `error`.
    OAuth(&'static str),
    Text(&'static str),
}

/// `Retry-After`, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum After {
    Seconds(u64),
    Date(u64),
    /// Another for a patient's second phone.
    Phones(u64, u64),
}

const SENT: &[(&str, &str)] = &[("sent", "accepted")];
const REJECTED: &[(&str, &str)] = &[("failed", "rejected")];
const NOBODY: &[(&str, &str)] = &[("expired", "no-device")];
const STALE: &[(&str, &str)] = &[("expired", "past-use-by")];
const SENT_OR_STALE: &[(&str, &str)] = &[("sent", "accepted"), ("expired", "past-use-by")];
const SENT_OR_NOBODY: &[(&str, &str)] = &[("sent", "accepted"), ("expired", "no-device")];

const HTML: Body = Body::Text("<!DOCTYPE html><title>Error</title><p>That’s all we know.");
const UNAVAILABLE: Body = Body::Google("UNAVAILABLE", Some("UNAVAILABLE"), None);
const INTERNAL: Body = Body::Google("INTERNAL", Some("INTERNAL"), None);
const QUOTA: Body = Body::Google("RESOURCE_EXHAUSTED", Some("QUOTA_EXCEEDED"), None);
const INVALID: &str = "INVALID_ARGUMENT";
const DENIED: &str = "PERMISSION_DENIED";

const MINUTE: Duration = Duration::from_mins(1);

impl Cell {
    /// For the first minute, for everybody, while everything is due; then all is sent.
    const fn of(name: &'static str, fault: Fault) -> Self {
        let (lasts, strikes, start) = (Some(MINUTE), Strikes::All, Start::Burst);
        Self { name, fault, lasts, strikes, start, ends: SENT, alarm: None }
    }

    const fn answer(name: &'static str, status: u16, body: Body) -> Self {
        Self::of(name, Fault::Answer(Words { status, body, after: None }))
    }

    const fn token(name: &'static str, status: u16, body: Body, alarm: Option<Alarm>) -> Self {
        let fault = Fault::Token(Words { status, body, after: None });
        Self { lasts: Some(Duration::from_mins(5)), alarm, ..Self::of(name, fault) }
    }

    const fn stream(name: &'static str, stream: Stream) -> Self {
        Self::of(name, Fault::Stream(stream))
    }

    const fn connection(name: &'static str, connection: Connection) -> Self {
        Self::of(name, Fault::Connection(connection))
    }

    const fn after(mut self, after: After) -> Self {
        if let Fault::Answer(words) | Fault::Token(words) = &mut self.fault {
            words.after = Some(after);
        }
        self
    }

    const fn for_ever(
        self,
        ends: &'static [(&'static str, &'static str)],
        alarm: Option<Alarm>,
    ) -> Self {
        Self { lasts: None, ends, alarm, ..self }
    }

    const fn some(self, ends: &'static [(&'static str, &'static str)]) -> Self {
        Self { strikes: Strikes::Some, ends, ..self }
    }

    const fn paused(self) -> Self {
        Self { lasts: Some(Duration::from_mins(5)), alarm: Some(Alarm::Paused), ..self }
    }

    /// Ten minutes of it, while reminders come due.
    const fn outage(name: &'static str, fault: Fault) -> Self {
        let lasts = Some(Duration::from_mins(10));
        Self { lasts, start: Start::Stream, ..Self::of(name, fault) }
    }

    const fn late(self) -> Self {
        Self { start: Start::Late, ends: SENT_OR_STALE, ..self }
    }
}

pub(crate) fn all() -> Vec<Cell> {
    [answers(), tokens(), streams(), connections(), outages()].concat()
}

fn answers() -> Vec<Cell> {
    use After::{Date, Phones, Seconds};
    const REJECTED_LOUDLY: Option<Alarm> = Some(Alarm::Rejected);
    let google = |status, code, field| Body::Google(status, code, field);
    vec![
        Cell::answer("400 INVALID_ARGUMENT", 400, google(INVALID, Some(INVALID), None))
            .for_ever(NOBODY, None),
        Cell::answer(
            "400 INVALID_ARGUMENT message.token",
            400,
            google(INVALID, Some(INVALID), Some("message.token")),
        )
        .for_ever(NOBODY, None),
        Cell::answer(
            "400 INVALID_ARGUMENT message.android.ttl",
            400,
            google(INVALID, Some(INVALID), Some("message.android.ttl")),
        )
        .for_ever(REJECTED, REJECTED_LOUDLY),
        Cell::answer("400 HTML", 400, HTML).for_ever(REJECTED, REJECTED_LOUDLY),
        Cell::answer("401 UNAUTHENTICATED", 401, google("UNAUTHENTICATED", None, None)).paused(),
        Cell::answer("401 HTML", 401, HTML).paused(),
        Cell::answer(
            "401 THIRD_PARTY_AUTH_ERROR",
            401,
            google("UNAUTHENTICATED", Some("THIRD_PARTY_AUTH_ERROR"), None),
        )
        .for_ever(REJECTED, REJECTED_LOUDLY),
        Cell::answer(
            "403 SENDER_ID_MISMATCH",
            403,
            google(DENIED, Some("SENDER_ID_MISMATCH"), None),
        )
        .for_ever(NOBODY, None),
        Cell::answer("403 PERMISSION_DENIED", 403, google(DENIED, None, None)).paused(),
        Cell::answer("403 HTML", 403, HTML).for_ever(REJECTED, REJECTED_LOUDLY),
        Cell::answer("404 UNREGISTERED", 404, google("NOT_FOUND", Some("UNREGISTERED"), None))
            .for_ever(NOBODY, None),
        Cell::answer(
            "404 UNREGISTERED, some",
            404,
            google("NOT_FOUND", Some("UNREGISTERED"), None),
        )
        .for_ever(NOBODY, None)
        .some(SENT_OR_NOBODY),
        Cell::answer("404 HTML", 404, HTML).for_ever(REJECTED, REJECTED_LOUDLY),
        Cell::answer("408 HTML", 408, HTML),
        Cell::answer("429 QUOTA_EXCEEDED", 429, QUOTA),
        Cell::answer("429 QUOTA_EXCEEDED after 150 s", 429, QUOTA).after(Seconds(150)),
        Cell::answer("429 QUOTA_EXCEEDED after a date", 429, QUOTA).after(Date(90)),
        Cell::answer("429 QUOTA_EXCEEDED, some", 429, QUOTA).some(SENT),
        Cell::answer("429 without a body", 429, Body::Text("")),
        Cell::answer("500 INTERNAL", 500, INTERNAL),
        Cell::answer("500 INTERNAL after 45 s", 500, INTERNAL).after(Seconds(45)),
        Cell::answer(
            "500 UNSPECIFIED_ERROR",
            500,
            google("UNKNOWN", Some("UNSPECIFIED_ERROR"), None),
        ),
        Cell::answer("503 UNAVAILABLE", 503, UNAVAILABLE),
        Cell::answer("503 UNAVAILABLE after 0 s", 503, UNAVAILABLE).after(Seconds(0)),
        Cell::answer("503 UNAVAILABLE after 120 s", 503, UNAVAILABLE).after(Seconds(120)),
        Cell::answer("503 UNAVAILABLE after a date", 503, UNAVAILABLE).after(Date(30)),
        Cell::answer("503 UNAVAILABLE after 20 s or 300 s", 503, UNAVAILABLE)
            .after(Phones(20, 300)),
        Cell::answer("503 UNAVAILABLE, some", 503, UNAVAILABLE).some(SENT),
        Cell::answer("503 HTML", 503, HTML),
        Cell::answer("502 HTML", 502, HTML),
        Cell::answer("504 HTML", 504, HTML),
        Cell::answer("302 HTML", 302, HTML),
        Cell::answer("304 without a body", 304, Body::Text("")),
        Cell::answer("200 HTML", 200, HTML),
        Cell::answer("200 {}", 200, Body::Text("{}")),
        Cell::answer("204 without a body", 204, Body::Text("")),
    ]
}

fn tokens() -> Vec<Cell> {
    let (no_token, paused) = (Some(Alarm::NoToken), Some(Alarm::Paused));
    let token = |name, status, body, alarm| Cell::token(name, status, body, alarm);
    vec![
        token("token: 400 invalid_grant", 400, Body::OAuth("invalid_grant"), paused),
        token("token: 401 invalid_client", 401, Body::OAuth("invalid_client"), paused),
        token("token: 403 access_denied", 403, Body::OAuth("access_denied"), paused),
        token("token: 429", 429, HTML, no_token),
        token("token: 429 after 60 s", 429, HTML, no_token).after(After::Seconds(60)),
        token("token: 500", 500, Body::OAuth("internal_failure"), no_token),
        token("token: 503 after 45 s", 503, HTML, no_token).after(After::Seconds(45)),
        token("token: 200 HTML", 200, HTML, no_token),
        Cell { alarm: no_token, ..Cell::of("token: refused", Fault::TokenDial(Dial::Refused)) },
        Cell { alarm: no_token, ..Cell::of("token: silent", Fault::TokenDial(Dial::Silent)) },
        Cell { alarm: no_token, ..Cell::of("token: closed", Fault::TokenDial(Dial::Closed)) },
    ]
}

fn streams() -> Vec<Cell> {
    let reset = |reason, taken| Stream::Reset { reason, taken };
    vec![
        Cell::stream("RST_STREAM REFUSED_STREAM", reset(Reason::REFUSED_STREAM, false)),
        Cell::stream("RST_STREAM INTERNAL_ERROR", reset(Reason::INTERNAL_ERROR, false)),
        Cell::stream("RST_STREAM CANCEL, taken", reset(Reason::CANCEL, true)),
        Cell::stream("no answer, taken", Stream::Silence),
        Cell::stream("a head and no body", Stream::HeadOnly),
        Cell::stream("half a body", Stream::Half),
        Cell::stream("a body shorter than said", Stream::Short),
        Cell::stream("a body broken off", Stream::BrokenOff),
        Cell::stream("103 before the answer", Stream::EarlyHints),
    ]
}

fn connections() -> Vec<Cell> {
    let dial = |name, dial| Cell::of(name, Fault::Dial(dial));
    vec![
        Cell::connection("reset before it was taken", Connection::Cut { taken: false }),
        Cell::connection("reset after it was taken", Connection::Cut { taken: true }),
        Cell::connection("TLS ends without a word", Connection::TlsEnds),
        Cell::connection("GOAWAY, finishing", Connection::Leaves),
        Cell::connection("GOAWAY NO_ERROR", Connection::Goaway(Reason::NO_ERROR)),
        Cell::connection("GOAWAY ENHANCE_YOUR_CALM", Connection::Goaway(Reason::ENHANCE_YOUR_CALM)),
        dial("connection refused", Dial::Refused),
        dial("connection unanswered", Dial::Silent),
        dial("connection closed at once", Dial::Closed),
        Cell {
            start: Start::Late,
            ..dial("closed while TLS begins", Dial::TlsClosed).for_ever(STALE, None)
        },
    ]
}

fn outages() -> Vec<Cell> {
    let down = Fault::Answer(Words { status: 503, body: UNAVAILABLE, after: None });
    let no_tokens = Fault::Token(Words { status: 503, body: HTML, after: None });
    let refused = Fault::Dial(Dial::Refused);
    vec![
        Cell::outage("ten minutes of 503", down),
        Cell::outage("ten minutes of 503, started late", down).late(),
        Cell::outage("ten minutes unreachable", refused),
        Cell::outage("ten minutes unreachable, started late", refused).late(),
        Cell {
            alarm: Some(Alarm::NoToken),
            ..Cell::outage("ten minutes without tokens", no_tokens)
        },
        Cell {
            alarm: Some(Alarm::NoToken),
            ..Cell::outage("ten minutes without tokens, started late", no_tokens).late()
        },
    ]
}
