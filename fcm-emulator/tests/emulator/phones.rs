//! What phones show, and what becomes of messages while they are offline.

use fcm_emulator::{Platform, ShownKind};
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::Bench;

async fn set(bench: &Bench, address: &str, settings: Value) -> Value {
    let reply = bench.control(Method::PUT, &format!("/phones/{address}"), settings).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json
}

fn note(title: &str, more: Value) -> Value {
    let mut message = json!({ "token": "phone-1", "notification": { "title": title } });
    let (Value::Object(all), Value::Object(more)) = (&mut message, more) else { panic!() };
    all.extend(more);
    message
}

fn data(number: usize) -> Value {
    json!({ "token": "phone-1", "data": { "number": number.to_string() } })
}

#[tokio::test]
async fn the_same_tag_replaces_on_every_platform() {
    let bench = Bench::start().await;
    let parts = |id: &str| {
        json!({
            "android": { "notification": { "tag": id } },
            "apns": { "headers": { "apns-collapse-id": id } },
            "webpush": { "headers": { "Topic": id } },
        })
    };
    for platform in ["android", "ios", "web"] {
        bench.control(Method::DELETE, "/inbox/phone-1", Value::Null).await;
        set(&bench, "phone-1", json!({ "platform": platform })).await;
        bench.accepted(note("first", parts("a"))).await;
        bench.accepted(note("other", parts("b"))).await;
        bench.accepted(note("second", parts("a"))).await;
        bench.accepted(note("untagged", json!({}))).await;
        bench.accepted(note("untagged", json!({}))).await;
        assert_eq!(bench.titles("phone-1"), ["other", "second", "untagged", "untagged"]);
        assert_eq!(bench.emulator.inbox("phone-1")[1].replaced, 1);
    }
}

#[tokio::test]
async fn each_platform_shows_its_own_text() {
    let bench = Bench::start().await;
    let message = json!({
        "token": "phone-1",
        "notification": { "title": "common", "body": "common" },
        "data": { "id": "1" },
        "android": { "notification": { "title": "android" }, "data": { "id": "2" } },
        "apns": { "payload": { "aps": { "alert": { "title": "apple", "body": "apple" } }, "own": 1 } },
        "webpush": { "notification": { "title": "web", "tag": "w" } },
    });
    for platform in ["android", "ios", "web"] {
        set(&bench, "phone-1", json!({ "platform": platform })).await;
        bench.accepted(message.clone()).await;
    }
    let shown = bench.emulator.inbox("phone-1");
    let texts: Vec<_> = shown
        .iter()
        .map(|s| (s.platform, s.title.as_deref().unwrap(), s.body.as_deref().unwrap()))
        .collect();
    assert_eq!(
        texts,
        [
            (Platform::Android, "android", "common"),
            (Platform::Ios, "apple", "apple"),
            (Platform::Web, "web", "common"),
        ]
    );
    assert_eq!(shown[0].data["id"], "2");
    assert_eq!((shown[1].data["id"].as_str(), shown[1].data["own"].as_str()), ("1", "1"));
    assert_eq!(shown[2].tag.as_deref(), Some("w"));
}

#[tokio::test]
async fn data_reaches_the_app_unseen() {
    let bench = Bench::start().await;
    bench.accepted(data(1)).await;
    let reply = bench.control(Method::GET, "/inbox/phone-1", Value::Null).await;
    assert_eq!(reply.json[0]["kind"], "data");
    assert_eq!(reply.json[0]["title"], Value::Null);
    assert_eq!(reply.json[0]["shown_at"], "2026-11-22T15:40:00Z");
}

#[tokio::test]
async fn times_to_live_are_kept_by_the_clock_while_offline() {
    let bench = Bench::start().await;
    let at = bench.now().as_second();
    for (platform, part) in [
        (
            "android",
            |ttl: i64, _: i64| json!({ "android": { "ttl": format!("{ttl}s"), "collapse_key": ttl.to_string() } }),
        ),
        ("web", |ttl: i64, _: i64| json!({ "webpush": { "headers": { "TTL": ttl.to_string() } } })),
    ] as [(&str, fn(i64, i64) -> Value); 2]
    {
        bench.emulator.clear();
        set(&bench, "phone-1", json!({ "platform": platform, "online": false })).await;
        for ttl in [0, 60, 61] {
            bench.accepted(note(&ttl.to_string(), part(ttl, at))).await;
        }
        assert!(bench.emulator.inbox("phone-1").is_empty());
        assert_eq!(bench.emulator.phone("phone-1").unwrap().stored, 2, "{platform}");
        bench.clock.advance(SignedDuration::from_secs(60));
        assert_eq!(set(&bench, "phone-1", json!({ "online": true })).await["stored"], 0);
        assert_eq!(bench.titles("phone-1"), ["61"], "{platform}");
        let shown = &bench.emulator.inbox("phone-1")[0];
        assert_eq!(shown.shown_at.duration_since(shown.accepted_at).as_secs(), 60);
    }
}

