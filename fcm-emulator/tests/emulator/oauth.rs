//! The token endpoint, and what its tokens are worth.

use crate::support::{Bench, call};
use http::Method;
use jiff::SignedDuration;
use serde_json::{Value, json};

#[tokio::test]
async fn a_good_assertion_gets_a_token_for_an_hour() {
    let mut bench = Bench::start().await;
    let reply = bench.ask_token(&bench.assertion(&bench.claims())).await;
    assert_eq!(reply.json["expires_in"], 3599);
    assert_eq!(reply.json["token_type"], "Bearer");
    let message = json!({ "token": "phone-1", "data": { "a": "b" } });
    bench.accepted(message.clone()).await;

    bench.clock.advance(SignedDuration::from_secs(3_599));
    let reply = bench.send(&message).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json["error"]["status"], "UNAUTHENTICATED");
    assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer realm="));

    bench.renew_token().await;
    bench.accepted(message.clone()).await;
    bench.emulator.expire_tokens();
    assert_eq!(bench.send(&message).await.status, 401);
    assert_eq!(bench.emulator.stats().refused["UNAUTHENTICATED"], 2);
}

#[tokio::test]
async fn a_send_needs_a_bearer_token() {
    let bench = Bench::start().await;
    let path = "/v1/projects/aftercare-emulator/messages:send";
    for headers in
        [vec![], vec![("authorization", "Basic eDp5")], vec![("authorization", "Bearer x")]]
    {
        let reply = call(bench.emulator.addr(), Method::POST, path, &headers, "{}").await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.code()), (401, None), "{headers:?}");
    }
}

#[tokio::test]
async fn bad_claims_are_told_apart() {
    let bench = Bench::start().await;
    let now = bench.now().as_second();
    let short_lived = "Invalid JWT: Token must be a short-lived token (60 minutes)";
    let audience = "Invalid JWT: Failed audience check.";
    let account = "Invalid grant: account not found";
    let cases = [
        (json!({ "iss": "someone@else.example" }), "invalid_grant", account),
        (json!({ "iss": null }), "invalid_grant", account),
        (json!({ "aud": "https://example.org/token" }), "invalid_grant", audience),
        (json!({ "aud": null }), "invalid_grant", audience),
        (json!({ "exp": now + 3_601 }), "invalid_grant", short_lived),
        (json!({ "iat": now - 3_600, "exp": now }), "invalid_grant", short_lived),
        (json!({ "iat": now + 301, "exp": now + 3_600 }), "invalid_grant", short_lived),
        (json!({ "exp": null }), "invalid_grant", short_lived),
        (json!({ "exp": i64::MAX, "iat": i64::MIN }), "invalid_grant", short_lived),
        (json!({ "scope": "" }), "invalid_scope", "Invalid OAuth scope"),
        (json!({ "scope": "messaging" }), "invalid_scope", "Invalid OAuth scope"),
        (json!({ "sub": "boss@example.org" }), "unauthorized_client", "Client is unauthorized"),
    ];
    for (change, error, said) in cases {
        let reply = bench.ask_token(&bench.assertion(&changed(bench.claims(), change))).await;
        assert_eq!((reply.status.as_u16(), reply.json["error"].as_str()), (400, Some(error)));
        let described = reply.json["error_description"].as_str().unwrap();
        assert!(described.starts_with(said), "{described}");
    }
    let google = json!({ "aud": "https://oauth2.googleapis.com/token" });
    let reply = bench.ask_token(&bench.assertion(&changed(bench.claims(), google))).await;
    assert_eq!(reply.status, 200);
}

fn changed(mut claims: Value, change: Value) -> Value {
    let (Value::Object(all), Value::Object(change)) = (&mut claims, change) else { panic!() };
    all.extend(change);
    claims
}

#[tokio::test]
async fn a_forged_signature_is_refused() {
    let bench = Bench::start().await;
    let good = bench.assertion(&bench.claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let later = bench.assertion(&changed(bench.claims(), json!({ "exp": 1_895_362_000 })));
    let (other, _) = later.rsplit_once('.').unwrap();
    for forged in [format!("{other}.{signature}"), format!("{signed}."), format!("{signed}.AAAA")] {
        let reply = bench.ask_token(&forged).await;
        assert_eq!(reply.json["error_description"], "Invalid JWT Signature.");
    }
    let unsigned = "eyJhbGciOiJub25lIn0".to_owned() + &signed[signed.find('.').unwrap()..] + ".";
    assert_eq!(bench.ask_token(&unsigned).await.json["error"], "invalid_grant");
    for nonsense in ["", "x", "a.b.c", "....."] {
        assert_eq!(bench.ask_token(nonsense).await.json["error"], "invalid_grant");
    }
    assert_eq!(bench.form("").await.json["error"], "invalid_request");
    assert_eq!(bench.form("grant_type=password").await.json["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn a_token_of_other_scopes_may_not_send() {
    let mut bench = Bench::start().await;
    let scope = json!({ "scope": "https://www.googleapis.com/auth/userinfo.email" });
    let reply = bench.ask_token(&bench.assertion(&changed(bench.claims(), scope))).await;
    bench.token = reply.json["access_token"].as_str().unwrap().to_owned();
    let reply = bench.send(&json!({ "token": "phone-1" })).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.message(), "Request had insufficient authentication scopes.");
}
