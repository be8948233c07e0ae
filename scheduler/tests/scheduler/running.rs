//! The scheduler as a server runs it: heartbeat, wake-ups, shutdown.

use std::time::Duration;

use aftercare::planner::ReminderState;
use fcm_emulator::{Fault, FaultKind};
use tokio::time::timeout;

use crate::world::{World, at, secs};

const DUE: &str = "2026-11-22T15:55:00Z";
/// A busy machine may take its time; a broken heartbeat takes for ever.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_heartbeat_finds_what_came_due() {
    let world = World::with(|config| config.heartbeat = true).await;
    let ana = world.treated("ana").await;
    let mut shown = world.fcm.shown();
    world.clock.set(at(DUE));
    let shown = timeout(PATIENCE, shown.recv()).await.unwrap().unwrap();
    assert_eq!(shown.address, "ana");
    assert!(world.scheduler.shutdown(PATIENCE).await);
    assert_eq!(world.start_of(ana).await.state, ReminderState::Sent);
}

#[tokio::test]
async fn shutdown_waits_for_what_is_under_way() {
    let world = World::with(|config| config.heartbeat = true).await;
    let ana = world.treated("ana").await;
    let slow = Fault::new(FaultKind::DelayAnswer).delay(Duration::from_millis(300));
    world.fcm.set_fault(slow);
    let mut shown = world.fcm.shown();
    world.clock.set(at(DUE));
    world.scheduler.wake();
    timeout(PATIENCE, shown.recv()).await.unwrap().unwrap();
    assert!(world.scheduler.shutdown(PATIENCE).await, "drained");
    assert_eq!(world.start_of(ana).await.state, ReminderState::Sent, "and written down");
    world.clock.advance(secs(18_600));
    world.scheduler.wake();
    assert_eq!(world.accepted(), 1);
}

#[tokio::test]
async fn shutdown_gives_up_at_its_deadline_and_the_lease_brings_the_rest_back() {
    let world = World::with(|config| config.heartbeat = true).await;
    let ana = world.treated("ana").await;
    let slow = Fault::new(FaultKind::DelayAnswer).delay(Duration::from_secs(5)).times(1);
    world.fcm.set_fault(slow);
    let mut shown = world.fcm.shown();
    world.clock.set(at(DUE));
    world.scheduler.wake();
    timeout(PATIENCE, shown.recv()).await.unwrap().unwrap();
    assert!(!world.scheduler.shutdown(Duration::from_millis(50)).await);
    assert_eq!(world.start_of(ana).await.state, ReminderState::Claimed);
    let next = world.second_scheduler(|_| {}).await;
    world.clock.advance(secs(60));
    let run = next.run_once().await.unwrap();
    assert_eq!((run.reclaimed, run.tally.sent), (1, 1));
    assert_eq!(world.fcm.inbox("ana").len(), 1, "the repeat replaced the first");
}