#[tokio::test]
async fn what_may_not_wait_is_shown_now_or_never() {
    let bench = Bench::start().await;
    let now_or_never = json!({
        "android": { "ttl": "0s" },
        "apns": { "headers": { "apns-expiration": "0" } },
        "webpush": { "headers": { "TTL": "0" } },
    });
    for platform in ["android", "ios", "web"] {
        bench.emulator.clear();
        set(&bench, "phone-1", json!({ "platform": platform })).await;
        bench.accepted(note("now", now_or_never.clone())).await;
        set(&bench, "phone-1", json!({ "online": false })).await;
        bench.accepted(note("never", now_or_never.clone())).await;
        set(&bench, "phone-1", json!({ "online": true })).await;
        assert_eq!(bench.titles("phone-1"), ["now"], "{platform}");
    }
}

#[tokio::test]
async fn apns_keeps_the_last_one_until_its_expiration() {
    let bench = Bench::start().await;
    let until = |seconds: i64| {
        let at = bench.now().as_second() + seconds;
        json!({ "apns": { "headers": { "apns-expiration": at.to_string() } } })
    };
    set(&bench, "phone-1", json!({ "platform": "ios", "online": false })).await;
    bench.accepted(note("first", until(600))).await;
    bench.accepted(note("second", until(60))).await;
    bench.clock.advance(SignedDuration::from_secs(59));
    set(&bench, "phone-1", json!({ "online": true })).await;
    assert_eq!(bench.titles("phone-1"), ["second"]);

    set(&bench, "phone-1", json!({ "online": false })).await;
    bench.accepted(note("third", until(60))).await;
    bench.clock.advance(SignedDuration::from_secs(60));
    set(&bench, "phone-1", json!({ "online": true })).await;
    assert_eq!(bench.titles("phone-1"), ["second"]);
}

#[tokio::test]
async fn android_keeps_four_collapse_keys() {
    let bench = Bench::start().await;
    let keyed = |key: &str| json!({ "android": { "collapse_key": key } });
    set(&bench, "phone-1", json!({ "online": false })).await;
    for (title, key) in [("1", "a"), ("2", "b"), ("3", "a"), ("4", "c"), ("5", "d"), ("6", "e")] {
        bench.accepted(note(title, keyed(key))).await;
    }
    set(&bench, "phone-1", json!({ "online": true })).await;
    assert_eq!(bench.titles("phone-1"), ["3", "4", "5", "6"]);

    set(&bench, "phone-1", json!({ "online": false })).await;
    bench.control(Method::DELETE, "/inbox", Value::Null).await;
    bench.accepted(note("first of the app", json!({}))).await;
    bench.accepted(note("last of the app", json!({}))).await;
    set(&bench, "phone-1", json!({ "online": true })).await;
    assert_eq!(bench.titles("phone-1"), ["last of the app"]);
}

#[tokio::test]
async fn the_hundred_and_first_message_empties_the_store() {
    let bench = Bench::start().await;
    set(&bench, "phone-1", json!({ "online": false })).await;
    for number in 0..100 {
        bench.accepted(data(number)).await;
    }
    assert_eq!(bench.emulator.phone("phone-1").unwrap().stored, 100);
    bench.accepted(data(100)).await;
    bench.accepted(data(101)).await;
    set(&bench, "phone-1", json!({ "online": true })).await;
    let shown = bench.emulator.inbox("phone-1");
    assert_eq!((shown.len(), shown[0].kind), (2, ShownKind::DeletedMessages));
    assert_eq!(shown[1].data["number"], "101");
}

#[tokio::test]
async fn a_removed_app_is_unregistered_until_it_is_back() {
    let bench = Bench::start().await;
    bench.accepted(note("before", json!({}))).await;
    let gone = set(&bench, "phone-1", json!({ "installed": false })).await;
    assert_eq!((&gone["installed"], &gone["shown"]), (&json!(false), &json!(0)));
    let reply = bench.send(&note("gone", json!({}))).await;
    assert_eq!((reply.status.as_u16(), reply.code()), (404, Some("UNREGISTERED")));
    set(&bench, "phone-1", json!({ "installed": true })).await;
    bench.accepted(note("after", json!({}))).await;
    assert_eq!(bench.titles("phone-1"), ["after"]);
}

#[tokio::test]
async fn phones_are_listed_set_and_forgotten() {
    let bench = Bench::start().await;
    let missing = bench.control(Method::GET, "/phones/phone-1", Value::Null).await;
    assert_eq!(missing.status, 404);
    assert_eq!(bench.control(Method::GET, "/inbox/phone-1", Value::Null).await.json, json!([]));
    set(&bench, "b%3Ac", json!({ "platform": "ios" })).await;
    set(&bench, "a", json!({})).await;
    let listed = bench.control(Method::GET, "/phones", Value::Null).await.json;
    assert_eq!((&listed[0]["address"], &listed[1]["address"]), (&json!("a"), &json!("b:c")));
    for wrong in [json!({ "onlin": true }), json!({ "platform": "symbian" }), json!([])] {
        let reply = bench.control(Method::PUT, "/phones/a", wrong).await;
        assert_eq!(reply.status, 400);
    }
    assert_eq!(bench.control(Method::DELETE, "/phones/a", Value::Null).await.status, 204);
    assert_eq!(bench.control(Method::DELETE, "/phones/a", Value::Null).await.status, 404);
    assert_eq!(bench.control(Method::POST, "/emulator/v1/reset", Value::Null).await.status, 204);
    assert_eq!(bench.control(Method::GET, "/phones", Value::Null).await.json, json!([]));
}
