//! A test push: it arrives, the phone's receipt shows when it was displayed, and it is never mistaken for
//! an instruction.

use aftercare::care::dispatch::{self, Work};
use aftercare::store::Tx;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::{Fault, FaultKind};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::desk::browser::Browser;
use crate::http::{Answer, Body};
use crate::receiver::Receiver;
use crate::stage::{Stage, device};

impl Stage {
    async fn test(&self, reference: &str) -> Answer {
        let path = format!("/v1/patients/{reference}/test-push");
        self.clinic("POST", &path, Body::None).await
    }

    async fn tested(&self, reference: &str) -> Value {
        let path = format!("/v1/patients/{reference}/test-push");
        self.clinic("GET", &path, Body::None).await.expect(200)
    }

    async fn reports(&self, app: &str, id: &Value, kind: &str, at: &str) -> Value {
        let receipt = json!([{"reminder_id": id, "kind": kind, "at": at}]);
        let path = "/v1/me/receipts";
        self.http.call("POST", path, Some(app), Body::Json(&receipt)).await.expect(200)
    }

    /// Asks for one and has it sent; what became of it.
    async fn sent_test(&self, reference: &str) -> Value {
        self.test(reference).await.expect(201);
        let run = self.run().await;
        assert_eq!((run.tally.tests, run.tally.sent), (1, 0), "a test is no reminder");
        self.tested(reference).await
    }

    async fn timeline(&self, app: &str) -> Value {
        let answer = self.http.call("GET", "/v1/me/timeline", Some(app), Body::None).await;
        let mut timeline = answer.expect(200);
        timeline.as_object_mut().unwrap().remove("generated_at");
        timeline
    }
}

fn fate(test: &Value) -> (&str, Option<&str>) {
    (test["state"].as_str().unwrap(), test["reason"].as_str())
}

async fn it_tells_when_the_phone_displayed_it(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    let app = stage.app("ana", "ana").await;
    stage.register(&app, "ana", &device("ana")).await.expect(204);
    let before = stage.timeline(&app).await;
    let receiver = Receiver::start().await;
    let types =
        ["reminder.sent", "reminder.failed", "reminder.acknowledged", "patient.unreachable"];
    let webhook = json!({"url": receiver.url(), "types": types});
    stage.clinic("POST", "/v1/webhooks", Body::Json(&webhook)).await.expect(201);
    let none = stage.clinic("GET", "/v1/patients/ana/test-push", Body::None).await;
    none.problem(404, "not-found");

    let asked = stage.test("ana").await.expect(201);
    assert_eq!(fate(&asked), ("planned", None));
    assert_eq!(asked["use_by"], "2026-11-22T15:50:00Z");
    assert_eq!(stage.test("ana").await.expect(200)["id"], asked["id"], "pressed twice");
    let run = stage.run().await;
    assert_eq!((run.tally.tests, run.tally.sent), (1, 0), "a test is no reminder");
    let sent = stage.tested("ana").await;
    assert_eq!(
        (fate(&sent), &sent["sent_at"]),
        (("sent", Some("accepted")), &json!("2026-11-22T15:40:00Z"))
    );
    assert_eq!(sent["displayed_at"], Value::Null);

    // The phone knows what it is, and puts it nowhere.
    let push = stage.fcm.accepted().pop().unwrap();
    let data = &push.message["data"];
    assert_eq!((&data["kind"], &data["reminder_id"]), (&json!("test"), &asked["id"]));
    assert_eq!(push.message["android"]["ttl"], "600s");
    assert_eq!(
        (&data["title"], &push.message["notification"]),
        (&json!("Test message"), &Value::Null)
    );
    assert_eq!(stage.timeline(&app).await, before);
    let why = format!("/v1/me/reminders/{}/why", asked["id"].as_str().unwrap());
    let why = stage.http.call("GET", &why, Some(&app), Body::None).await;
    why.problem(404, "not-found");

    // Somebody else's phone has nothing to say of it; of two reports the earlier counts.
    stage.set_clock("2026-11-22T15:41:00Z");
    stage.patient("zoe").await;
    let other = stage.phone("zoe", "zoe").await;
    let foreign = stage.reports(&other, &asked["id"], "displayed", "2026-11-22T15:40:01Z").await;
    assert_eq!(foreign, json!({"recorded": 0, "unknown": [asked["id"]]}));
    for at in ["2026-11-22T15:40:07Z", "2026-11-22T15:40:05Z", "2026-11-22T15:40:09Z"] {
        let kept = stage.reports(&app, &asked["id"], "displayed", at).await;
        assert_eq!(kept, json!({"recorded": 1, "unknown": []}));
    }
    stage.reports(&app, &asked["id"], "acknowledged", "2026-11-22T15:40:20Z").await;
    let shown = stage.tested("ana").await;
    assert_eq!(shown["displayed_at"], "2026-11-22T15:40:05Z");
    assert_eq!(shown["acknowledged_at"], "2026-11-22T15:40:20Z");

    // The next one takes its place.
    let next = stage.test("ana").await.expect(201);
    assert_eq!((&next["displayed_at"], fate(&next)), (&Value::Null, ("planned", None)));
    let late = stage.reports(&app, &asked["id"], "displayed", "2026-11-22T15:40:05Z").await;
    assert_eq!(late["unknown"], json!([asked["id"]]));
    stage.run().await;
    assert_eq!(stage.diary("ana").len(), 2);
    assert_eq!(stage.bed.query("SELECT count(*) FROM webhook_events"), ["0"]);
    let deeds = "SELECT count(*) FROM audit WHERE action = 'test-push.requested'";
    assert_eq!(stage.bed.query(deeds), ["2"]);
    // The plan goes on as if nothing had been.
    stage.play("2026-11-22T15:55:00Z").await;
    assert_eq!(stage.diary("ana")[2], "Sun 22 Nov 15:55  Your next 48 hours");
}

