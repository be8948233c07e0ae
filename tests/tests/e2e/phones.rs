//! Phones that come late, come in pairs, go away, change hands or travel.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::PhoneSettings;
use serde_json::json;

use crate::stage::{Stage, device};

async fn enrolled_an_hour_later_what_still_holds_comes_at_once(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let treated = stage.session_done("visit-1", "ana").await;
    assert_eq!(treated["reachable"], false);
    stage.play("2026-11-22T16:40:00Z").await;
    assert_eq!(stage.fates(&treated).await[0].1, "planned: no-device");
    stage.phone("ana", "ana").await;
    stage.run().await;
    let pushes = stage.pushes();
    assert_eq!(pushes.len(), 1);
    assert!(pushes[0].body.contains("No makeup until tomorrow 15:40"), "{pushes:?}");
    stage.play("2026-11-22T21:30:00Z").await;
    assert_eq!(stage.pushes().len(), 2, "and bedtime as ever");
}

async fn enrolled_five_hours_later_the_start_is_past(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let treated = stage.session_done("visit-1", "ana").await;
    stage.play("2026-11-22T20:40:00Z").await;
    let start = stage.fates(&treated).await[0].1.clone();
    assert!(start.starts_with("expired: "), "{start}");
    stage.phone("ana", "ana").await;
    stage.run().await;
    assert_eq!(stage.pushes(), []);
    stage.play("2026-11-24T12:00:00Z").await;
    let expected = [
        "Sun 22 Nov 21:05  Before you go to bed",
        "Mon 23 Nov 07:50  Good morning",
        "Mon 23 Nov 17:05  No intense exercise today",
        "Tue 24 Nov 07:50  Two days after",
    ];
    assert_eq!(stage.diary("ana"), expected);
}

async fn each_of_two_phones_gets_each_push_once(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.phone("ana", "tablet").await;
    stage.play("2026-11-24T12:00:00Z").await;
    assert_eq!(stage.diary("ana").len(), 5);
    assert_eq!(stage.diary("ana"), stage.diary("tablet"));
    assert_eq!(stage.pushes().len(), 10);
}

async fn a_phone_that_is_gone_is_dropped_and_the_other_goes_on(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.phone("ana", "tablet").await;
    let gone = PhoneSettings { installed: Some(false), ..PhoneSettings::default() };
    stage.fcm.set_phone("ana", gone);
    stage.play("2026-11-24T12:00:00Z").await;
    assert_eq!(stage.diary("ana"), [""; 0]);
    assert_eq!(stage.diary("tablet").len(), 5);
    let stats = stage.fcm.stats();
    assert_eq!(stats.refused.get("UNREGISTERED"), Some(&1), "it is not asked again: {stats:?}");
}

async fn an_address_that_moves_to_another_patient_leaves_the_first(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    stage.play("2026-11-22T16:00:00Z").await;
    assert_eq!(stage.pushes().len(), 1);
    stage.patient("bea").await;
    let bea = stage.app("bea", "bea-installation").await;
    stage.register(&bea, "bea-installation", &device("ana")).await.expect(204);
    stage.play("2026-11-24T20:00:00Z").await;
    assert_eq!(stage.pushes().len(), 1, "Bea must not read what is Ana's");
    let fates = stage.fates(&treated).await;
    assert!(fates[1..5].iter().all(|(_, fate)| fate == "expired: no-device"), "{fates:?}");
    stage.session_done("visit-bea", "bea").await;
    stage.play("2026-11-24T20:20:00Z").await;
    assert_eq!(stage.diary("ana").len(), 2);
}

async fn hours_on_the_wall_travel_with_the_phone(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let app = stage.phone("ana", "ana").await;
    stage.session_done("visit-1", "ana").await;
    stage.set_clock("2026-11-22T15:50:00Z");
    // Unlikely, but the clearer: at once in New York, five hours behind.
    let mut abroad = device("ana");
    abroad["time_zone"] = json!("America/New_York");
    let answer = stage.register(&app, "ana", &abroad).await;
    answer.expect(204);
    stage.play("2026-11-24T15:00:00Z").await;
    let morning = stage.pushes().into_iter().find(|push| push.title == "Good morning").unwrap();
    assert_eq!(morning.at.to_string(), "2026-11-23T12:50:00Z");
    assert!(morning.body.contains("No makeup until today 10:40"), "{}", morning.body);
}

on_both_engines!(
    enrolled_an_hour_later_what_still_holds_comes_at_once,
    enrolled_five_hours_later_the_start_is_past,
    each_of_two_phones_gets_each_push_once,
    a_phone_that_is_gone_is_dropped_and_the_other_goes_on,
    an_address_that_moves_to_another_patient_leaves_the_first,
    hours_on_the_wall_travel_with_the_phone,
);
