use std::sync::mpsc;
use std::time::Duration;

use aftercare::care::turns::{Rate, Slice, take_turns};
use aftercare::store::{FcmLine, Store, StoreError};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use futures_util::future::join_all;
use jiff::SignedDuration;

use crate::fixtures::HOUR;

const PROJECT: &str = "clinic-app";

/// One in a millisecond.
fn rate() -> Rate {
    Rate::new(1_000.0).unwrap()
}

const GAP: Duration = Duration::from_millis(1);

/// As if the full rate had been reached before.
async fn warm_up(store: &Store, project: &'static str) {
    let warm = store.write(move |tx| {
        let line = tx.fcm_line(project)?;
        tx.keep_fcm_line(project, FcmLine { ramp_began_at: tx.now() - HOUR, ..line })
    });
    warm.await.unwrap();
}

async fn take(store: &Store, project: &'static str, wanted: u32) -> Slice {
    store.write(move |tx| take_turns(tx, project, rate(), wanted)).await.unwrap()
}

async fn nobody_gets_anothers_turn_and_none_is_lost(bed: Bed) {
    warm_up(&bed.store, PROJECT).await;
    let others = [bed.again().await, bed.again().await];
    let takers = (0..10).map(|n| {
        let store = others.get(n % 3).unwrap_or(&bed.store);
        async move {
            let mut mine = Vec::new();
            for wanted in 1..=10 {
                mine.push(take(store, PROJECT, wanted).await);
            }
            mine
        }
    });
    let mut slices = join_all(takers).await.concat();
    slices.sort_by_key(|slice| slice.first);
    let mut next = bed.now();
    for slice in &slices {
        assert_eq!(slice.first, next);
        assert_eq!(slice.wait, Duration::try_from(next.duration_since(bed.now())).unwrap());
        next += SignedDuration::try_from(GAP * slice.count).unwrap();
    }
    assert_eq!(slices.iter().map(|slice| slice.count).sum::<u32>(), 10 * 55);
}

async fn a_line_goes_on_where_it_was_left_and_each_project_has_its_own(bed: Bed) {
    const OTHER: &str = "another-app";
    for project in [PROJECT, OTHER] {
        warm_up(&bed.store, project).await;
        let first = take(&bed.store, project, 5).await;
        assert_eq!((first.wait, first.gap, first.count), (Duration::ZERO, GAP, 5));
    }
    assert_eq!(take(&bed.again().await, PROJECT, 2).await.wait, 5 * GAP);
    bed.clock.advance(SignedDuration::from_hours(-1));
    assert_eq!(take(&bed.store, PROJECT, 1).await.wait, 7 * GAP, "the clock was set back");
    bed.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(take(&bed.store, PROJECT, 1).await.wait, Duration::ZERO, "nobody took them in time");
    bed.execute("DELETE FROM fcm_lines");
    assert_eq!(take(&bed.store, PROJECT, 1).await.gap, 10 * GAP, "another line begins");
}

on_both_engines!(
    nobody_gets_anothers_turn_and_none_is_lost,
    a_line_goes_on_where_it_was_left_and_each_project_has_its_own,
);

#[tokio::test]
async fn who_stands_still_with_a_line_in_hand_holds_others_up_for_a_second() {
    let Some(bed) = Bed::postgres().await else { return };
    warm_up(&bed.store, PROJECT).await;
    take(&bed.store, PROJECT, 1).await;
    let (has_it, it_is_held) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let other = bed.again().await;
    let still = tokio::spawn(async move {
        let work = other.write(move |tx| {
            let slice = take_turns(tx, PROJECT, rate(), 7)?;
            has_it.send(()).unwrap();
            may_go_on.recv().unwrap();
            Ok::<_, StoreError>(slice)
        });
        work.await
    });
    it_is_held.await.unwrap();
    let slice = take(&bed.store, PROJECT, 1).await;
    assert_eq!(slice.wait, GAP, "what was not committed is taken again");
    go_on.send(()).unwrap();
    assert!(still.await.unwrap().is_err(), "and whoever had it finds it gone");
}
