//! How often callers may ask.

use std::time::Duration;

use aftercare_api::Rate;

use crate::support::{Phone, api_with, credentials, generous};

fn three() -> Rate {
    Rate::new(1, Duration::from_hours(1), 3)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_limited_whatever_its_token() {
    let api = api_with(|config| config.limits.credential = three()).await;
    let (one, other) = (api.clinic_token().await, api.clinic_token().await);
    for token in [&one, &other, &one] {
        api.get("/v1/protocols").bearer(token).send().await.expect(200);
    }
    let refused = api.get("/v1/protocols").bearer(&other).send().await;
    refused.problem(429, "rate-limited");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&seconds), "{seconds}");
    api.get("/healthz").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_credential_are_limited_apart_from_its_requests() {
    let api = api_with(|config| config.limits.credential = three()).await;
    let mut token = String::new();
    for _ in 0..3 {
        token = api.clinic_token().await;
    }
    let form = credentials(&api.clinic);
    let refused = api.post("/v1/oauth/token").form(&form).send().await;
    assert_eq!(refused.expect(429)["error"], "temporarily_unavailable");
    assert!(refused.header("retry-after").is_some());
    api.get("/v1/protocols").bearer(&token).send().await.expect(200);

    let mut phone = api.enrolled(&token, "p-1", "inst-1").await;
    for _ in 0..3 {
        phone = Phone::of(&api.refresh(&phone.refresh).await.expect(200));
    }
    assert_eq!(api.refresh(&phone.refresh).await.expect(429)["error"], "temporarily_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_secrets_and_codes_share_one_budget() {
    let api = api_with(|config| config.limits.failures = three()).await;
    let token = "grant_type=client_credentials&client_id=nobody&client_secret=x";
    let code = serde_json::json!({"code": "ace_x", "installation_id": "inst-1"});
    api.post("/v1/oauth/token").form(token).send().await.expect(401);
    api.post("/v1/enrolments/redeem").json(&code).send().await.problem(422, "invalid-code");
    api.post("/v1/oauth/token").form(token).send().await.expect(401);
    let refused = api.post("/v1/enrolments/redeem").json(&code).send().await;
    refused.problem(429, "rate-limited");
    let refused = api.post("/v1/oauth/token").form(token).send().await;
    assert_eq!(refused.expect(429)["error"], "temporarily_unavailable");
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_the_desk_share_the_same_budget() {
    let api = api_with(|config| config.limits.failures = three()).await;
    let origin = api.handle.public_url().to_owned();
    let sign_in = async || {
        let form = "name=Maria&password=not+the+right+one";
        api.post("/desk/sign-in").header("origin", &origin).form(form).send().await.status
    };
    assert_eq!(sign_in().await, 401);
    assert_eq!(api.get("/desk/join/acj_x").send().await.status, 404);
    assert_eq!(sign_in().await, 401);
    assert_eq!(sign_in().await, 429);
    let barred = api.get("/desk/join/acj_x").send().await;
    assert_eq!(barred.status, 429);
    assert!(barred.header("retry-after").is_some());
    let token = "grant_type=client_credentials&client_id=nobody&client_secret=x";
    api.post("/v1/oauth/token").form(token).send().await.expect(429);
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_back_what_is_no_token_is_a_guess_too() {
    let api = api_with(|config| config.limits.failures = three()).await;
    let token = api.clinic_token().await;
    let revoke = async |token: &str| {
        api.post("/v1/oauth/revoke").form(&format!("token={token}")).send().await
    };
    for _ in 0..3 {
        revoke(&token).await.expect(200);
    }
    for _ in 0..3 {
        revoke("made-up").await.expect(200);
    }
    for _ in 0..2 {
        assert_eq!(revoke("made-up").await.expect(429)["error"], "temporarily_unavailable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_spends_nothing_of_its_clinic() {
    let api = api_with(|config| config.limits.credential = three()).await;
    let (one, other) = (api.clinic_token().await, api.clinic_token().await);
    api.post("/v1/oauth/revoke").form(&format!("token={one}")).send().await.expect(200);
    for _ in 0..4 {
        let refused = api.get("/v1/protocols").bearer(&one).send().await;
        refused.problem(401, "invalid-token");
    }
    for _ in 0..3 {
        api.get("/v1/protocols").bearer(&other).send().await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bearers_are_limited_by_the_address_that_trusted_proxies_name() {
    let api = api_with(|config| {
        config.limits = generous();
        config.limits.bad_bearer = three();
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let ask = async |from: &str| {
        api.get("/v1/protocols").bearer("x").header("x-forwarded-for", from).send().await
    };
    for _ in 0..3 {
        ask("198.51.100.7").await.problem(401, "invalid-token");
    }
    ask("198.51.100.7").await.problem(429, "rate-limited");
    ask("198.51.100.8").await.problem(401, "invalid-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_signatures_are_limited_as_bad_bearers_are() {
    let api = api_with(|config| {
        config.limits = generous();
        config.limits.bad_bearer = three();
    })
    .await;
    let path = format!("/v1/events?clinic={}", api.clinic.clinic_id);
    let forge = async || {
        let forged =
            api.post(&path).header("webhook-id", "m").header("webhook-signature", "v1,AA==");
        forged.header("content-type", "application/cloudevents+json").send().await
    };
    for _ in 0..3 {
        forge().await.problem(401, "invalid-signature");
    }
    forge().await.problem(429, "rate-limited");
}
