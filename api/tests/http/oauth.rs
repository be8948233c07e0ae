//! Getting, refreshing and giving back tokens.

use std::sync::Arc;

use aftercare::care;
use aftercare_api::{ApiConfig, NothingElse, start};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::support::{Phone, api, credentials, device, request, session_done};

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clinic_gets_a_token_by_basic_or_in_the_form() {
    let api = api().await;
    let token = api.clinic_token().await;
    api.get("/v1/protocols").bearer(&token).send().await.expect(200);

    let header = basic(&api.clinic.client_id, api.clinic.client_secret.expose_secret());
    let answer = api
        .post("/v1/oauth/token")
        .header("authorization", &header)
        .form("grant_type=client_credentials&scope=clinic")
        .send()
        .await;
    let tokens = answer.expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 900);
    assert_eq!(tokens["scope"], "clinic");
    assert_eq!(tokens.get("refresh_token"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_those_of_rfc_6749() {
    let api = api().await;
    let ask = async |form: &str| {
        let answer = api.post("/v1/oauth/token").form(form).send().await;
        (answer.status, answer.json()["error"].as_str().unwrap().to_owned())
    };
    let id = &api.clinic.client_id;
    let wrong = format!("grant_type=client_credentials&client_id={id}&client_secret=guess");
    let unknown = "grant_type=client_credentials&client_id=nobody&client_secret=guess";
    assert_eq!(ask(&wrong).await, (401, "invalid_client".to_owned()));
    assert_eq!(ask(unknown).await, (401, "invalid_client".to_owned()));
    assert_eq!(ask("grant_type=client_credentials").await, (401, "invalid_client".to_owned()));
    assert_eq!(ask("grant_type=password").await, (400, "unsupported_grant_type".to_owned()));
    assert_eq!(ask("").await, (400, "invalid_request".to_owned()));
    assert_eq!(ask("grant_type=a&grant_type=a").await, (400, "invalid_request".to_owned()));
    assert_eq!(ask("grant_type=refresh_token").await, (400, "invalid_request".to_owned()));
    let made_up = "grant_type=refresh_token&refresh_token=made-up";
    assert_eq!(ask(made_up).await, (400, "invalid_grant".to_owned()));

    let refused = api.post("/v1/oauth/token").form(&wrong).send().await;
    assert!(refused.header("www-authenticate").unwrap().starts_with("Basic"));
    let as_json = api.post("/v1/oauth/token").json(&json!({})).send().await;
    assert_eq!(as_json.expect(415)["error"], "invalid_request");
    let other_scope = format!(
        "grant_type=client_credentials&client_id={id}&client_secret={}&scope=patient",
        api.clinic.client_secret.expose_secret()
    );
    assert_eq!(ask(&other_scope).await, (400, "invalid_scope".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bearers_are_refused_alike_whatever_is_wrong_with_them() {
    let api = api().await;
    let token = api.clinic_token().await;
    let missing = api.get("/v1/treatments").send().await;
    missing.problem(401, "missing-token");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let (message, _) = token.rsplit_once('.').unwrap();
    for bad in ["x", "a.b.c", &format!("{message}.AAAA"), &"x".repeat(5000)] {
        let answer = api.get("/v1/treatments").bearer(bad).send().await;
        answer.problem(401, "invalid-token");
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"));
    }
    api.clock.advance(SignedDuration::from_mins(15));
    api.get("/v1/treatments").bearer(&token).send().await.problem(401, "invalid-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_does_not_strand_a_phone() {
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    let first = Phone::of(&api.refresh(&phone.refresh).await.expect(200));
    api.clock.advance(SignedDuration::from_secs(59));
    let again = Phone::of(&api.refresh(&phone.refresh).await.expect(200));
    assert_eq!(first.refresh, again.refresh, "two answers that cross must not fork the chain");
    api.get("/v1/me/timeline").bearer(&again.access).send().await.expect(200);
    api.refresh(&again.refresh).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_token_used_after_its_successor_ends_the_session() {
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    let second = Phone::of(&api.refresh(&phone.refresh).await.expect(200));
    let third = Phone::of(&api.refresh(&second.refresh).await.expect(200));
    assert_eq!(api.refresh(&phone.refresh).await.expect(400)["error"], "invalid_grant");
    api.get("/v1/me/timeline").bearer(&third.access).send().await.problem(401, "invalid-token");
    assert_eq!(api.refresh(&third.refresh).await.expect(400)["error"], "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_token_used_after_the_grace_ends_the_session() {
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    let second = Phone::of(&api.refresh(&phone.refresh).await.expect(200));
    api.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(api.refresh(&phone.refresh).await.expect(400)["error"], "invalid_grant");
    assert_eq!(api.refresh(&second.refresh).await.expect(400)["error"], "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_lives_270_days() {
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    api.clock.advance(SignedDuration::from_hours(24 * 270 - 1));
    let second = Phone::of(&api.refresh(&phone.refresh).await.expect(200));
    api.clock.advance(SignedDuration::from_hours(24 * 270));
    assert_eq!(api.refresh(&second.refresh).await.expect(400)["error"], "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_out_ends_the_session_and_its_pushes_at_once() {
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    let put = api.put("/v1/me/devices/inst-1").bearer(&phone.access);
    put.json(&device("address-1")).send().await.expect(204);
    let event = session_done("e-1", "p-1");
    let posted = api.post("/v1/treatments").bearer(&token).json(&event).send().await.expect(201);
    assert_eq!(posted["reachable"], true);

    let revoked =
        api.post("/v1/oauth/revoke").form(&format!("token={}", phone.refresh)).send().await;
    revoked.expect(200);
    api.get("/v1/me/timeline").bearer(&phone.access).send().await.problem(401, "invalid-token");
    let path = format!("/v1/treatments/{}", posted["treatment"]["id"].as_str().unwrap());
    let treatment = api.get(&path).bearer(&token).send().await.expect(200);
    assert_eq!(treatment["reachable"], false);

    let made_up = api.post("/v1/oauth/revoke").form("token=made-up").send().await;
    made_up.expect(200);
    api.post("/v1/oauth/revoke").form(&format!("token={token}")).send().await.expect(200);
    api.get("/v1/treatments").bearer(&token).send().await.problem(401, "invalid-token");
    let missing = api.post("/v1/oauth/revoke").form("").send().await.expect(400);
    assert_eq!(missing["error"], "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_once_and_for_72_hours() {
    let api = api().await;
    let token = api.clinic_token().await;
    api.put("/v1/patients/p-1").bearer(&token).json(&json!({})).send().await.expect(201);
    let invite = async || {
        let post = api.post("/v1/patients/p-1/enrolments").bearer(&api.clinic_token().await);
        post.send().await.expect(201)
    };
    let redeem = async |code: &Value| {
        let body = json!({"code": code, "installation_id": "inst-1"});
        api.post("/v1/enrolments/redeem").json(&body).send().await
    };
    let enrolment = invite().await;
    assert_eq!(enrolment["expires_at"], "2026-11-25T15:41:00Z");
    let (url, code) = (enrolment["url"].as_str().unwrap(), enrolment["code"].as_str().unwrap());
    assert_eq!(url, format!("{}/enrol#{code}", api.handle.public_url()));
    redeem(&enrolment["code"]).await.expect(200);
    assert_eq!(redeem(&enrolment["code"]).await.pointers(422, "invalid-code"), ["/code"]);

    let late = invite().await;
    api.clock.advance(SignedDuration::from_hours(72));
    redeem(&late["code"]).await.problem(422, "invalid-code");
    redeem(&json!("ace_made-up")).await.problem(422, "invalid-code");
}

#[tokio::test(flavor = "multi_thread")]
async fn enrolling_the_same_installation_again_ends_its_older_session() {
    let api = api().await;
    let token = api.clinic_token().await;
    let old = api.enrolled(&token, "p-1", "inst-1").await;
    let other = api.enrolled(&token, "p-1", "inst-2").await;
    let new = api.enrolled(&token, "p-1", "inst-1").await;
    api.get("/v1/me/timeline").bearer(&old.access).send().await.problem(401, "invalid-token");
    assert_eq!(api.refresh(&old.refresh).await.status, 400);
    api.get("/v1/me/timeline").bearer(&other.access).send().await.expect(200);
    api.get("/v1/me/timeline").bearer(&new.access).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_signing_key_needs_no_restart() {
    let api = api().await;
    let first = api.clinic_token().await;
    let keys = api.get("/.well-known/jwks.json").send().await.expect(200);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert_eq!(keys["keys"][0]["alg"], "EdDSA");
    assert_eq!(keys["keys"][0].get("d"), None);

    let kid = api.store.write(care::rotate_signing_keys).await.unwrap().next;
    api.clock.advance(care::PUBLISHED_AHEAD - SignedDuration::from_secs(60));
    let first_still = api.clinic_token().await;
    api.get("/v1/protocols").bearer(&first).send().await.expect(200);
    api.clock.advance(SignedDuration::from_secs(60));
    let mut config = ApiConfig::new("127.0.0.1:0".parse().unwrap());
    config.public_url = Some(api.handle.public_url().to_owned());
    let elsewhere =
        start(api.store.clone(), config, Arc::new(NothingElse), Arc::new(|| ())).await.unwrap();
    let ask = request(elsewhere.addr(), "POST", "/v1/oauth/token").form(&credentials(&api.clinic));
    let tokens = ask.send().await.expect(200);
    let signed_elsewhere = tokens["access_token"].as_str().unwrap();
    let header = signed_elsewhere.split('.').next().unwrap();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["kid"], kid.as_str());
    assert_eq!(header["typ"], "at+jwt");
    api.get("/v1/protocols").bearer(signed_elsewhere).send().await.expect(200);
    api.get("/v1/protocols").bearer(&first_still).send().await.expect(200);
}