async fn nobody_is_disturbed_who_does_not_want_it(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let refused = stage.test("ana").await.problem(409, "unreachable");
    assert!(refused["detail"].as_str().unwrap().ends_with(": no-device"), "{refused}");
    stage.test("nobody").await.problem(404, "not-found");
    let app = stage.phone("ana", "ana").await;

    let consent = async |granted: bool| {
        stage.bed.clock.advance(SignedDuration::from_secs(1));
        let word = json!({"granted": granted});
        let path = "/v1/me/consents/aftercare";
        stage.http.call("PUT", path, Some(&app), Body::Json(&word)).await.expect(200);
    };
    consent(false).await;
    let refused = stage.test("ana").await.problem(409, "unreachable");
    assert!(refused["detail"].as_str().unwrap().ends_with(": consent-withdrawn"), "{refused}");
    consent(true).await;
    stage.test("ana").await.expect(201);
    consent(false).await;
    stage.run().await;
    assert_eq!(fate(&stage.tested("ana").await), ("failed", Some("consent")), "looked at again");
    consent(true).await;

    stage.bed.execute("UPDATE devices SET notifications_enabled = FALSE");
    stage.test("ana").await.problem(409, "unreachable");
    stage.bed.execute("UPDATE devices SET notifications_enabled = TRUE");
    stage.bed.execute("UPDATE clinics SET paused = TRUE");
    stage.test("ana").await.problem(409, "unreachable");
    stage.bed.execute("UPDATE clinics SET paused = FALSE");
    stage.test("ana").await.expect(201);
    stage.bed.execute("UPDATE clinics SET paused = TRUE");
    stage.run_at("2026-11-22T15:41:00Z").await;
    assert_eq!(fate(&stage.tested("ana").await), ("planned", None), "the clinic was paused since");
    stage.set_clock("2026-11-22T15:51:00Z");
    assert_eq!(fate(&stage.tested("ana").await), ("expired", Some("past-use-by")));
    stage.run().await;
    assert_eq!(stage.bed.query("SELECT state FROM test_pushes"), ["expired"]);
    stage.bed.execute("UPDATE clinics SET paused = FALSE");
    stage.bed.execute("UPDATE server SET sending_paused = TRUE");
    stage.test("ana").await.problem(409, "unreachable");
    stage.bed.execute("UPDATE server SET sending_paused = FALSE");
    stage.run().await;
    assert_eq!(stage.pushes(), []);
}

