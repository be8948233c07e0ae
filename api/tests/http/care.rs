//! The main job over HTTP: patients, treatments, timelines, devices.

use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{Api, api, clinic, device, session_done};

async fn post(api: &Api, token: &str, body: &Value) -> crate::support::Answer {
    api.post("/v1/treatments").bearer(token).json(body).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_done_becomes_a_plan_and_an_invitation() {
    let api = api().await;
    let token = api.clinic_token().await;
    let mut body = session_done("e-1", "p-1");
    body["metadata"] = json!({"room": "2"});
    let answer = post(&api, &token, &body).await.expect(201);
    let treatment = &answer["treatment"];
    assert_eq!(treatment["event_id"], "e-1");
    assert_eq!(treatment["patient_ref"], "p-1");
    assert_eq!(treatment["state"], "active");
    assert_eq!(treatment["completed_local"], "2026-11-22T15:40:00+00:00[Europe/Lisbon]");
    assert_eq!(treatment["areas"], json!(["face", "neck"]));
    assert_eq!((&treatment["session"], &treatment["of"]), (&json!(1), &json!(3)));
    assert_eq!(treatment["metadata"], json!({"room": "2"}));
    assert_eq!(answer["reachable"], false);
    assert!(answer["enrolment"]["code"].is_string());
    let restrictions = answer["restrictions"].as_array().unwrap();
    let makeup = restrictions.iter().find(|r| r["rule"] == "no-makeup").unwrap();
    assert_eq!(makeup["until"], "2026-11-23T15:40:00Z");
    assert_eq!(makeup["until_local"], "2026-11-23T15:40:00+00:00[Europe/Lisbon]");
    let reminders = answer["reminders"].as_array().unwrap();
    assert!(reminders.iter().any(|reminder| reminder["due_at"] == "2026-11-22T15:55:00Z"));
    assert!(api.woken.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_is_recorded_once() {
    let api = api().await;
    let token = api.clinic_token().await;
    let body = session_done("e-1", "p-1");
    let first = post(&api, &token, &body).await.expect(201);
    let mut same = body.clone();
    same["completed_at"] = json!("2026-11-22T16:40:00+01:00");
    same["areas"] = Value::Null;
    let again = post(&api, &token, &same).await.expect(200);
    assert_eq!(again["treatment"], first["treatment"]);
    let mut other = body.clone();
    other["completed_at"] = json!("2026-11-22T15:39:00Z");
    post(&api, &token, &other).await.problem(409, "event-conflict");
    let list = api.get("/v1/treatments").bearer(&token).send().await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_plans_and_records_nothing() {
    let api = api().await;
    let token = api.clinic_token().await;
    let woken = api.woken.load(Ordering::Relaxed);
    let ask = api.post("/v1/treatments?dry_run=true").bearer(&token);
    let planned = ask.json(&session_done("e-1", "p-1")).send().await.expect(200);
    assert!(!planned["reminders"].as_array().unwrap().is_empty());
    assert_eq!(planned.get("enrolment"), None);
    let list = api.get("/v1/treatments").bearer(&token).send().await.expect(200);
    assert_eq!(list, json!({"items": [], "next_cursor": null}));
    api.get("/v1/patients/p-1/timeline").bearer(&token).send().await.problem(404, "not-found");
    assert_eq!(api.woken.load(Ordering::Relaxed), woken);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_field_is_named_at_once() {
    let api = api().await;
    let token = api.clinic_token().await;
    let body = json!({
        "event_id": "white space",
        "patient": {"ref": "ana@example.org", "time_zone": "Mars/Olympus", "name": "Ana"},
        "protocol": 7,
        "completed_at": "-0001-11-22T15:40:00Z",
        "time_zone": "UTC+2",
        "areas": ["face", "Left elbow"],
        "next_session_at": "9999-12-31T23:59:59Z",
        "metadata": {"n": 1},
        "colour": "red",
    });
    let pointers = post(&api, &token, &body).await.pointers(422, "invalid-fields");
    assert_eq!(
        pointers,
        [
            "/event_id",
            "/patient/ref",
            "/patient/time_zone",
            "/patient/name",
            "/protocol",
            "/completed_at",
            "/time_zone",
            "/areas/1",
            "/next_session_at",
            "/metadata/n",
            "/colour",
        ]
    );
    let empty = post(&api, &token, &json!({})).await.pointers(422, "invalid-fields");
    assert_eq!(empty, ["/event_id", "/patient_ref", "/protocol", "/completed_at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_domain_refuses_names_its_field() {
    let api = api().await;
    let token = api.clinic_token().await;
    let with = |name: &str, value: Value| {
        let mut body = session_done("e-1", "p-1");
        body[name] = value;
        body
    };
    let mut unknown_patient = session_done("e-1", "p-1");
    unknown_patient.as_object_mut().unwrap().remove("patient");
    unknown_patient["patient_ref"] = json!("nobody");
    for (body, code, pointer) in [
        (unknown_patient, "unknown-patient", "/patient_ref"),
        (with("protocol", json!("peeling")), "unknown-protocol", "/protocol"),
        (with("completed_at", json!("2026-11-22T15:47:00Z")), "invalid-fields", "/completed_at"),
        (with("completed_at", json!("1999-12-31T23:59:59Z")), "invalid-fields", "/completed_at"),
        (
            with("next_session_at", json!("2026-11-22T15:40:00Z")),
            "invalid-fields",
            "/next_session_at",
        ),
    ] {
        assert_eq!(post(&api, &token, &body).await.pointers(422, code), [pointer]);
    }
    let mut all = with("protocol", json!("peeling"));
    all.as_object_mut().unwrap().remove("patient");
    all["patient_ref"] = json!("nobody");
    all["completed_at"] = json!("2027-01-01T00:00:00Z");
    all["next_session_at"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(
        post(&api, &token, &all).await.pointers(422, "invalid-fields"),
        ["/completed_at", "/next_session_at", "/patient_ref", "/protocol"]
    );
    let list = api.get("/v1/treatments").bearer(&token).send().await.expect(200);
    assert_eq!(list["items"], json!([]));
    api.get("/v1/patients/p-1/timeline").bearer(&token).send().await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn treatments_are_listed_by_page_and_filter() {
    let api = api().await;
    let token = api.clinic_token().await;
    for n in 1..=5 {
        api.clock.advance(jiff::SignedDuration::from_secs(1));
        let reference = if n == 4 { "p-2" } else { "p-1" };
        post(&api, &token, &session_done(&format!("e-{n}"), reference)).await.expect(201);
    }
    let list = async |query: &str| {
        let page = api.get(&format!("/v1/treatments?{query}")).bearer(&token).send().await;
        let page = page.expect(200);
        let events: Vec<String> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["treatment"]["event_id"].as_str().unwrap().to_owned())
            .collect();
        (events, page["next_cursor"].as_str().map(str::to_owned))
    };
    let (first, cursor) = list("limit=2").await;
    assert_eq!(first, ["e-1", "e-2"]);
    let (second, cursor) = list(&format!("limit=2&cursor={}", cursor.unwrap())).await;
    assert_eq!(second, ["e-3", "e-4"]);
    assert_eq!(
        list(&format!("limit=2&cursor={}", cursor.unwrap())).await,
        (vec!["e-5".into()], None)
    );
    assert_eq!(list("limit=5").await.1, None);
    assert_eq!(list("patient_ref=p-2").await.0, ["e-4"]);
    assert_eq!(list("patient_ref=nobody").await.0, [""; 0]);
    assert_eq!(list("event_id=e-3").await.0, ["e-3"]);
    assert_eq!(list("since=2026-11-22T15:41:05Z").await.0, ["e-5"]);
    let bad = api.get("/v1/treatments?limit=0&cursor=!&since=now&sort=up").bearer(&token);
    let pointers = bad.send().await.pointers(422, "invalid-fields");
    assert_eq!(pointers, ["?since", "?limit", "?sort"]);
    let cursor = api.get("/v1/treatments?cursor=made-up").bearer(&token).send().await;
    assert_eq!(cursor.pointers(422, "invalid-fields"), ["?cursor"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn voiding_is_idempotent() {
    let api = api().await;
    let token = api.clinic_token().await;
    let posted = post(&api, &token, &session_done("e-1", "p-1")).await.expect(201);
    let path = format!("/v1/treatments/{}/void", posted["treatment"]["id"].as_str().unwrap());
    let voided = api.post(&path).bearer(&token).send().await.expect(200);
    assert_eq!(voided["treatment"]["state"], "voided");
    let states: Vec<_> =
        voided["reminders"].as_array().unwrap().iter().map(|r| &r["state"]).collect();
    assert!(states.iter().all(|state| *state == "cancelled"), "{states:?}");
    assert_eq!(api.post(&path).bearer(&token).send().await.expect(200), voided);
    let repeat = post(&api, &token, &session_done("e-1", "p-1")).await.expect(200);
    assert_eq!(repeat["treatment"]["state"], "voided");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clinics_objects_do_not_exist() {
    let api = api().await;
    let token = api.clinic_token().await;
    let posted = post(&api, &token, &session_done("e-1", "p-1")).await.expect(201);
    let id = posted["treatment"]["id"].as_str().unwrap();
    let stranger = api.token_of(&clinic(&api.store, "Other").await).await;
    for (method, path) in [
        ("GET", format!("/v1/treatments/{id}")),
        ("POST", format!("/v1/treatments/{id}/void")),
        ("GET", "/v1/patients/p-1/timeline".to_owned()),
        ("POST", "/v1/patients/p-1/enrolments".to_owned()),
        ("GET", "/v1/treatments/not-an-id".to_owned()),
    ] {
        let theirs = api.request(method, &path).bearer(&stranger).send().await;
        let nobodys = api.request(method, &path.replace("p-1", "p-0").replace(id, &"0".repeat(32)));
        let nobodys = nobodys.bearer(&stranger).send().await;
        assert_eq!(theirs.problem(404, "not-found"), nobodys.problem(404, "not-found"), "{path}");
    }
    let list = api.get("/v1/treatments?event_id=e-1").bearer(&stranger).send().await.expect(200);
    assert_eq!(list["items"], json!([]));
    post(&api, &stranger, &session_done("e-1", "p-1")).await.expect(201);
    let still = api.get(&format!("/v1/treatments/{id}")).bearer(&token).send().await.expect(200);
    assert_eq!(still["treatment"], posted["treatment"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn patients_are_made_and_brought_up_to_date() {
    let api = api().await;
    let token = api.clinic_token().await;
    let put = async |path: &str, body: Value| {
        api.put(&format!("/v1/patients/{path}")).bearer(&token).json(&body).send().await
    };
    let made =
        put("p-1", json!({"time_zone": "europe/lisbon", "locale": "PT-pt"})).await.expect(201);
    assert_eq!((&made["ref"], &made["time_zone"]), (&json!("p-1"), &json!("Europe/Lisbon")));
    assert_eq!(made["locale"], "pt-PT");
    api.clock.advance(SignedDuration::from_secs(30));
    let kept = put("p-1", json!({"locale": "es"})).await.expect(200);
    assert_eq!(kept["updated_at"], "2026-11-22T15:41:30Z");
    assert_eq!((&kept["time_zone"], &kept["locale"]), (&json!("Europe/Lisbon"), &json!("es")));
    put("p%2F1%20%C3%BC", json!({})).await.expect(201);
    api.get("/v1/patients/p%2F1%20%C3%BC/timeline").bearer(&token).send().await.expect(200);
    assert_eq!(
        put("ana%40example.org", json!({})).await.pointers(422, "invalid-fields"),
        ["{ref}"]
    );

    let ours = api.post("/v1/patients").bearer(&token).json(&json!({})).send().await.expect(201);
    let reference = ours["ref"].as_str().unwrap();
    api.get(&format!("/v1/patients/{reference}/timeline")).bearer(&token).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_is_sent_again_only_when_it_changed() {
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    let get = async |tag: &str| {
        let get = api.get("/v1/me/timeline").bearer(&phone.access);
        get.header("if-none-match", tag).send().await
    };
    let empty = get("\"nothing\"").await;
    let first = empty.expect(200);
    assert_eq!(first["generated_at"], "2026-11-22T15:41:00Z");
    assert_eq!(first["clinic"]["display_name"], "Clínica Aurora");
    let tag = empty.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"'), "a strong tag: {tag}");
    api.clock.advance(jiff::SignedDuration::from_secs(30));
    for same in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let unchanged = get(&same).await;
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
        assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    }
    post(&api, &token, &session_done("e-1", "p-1")).await.expect(201);
    let changed = get(&tag).await;
    let timeline = changed.expect(200);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    assert_eq!(timeline["courses"][0]["session"], 1);
    assert_eq!(timeline["courses"][0]["next_session_on"], "2026-12-22");
    let clinics = api.get("/v1/patients/p-1/timeline").bearer(&token).send().await;
    assert_eq!(clinics.header("etag"), changed.header("etag"));
    assert_eq!(clinics.expect(200)["restrictions"], timeline["restrictions"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_registers_itself_and_no_other() {
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    let put = async |installation: &str, body: &Value| {
        let path = format!("/v1/me/devices/{installation}");
        api.put(&path).bearer(&phone.access).json(body).send().await
    };
    put("inst-1", &device("address-1")).await.expect(204);
    put("inst-1", &device("address-2")).await.expect(204);
    put("inst-2", &device("address-3")).await.problem(409, "other-installation");
    let wrong = json!({"address_kind": "sms", "address": "", "platform": "symbian", "locale": 1});
    assert_eq!(
        put("inst-1", &wrong).await.pointers(422, "invalid-fields"),
        [
            "/address_kind",
            "/address",
            "/platform",
            "/time_zone",
            "/locale",
            "/notifications_enabled"
        ]
    );
    assert_eq!(
        put("a%20b", &device("a")).await.pointers(422, "invalid-fields"),
        ["{installation_id}"]
    );
    let posted = post(&api, &token, &session_done("e-1", "p-1")).await.expect(201);
    assert_eq!(posted["reachable"], true);
    assert_eq!(posted.get("enrolment"), None);
    let delete =
        async || api.request("DELETE", "/v1/me/devices/inst-1").bearer(&phone.access).send().await;
    delete().await.expect(204);
    delete().await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn can_i_answers_with_rules_and_never_with_permission() {
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    let posted = post(&api, &token, &session_done("e-1", "p-1")).await.expect(201);
    let can = async |query: &str| {
        api.get(&format!("/v1/me/can?{query}")).bearer(&phone.access).send().await
    };
    let now = can("activity=makeup").await.expect(200);
    assert_eq!((&now["verdict"], &now["until"]), (&json!("avoid"), &json!("2026-11-23T15:40:00Z")));
    let because = json!([{"rule": "no-makeup", "treatment_id": posted["treatment"]["id"]}]);
    assert_eq!(now["because"], because);
    let later = can("activity=makeup&at=2026-11-23T15:40:00Z").await.expect(200);
    assert_eq!((&later["verdict"], &later["until"]), (&json!("no_rule"), &Value::Null));
    let unknown = can("activity=juggling").await;
    assert_eq!(unknown.pointers(422, "unknown-activity"), ["?activity"]);
    assert!(unknown.json()["detail"].as_str().unwrap().contains("makeup"));
    assert_eq!(can("at=soon").await.pointers(422, "invalid-fields"), ["?activity", "?at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_keeps_to_its_own_side() {
    let api = api().await;
    let token = api.clinic_token().await;
    let phone = api.enrolled(&token, "p-1", "inst-1").await;
    api.get("/v1/me/timeline").bearer(&token).send().await.problem(403, "wrong-role");
    api.get("/v1/treatments").bearer(&phone.access).send().await.problem(403, "wrong-role");
    for bearer in [&token, &phone.access] {
        let list = api.get("/v1/protocols").bearer(bearer).send().await.expect(200);
        let items = list["items"].as_array().unwrap();
        let shown = |item: &Value| (item["slug"].clone(), item["sessions"].clone());
        let expected = [("chemical-peel", 4), ("laser-hair-removal", 6), ("microneedling", 3)];
        let expected = expected.map(|(slug, sessions)| (json!(slug), json!(sessions)));
        assert_eq!(items.iter().map(shown).collect::<Vec<_>>(), expected);
        // Wherever it is shown, it says that no clinic has approved it yet.
        assert!(items.iter().all(|item| item["notice"] == "draft, not reviewed"));
    }
    let document = api.get("/v1/protocols/microneedling").bearer(&token).send().await.expect(200);
    assert_eq!(document["slug"], "microneedling");
    api.get("/v1/protocols/peeling").bearer(&token).send().await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_where_none_belongs_may_be_empty_and_no_more() {
    let api = api().await;
    let token = api.clinic_token().await;
    let recorded = post(&api, &token, &session_done("e-1", "p-1")).await.expect(201);
    let void = format!("/v1/treatments/{}/void", recorded["treatment"]["id"].as_str().unwrap());
    for (path, status) in [(void.as_str(), 200), ("/v1/patients/p-1/enrolments", 201)] {
        let ask = || api.post(path).bearer(&token);
        let refused = ask().json(&json!({"reason": "mistake"})).send().await;
        assert_eq!(refused.pointers(422, "invalid-fields"), ["/reason"], "{path}");
        ask().body("text/plain", "{}").send().await.problem(415, "unsupported-media-type");
        ask().json(&json!([])).send().await.problem(422, "invalid-fields");
        ask().send().await.expect(status);
        ask().json(&json!({})).send().await.expect(status);
    }
}
