//! What is told of courses: that the next session is due, and that the last one is done.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::{Value, json};

use crate::http::Body;
use crate::receiver::Receiver;
use crate::stage::{Stage, at, done};

impl Stage {
    /// Everything that is told when the heartbeat has come round.
    async fn tidied(&self, receiver: &Receiver) -> Vec<String> {
        self.scheduler.tidy().await;
        self.tell().await;
        receiver.lines()
    }

    async fn done_at(&self, event: &str, reference: &str, instant: &str) -> Value {
        self.post(&done(event, reference, at(instant))).await.expect(201)
    }
}

const NOTHING: [&str; 0] = [];

async fn a_session_that_is_due_is_told_on_its_day_and_once(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &["course.session_due"]).await;
    stage.patient("ana").await;
    let mut event = done("visit-1", "ana", stage.now());
    event["time_zone"] = json!("America/New_York");
    let first = stage.post(&event).await.expect(201);
    // Whoever does not want to be pushed to is still the clinic's to ask.
    let token = stage.phone("ana", "ana").await;
    let no = json!({"granted": false});
    stage.app_call(&token, "PUT", "/v1/me/consents/recall", &no).await;
    stage.set_clock("2026-12-22T04:59:59Z");
    assert_eq!(stage.tidied(&receiver).await, NOTHING, "it is the day before in New York");
    stage.set_clock("2026-12-22T05:00:00Z");
    stage.scheduler.tidy().await;
    stage.tell().await;
    let told = receiver.take().pop().unwrap();
    let treatment = &first["treatment"];
    let data = json!({
        "patient_ref": "ana", "patient_id": treatment["patient_id"], "treatment_id": treatment["id"],
    });
    assert_eq!((told.kind(), &told.body["data"]), ("course.session_due", &data));
    assert_eq!(stage.tidied(&receiver).await, NOTHING);
    stage.amend(&first, &json!({"areas": ["face"]})).await.expect(200);
    stage.amend(&first, &json!({"completed_at": "2026-11-21T15:40:00Z"})).await.expect(200);
    assert_eq!(stage.tidied(&receiver).await, NOTHING, "it was due before, and was told");
    stage.amend(&first, &json!({"completed_at": "2026-11-23T15:40:00Z"})).await.expect(200);
    assert_eq!(stage.tidied(&receiver).await, NOTHING, "it is not due any more");
    stage.set_clock("2026-12-23T05:00:00Z");
    assert_eq!(stage.tidied(&receiver).await, ["ana course.session_due"], "it is due anew");
}

async fn a_session_that_is_booked_done_void_or_the_last_is_not_due(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &["course.session_due"]).await;
    for name in ["booked", "treated", "voided", "complete"] {
        stage.patient(name).await;
    }
    stage.session_done("b-1", "booked").await;
    let path = "/v1/patients/booked/courses/microneedling/next-session";
    let at = json!({"at": "2026-12-29T10:00:00Z"});
    stage.clinic("PUT", path, Body::Json(&at)).await.expect(200);
    stage.session_done("t-1", "treated").await;
    let voided = stage.session_done("v-1", "voided").await;
    stage.void(&voided).await.expect(200);
    for (n, day) in ["2026-09-22", "2026-10-22", "2026-11-22"].into_iter().enumerate() {
        stage.done_at(&format!("c-{n}"), "complete", &format!("{day}T15:40:00Z")).await;
    }
    stage.set_clock("2026-12-20T15:40:00Z");
    stage.session_done("t-2", "treated").await;
    stage.set_clock("2026-12-25T12:00:00Z");
    assert_eq!(stage.tidied(&receiver).await, NOTHING);
    stage.clinic("DELETE", path, Body::None).await.expect(200);
    assert_eq!(stage.tidied(&receiver).await, ["booked course.session_due"], "overdue by now");
    stage.set_clock("2027-01-20T12:00:00Z");
    assert_eq!(stage.tidied(&receiver).await, ["treated course.session_due"], "of the newest");
}

async fn a_session_is_due_as_long_as_the_course_goes_on(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &["course.session_due"]).await;
    stage.patient("late").await;
    stage.patient("lost").await;
    stage.done_at("late", "late", "2026-08-22T15:40:00Z").await;
    stage.done_at("lost", "lost", "2026-05-21T15:40:00Z").await;
    assert_eq!(stage.tidied(&receiver).await, ["late course.session_due"]);
}

async fn two_schedulers_tell_of_a_due_session_once(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &["course.session_due"]).await;
    for n in 0..20 {
        stage.patient(&format!("p-{n}")).await;
        stage.session_done(&format!("visit-{n}"), &format!("p-{n}")).await;
    }
    stage.set_clock("2026-12-22T12:00:00Z");
    let other = stage.another_scheduler().await;
    futures_util::join!(stage.scheduler.tidy(), other.tidy());
    assert_eq!(stage.outbox(), 20);
}

async fn the_last_session_of_a_course_completes_it_once(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &["course.completed"]).await;
    stage.patient("ana").await;
    for (n, day) in ["2026-11-22", "2026-12-22", "2027-01-22"].into_iter().enumerate() {
        stage.set_clock(&format!("{day}T15:40:00Z"));
        assert_eq!(stage.tell().await.delivered, 0);
        stage.session_done(&format!("visit-{n}"), "ana").await;
    }
    stage.session_done("visit-3-neck", "ana").await;
    assert_eq!(stage.tell().await.delivered, 1);
    assert_eq!(receiver.lines(), ["ana course.completed"]);
}

async fn sessions_that_come_out_of_order_complete_their_course(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &["course.completed"]).await;
    stage.patient("ana").await;
    stage.done_at("visit-1", "ana", "2026-09-22T15:40:00Z").await;
    stage.done_at("visit-3", "ana", "2026-11-22T15:40:00Z").await;
    assert_eq!(stage.tell().await.delivered, 0);
    let between = stage.done_at("visit-2", "ana", "2026-10-22T15:40:00Z").await;
    assert_eq!(stage.tell().await.delivered, 1);
    let told = receiver.take().pop().unwrap();
    assert_eq!(told.body["data"]["treatment_id"], between["treatment"]["id"]);
}

on_both_engines!(
    a_session_that_is_due_is_told_on_its_day_and_once,
    a_session_that_is_booked_done_void_or_the_last_is_not_due,
    a_session_is_due_as_long_as_the_course_goes_on,
    two_schedulers_tell_of_a_due_session_once,
    the_last_session_of_a_course_completes_it_once,
    sessions_that_come_out_of_order_complete_their_course,
);
