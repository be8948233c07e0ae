//! A month, and then the whole course, from due moment to due moment.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::json;

use crate::http::Body;
use crate::stage::{Stage, done};

/// The five of a session, on its day and the two after it.
fn two_days(days: [&str; 3]) -> Vec<String> {
    let [first, second, third] = days;
    vec![
        format!("{first} 15:55  Your next 48 hours"),
        format!("{first} 21:05  Before you go to bed"),
        format!("{second} 07:50  Good morning"),
        format!("{second} 17:05  No intense exercise today"),
        format!("{third} 07:50  Two days after"),
    ]
}

async fn a_course_of_three_sessions_says_seventeen_things_at_the_right_hour(bed: Bed) {
    let stage = Stage::set(bed).await;
    let first = stage.treated("ana").await;
    assert_eq!(first["treatment"]["session"], 1);
    assert_eq!(first["reachable"], true);
    stage.play("2026-12-22T15:40:00Z").await;
    let mut expected = two_days(["Sun 22 Nov", "Mon 23 Nov", "Tue 24 Nov"]);
    expected.push("Tue 15 Dec 10:05  Your next session".to_owned());
    assert_eq!(stage.diary("ana"), expected);

    let second = stage.session_done("visit-2", "ana").await;
    stage.play("2027-01-22T15:40:00Z").await;
    expected.extend(two_days(["Tue 22 Dec", "Wed 23 Dec", "Thu 24 Dec"]));
    expected.push("Fri 15 Jan 10:05  Your next session".to_owned());
    assert_eq!(stage.diary("ana"), expected);

    let third = stage.session_done("visit-3", "ana").await;
    stage.play("2027-06-01T00:00:00Z").await;
    expected.extend(two_days(["Fri 22 Jan", "Sat 23 Jan", "Sun 24 Jan"]));
    assert_eq!(stage.diary("ana"), expected, "a complete course asks for no further session");

    assert_eq!(
        (second["treatment"]["session"].as_u64(), &second["treatment"]["of"]),
        (Some(2), &json!(3))
    );
    assert_eq!(third["treatment"]["session"], 3);
    let nudge = stage.fates(&first).await.into_iter().find(|(step, _)| step == "nudge").unwrap();
    assert_eq!(nudge.1, "superseded: newer-session");
    every_push_is_itself(&stage).await;
    the_timeline_says_that_the_course_is_complete(&stage).await;
}

/// On time, under its reminder's id, and kept no longer than it is of use.
async fn every_push_is_itself(stage: &Stage) {
    let treatments = stage.clinic("GET", "/v1/treatments?patient_ref=ana", Body::None).await;
    let treatments = treatments.expect(200);
    let known: Vec<_> = treatments["items"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|item| item["reminders"].as_array().unwrap())
        .collect();
    let pushes = stage.pushes();
    assert_eq!(pushes.len(), 17);
    for push in &pushes {
        let reminder = known.iter().find(|known| known["id"] == push.reminder.as_str()).unwrap();
        assert_eq!(reminder["state"], "sent");
        assert_eq!(reminder["due_at"], push.at.to_string(), "{push:?}");
        assert_eq!(reminder["use_by"], push.use_by.to_string());
        assert_eq!(push.tag, push.reminder);
        assert_eq!(push.ttl, push.use_by.duration_since(push.at), "{push:?}");
        assert!(!push.body.is_empty() && !push.body.contains('{'), "{push:?}");
    }
    let tags: std::collections::BTreeSet<_> = pushes.iter().map(|push| &push.tag).collect();
    assert_eq!(tags.len(), 17);
}

async fn the_timeline_says_that_the_course_is_complete(stage: &Stage) {
    let timeline = stage.clinic("GET", "/v1/patients/ana/timeline", Body::None).await.expect(200);
    let course = &timeline["courses"][0];
    assert_eq!((course["session"].as_u64(), course["of"].as_u64()), (Some(3), Some(3)));
    assert!(course["next_session_on"].is_null() && course["next_session_at"].is_null(), "{course}");
}

async fn a_session_that_is_booked_is_spoken_of_the_day_before(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "ana").await;
    let mut event = done("visit-1", "ana", stage.now());
    event["next_session_at"] = json!("2026-12-20T11:00:00Z");
    stage.post(&event).await.expect(201);
    stage.play("2027-02-01T00:00:00Z").await;
    let mut expected = two_days(["Sun 22 Nov", "Mon 23 Nov", "Tue 24 Nov"]);
    expected.push("Sat 19 Dec 10:05  See you soon".to_owned());
    assert_eq!(stage.diary("ana"), expected);
}

async fn a_course_is_booked_by_the_clinic_s_own_code(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    let codes = json!({"aliases": ["MN-1"]});
    let path = "/v1/protocols/microneedling/aliases";
    stage.clinic("PUT", path, Body::Json(&codes)).await.expect(200);
    let path = "/v1/patients/ana/courses/MN-1/next-session";
    let at = json!({"at": "2026-12-23T10:30:00Z"});
    let booked = stage.clinic("PUT", path, Body::Json(&at)).await.expect(200);
    assert_eq!(booked["treatment"]["next_session_at"], at["at"]);
    let unbooked = stage.clinic("DELETE", path, Body::None).await.expect(200);
    assert_eq!(unbooked["treatment"]["next_session_at"], json!(null));
    let path = "/v1/patients/ana/courses/MN-2/next-session";
    stage.clinic("PUT", path, Body::Json(&at)).await.expect(404);
}

on_both_engines!(
    a_course_of_three_sessions_says_seventeen_things_at_the_right_hour,
    a_session_that_is_booked_is_spoken_of_the_day_before,
    a_course_is_booked_by_the_clinic_s_own_code,
);