async fn who_asks_for_it_has_the_phone_in_sight(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    let app = stage.app("ana", "ana").await;
    stage.register(&app, "ana", &device("ana")).await.expect(204);
    let quiet = json!({"quiet_hours": {"from": "15:00", "until": "17:00"}});
    let path = "/v1/me/preferences";
    stage.http.call("PATCH", path, Some(&app), Body::Json(&quiet)).await.expect(200);
    assert_eq!(fate(&stage.sent_test("ana").await), ("sent", Some("accepted")), "in quiet hours");
}

async fn no_phone_is_tested_without_end(bed: Bed) {
    let stage = Stage::set(bed).await;
    for name in ["ana", "zoe"] {
        stage.patient(name).await;
        stage.phone(name, name).await;
    }
    for _ in 0..5 {
        stage.sent_test("ana").await;
        stage.bed.clock.advance(SignedDuration::from_secs(20));
    }
    // It has rested for 100 of the 1800 seconds that five tests cost.
    let refused = stage.test("ana").await;
    refused.problem(429, "too-many-tests");
    assert_eq!(refused.header("retry-after"), Some("260"));
    assert_eq!(stage.run().await.claimed, 0);
    stage.sent_test("zoe").await;
    stage.bed.clock.advance(SignedDuration::from_secs(259));
    stage.test("ana").await.problem(429, "too-many-tests");
    stage.bed.clock.advance(SignedDuration::from_secs(1));
    stage.sent_test("ana").await;
    stage.bed.clock.advance(SignedDuration::from_secs(20));
    assert_eq!(stage.test("ana").await.header("retry-after"), Some("340"));
    assert_eq!(stage.diary("ana").len(), 6);
}

async fn every_phone_gets_one(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "first").await;
    let app = stage.app("ana", "second").await;
    let mut second = device("second");
    second["delivery"] = json!("local_fallback");
    stage.register(&app, "second", &second).await.expect(204);
    stage.phone("ana", "gone").await;
    stage.fcm.set_fault(Fault::new(FaultKind::Unregistered).for_address("gone"));
    stage.fcm.set_fault(Fault::new(FaultKind::Unavailable).for_address("first"));
    assert_eq!(fate(&stage.sent_test("ana").await), ("sent", Some("accepted")));
    stage.fcm.clear_faults();
    let addresses = "SELECT state FROM devices WHERE state <> 'active'";
    assert_eq!(stage.bed.query(addresses), ["gone"], "the dead address is dropped");
    stage.play("2026-11-22T16:00:00Z").await;
    assert_eq!(stage.diary("second").len(), 1, "once it is sent, it is sent to nobody again");
    assert_eq!(stage.diary("first").len(), 0);

    stage.sent_test("ana").await;
    assert_eq!((stage.diary("first").len(), stage.diary("second").len()), (1, 2));
    for push in stage.fcm.accepted() {
        assert_eq!(push.message["data"]["title"], "Test message", "{}", push.address);
        assert_eq!(push.message["notification"], Value::Null, "{}", push.address);
    }
    assert_eq!(stage.bed.query("SELECT count(*) FROM deliveries"), ["0"]);
}

