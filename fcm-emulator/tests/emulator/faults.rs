//! Everything that can go wrong on demand.

use std::time::Duration;

use fcm_emulator::{Fault, FaultKind, RetryAfter};
use http::Method;
use serde_json::{Value, json};

use crate::support::Bench;

fn message() -> Value {
    json!({ "token": "phone-1", "notification": { "title": "t" } })
}

#[tokio::test]
async fn every_error_code_has_googles_status() {
    let bench = Bench::start().await;
    let cases = [
        ("INVALID_ARGUMENT", 400, "INVALID_ARGUMENT"),
        ("THIRD_PARTY_AUTH_ERROR", 401, "UNAUTHENTICATED"),
        ("SENDER_ID_MISMATCH", 403, "PERMISSION_DENIED"),
        ("UNREGISTERED", 404, "NOT_FOUND"),
        ("QUOTA_EXCEEDED", 429, "RESOURCE_EXHAUSTED"),
        ("INTERNAL", 500, "INTERNAL"),
        ("UNAVAILABLE", 503, "UNAVAILABLE"),
    ];
    for (kind, code, status) in cases {
        let fault = json!({ "kind": kind, "address": "phone-1", "times": 1 });
        let set = bench.control(Method::POST, "/emulator/v1/faults", fault).await;
        assert_eq!(set.status, 200, "{set:?}");
        let reply = bench.send(&message()).await;
        assert_eq!((reply.status.as_u16(), reply.code()), (code, Some(kind)));
        assert_eq!(reply.json["error"]["status"], status);
        assert_eq!(reply.json["error"]["code"], code);
        assert!(!reply.headers.contains_key("retry-after"));
        assert_eq!(bench.emulator.stats().refused[kind], 1);
    }
    bench.emulator.set_fault(Fault::new(FaultKind::Unauthenticated).times(1));
    let reply = bench.send(&message()).await;
    assert_eq!((reply.status.as_u16(), reply.code()), (401, None));
    bench.emulator.set_fault(Fault::new(FaultKind::Html503).times(1));
    let reply = bench.send(&message()).await;
    assert_eq!(reply.status, 503);
    assert!(reply.text.starts_with("<!DOCTYPE html>"));
    assert!(bench.emulator.accepted().is_empty());
    bench.accepted(message()).await;
}

#[tokio::test]
async fn a_bad_argument_blames_the_field_it_is_told_to() {
    let bench = Bench::start().await;
    bench.emulator.set_fault(Fault::new(FaultKind::InvalidArgument).times(1));
    assert_eq!(bench.send(&message()).await.field(), Some("message.token"));
    let fault = Fault::new(FaultKind::InvalidArgument).on_field("message.apns.payload");
    bench.emulator.set_fault(fault);
    assert_eq!(bench.send(&message()).await.field(), Some("message.apns.payload"));
}

