//! What fuzzing does with bytes from anybody: each entry reads them as the server would and panics when
//! the server would break a promise.
//!
//! The targets in `fuzz/` call these entries under libFuzzer; a test replays the committed corpus
//! through them, without any fuzzer.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "here, a panic is how a broken promise shows"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use aftercare::locale::Locale;
use aftercare::planner::{Trial, preview};
use aftercare::protocol::Protocol;
use aftercare::zone::Zone;
use aftercare_api::dto::NewTreatment;
use aftercare_api::fields::{parse, read_body};
use aftercare_api::{Network, token_holds};
use aftercare_scheduler::push::{Outcome, classify};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

/// An entry: takes whatever bytes there are.
pub type Entry = fn(&[u8]);

/// Every entry, by the name of its target and of its corpus.
pub const ENTRIES: &[(&str, Entry)] = &[
    ("protocol_document", protocol_document),
    ("session_done", session_done),
    ("fcm_answer", fcm_answer),
    ("access_token", access_token),
    ("words", words),
];

/// The instant at which everything happens.
const NOW: &str = "2026-11-22T15:40:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A protocol document, as `aftercare protocol check` and `PUT /v1/protocols` get it: what is accepted can
/// be planned and rendered, in each of its languages, on both sides of a clock change.
pub fn protocol_document(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let protocol = match Protocol::parse(text) {
        Ok(protocol) => Arc::new(protocol),
        Err(faults) => {
            assert!(!faults.is_empty(), "a refusal names its faults");
            return;
        }
    };
    for locale in &protocol.locales {
        for (zone, at) in [
            ("Europe/Lisbon", "2026-03-28T17:30:00Z"),
            ("Australia/Lord_Howe", "2026-01-31T12:59:59Z"),
        ] {
            let at: Timestamp = at.parse().unwrap();
            let plan = preview(Trial {
                protocol: Arc::clone(&protocol),
                completed_at: at,
                recorded_at: at,
                zone: zone.parse().unwrap(),
                areas: None,
                locale: locale.clone(),
                slots: BTreeMap::new(),
            });
            assert!(plan.reminders.iter().all(|reminder| reminder.due_at < reminder.use_by));
        }
    }
}

/// The body of a session-done event: what is accepted names a patient.
pub fn session_done(bytes: &[u8]) {
    match read_body::<NewTreatment>(bytes) {
        Ok(body) => {
            let event = body.into_event().expect("an event that was accepted names its patient");
            assert!(parse::is_token(&event.event_id) && parse::in_years(event.completed_at));
        }
        Err(problem) => assert!(problem.errors().len() <= 100, "answers stay small"),
    }
}

/// FCM's answer: two bytes of status, a line that is `Retry-After`, and the body.
pub fn fcm_answer(bytes: &[u8]) {
    let Some((&status, rest)) = bytes.split_first_chunk::<2>() else { return };
    let status = StatusCode::from_u16(100 + u16::from_be_bytes(status) % 500).unwrap();
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (after, body) = rest.split_at(end);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(after) {
        headers.insert(header::RETRY_AFTER, value);
    }
    let answer = classify(status, &headers, body, now());
    match answer.outcome {
        Outcome::Sent { .. } => assert!(status.is_success()),
        Outcome::AddressGone => assert_eq!(status, 404, "nothing else may drop a device"),
        _ => {}
    }
    assert!(answer.detail.is_none_or(|detail| detail.chars().count() <= 300));
    assert!(answer.code.is_none_or(|code| code.chars().count() <= 64));
}

/// An access token. After the byte `s`, the first line is a header and the rest are claims, signed with the
/// server's key, which lets the fuzzer past the signature; anything else is a token as it came.
pub fn access_token(bytes: &[u8]) {
    const ISSUER: &str = "https://aftercare.test";
    static KEY: LazyLock<Ed25519KeyPair> =
        LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
    let holds = |token: &str| token_holds(token, "k1", KEY.public_key().as_ref(), ISSUER, now());
    let Some(parts) = bytes.strip_prefix(b"s") else {
        let token = String::from_utf8_lossy(bytes);
        assert!(!holds(&token), "a token that nobody signed: {token}");
        return;
    };
    let end = parts.iter().position(|byte| *byte == b'\n').unwrap_or(parts.len());
    let (head, claims) = (&parts[..end], parts.get(end + 1..).unwrap_or_default());
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(message.as_bytes()));
    if holds(&format!("{message}.{signature}")) {
        let read = |json: &[u8]| serde_json::from_slice::<Value>(json).unwrap();
        let (head, claims) = (read(head), read(claims));
        let header = json!([head["alg"], head["typ"], head["kid"]]);
        assert_eq!(header, json!(["EdDSA", "at+jwt", "k1"]));
        assert_eq!([&claims["iss"], &claims["aud"]], [ISSUER, ISSUER]);
        assert!(claims["exp"].as_i64().unwrap() > now().as_second(), "{claims}");
        assert!(claims["nbf"].as_i64().unwrap() <= now().as_second(), "{claims}");
        assert!(claims["sub"].is_string() && claims["sid"].is_string(), "{claims}");
    }
}

/// The small words that settings and requests are made of: what is accepted is written as something
/// that is accepted too, and means the same.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(locale) = text.parse::<Locale>() {
        assert_eq!(locale.to_string().parse::<Locale>().ok(), Some(locale));
    }
    if let Ok(zone) = text.parse::<Zone>() {
        assert_eq!(zone.to_string().parse::<Zone>().ok(), Some(zone));
    }
    let _ = text.parse::<Network>();
    if let Ok(at) = parse::instant(&json!(text)) {
        assert_eq!(parse::instant(&json!(at.to_string())).ok(), Some(at));
    }
    if parse::check_ref(text).is_ok() {
        assert!(!text.is_empty() && text.chars().count() <= 128);
    }
}