async fn reminders_come_first_where_there_is_little_room(bed: Bed) {
    let stage = Stage::set(bed).await;
    for n in 0..6 {
        let name = format!("ana-{n}");
        stage.treated(&name).await;
        stage.set_clock("2026-11-22T15:55:00Z");
        stage.test(&name).await.expect(201);
        stage.set_clock("2026-11-22T15:40:00Z");
    }
    stage.set_clock("2026-11-22T15:55:00Z");
    let claimed = async |limit: usize| {
        let lease = stage.bed.store.env().id();
        let claim =
            move |tx: &mut Tx<'_>| dispatch::claim(tx, lease, SignedDuration::from_secs(60), limit);
        let claim = stage.bed.store.write(claim).await.unwrap();
        let tests = claim.singles().filter(|(item, _)| item.work == Work::Test).count();
        (claim.len() - tests, tests)
    };
    assert_eq!(claimed(4).await, (3, 1));
    // Too small to be shared: one of the queues comes first, by chance.
    let (reminders, tests) = claimed(1).await;
    assert_eq!(reminders + tests, 1, "the one that finds out whether FCM is back");
    assert_eq!(
        claimed(4).await,
        (3 - reminders, 1),
        "a quarter for tests, however few reminders are left"
    );
    assert_eq!(claimed(100).await, (0, 4 - tests));
}

async fn it_says_the_same_to_everybody_and_nothing_of_anybody(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.bed.execute("UPDATE clinics SET push_content = 'reference'");
    let app = stage.app("ana", "ana").await;
    for (language, title) in [
        ("en", "Test message"),
        ("es", "Mensaje de prueba"),
        ("pt-BR", "Mensagem de teste"),
        ("fr", "Message de test"),
        ("de", "Test message"),
    ] {
        let mut phone = device("ana");
        phone["locale"] = json!(language);
        stage.register(&app, "ana", &phone).await.expect(204);
        stage.test("ana").await.expect(201);
        stage.run().await;
        let push = stage.fcm.accepted().pop().unwrap();
        assert_eq!(push.message["data"]["title"], title);
        let text = push.message.to_string().to_lowercase();
        for word in ["pele nova", "clin", "clín", "microneedling", "treat", "trat"] {
            assert!(!text.contains(word), "{language} says {word}: {text}");
        }
        stage.bed.clock.advance(SignedDuration::from_secs(20));
    }
}

async fn it_is_tried_while_it_is_of_use(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    stage.phone("ana", "ana").await;
    stage.test("ana").await.expect(201);
    stage.fcm.set_fault(Fault::new(FaultKind::Unavailable).times(1));
    stage.run().await;
    assert_eq!(fate(&stage.tested("ana").await), ("planned", Some("retrying")));
    stage.play("2026-11-22T15:41:00Z").await;
    assert_eq!(fate(&stage.tested("ana").await), ("sent", Some("accepted")));

    stage.test("ana").await.expect(201);
    stage.fcm.set_fault(Fault::new(FaultKind::Unavailable));
    stage.play("2026-11-22T16:00:00Z").await;
    assert_eq!(fate(&stage.tested("ana").await), ("expired", Some("past-use-by")));
    stage.fcm.clear_faults();
    stage.play("2026-11-22T17:00:00Z").await;
    assert_eq!(stage.pushes().len(), 1);

    // Who claimed it and died gives it back when the lease ends.
    stage.test("ana").await.expect(201);
    let lease = stage.bed.store.env().id();
    let claim =
        move |tx: &mut Tx<'_>| dispatch::claim(tx, lease, SignedDuration::from_secs(60), 10);
    assert_eq!(stage.bed.store.write(claim).await.unwrap().len(), 1);
    stage.run().await;
    assert_eq!(fate(&stage.tested("ana").await), ("planned", None));
    stage.run_at("2026-11-22T17:01:00Z").await;
    assert_eq!(fate(&stage.tested("ana").await), ("sent", Some("accepted")));

    // A phone without the app is dropped, as by a reminder.
    stage.set_clock("2026-11-22T17:02:00Z");
    stage.test("ana").await.expect(201);
    stage.fcm.set_fault(Fault::new(FaultKind::Unregistered).times(1));
    stage.run().await;
    assert_eq!(fate(&stage.tested("ana").await), ("failed", Some("no-device")));
    stage.test("ana").await.problem(409, "unreachable");
    let app = stage.app("ana", "ana").await;
    stage.register(&app, "ana", &device("ana-again")).await.expect(204);
    stage.test("ana").await.expect(201);
}

