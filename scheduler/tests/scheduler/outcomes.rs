//! What becomes of a reminder after each kind of answer that FCM can give.

use aftercare::planner::{Reason, ReminderState};
use aftercare::store::{DeliveryState, DeviceState};
use aftercare_scheduler::Credential;
use fcm_emulator::{Fault, FaultKind, RetryAfter};

use crate::world::{World, at, secs};

const DUE: &str = "2026-11-22T15:55:00Z";
const USE_BY: &str = "2026-11-22T18:40:00Z";

#[tokio::test]
async fn an_accepted_reminder_is_sent_once() {
    let world = World::new().await;
    let ana = world.treated("ana").await;
    assert_eq!(world.run_at("2026-11-22T15:54:59Z").await.claimed, 0, "nothing before its time");
    let run = world.run_at(DUE).await;
    assert_eq!((run.claimed, run.tally.sent), (1, 1));
    assert_eq!(world.run_after(secs(60)).await.claimed, 0);
    let reminder = world.start_of(ana).await;
    assert_eq!((reminder.state, reminder.sent_at), (ReminderState::Sent, Some(at(DUE))));
    let shown = world.fcm.inbox("ana");
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].tag.as_deref(), Some(reminder.id.to_string().as_str()));
    assert_eq!(shown[0].data["reminder_id"], reminder.id.to_string());
    let push = &world.fcm.accepted()[0].message;
    assert_eq!(push["android"]["ttl"], "9900s", "what is left until the use-by: {push}");
    let deliveries = world.deliveries(reminder.id).await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!((deliveries[0].state, deliveries[0].status), (DeliveryState::Sent, Some(200)));
}

#[tokio::test]
async fn an_app_that_is_gone_loses_its_address_and_the_reminder_waits_for_another_phone() {
    let world = World::new().await;
    let ana = world.treated("ana").await;
    world.fault(FaultKind::Unregistered);
    let run = world.run_at(DUE).await;
    assert_eq!(run.tally.no_device, 1);
    let device = &world.devices(ana).await[0];
    assert_eq!(device.state, DeviceState::Gone);
    assert!(device.address.is_none());
    let reminder = world.start_of(ana).await;
    assert_eq!(reminder.state, ReminderState::Planned);
    assert_eq!(reminder.reason, Some(Reason::NoDevice));
    assert_eq!(reminder.attempt_at, Some(at(USE_BY)), "out of the queue until then");
    assert_eq!(world.deliveries(reminder.id).await[0].state, DeliveryState::Gone);
    let asked = world.fcm.stats().sends;
    world.run_after(secs(600)).await;
    assert_eq!(world.fcm.stats().sends, asked, "never again to that address");
    world.run_at(USE_BY).await;
    let reminder = world.start_of(ana).await;
    assert_eq!(reminder.state, ReminderState::Expired);
    assert_eq!(reminder.reason, Some(Reason::NoDevice));
}

#[tokio::test]
async fn a_foreign_or_malformed_address_is_disabled() {
    for kind in [FaultKind::SenderIdMismatch, FaultKind::InvalidArgument] {
        let world = World::new().await;
        let ana = world.treated("ana").await;
        world.fault(kind);
        world.run_at(DUE).await;
        assert_eq!(world.devices(ana).await[0].state, DeviceState::Refused, "{kind:?}");
        let reminder = world.start_of(ana).await;
        assert_eq!(reminder.reason, Some(Reason::NoDevice), "{kind:?}");
        assert_eq!(world.deliveries(reminder.id).await[0].state, DeliveryState::Failed);
    }
}

#[tokio::test]
async fn a_fault_of_ours_fails_the_reminder_and_keeps_the_phone() {
    let ours = Fault::new(FaultKind::InvalidArgument).on_field("message.android.ttl");
    for fault in [ours, Fault::new(FaultKind::ThirdPartyAuthError)] {
        let world = World::new().await;
        let ana = world.treated("ana").await;
        let kind = fault.kind;
        world.fcm.set_fault(fault);
        assert_eq!(world.run_at(DUE).await.tally.failed, 1, "{kind:?}");
        assert_eq!(world.devices(ana).await[0].state, DeviceState::Active, "{kind:?}");
        let reminder = world.start_of(ana).await;
        assert_eq!(reminder.state, ReminderState::Failed, "{kind:?}");
        assert_eq!(reminder.reason, Some(Reason::Rejected), "{kind:?}");
        world.fcm.clear_faults();
        assert_eq!(world.run_after(secs(3_600)).await.claimed, 0, "no retry: {kind:?}");
    }
}

