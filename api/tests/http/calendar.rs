//! The calendar feed's address: secret, one at a time, gone at once.

use aftercare_api::Rate;
use serde_json::Value;

use crate::support::{Api, api, api_with, clinic, session_done};

/// The path of a patient's feed.
async fn feed_of(api: &Api, access: &str) -> String {
    let answer = api.get("/v1/me/calendar").bearer(access).send().await.expect(200);
    let url = answer["url"].as_str().unwrap();
    url.strip_prefix(api.handle.public_url()).unwrap().to_owned()
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_is_one_secret_address_that_ends_at_once() {
    let api = api().await;
    let token = api.clinic_token().await;
    let ana = api.enrolled(&token, "p-1", "phone-1").await;
    let bea = api.enrolled(&token, "p-2", "phone-2").await;
    let path = feed_of(&api, &ana.access).await;
    let secret = path.strip_prefix("/calendar/cal_").unwrap().strip_suffix(".ics").unwrap();
    assert_eq!(secret.len(), 43, "256 bits");
    assert_eq!(feed_of(&api, &ana.access).await, path, "asked again, it is the same");
    let other = feed_of(&api, &bea.access).await;
    assert_ne!(other, path);

    let feed = api.get(&path).send().await;
    assert_eq!((feed.status, feed.header("cache-control")), (200, Some("private, no-cache")));
    assert_eq!(feed.header("content-type"), Some("text/calendar; charset=utf-8"));
    let tag = feed.header("etag").unwrap();
    let again = api.get(&path).header("if-none-match", tag).send().await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(api.request("HEAD", &path).send().await.status, 200);

    let delete = || api.request("DELETE", "/v1/me/calendar").bearer(&ana.access).send();
    delete().await.expect(204);
    api.get(&path).send().await.problem(404, "not-found");
    delete().await.expect(204);
    let fresh = feed_of(&api, &ana.access).await;
    assert_ne!(fresh, path);
    for (path, status) in [(&fresh, 200), (&other, 200), (&path, 404)] {
        assert_eq!(api.get(path).send().await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_speaks_the_patients_language_and_not_of_the_clinic() {
    let api = api().await;
    let token = api.clinic_token().await;
    let ana = api.enrolled(&token, "ana-ref", "phone-1").await;
    let path = feed_of(&api, &ana.access).await;
    let empty = text(&api.get(&path).send().await.body);
    assert!(empty.contains("BEGIN:VCALENDAR\r\n") && !empty.contains("VEVENT"), "{empty}");
    let mut event = session_done("e-1", "ana-ref");
    event["patient"]["locale"] = "fr".into();
    api.post("/v1/treatments").bearer(&token).json(&event).send().await.expect(201);
    let feed = text(&api.get(&path).send().await.body);
    assert!(feed.contains("SUMMARY:Rappel\r\n") && feed.contains("à prendre"), "{feed}");
    for secret in ["Aurora", "ana", "phone", "microneedling", "maquill"] {
        assert!(!feed.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tries_addresses_out_is_slowed_down() {
    let rate = Rate::new(1, std::time::Duration::from_hours(1), 2);
    let api = api_with(|config| config.limits.bad_bearer = rate).await;
    for _ in 0..2 {
        api.get("/calendar/cal_guess.ics").send().await.problem(404, "not-found");
    }
    let refused = api.get("/calendar/cal_guess.ics").send().await;
    refused.problem(429, "rate-limited");
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clinic_has_no_calendar() {
    let api = api().await;
    let other = clinic(&api.store, "Clínica Bela").await;
    for token in [api.clinic_token().await, api.token_of(&other).await] {
        for method in ["GET", "DELETE"] {
            let answer = api.request(method, "/v1/me/calendar").bearer(&token).send().await;
            answer.problem(403, "wrong-role");
        }
    }
    let Value::Null =
        api.request("GET", "/calendar/.ics").send().await.problem(404, "not-found")["errors"]
    else {
        panic!("a missing token is an unknown address");
    };
}