async fn the_desk_shows_it(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    let app = stage.app("ana", "ana").await;
    stage.register(&app, "ana", &device("ana")).await.expect(204);
    let maria = stage.at_the_desk("Maria").await;
    let page = maria.page("/desk/patient?ref=ana").await;
    let asked = maria.submit(&page, "/desk/test-push", &[]).await;
    assert_eq!(asked.header("location"), Some("/desk/test-push?ref=ana"), "{}", asked.text());
    let said = async |maria: &Browser| {
        let page = maria.page("/desk/test-push?ref=ana").await;
        let (_, said) = page.split_once("id=\"said\"").unwrap();
        let (attributes, said) = said.split_once('>').unwrap();
        let under_way = attributes.contains("data-under-way");
        (said.split_once('<').unwrap().0.to_owned(), under_way)
    };
    assert_eq!(said(&maria).await, ("It is on its way.".to_owned(), true));
    stage.run().await;
    let sent = "Sent at 15:40:00. The phone has not shown it yet.".to_owned();
    assert_eq!(said(&maria).await, (sent, true));
    let id = stage.tested("ana").await["id"].clone();
    stage.set_clock("2026-11-22T15:41:00Z");
    stage.reports(&app, &id, "displayed", "2026-11-22T15:40:03Z").await;
    assert_eq!(said(&maria).await, ("The phone showed it at 15:40:03.".to_owned(), false));

    // Scripts are the server's own, and only on this page.
    let answer = maria.get("/desk/test-push?ref=ana").await;
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains(" script-src 'self'; connect-src 'self';"), "{policy}");
    assert!(!answer.text().contains("<script>"), "none in the page itself");
    let script = maria.get("/desk/live.js").await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    let home = maria.get("/desk").await;
    assert!(!home.header("content-security-policy").unwrap().contains("script"));

    stage.bed.execute("UPDATE devices SET notifications_enabled = FALSE");
    let patient = maria.page("/desk/patient?ref=ana").await;
    assert!(!patient.contains("/desk/test-push"), "there is nobody to send it to");
    let shown = maria.page("/desk/test-push?ref=ana").await;
    assert!(shown.contains("Notifications are off") && !shown.contains("Send another"), "{shown}");
    // A page from before leads to where the reason is said.
    stage.bed.clock.advance(SignedDuration::from_secs(20));
    let refused = maria.submit(&page, "/desk/test-push", &[]).await;
    assert_eq!(refused.header("location"), Some("/desk/patient?ref=ana"));
    stage.bed.execute("UPDATE devices SET notifications_enabled = TRUE");
    for _ in 0..4 {
        stage.sent_test("ana").await;
        stage.bed.clock.advance(SignedDuration::from_secs(20));
    }
    let refused = maria.submit(&page, "/desk/test-push", &[]).await;
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("the next in 4 min"), "{}", refused.text());
    let notes = "SELECT DISTINCT actor FROM audit WHERE action = 'test-push.requested'";
    let actors = stage.bed.query(notes);
    assert_eq!(actors.len(), 2, "the desk's people and the clinic's software: {actors:?}");
    assert!(actors.iter().any(|actor| actor.starts_with("staff:")), "{actors:?}");
}

on_both_engines!(
    it_tells_when_the_phone_displayed_it,
    nobody_is_disturbed_who_does_not_want_it,
    who_asks_for_it_has_the_phone_in_sight,
    no_phone_is_tested_without_end,
    every_phone_gets_one,
    reminders_come_first_where_there_is_little_room,
    it_says_the_same_to_everybody_and_nothing_of_anybody,
    it_is_tried_while_it_is_of_use,
    the_desk_shows_it,
);