#[tokio::test]
async fn an_expired_token_is_refreshed_once_and_nobody_notices() {
    let world = World::new().await;
    let (ana, ben) = (world.treated("ana").await, world.treated("ben").await);
    world.run_at(DUE).await;
    world.fcm.expire_tokens();
    let run = world.run_at("2026-11-22T21:05:00Z").await;
    assert_eq!(run.tally.sent, 2);
    assert_eq!(world.fcm.stats().tokens, 2, "one fetch at the start, one after the 401");
    for treated in [ana, ben] {
        assert_eq!(world.reminder(treated, "bedtime").await.state, ReminderState::Sent);
    }
}

#[tokio::test]
async fn a_refused_credential_pauses_everything_and_loses_nothing() {
    let world = World::new().await;
    let treated: Vec<_> = [world.treated("ana").await, world.treated("ben").await].into();
    world.fault(FaultKind::Unauthenticated);
    world.run_at(DUE).await;
    let status = world.scheduler.status();
    assert!(status.paused && matches!(status.credential, Credential::Refused(_)));
    let run = world.run_after(secs(5)).await;
    assert!(run.paused && run.claimed == 0, "paused: {run:?}");
    let asked = world.fcm.stats().sends;
    let probe = world.run_after(secs(30)).await;
    assert_eq!(probe.claimed, 1, "one reminder finds out: {probe:?}");
    assert_eq!(world.fcm.stats().sends, asked + 2, "one message, with one refreshed token");
    world.fcm.clear_faults();
    let run = world.run_after(secs(300)).await;
    assert_eq!(run.tally.sent, 2, "{run:?}");
    assert_eq!(world.scheduler.status().credential, Credential::Accepted);
    for treated in treated {
        assert_eq!(world.start_of(treated).await.state, ReminderState::Sent);
    }
}

