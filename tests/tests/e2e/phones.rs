//! Phones that come late, come in pairs, go away, change hands or travel.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::{Fault, FaultKind, PhoneSettings, Platform, ShownKind};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::app::App;
use crate::http::Body;
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

/// Ana's tablet at home, and what her phone in New York registers as.
async fn with_a_phone_abroad(stage: &Stage) -> (App<'_>, Value) {
    let (tablet, _) = stage.treated_with_app("ana").await;
    stage.set_clock("2026-11-22T15:41:00Z");
    let phone = stage.app("ana", "phone").await;
    let mut abroad = device("phone");
    abroad["time_zone"] = json!("America/New_York");
    stage.register(&phone, "phone", &abroad).await.expect(204);
    (tablet, abroad)
}

async fn whose_phone_becomes_anothers_goes_by_the_clock_of_the_one_that_is_left(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (tablet, abroad) = with_a_phone_abroad(&stage).await;
    let morning = async || tablet.reminder("Good morning").await["due_at"].clone();
    assert_eq!(morning().await, "2026-11-23T12:50:00Z");
    stage.patient("bea").await;
    let bea = stage.app("bea", "bea-installation").await;
    stage.register(&bea, "bea-installation", &abroad).await.expect(204);
    assert_eq!(morning().await, "2026-11-23T07:50:00Z");
    stage.play("2026-11-24T12:00:00Z").await;
    assert_eq!((stage.diary("ana").len(), stage.diary("phone").len()), (5, 0));
}

async fn a_phone_that_is_gone_still_says_where_the_patient_is(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (tablet, _) = with_a_phone_abroad(&stage).await;
    let gone = PhoneSettings { installed: Some(false), ..PhoneSettings::default() };
    stage.fcm.set_phone("phone", gone);
    stage.play("2026-11-22T16:00:00Z").await;
    assert_eq!(stage.fcm.stats().refused.get("UNREGISTERED"), Some(&1));
    tablet.wish(json!({"exercise_hour": "20:00"})).await;
    assert_eq!(tablet.reminder("Good morning").await["due_at"], "2026-11-23T12:50:00Z");
}

async fn a_phone_that_fails_is_tried_again_alone(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    stage.phone("ana", "tablet").await;
    stage.fcm.set_fault(Fault::new(FaultKind::Unavailable).for_address("tablet").times(3));
    stage.play("2026-11-22T16:30:00Z").await;
    assert_eq!(stage.diary("ana"), ["Sun 22 Nov 15:55  Your next 48 hours"], "once");
    let late = stage.diary("tablet");
    assert_eq!(late.len(), 1, "and once here: {late:?}");
    assert_eq!(stage.fates(&treated).await[0].1, "sent: accepted");
    assert_eq!(stage.fcm.stats().sends, 5);
    let tags: Vec<_> = stage.pushes().into_iter().map(|push| push.tag).collect();
    assert_eq!(tags[0], tags[1]);
}

async fn logging_out_ends_tokens_and_pushes(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, _) = stage.treated_with_app("ana").await;
    stage.phone("ana", "tablet").await;
    let access = app.token().await;
    let form = format!("token={}", app.refresh_token());
    let revoke = stage.http.call("POST", "/v1/oauth/revoke", None, Body::Form(&form)).await;
    revoke.expect(200);
    let path = "/v1/me/timeline";
    let refused = stage.http.call("GET", path, Some(&access), Body::None).await;
    refused.problem(401, "invalid-token");
    let form = format!("grant_type=refresh_token&refresh_token={}", app.refresh_token());
    let refused = stage.http.call("POST", "/v1/oauth/token", None, Body::Form(&form)).await;
    assert_eq!(refused.expect(400)["error"], "invalid_grant");
    stage.play("2026-11-22T16:30:00Z").await;
    assert_eq!((stage.diary("ana").len(), stage.diary("tablet").len()), (0, 1));
}

async fn a_feed_ends_with_the_last_sign_in(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (app, _) = stage.treated_with_app("ana").await;
    let tablet = stage.signed_in("ana", "tablet").await;
    let url = app.get("/v1/me/calendar").await["url"].as_str().unwrap().to_owned();
    let path = &url[url.find("/calendar/").unwrap()..];
    let feed = async || stage.http.call("GET", path, None, Body::None).await.status;
    let sign_out = async |refresh_token: String| {
        let form = format!("token={refresh_token}");
        stage.http.call("POST", "/v1/oauth/revoke", None, Body::Form(&form)).await.expect(200);
    };
    sign_out(app.refresh_token()).await;
    assert_eq!(feed().await, 200, "another phone is signed in");
    sign_out(tablet.refresh_token()).await;
    assert_eq!(feed().await, 404);
    let again = stage.signed_in("ana", "again").await;
    assert_ne!(again.get("/v1/me/calendar").await["url"], url.as_str());
}

/// A patient whose rows cannot be read, and one whose can; neither phone was heard of for 271 days.
async fn one_who_cannot_be_read_keeps_nobody_elses_address(bed: Bed) {
    let stage = Stage::set(bed).await;
    for name in ["ana", "bea"] {
        stage.patient(name).await;
        stage.phone(name, name).await;
    }
    let first = if stage.bed.database.is_some() { "'\\x00'" } else { "x'00'" };
    let damage = "UPDATE patients SET key_wrapped = ";
    let ana = "WHERE id = (SELECT id FROM patients ORDER BY created_at, id LIMIT 1)";
    stage.bed.execute(&format!("{damage}{first} {ana}"));
    stage.set_clock("2027-08-20T15:40:00Z");
    stage.scheduler.tidy().await;
    let states = "SELECT d.state FROM devices d JOIN patients p ON p.id = d.patient_id
        ORDER BY p.created_at, p.id";
    assert_eq!(stage.bed.query(states), ["active", "gone"]);
}

