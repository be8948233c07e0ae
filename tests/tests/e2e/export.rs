//! Everything that is held about a patient is in the export, and nothing of it outlives an erasure: read
//! off the real schema, so that a new table cannot be forgotten.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::{Value, json};

use crate::http::Body;
use crate::stage::Stage;

/// Where the export shows each table that belongs to a patient. A new table with a `patient_id` is to
/// be added to the export, to this list, and to what [`a_whole_life`] leaves behind.
const SHOWN: &[(&str, &str)] = &[
    ("amendments", "amendments"),
    ("calendars", "calendars"),
    ("consents", "consents"),
    ("deliveries", "deliveries"),
    ("devices", "devices"),
    ("enrolments", "enrolments"),
    ("receipts", "receipts"),
    ("reminders", "reminders"),
    ("sessions", "sessions"),
    ("snoozes", "snoozes"),
    ("test_pushes", "test_pushes"),
    ("treatments", "treatments"),
    ("webhook_events", "webhook_events"),
];

/// Leaves at least one row in every table that belongs to a patient; gives the app's token.
async fn a_whole_life(stage: &Stage, name: &str) -> String {
    let webhook = json!({"url": "http://127.0.0.1:9/", "types": ["treatment.planned"]});
    stage.clinic("POST", "/v1/webhooks", Body::Json(&webhook)).await.expect(201);
    stage.patient(name).await;
    let event = json!({
        "event_id": format!("visit-{name}"), "patient_ref": name, "protocol": "microneedling",
        "completed_at": stage.now().to_string(), "metadata": {"room": format!("room-of-{name}")},
    });
    let treated = stage.post(&event).await.expect(201);
    let path = format!("/v1/treatments/{}", treated["treatment"]["id"].as_str().unwrap());
    stage.clinic("PATCH", &path, Body::Json(&json!({"areas": ["face"]}))).await.expect(200);
    stage.set_clock("2026-11-22T15:41:00Z");
    let token = stage.phone(name, name).await;
    let path = format!("/v1/patients/{name}/test-push");
    stage.clinic("POST", &path, Body::None).await.expect(201);
    stage.run().await;
    let feed = stage.http.call("GET", "/v1/me/calendar", Some(&token), Body::None).await;
    feed.expect(200);
    stage.set_clock("2026-11-22T15:55:00Z");
    stage.run().await;
    let push = stage.pushes().pop().unwrap();
    let seen =
        json!([{"reminder_id": push.reminder, "kind": "displayed", "at": push.at.to_string()}]);
    let path = "/v1/me/receipts";
    stage.http.call("POST", path, Some(&token), Body::Json(&seen)).await.expect(200);
    let path = format!("/v1/me/reminders/{}/snooze", push.reminder);
    let later = json!({"minutes": 30});
    stage.http.call("POST", &path, Some(&token), Body::Json(&later)).await.expect(200);
    token
}

fn rows(stage: &Stage, table: &str) -> usize {
    stage.bed.query(&format!("SELECT count(*) FROM {table} WHERE patient_id IS NOT NULL"))[0]
        .parse()
        .unwrap()
}

async fn no_table_is_left_out(bed: Bed) {
    let stage = Stage::set(bed).await;
    let token = a_whole_life(&stage, "ana").await;
    let export =
        stage.http.call("GET", "/v1/me/export", Some(&token), Body::None).await.expect(200);
    // The record of erasures is what stays, with opaque ids only.
    let tables =
        stage.bed.tables_with("patient_id").into_iter().filter(|table| table != "erasures");
    let tables: Vec<String> = tables.collect();
    for table in &tables {
        let section = SHOWN.iter().find(|(known, _)| known == table);
        let (_, section) = section.unwrap_or_else(|| panic!("the export leaves out {table}"));
        assert!(rows(&stage, table) > 0, "nothing tests what becomes of {table}");
        let shown = export[section].as_array().unwrap();
        assert_eq!(shown.len(), rows(&stage, table), "{table}: {shown:?}");
    }
    assert_eq!(tables.len(), SHOWN.len());
    let erased = stage.http.call("DELETE", "/v1/me", Some(&token), Body::None).await;
    erased.expect(204);
    for table in &tables {
        assert_eq!(rows(&stage, table), 0, "{table} outlives its patient");
    }
    assert_eq!(stage.bed.query("SELECT count(*) FROM patients"), ["0"]);
    assert_eq!(stage.bed.query("SELECT count(*) FROM refresh_tokens"), ["0"]);
}

async fn patients_see_all_and_clinics_all_but_addresses(bed: Bed) {
    let stage = Stage::set(bed).await;
    let token = a_whole_life(&stage, "ana").await;
    stage.treated("zoe").await;
    let own = stage.http.call("GET", "/v1/me/export", Some(&token), Body::None).await.expect(200);
    assert_eq!(own["patient"]["ref"], "ana");
    assert_eq!(own["devices"][0]["address"], "ana");
    assert_eq!(own["devices"][0]["installation_id"], "ana");
    assert_eq!(own["treatments"][0]["metadata"], json!({"room": "room-of-ana"}));
    assert_eq!(own["treatments"][0]["event_id"], "visit-ana");
    assert_eq!(own["consents"][0]["kind"], "aftercare");
    assert_eq!(own["deliveries"][0]["state"], "sent");
    assert!(own["reminders"][0]["body"].as_str().unwrap().len() > 10);
    let said = own["reminders"].as_array().unwrap().iter().find(|row| row["said"].is_object());
    let said = &said.unwrap()["said"];
    assert_eq!(said["title"], "Your next 48 hours");
    assert_eq!(said["until"]["no-makeup"], "2026-11-23T15:40:00Z");
    let deeds = own["audit"].as_array().unwrap().iter();
    let deeds: Vec<&str> = deeds.filter_map(|deed| deed["action"].as_str()).collect();
    for deed in ["treatment.recorded", "enrolment.created", "enrolment.redeemed"] {
        assert!(deeds.contains(&deed), "{deed}: {deeds:?}");
    }
    assert!(!own.to_string().contains("zoe"), "nobody else's");

    let path = "/v1/patients/ana/export";
    let clinics = stage.clinic("GET", path, Body::None).await.expect(200);
    assert_eq!(clinics["devices"][0]["address"], Value::Null);
    for section in ["patient", "treatments", "reminders", "deliveries", "consents", "sessions"] {
        assert_eq!(clinics[section], own[section], "{section}");
    }
    let unknown = stage.clinic("GET", "/v1/patients/nobody/export", Body::None).await;
    unknown.problem(404, "not-found");
    let wrong = stage.http.call("GET", path, Some(&token), Body::None).await;
    wrong.problem(403, "wrong-role");
}

on_both_engines!(no_table_is_left_out, patients_see_all_and_clinics_all_but_addresses);
