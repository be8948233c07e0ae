//! The pages at the door, and what lets phones open invitations in the clinic's app.

use serde_json::json;

use crate::support::{Answer, api, api_with};

const CERTIFICATE: &str = "ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:cd";

fn page(answer: &Answer) -> String {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert_eq!(
        answer.header("referrer-policy"),
        Some("no-referrer"),
        "it has the code in its address"
    );
    String::from_utf8(answer.body.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_opened_without_the_app_says_what_to_do() {
    let api = api().await;
    let plain = page(&api.get("/enrol").send().await);
    assert!(plain.contains("install it first"), "{plain}");
    assert!(!plain.contains("<script"), "the code stays where it is");
    for (wished, language) in [
        ("pt-BR,en;q=0.5", "pt"),
        ("de, es;q=0.8, en;q=0.9", "en"),
        ("de, es;q=0.8", "es"),
        ("FR", "fr"),
        ("*", "en"),
        ("-;q=x", "en"),
    ] {
        let answer = api.get("/enrol").header("accept-language", wished).send().await;
        assert!(page(&answer).contains(&format!("<html lang=\"{language}\"")), "{wished}");
        assert_eq!(answer.header("vary"), Some("accept-language"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_name_alone_leads_on() {
    let api = api().await;
    let root = page(&api.get("/").send().await);
    assert!(root.contains("href=\"desk\"") && root.contains("href=\"docs/\""), "{root}");
    assert_eq!(api.get("/desk").send().await.status, 303);
    assert_eq!(api.get("/docs/").send().await.status, 200);
    let head = api.request("HEAD", "/").send().await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_vouches_for_the_apps_that_are_set_and_for_no_other() {
    const ANDROID: &str = "/.well-known/assetlinks.json";
    const APPLE: &str = "/.well-known/apple-app-site-association";
    let none = api().await;
    for path in [ANDROID, APPLE] {
        none.get(path).send().await.problem(404, "not-found");
    }
    let api = api_with(|config| {
        config.public_url = Some("https://care.example/aftercare".to_owned());
        config.apps.android = vec![format!("care.example.app:{CERTIFICATE}").parse().unwrap()];
        config.apps.ios = vec!["ABCDE12345.care.example.app".parse().unwrap()];
    })
    .await;
    let links = api.get(ANDROID).send().await;
    assert_eq!(links.header("content-type"), Some("application/json"));
    let app = json!({
        "namespace": "android_app",
        "package_name": "care.example.app",
        "sha256_cert_fingerprints": [CERTIFICATE.to_uppercase()],
    });
    let relation = ["delegate_permission/common.handle_all_urls"];
    assert_eq!(links.expect(200), json!([{"relation": relation, "target": app}]));
    let site = api.get(APPLE).send().await;
    assert_eq!(site.header("content-type"), Some("application/json"));
    let ids = ["ABCDE12345.care.example.app"];
    let details = json!([{"appIDs": ids, "components": [{"/": "/aftercare/enrol"}]}]);
    assert_eq!(site.expect(200), json!({"applinks": {"details": details}}));
}
