//! FCM away, out of breath, of another opinion about our token, or silent after it took a message.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::{Fault, FaultKind, RetryAfter};
use jiff::SignedDuration;

use crate::stage::{Stage, at};

const DUE: &str = "2026-11-22T15:55:00Z";

async fn away_for_an_hour_fcm_gets_it_within_a_minute_of_its_return(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    stage.fcm.set_fault(Fault::new(FaultKind::Unavailable));
    stage.play("2026-11-22T16:55:00Z").await;
    assert_eq!(stage.pushes(), []);
    let refused = stage.fcm.stats().refused["UNAVAILABLE"];
    assert!((60..=100).contains(&refused), "10, 20, then every 40 to 50 s: {refused}");
    stage.fcm.clear_faults();
    stage.play("2026-11-22T16:56:00Z").await;
    let pushes = stage.pushes();
    assert_eq!(pushes.len(), 1);
    assert_eq!(
        pushes[0].ttl.as_secs(),
        at("2026-11-22T18:40:00Z").duration_since(pushes[0].at).as_secs()
    );
    assert_eq!(stage.fates(&treated).await[0].1, "sent: accepted");
    stage.play("2026-11-24T12:00:00Z").await;
    assert_eq!(stage.pushes().len(), 5, "and the rest as ever");
}

async fn away_past_the_use_by_it_is_never_sent(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    stage.fcm.set_fault(Fault::new(FaultKind::Html503));
    stage.play("2026-11-22T18:40:00Z").await;
    stage.fcm.clear_faults();
    stage.play("2026-11-22T21:00:00Z").await;
    assert_eq!(stage.pushes(), []);
    assert_eq!(stage.fates(&treated).await[0].1, "expired: past-use-by");
}

async fn back_in_the_night_it_disturbs_nobody(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    stage.play("2026-11-22T21:00:00Z").await;
    stage.fcm.set_fault(Fault::new(FaultKind::Unavailable));
    stage.play("2026-11-22T22:00:00Z").await;
    stage.fcm.clear_faults();
    stage.play("2026-11-23T07:49:00Z").await;
    assert_eq!(stage.diary("ana"), ["Sun 22 Nov 15:55  Your next 48 hours"]);
    let bedtime = stage.fates(&treated).await[1].clone();
    assert_eq!(bedtime.0, "bedtime");
    assert!(
        ["skipped: quiet-hours", "expired: past-use-by"].contains(&bedtime.1.as_str()),
        "{bedtime:?}"
    );
    stage.play("2026-11-23T08:00:00Z").await;
    assert_eq!(stage.pushes().len(), 2, "the morning comes as ever");
}

async fn a_429_is_waited_out_as_long_as_it_asks(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    let busy = Fault::new(FaultKind::QuotaExceeded).times(1).retry_after(RetryAfter::Seconds(120));
    stage.fcm.set_fault(busy);
    stage.run_at(DUE).await;
    stage.play("2026-11-22T15:56:59Z").await;
    assert_eq!(stage.fcm.stats().sends, 1);
    stage.play("2026-11-22T15:57:30Z").await;
    assert_eq!((stage.fcm.stats().sends, stage.pushes().len()), (2, 1));
}

async fn a_token_that_is_refused_is_replaced_once(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.set_clock("2026-11-22T15:45:00Z");
    stage.treated("bea").await;
    stage.run_at(DUE).await;
    stage.fcm.expire_tokens();
    stage.run_at("2026-11-22T16:00:00Z").await;
    assert_eq!(stage.pushes().len(), 2);
    let stats = stage.fcm.stats();
    assert_eq!((stats.tokens, stats.sends), (2, 3), "{stats:?}");
}

async fn a_service_account_that_is_refused_costs_no_reminder(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    stage.fcm.set_fault(Fault::new(FaultKind::Unauthenticated));
    stage.run_at(DUE).await;
    for _ in 0..30 {
        stage.bed.clock.advance(SignedDuration::from_secs(60));
        stage.run().await;
    }
    assert!(stage.scheduler.status().paused, "{:?}", stage.scheduler.status());
    let sends = stage.fcm.stats().sends;
    assert!(sends <= 30, "a probe now and then, no storm: {sends}");
    assert_eq!(stage.fates(&treated).await[0].1.split(':').next(), Some("planned"));
    stage.fcm.clear_faults();
    stage.bed.clock.advance(SignedDuration::from_mins(5));
    stage.run().await;
    assert_eq!(stage.pushes().len(), 1);
    assert!(!stage.scheduler.status().paused);
}

async fn an_answer_that_is_lost_shows_one_notification(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.fcm.set_fault(Fault::new(FaultKind::DropAfter).times(2));
    stage.run_at(DUE).await;
    stage.play("2026-11-22T16:10:00Z").await;
    let pushes = stage.pushes();
    assert_eq!(pushes.len(), 3);
    assert!(pushes.iter().all(|push| push.tag == pushes[0].tag && push.title == pushes[0].title));
    let shown = stage.fcm.inbox("ana");
    assert_eq!((shown.len(), shown[0].replaced), (1, 2), "{shown:?}");
}

async fn a_phone_that_was_offline_past_the_use_by_shows_nothing(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    let online =
        |online| fcm_emulator::PhoneSettings { online: Some(online), ..Default::default() };
    stage.fcm.set_phone("ana", online(false));
    stage.play("2026-11-23T06:00:00Z").await;
    assert_eq!(stage.pushes().len(), 2);
    stage.fcm.set_phone("ana", online(true));
    assert_eq!(stage.fcm.inbox("ana"), [], "neither start nor bedtime is of use in the morning");
}

on_both_engines!(
    away_for_an_hour_fcm_gets_it_within_a_minute_of_its_return,
    away_past_the_use_by_it_is_never_sent,
    back_in_the_night_it_disturbs_nobody,
    a_429_is_waited_out_as_long_as_it_asks,
    a_token_that_is_refused_is_replaced_once,
    a_service_account_that_is_refused_costs_no_reminder,
    an_answer_that_is_lost_shows_one_notification,
    a_phone_that_was_offline_past_the_use_by_shows_nothing,
);