#[tokio::test]
async fn faults_keep_to_their_address_their_number_and_their_order() {
    let bench = Bench::start().await;
    let busy = Fault::new(FaultKind::Unavailable).for_address("phone-1");
    bench.emulator.set_fault(busy.clone().times(2).retry_after(RetryAfter::Seconds(30)));
    bench.emulator.set_fault(
        Fault::new(FaultKind::QuotaExceeded)
            .for_address("phone-1")
            .retry_after(RetryAfter::HttpDateIn(90)),
    );
    bench.accepted(json!({ "token": "phone-2" })).await;
    for _ in 0..2 {
        let reply = bench.send(&message()).await;
        assert_eq!(
            (reply.status.as_u16(), &reply.headers["retry-after"]),
            (503, &"30".parse().unwrap())
        );
    }
    for _ in 0..3 {
        let reply = bench.send(&message()).await;
        assert_eq!(reply.status, 429);
        assert_eq!(reply.headers["retry-after"], "Sun, 22 Nov 2026 15:41:30 GMT");
        assert_eq!(reply.headers["date"], "Sun, 22 Nov 2026 15:40:00 GMT");
    }
    let faults = bench.emulator.faults();
    assert_eq!((faults.len(), faults[0].struck), (1, 3));
    let path = format!("/emulator/v1/faults/{}", faults[0].id);
    assert_eq!(bench.control(Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(bench.control(Method::DELETE, &path, Value::Null).await.status, 404);
    bench.accepted(message()).await;
    bench.emulator.set_fault(busy);
    bench.emulator.clear_faults();
    bench.accepted(message()).await;
}

#[tokio::test]
async fn random_faults_strike_about_as_often_as_told() {
    let bench = Bench::start().await;
    bench.emulator.set_fault(Fault::new(FaultKind::Internal).with_probability(0.5));
    let mut struck = 0;
    for _ in 0..100 {
        struck += u32::from(bench.send(&message()).await.status == 500);
    }
    // Outside of this in one of some 10^8 runs.
    assert!((22..=78).contains(&struck), "{struck}");
    bench.emulator.clear_faults();
    bench.emulator.set_fault(Fault::new(FaultKind::Internal).with_probability(0.0));
    bench.accepted(message()).await;
}

#[tokio::test]
async fn a_cut_connection_says_nothing_of_acceptance() {
    let bench = Bench::start().await;
    bench.emulator.set_fault(Fault::new(FaultKind::DropBefore).times(1));
    assert!(bench.try_send(json!({ "message": message() }).to_string()).await.is_err());
    assert!(bench.emulator.accepted().is_empty());
    assert!(bench.emulator.inbox("phone-1").is_empty());

    bench.emulator.set_fault(Fault::new(FaultKind::DropAfter).times(1));
    assert!(bench.try_send(json!({ "message": message() }).to_string()).await.is_err());
    let accepted = bench.emulator.accepted();
    assert_eq!((accepted.len(), accepted[0].answered), (1, false));
    assert_eq!(bench.titles("phone-1"), ["t"]);

    bench.accepted(message()).await;
    let stats = bench.emulator.stats();
    assert_eq!((stats.sends, stats.accepted, stats.dropped), (3, 2, 2));
}

#[tokio::test]
async fn a_late_answer_comes_after_the_phone_has_it() {
    let bench = Bench::start().await;
    let late = Duration::from_hours(1);
    bench.emulator.set_fault(Fault::new(FaultKind::DelayAnswer).delay(late).times(1));
    let mut shown = bench.emulator.shown();
    let message = message();
    tokio::select! {
        reply = bench.send(&message) => panic!("{reply:?}"),
        entry = shown.recv() => assert_eq!(entry.unwrap().title.as_deref(), Some("t")),
    }
    bench.emulator.set_fault(Fault::new(FaultKind::Delay).delay(Duration::from_millis(1)).times(1));
    bench.accepted(message.clone()).await;
    bench.emulator.set_fault(Fault::new(FaultKind::Delay).delay(late).times(1));
    let send = bench.send(&message);
    assert!(tokio::time::timeout(Duration::from_millis(50), send).await.is_err());
    assert_eq!(bench.emulator.accepted().len(), 2);
}

#[tokio::test]
async fn the_token_endpoint_fails_on_demand_too() {
    let mut bench = Bench::start().await;
    let fault = json!({ "kind": "UNAVAILABLE", "endpoint": "token", "times": 1,
        "retry_after": { "seconds": 5 } });
    bench.control(Method::POST, "/emulator/v1/faults", fault).await;
    bench.accepted(message()).await;
    let assertion = bench.assertion(&bench.claims());
    let reply = bench.ask_token(&assertion).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json["error"].as_str()),
        (503, Some("internal_failure"))
    );
    assert_eq!(reply.headers["retry-after"], "5");
    let refused = Fault::new(FaultKind::Unauthenticated).on_token_endpoint().times(1);
    bench.emulator.set_fault(refused);
    assert_eq!(bench.ask_token(&assertion).await.json["error"], "invalid_grant");
    bench.renew_token().await;
}

#[tokio::test]
async fn a_script_with_mistakes_is_refused() {
    let bench = Bench::start().await;
    for fault in [
        json!({}),
        json!({ "kind": "unregistered" }),
        json!({ "kind": "INTERNAL", "probability": 1.5 }),
        json!({ "kind": "INTERNAL", "times": 0 }),
        json!({ "kind": "INTERNAL", "adress": "phone-1" }),
        json!({ "kind": "INTERNAL", "retry_after": 30 }),
    ] {
        let reply = bench.control(Method::POST, "/emulator/v1/faults", fault.clone()).await;
        assert_eq!(reply.status, 400, "{fault}");
    }
    assert!(bench.emulator.faults().is_empty());
}
