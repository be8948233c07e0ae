//! Requests that are broken below the level of fields.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::{api, api_with};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods() {
    let api = api().await;
    api.get("/v1/nothing").send().await.problem(404, "not-found");
    api.get("/nothing/at/all").send().await.problem(404, "not-found");
    let answer = api.request("DELETE", "/v1/treatments").send().await;
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
    let answer = api.get("/v1/patients/p-1").send().await;
    answer.problem(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), Some("DELETE, PUT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_as_get_without_a_body() {
    let api = api().await;
    let token = api.clinic_token().await;
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs/", "/v1/protocols"] {
        let get = api.get(path).bearer(&token).send().await;
        let head = api.request("HEAD", path).bearer(&token).send().await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        for name in ["content-type", "content-length", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
    assert_eq!(api.request("HEAD", "/metrics").send().await.status, 200);
    assert_eq!(api.request("HEAD", "/docs").send().await.status, 308);
    assert_eq!(api.request("HEAD", "/v1/protocols").send().await.status, 401);
    let refused = api.request("HEAD", "/v1/patients").send().await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_age_is_none_of_ours() {
    let api = api().await;
    let token = api.clinic_token().await;
    // The years 1899 and -9999, and no instant at all.
    for micros in [-2_240_524_800_000_000_i64, -377_705_000_000_000_000, i64::MAX] {
        let bytes = [micros.to_be_bytes().as_slice(), &[7; 16]].concat();
        let path = format!("/v1/treatments?cursor={}", URL_SAFE_NO_PAD.encode(bytes));
        let answer = api.get(&path).bearer(&token).send().await;
        assert_eq!(answer.pointers(422, "invalid-fields"), ["?cursor"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_read() {
    let api = api_with(|config| config.body_limit = 1000).await;
    let token = api.clinic_token().await;
    let post = async |media_type: &str, body: Vec<u8>| {
        api.post("/v1/patients").bearer(&token).body(media_type, body).send().await
    };
    let broken = post("application/json", b"{\n \"locale\": en}".to_vec()).await;
    let detail = broken.problem(400, "malformed-json")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("line 2, column 12"), "{detail}");
    let twice = post("application/json", br#"{"locale":"en","locale":"pt"}"#.to_vec()).await;
    twice.problem(400, "malformed-json");
    post("application/json", b"{\"locale\": \"\xff\"}".to_vec())
        .await
        .problem(400, "malformed-json");
    post("application/json", b"[]".to_vec()).await.problem(422, "invalid-fields");
    post("text/plain", b"{}".to_vec()).await.problem(415, "unsupported-media-type");
    post("application/json; charset=utf-8", b"{}".to_vec()).await.expect(201);
    let large = format!("{{\"locale\": \"{}\"}}", "x".repeat(1000));
    post("application/json", large.clone().into_bytes()).await.problem(413, "payload-too-large");
    let none = api.post("/v1/patients").bearer(&token).send().await;
    none.problem(415, "unsupported-media-type");
    let packed = api.post("/v1/patients").bearer(&token).header("content-encoding", "gzip");
    packed.json(&json!({})).send().await.problem(415, "unsupported-media-type");

    let chunks = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let chunked = api.post("/v1/patients").bearer(&token).header("transfer-encoding", "chunked");
    let chunked = chunked.header("content-type", "application/json").raw(chunks).send().await;
    chunked.problem(413, "payload-too-large");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_is_known_before_the_body_is_read() {
    let api = api().await;
    let post = api.post("/v1/treatments").body("application/json", "{broken");
    post.send().await.problem(401, "missing-token");
    let token = api.clinic_token().await;
    api.post("/v1/oauth/revoke").form(&format!("token={token}")).send().await.expect(200);
    let post = api.post("/v1/treatments?dry_run=maybe").bearer(&token);
    post.body("application/json", "{broken").send().await.problem(401, "invalid-token");
    let twice = api.get("/v1/treatments").bearer("a").bearer("b").send().await;
    twice.problem(401, "invalid-token");
}
