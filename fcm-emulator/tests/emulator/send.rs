//! What is accepted and what is refused, over HTTP as Google answers it.

use crate::support::{Bench, call};
use http::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_message_is_accepted_and_shown() {
    let bench = Bench::start().await;
    let name = bench
        .accepted(json!({
            "token": "phone-1",
            "notification": { "title": "Evening", "body": "Do not wash your face tonight." },
            "data": { "reminder_id": "r1" },
            "android": {
                "ttl": "3.5s", "priority": "high", "collapseKey": "a",
                "notification": { "tag": "r1", "channelId": "care", "visibility": "PRIVATE",
                    "notification_count": 2, "vibrate_timings": ["0.2s"],
                    "light_settings": { "color": { "red": 1, "green": 0.5, "blue": 0 },
                        "light_on_duration": "1s", "light_off_duration": "2s" } },
            },
            "apns": {
                "headers": { "apns-expiration": "1795362000", "apns-priority": "10",
                    "apns-collapse-id": "r1", "apns-push-type": "alert" },
                "payload": { "aps": { "sound": "default" }, "extra": [1, 2] },
            },
            "webpush": { "headers": { "TTL": "60", "Topic": "r1", "Urgency": "high" },
                "fcm_options": { "link": "https://example.org/" } },
            "fcm_options": { "analytics_label": "aftercare" },
        }))
        .await;
    assert!(name.starts_with("projects/aftercare-emulator/messages/0:"), "{name}");
    let shown = bench.emulator.inbox("phone-1");
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].title.as_deref(), Some("Evening"));
    assert_eq!(shown[0].tag.as_deref(), Some("r1"));
    assert_eq!(shown[0].data["reminder_id"], "r1");
    assert_eq!(shown[0].shown_at, bench.now());
    let accepted = bench.emulator.accepted();
    assert_eq!(accepted[0].name, name);
    assert_eq!(accepted[0].message["android"]["collapse_key"], "a");
    assert!(accepted[0].answered);
}

#[tokio::test]
async fn validate_only_accepts_without_a_trace() {
    let bench = Bench::start().await;
    let body = json!({ "validate_only": true, "message": { "fid": "fid-1", "data": {} } });
    let reply = bench.try_send(body.to_string()).await.unwrap();
    assert_eq!(reply.json["name"], "projects/aftercare-emulator/messages/fake_message_id");
    let body = json!({ "validateOnly": true, "message": { "fid": "fid 1" } });
    let reply = bench.try_send(body.to_string()).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.field()), (400, Some("message.fid")));
    assert!(bench.emulator.accepted().is_empty());
    assert!(bench.emulator.inboxes().is_empty());
}