#[tokio::test]
async fn what_went_stale_meanwhile_is_no_probe() {
    let world = World::new().await;
    let _stale = (world.treated("ana").await, world.treated("ben").await);
    world.fault(FaultKind::Unauthenticated);
    world.run_at(DUE).await;
    world.fcm.clear_faults();
    world.clock.set(at("2026-11-22T18:44:00Z"));
    let eva = world.treated("eva").await;
    let run = world.run_at("2026-11-22T19:00:00Z").await;
    assert_eq!((run.tally.expired, run.tally.sent), (2, 1), "{run:?}");
    assert_eq!(world.start_of(eva).await.state, ReminderState::Sent);
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_or_is_away_holds_claims_back() {
    for (kind, paused) in [(FaultKind::Unauthenticated, true), (FaultKind::Html503, false)] {
        let world = World::new().await;
        let ana = world.treated("ana").await;
        world.fcm.set_fault(Fault::new(kind).on_token_endpoint());
        let run = world.run_at(DUE).await;
        assert_eq!((run.claimed, run.paused), (0, true), "{kind:?}");
        let status = world.scheduler.status();
        let accepted = matches!(status.credential, Credential::Untried | Credential::Accepted);
        assert_eq!((accepted, status.paused), (false, paused), "{kind:?}: {status:?}");
        world.fcm.clear_faults();
        assert_eq!(world.run_after(secs(30)).await.tally.sent, 1, "{kind:?}");
        assert_eq!(world.start_of(ana).await.state, ReminderState::Sent);
        assert_eq!(world.scheduler.status().credential, Credential::Accepted, "{kind:?}");
    }
}

#[tokio::test]
async fn retry_after_is_honoured_to_the_second() {
    for retry_after in [RetryAfter::Seconds(90), RetryAfter::HttpDateIn(90)] {
        for kind in [FaultKind::QuotaExceeded, FaultKind::Unavailable] {
            let world = World::new().await;
            let ana = world.treated("ana").await;
            world.fcm.set_fault(Fault::new(kind).times(1).retry_after(retry_after));
            assert_eq!(world.run_at(DUE).await.tally.retrying, 1);
            let reminder = world.start_of(ana).await;
            assert_eq!(reminder.state, ReminderState::Planned);
            assert_eq!(world.run_after(secs(89)).await.claimed, 0, "{kind:?} {retry_after:?}");
            assert_eq!(world.run_after(secs(20)).await.tally.sent, 1, "{kind:?} {retry_after:?}");
            let deliveries = world.deliveries(reminder.id).await;
            let states: Vec<_> = deliveries.iter().map(|delivery| delivery.state).collect();
            assert_eq!(states, [DeliveryState::Retry, DeliveryState::Sent]);
        }
    }
}

#[tokio::test]
async fn without_retry_after_throttling_waits_a_minute_and_an_outage_ten_seconds() {
    let minute = [FaultKind::QuotaExceeded].map(|kind| (kind, 60, 75));
    let ten =
        [FaultKind::Internal, FaultKind::Unavailable, FaultKind::Html503, FaultKind::DropBefore]
            .map(|kind| (kind, 10, 13));
    for (kind, least, most) in minute.into_iter().chain(ten) {
        let world = World::new().await;
        world.treated("ana").await;
        world.fcm.set_fault(Fault::new(kind).times(1));
        assert_eq!(world.run_at(DUE).await.tally.retrying, 1, "{kind:?}");
        assert_eq!(world.run_after(secs(least - 1)).await.claimed, 0, "{kind:?}");
        assert_eq!(world.run_after(secs(most - least + 1)).await.tally.sent, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_sends_again_and_the_phone_shows_it_once() {
    let world = World::new().await;
    let ana = world.treated("ana").await;
    world.fcm.set_fault(Fault::new(FaultKind::DropAfter).times(1));
    assert_eq!(world.run_at(DUE).await.tally.retrying, 1);
    assert_eq!(world.run_after(secs(13)).await.tally.sent, 1);
    assert_eq!(world.accepted(), 2);
    let shown = world.fcm.inbox("ana");
    assert_eq!(shown.len(), 1, "the same tag replaces: {shown:?}");
    assert_eq!(world.start_of(ana).await.state, ReminderState::Sent);
}

#[tokio::test]
async fn an_outage_past_the_use_by_ends_expired_and_unsent() {
    let world = World::new().await;
    let ana = world.treated("ana").await;
    world.fault(FaultKind::Unavailable);
    world.run_at(DUE).await;
    while world.store.env().now() < at("2026-11-22T18:41:00Z") {
        world.run_after(secs(300)).await;
    }
    let reminder = world.start_of(ana).await;
    assert_eq!(reminder.state, ReminderState::Expired);
    assert_eq!(reminder.reason, Some(Reason::PastUseBy));
    world.fcm.clear_faults();
    world.run_after(secs(60)).await;
    assert_eq!(world.accepted(), 0, "worthless now, so never sent");
}

#[tokio::test]
async fn what_fcm_takes_a_message_for_gone_is_sent_to_the_other_phone_all_the_same() {
    let world = World::new().await;
    let ana = world.treated("ana").await;
    world.phone(ana.patient, "tablet").await;
    world.fcm.set_fault(Fault::new(FaultKind::Unregistered).for_address("ana"));
    assert_eq!(world.run_at(DUE).await.tally.sent, 1);
    assert_eq!(world.fcm.inbox("tablet").len(), 1);
    let states: Vec<_> = world.devices(ana).await.iter().map(|d| d.state).collect();
    assert!(states.contains(&DeviceState::Gone) && states.contains(&DeviceState::Active));
}

#[tokio::test]
async fn a_phone_that_fails_is_retried_alone() {
    let world = World::new().await;
    let ana = world.treated("ana").await;
    world.phone(ana.patient, "tablet").await;
    world.fcm.set_fault(Fault::new(FaultKind::Unavailable).for_address("tablet").times(2));
    assert_eq!(world.run_at(DUE).await.tally.sent, 1);
    let reminder = world.start_of(ana).await;
    assert_eq!(reminder.state, ReminderState::Sent, "one phone is enough");
    assert_eq!(world.run_after(secs(9)).await.claimed, 0);
    assert_eq!(world.run_after(secs(4)).await.tally.retrying, 1);
    assert_eq!(world.run_after(secs(26)).await.tally.sent, 1);
    assert_eq!(world.run_after(secs(600)).await.claimed, 0);
    assert_eq!(world.fcm.inbox("ana").len(), 1);
    assert_eq!(world.fcm.inbox("tablet").len(), 1);
    assert_eq!(world.accepted(), 2, "each phone was sent to once");
    let tablet: Vec<_> = world
        .deliveries(reminder.id)
        .await
        .into_iter()
        .filter(|delivery| delivery.status != Some(200) || delivery.attempt > 1)
        .map(|delivery| (delivery.attempt, delivery.state, delivery.retry_at))
        .collect();
    let expected = [
        (1, DeliveryState::Retry, None),
        (2, DeliveryState::Retry, None),
        (3, DeliveryState::Sent, None),
    ];
    assert_eq!(tablet, expected, "consumed retries have no next attempt");
}

#[tokio::test]
async fn a_phone_s_own_retry_is_dropped_at_the_use_by() {
    let world = World::new().await;
    let ana = world.treated("ana").await;
    world.phone(ana.patient, "tablet").await;
    world.fcm.set_fault(Fault::new(FaultKind::Unavailable).for_address("tablet"));
    world.run_at(DUE).await;
    while world.store.env().now() < at("2026-11-22T18:45:00Z") {
        world.run_after(secs(300)).await;
    }
    world.fcm.clear_faults();
    assert_eq!(world.run_after(secs(60)).await.claimed, 0);
    assert!(world.fcm.inbox("tablet").is_empty());
    let deliveries = world.deliveries(world.start_of(ana).await.id).await;
    assert!(deliveries.iter().all(|delivery| delivery.retry_at.is_none()), "{deliveries:?}");
}