/// 270 days after 22 November 2026, 15:40, is 19 August 2027.
async fn an_address_nobody_is_heard_of_from_is_dropped(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (ana, _) = stage.treated_with_app("ana").await;
    let (bea, _) = stage.treated_with_app("bea").await;
    let states = async || {
        let all = stage.bed.store.read(|tx| {
            let clinic = tx.clinics()?.remove(0).id;
            let mut states = Vec::new();
            for reference in ["ana", "bea"] {
                let patient = tx.patient_by_ref(clinic, reference)?.unwrap();
                let [device] = tx.devices(patient.id)?.try_into().unwrap();
                states.push((device.state.to_string(), device.address.is_some()));
            }
            Ok::<_, aftercare::store::StoreError>(states)
        });
        all.await.unwrap()
    };
    let (active, gone) = (("active".to_owned(), true), ("gone".to_owned(), false));
    // Bea's app only renews its sign-in.
    stage.set_clock("2026-12-01T12:00:00Z");
    bea.token().await;
    stage.set_clock("2027-08-19T15:40:00Z");
    stage.scheduler.tidy().await;
    assert_eq!(states().await, [active.clone(), active.clone()]);
    stage.set_clock("2027-08-19T15:40:01Z");
    stage.scheduler.tidy().await;
    assert_eq!(states().await, [gone.clone(), active]);
    let treated = stage.session_done("visit-late", "ana").await;
    assert_eq!(treated["reachable"], false);
    stage.set_clock("2027-08-28T12:00:01Z");
    stage.scheduler.tidy().await;
    assert_eq!(states().await, [gone.clone(), gone]);
    // A month later nobody knows that the sign-ins ever were.
    let sessions = async || {
        let (of_ana, of_bea) = (ana.refresh_token().into(), bea.refresh_token().into());
        let known = stage.bed.store.read(move |tx| {
            let ana = tx.session_of_refresh_token(&of_ana)?.is_some();
            Ok::<_, aftercare::store::StoreError>((
                ana,
                tx.session_of_refresh_token(&of_bea)?.is_some(),
            ))
        });
        known.await.unwrap()
    };
    assert_eq!(sessions().await, (true, true));
    stage.set_clock("2027-09-18T15:40:01Z");
    stage.scheduler.tidy().await;
    assert_eq!(sessions().await, (false, true));
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

/// Android's app is handed the words and decides; an iPhone and a browser show them by themselves.
async fn an_app_with_a_fallback_of_its_own_is_pushed_to_all_the_same(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let phones = [
        ("android", Platform::Android, ShownKind::Data),
        ("ios", Platform::Ios, ShownKind::Notification),
        ("web", Platform::Web, ShownKind::Notification),
    ];
    for (name, platform, _) in phones {
        stage.fcm.set_phone(name, PhoneSettings { platform: Some(platform), ..Default::default() });
        let app = stage.app("ana", name).await;
        let mut device = device(name);
        device["platform"] = json!(name);
        device["delivery"] = json!("local_fallback");
        stage.register(&app, name, &device).await.expect(204);
    }
    let treated = stage.session_done("visit-1", "ana").await;
    stage.play("2026-11-22T15:56:00Z").await;
    let start = stage.reminders(treated["treatment"]["id"].as_str().unwrap()).await[0].id;
    for (name, _, kind) in phones {
        let inbox = stage.fcm.inbox(name);
        assert_eq!((inbox.len(), inbox[0].kind), (1, kind), "{name}: {inbox:?}");
        assert_eq!(inbox[0].data["reminder_id"], start.to_string(), "{name}");
        let body = inbox[0].body.as_ref().or(inbox[0].data.get("body")).unwrap();
        assert!(body.contains("No makeup until tomorrow 15:40"), "{name}: {body}");
    }

    // Offline at bedtime, the app shows its own at 21:20; the push that comes later has the same id.
    stage.fcm.set_phone("android", PhoneSettings { online: Some(false), ..Default::default() });
    stage.play("2026-11-22T21:20:00Z").await;
    let rows = stage.reminders(treated["treatment"]["id"].as_str().unwrap()).await;
    let bedtime = rows.iter().find(|row| row.step_id.as_str() == "bedtime").unwrap();
    assert!(bedtime.due_at + SignedDuration::from_mins(15) < bedtime.use_by);
    assert_eq!(stage.fcm.inbox("android").len(), 1);
    stage.fcm.set_phone("android", PhoneSettings { online: Some(true), ..Default::default() });
    let inbox = stage.fcm.inbox("android");
    assert_eq!(inbox.len(), 2);
    assert_eq!(inbox[1].data["reminder_id"], bedtime.id.to_string());
}

on_both_engines!(
    an_app_with_a_fallback_of_its_own_is_pushed_to_all_the_same,
    enrolled_an_hour_later_what_still_holds_comes_at_once,
    enrolled_five_hours_later_the_start_is_past,
    each_of_two_phones_gets_each_push_once,
    a_phone_that_is_gone_is_dropped_and_the_other_goes_on,
    a_phone_that_is_gone_still_says_where_the_patient_is,
    an_address_that_moves_to_another_patient_leaves_the_first,
    whose_phone_becomes_anothers_goes_by_the_clock_of_the_one_that_is_left,
    a_phone_that_fails_is_tried_again_alone,
    logging_out_ends_tokens_and_pushes,
    a_feed_ends_with_the_last_sign_in,
    one_who_cannot_be_read_keeps_nobody_elses_address,
    an_address_nobody_is_heard_of_from_is_dropped,
    hours_on_the_wall_travel_with_the_phone,
);