#[tokio::test]
async fn unknown_names_are_told_in_googles_words() {
    let bench = Bench::start().await;
    let reply = bench.send(&json!({ "token": "a", "titel": 1, "android": { "tag": "x" } })).await;
    assert_eq!(reply.status, 400);
    let of_android = "Invalid JSON payload received. Unknown name \"tag\" at 'message.android': \
                      Cannot find field.";
    let of_message =
        "Invalid JSON payload received. Unknown name \"titel\" at 'message': Cannot find field.";
    assert_eq!(
        reply.json,
        json!({ "error": {
            "code": 400,
            "message": format!("{of_android}\n{of_message}"),
            "status": "INVALID_ARGUMENT",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [
                    { "field": "message.android", "description": of_android },
                    { "field": "message", "description": of_message },
                ],
            }],
        } })
    );
    let reply = bench.try_send(r#"{"massage": {}}"#).await.unwrap();
    let said = "Invalid JSON payload received. Unknown name \"massage\": Cannot find field.";
    assert_eq!(reply.message(), said);
    let reply = bench.try_send(r#"{"message": {"token"#).await.unwrap();
    assert_eq!(reply.status, 400);
    assert!(reply.message().starts_with("Invalid JSON payload received."), "{reply:?}");
}

#[tokio::test]
async fn values_of_another_kind_are_refused() {
    let bench = Bench::start().await;
    let cases = [
        (json!({ "data": { "a": 12 } }), "message.data[0].value", "(TYPE_STRING), 12"),
        (json!({ "data": [] }), "message.data", "[]"),
        (json!({ "notification": "hi" }), "message.notification", "fcm.v1.Notification), \"hi\""),
        (json!({ "android": { "ttl": "3600" } }), "message.android.ttl", "must end with 's'"),
        (json!({ "android": { "ttl": 3600 } }), "message.android.ttl", "protobuf.Duration), 3600"),
        (json!({ "android": { "ttl": "1.5.2s" } }), "message.android.ttl", "Illegal duration"),
        (json!({ "android": { "priority": "urgent" } }), "message.android.priority", "Priority)"),
        (
            json!({ "android": { "direct_boot_ok": "yes" } }),
            "message.android.direct_boot_ok",
            "(TYPE_BOOL), \"yes\"",
        ),
        (
            json!({ "android": { "notification": { "notification_count": 1.5 } } }),
            "message.android.notification.notification_count",
            "(TYPE_INT32), 1.5",
        ),
        (
            json!({ "android": { "notification": { "event_time": "today" } } }),
            "message.android.notification.event_time",
            "protobuf.Timestamp), \"today\"",
        ),
        (
            json!({ "android": { "notification": { "body_loc_args": ["a", 1] } } }),
            "message.android.notification.body_loc_args[1]",
            "(TYPE_STRING), 1",
        ),
        (
            json!({ "apns": { "headers": { "apns-expiration": 1_795_362_000 } } }),
            "message.apns.headers[0].value",
            "(TYPE_STRING)",
        ),
        (json!({ "topic": "b" }), "message", "oneof field 'target' is already set"),
    ];
    for (part, field, said) in cases {
        let reply = bench.send(&with_token(part)).await;
        assert_eq!((reply.status.as_u16(), reply.field()), (400, Some(field)), "{reply:?}");
        assert!(reply.message().contains(said), "{said}: {reply:?}");
    }
}

#[tokio::test]
async fn rules_beyond_the_schema_carry_fcms_error_code() {
    let bench = Bench::start().await;
    let apns = |name: &str, value: &str| json!({ "apns": { "headers": { name: value } } });
    let web = |name: &str, value: &str| json!({ "webpush": { "headers": { name: value } } });
    let (headers, web_headers) = ("message.apns.headers", "message.webpush.headers");
    let cases = [
        (json!({ "token": "no spaces" }), "message.token"),
        (json!({ "token": "" }), "message.token"),
        (json!({ "token": null }), "message"),
        (json!({ "token": null, "topic": "a b" }), "message.topic"),
        (json!({ "token": null, "condition": "'a' in" }), "message.condition"),
        (json!({ "data": { "from": "x" } }), "message.data"),
        (json!({ "data": { "google.a": "x" } }), "message.data"),
        (json!({ "android": { "data": { "gcm.a": "x" } } }), "message.android.data"),
        (json!({ "android": { "ttl": "2419201s" } }), "message.android.ttl"),
        (json!({ "android": { "ttl": "-1s" } }), "message.android.ttl"),
        (json!({ "android": { "ttl": "-0.5s" } }), "message.android.ttl"),
        (
            json!({ "android": { "notification": { "color": "red" } } }),
            "message.android.notification.color",
        ),
        (apns("apns-expiration", "3600"), headers),
        (apns("apns-expiration", "1795362000000"), headers),
        (apns("apns-expiration", "2026-11-22T15:40:00Z"), headers),
        (apns("APNS-Priority", "7"), headers),
        (apns("apns-collapse-id", &"x".repeat(65)), headers),
        (web("TTL", "3600s"), web_headers),
        (web("topic", &"x".repeat(33)), web_headers),
        (web("Urgency", "urgent"), web_headers),
        (
            json!({ "webpush": { "fcm_options": { "link": "http://example.org" } } }),
            "message.webpush.fcm_options.link",
        ),
        (
            json!({ "fcm_options": { "analytics_label": "a b" } }),
            "message.fcm_options.analytics_label",
        ),
        (json!({ "data": { "a": "x".repeat(4_090) } }), "message"),
        (json!({ "apns": { "payload": { "a": "x".repeat(4_090) } } }), "message"),
    ];
    for (part, field) in cases {
        let reply = bench.send(&with_token(part)).await;
        assert_eq!((reply.status.as_u16(), reply.field()), (400, Some(field)), "{reply:?}");
        assert_eq!(reply.code(), Some("INVALID_ARGUMENT"), "{reply:?}");
    }
    let ends = [json!({ "android": { "ttl": "0s" } }), apns("apns-expiration", "0")];
    for part in ends {
        assert_eq!(bench.send(&with_token(part)).await.status, 200);
    }
}

fn with_token(part: Value) -> Value {
    let mut message = json!({ "token": "phone-1" });
    let (Value::Object(all), Value::Object(part)) = (&mut message, part) else { panic!() };
    all.extend(part);
    message
}

#[tokio::test]
async fn another_project_and_other_methods_are_refused() {
    let bench = Bench::start().await;
    let bearer = format!("Bearer {}", bench.token);
    let path = "/v1/projects/other/messages:send";
    let headers = [("authorization", bearer.as_str())];
    let addr = bench.emulator.addr();
    let reply = call(addr, Method::POST, path, &headers, "{}").await.unwrap();
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json["error"]["status"], "PERMISSION_DENIED");
    let reply = call(addr, Method::GET, path, &headers, "").await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.headers["allow"]), (405, &"POST".parse().unwrap()));
    let reply = call(addr, Method::GET, "/v2", &[], "").await.unwrap();
    assert_eq!(reply.status, 404);
    let reply = bench.try_send(vec![b' '; 2 * 1024 * 1024]).await;
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status == 413));
}

#[tokio::test]
async fn topics_and_conditions_reach_their_subscribers() {
    let bench = Bench::start().await;
    for (phone, topics) in [("a", json!(["news"])), ("b", json!(["news", "vip"])), ("c", json!([]))]
    {
        let path = format!("/phones/{phone}");
        let reply = bench.control(Method::PUT, &path, json!({ "topics": topics })).await;
        assert_eq!(reply.json["topics"], topics);
    }
    let note = json!({ "title": "1" });
    bench.accepted(json!({ "topic": "/topics/news", "notification": note })).await;
    let condition = "'news' in topics && !('vip' in topics)";
    let note = json!({ "title": "2" });
    bench.accepted(json!({ "condition": condition, "notification": note })).await;
    assert_eq!(bench.titles("a"), ["1", "2"]);
    assert_eq!(bench.titles("b"), ["1"]);
    assert!(bench.titles("c").is_empty());
}
