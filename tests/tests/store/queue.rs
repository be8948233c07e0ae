use std::collections::BTreeSet;

use aftercare::ids::{LeaseId, ReminderId};
use aftercare::planner::{Reason, ReminderState};
use aftercare::store::{Completion, Outcome, Place, Reminder, Store, StoreError, Tx};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::fixtures::{
    HOUR, MINUTE, due_reminders, make_clinic, make_patient, make_treatment, reminder,
};

async fn claim(store: &Store, limit: i64) -> (LeaseId, Vec<Reminder>) {
    store
        .write(move |tx| {
            let lease: LeaseId = tx.env().id();
            let until = tx.now() + MINUTE;
            Ok::<_, StoreError>((lease, tx.claim_due(limit, None, lease, until)?))
        })
        .await
        .unwrap()
}

async fn complete(
    store: &Store,
    lease: LeaseId,
    done: Vec<Completion<'static>>,
) -> Vec<ReminderId> {
    store.write(move |tx| tx.complete(lease, &done)).await.unwrap()
}

fn sent(claimed: &[Reminder], at: Timestamp) -> Vec<Completion<'static>> {
    let outcome = Outcome::Sent { at };
    claimed.iter().map(|reminder| Completion { id: reminder.id, outcome, said: None }).collect()
}

async fn what_is_due_is_claimed_in_its_order(bed: Bed) {
    let clinic = bed.store.write(make_clinic).await.unwrap();
    let expected = bed
        .store
        .write(move |tx| {
            let patient = make_patient(tx, clinic.id, "P-1")?;
            let treatment = make_treatment(tx, &patient, "visit-1")?;
            let now = tx.now();
            let due =
                |step: &str, minutes: i32| reminder(tx, &treatment, step, now + minutes * MINUTE);
            let mut later = due("later", -10);
            later.attempt_at = Some(now + MINUTE);
            let mut cancelled = due("cancelled", -10);
            cancelled.state = ReminderState::Cancelled;
            let rows =
                [due("b", -1), due("future", 1), due("a", -5), later, cancelled, due("now", 0)];
            tx.save_reminders(&rows)?;
            Ok::<_, StoreError>([rows[2].id, rows[0].id, rows[5].id])
        })
        .await
        .unwrap();
    let (lease, first) = claim(&bed.store, 2).await;
    assert_eq!(first.iter().map(|row| row.id).collect::<Vec<_>>(), expected[..2]);
    for row in &first {
        assert_eq!((row.state, row.attempts), (ReminderState::Claimed, 1));
        assert_eq!((row.lease_id, row.leased_until), (Some(lease), Some(bed.now() + MINUTE)));
        assert_eq!(row.members.len(), 1);
    }
    let (_, second) = claim(&bed.store, 10).await;
    assert_eq!(second.iter().map(|row| row.id).collect::<Vec<_>>(), expected[2..]);
    assert!(claim(&bed.store, 10).await.1.is_empty());
}

async fn two_claimers_never_get_the_same_reminder(bed: Bed) {
    due_reminders(&bed.store, 200).await;
    let other = bed.again().await;
    let claimers = (0..10).map(|n| {
        let store = if n % 2 == 0 { bed.store.clone() } else { other.clone() };
        async move {
            let mut mine = Vec::new();
            loop {
                let (_, claimed) = claim(&store, 7).await;
                if claimed.is_empty() {
                    return mine;
                }
                assert!(claimed.len() <= 7, "no more than asked for");
                mine.extend(claimed.into_iter().map(|row| row.id));
            }
        }
    });
    let mut claimed: Vec<_> = join_all(claimers).await.concat();
    // A claimer that passed by what another was claiming may have gone home too early.
    claimed.extend(claim(&bed.store, 200).await.1.into_iter().map(|row| row.id));
    assert_eq!(claimed.len(), 200);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>().len(), 200);
}

async fn every_outcome_is_written(bed: Bed) {
    let (clinic, _) = due_reminders(&bed.store, 5).await;
    let (lease, claimed) = claim(&bed.store, 5).await;
    let now = bed.now();
    let later = now + HOUR;
    let outcomes = [
        Outcome::Sent { at: now },
        Outcome::Retry { attempt_at: later },
        Outcome::NoDevice { attempt_at: later },
        Outcome::Expired { reason: Reason::PastUseBy },
        Outcome::Failed { reason: Reason::Rejected },
    ];
    let done: Vec<_> = claimed
        .iter()
        .zip(outcomes)
        .map(|(row, outcome)| Completion { id: row.id, outcome, said: None })
        .collect();
    let mut changed = complete(&bed.store, lease, done).await;
    let mut ids: Vec<_> = claimed.iter().map(|row| row.id).collect();
    changed.sort_unstable();
    ids.sort_unstable();
    assert_eq!(changed, ids);

    let (patient, first) = (claimed[0].patient_id, claimed[0].id);
    bed.store
        .read(move |tx| {
            use ReminderState::{Expired, Failed, Planned, Sent};
            let mut rows = tx.reminders(patient)?;
            rows.sort_by_key(|row| claimed.iter().position(|claimed| claimed.id == row.id));
            let seen: Vec<_> = rows
                .iter()
                .map(|row| (row.state, row.reason.unwrap(), row.attempt_at, row.sent_at))
                .collect();
            assert_eq!(
                seen,
                [
                    (Sent, Reason::Accepted, None, Some(now)),
                    (Planned, Reason::Retrying, Some(later), None),
                    (Planned, Reason::NoDevice, Some(later), None),
                    (Expired, Reason::PastUseBy, None, None),
                    (Failed, Reason::Rejected, None, None),
                ]
            );
            assert!(rows.iter().all(|row| row.lease_id.is_none() && row.leased_until.is_none()));
            assert!(rows.iter().any(|row| row.id == first));
            assert_eq!(tx.next_due()?.reminders(), Some(later));
            assert_eq!(tx.clinic(clinic.id)?.unwrap().id, clinic.id);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

/// More completions than one statement writes.
async fn many_are_completed_at_once(bed: Bed) {
    due_reminders(&bed.store, 1100).await;
    let (lease, claimed) = claim(&bed.store, 1100).await;
    let done = sent(&claimed, bed.now());
    assert_eq!(complete(&bed.store, lease, done.clone()).await.len(), 1100);
    assert_eq!(complete(&bed.store, lease, done).await, []);
    assert_eq!(complete(&bed.store, lease, Vec::new()).await, []);
}

async fn whoever_lost_the_lease_writes_nothing(bed: Bed) {
    due_reminders(&bed.store, 2).await;
    let (zombie, claimed) = claim(&bed.store, 2).await;
    let release = || bed.store.write(|tx| tx.release_expired_leases(9));
    bed.clock.advance(MINUTE - SignedDuration::from_micros(1));
    assert_eq!(release().await.unwrap(), 0, "the lease still holds");
    bed.clock.advance(SignedDuration::from_micros(1));
    assert_eq!(release().await.unwrap(), 2);

    let late = sent(&claimed, bed.now());
    assert_eq!(complete(&bed.store, zombie, late.clone()).await, [], "back in the queue");
    let (heir, again) = claim(&bed.store, 2).await;
    assert_eq!(again.iter().map(|row| row.attempts).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(complete(&bed.store, zombie, late.clone()).await, [], "another's by now");
    assert_eq!(complete(&bed.store, heir, late).await.len(), 2);
    assert!(claim(&bed.store, 2).await.1.is_empty());
}

async fn what_is_before_it_in_the_queue_hides_no_lost_lease(bed: Bed) {
    due_reminders(&bed.store, 2).await;
    let (_, lost) = claim(&bed.store, 1).await;
    let now = bed.now();
    bed.clock.set(now - HOUR);
    due_reminders(&bed.store, 2).await;
    let paused = due_reminders(&bed.store, 3).await.0.id;
    bed.write(move |tx| tx.set_paused(paused, true)).await;
    assert_eq!(bed.write(|tx| tx.shelve(9)).await, 3);
    bed.clock.set(now + MINUTE);
    assert_eq!(bed.write(|tx| tx.release_expired_leases(9)).await, 1);
    let (_, again) = claim(&bed.store, 9).await;
    assert_eq!(again.len(), 4);
    assert!(again.iter().any(|row| row.id == lost[0].id && row.attempts == 2), "{again:?}");
}

#[tokio::test]
async fn lost_leases_are_looked_for_at_the_head() {
    let Some(bed) = Bed::postgres().await else { return };
    due_reminders(&bed.store, 5).await;
    claim(&bed.store, 4).await;
    bed.clock.advance(MINUTE);
    let release = || bed.write(|tx| tx.release_expired_leases(3));
    assert_eq!((release().await, release().await), (3, 0));
    let (lease, again) = claim(&bed.store, 3).await;
    assert_eq!(release().await, 0, "what is claimed anew stands before it");
    assert_eq!(complete(&bed.store, lease, sent(&again, bed.now())).await.len(), 3);
    assert_eq!(release().await, 1);
}

async fn a_cancelled_claim_is_not_completed(bed: Bed) {
    due_reminders(&bed.store, 1).await;
    let (lease, claimed) = claim(&bed.store, 1).await;
    let mut cancelled = claimed[0].clone();
    bed.store
        .write(move |tx| {
            tx.lock_patient(cancelled.patient_id)?;
            tx.lock_reminders(cancelled.patient_id)?;
            cancelled.state = ReminderState::Cancelled;
            (cancelled.lease_id, cancelled.leased_until) = (None, None);
            cancelled.attempt_at = None;
            tx.save_reminders(&[cancelled])
        })
        .await
        .unwrap();
    assert_eq!(complete(&bed.store, lease, sent(&claimed, bed.now())).await, []);
}

async fn a_claim_goes_on_where_another_ended(bed: Bed) {
    due_reminders(&bed.store, 5).await;
    let claim = async |place| {
        let claim = move |tx: &mut Tx<'_>| {
            let (lease, until) = (tx.env().id(), tx.now() + MINUTE);
            tx.claim_due(2, place, lease, until)
        };
        bed.store.write::<_, StoreError, _>(claim).await.unwrap()
    };
    let end = |claimed: &[Reminder]| claimed.last().and_then(Place::of);
    let first = claim(None).await;
    let now = bed.now();
    bed.clock.set(now - HOUR);
    due_reminders(&bed.store, 1).await;
    bed.clock.set(now);
    let second = claim(end(&first)).await;
    assert_eq!((first.len(), second.len()), (2, 2));
    assert!(first[1].id < second[0].id, "all of them were due at one moment");
    let third = claim(end(&second)).await;
    assert_eq!(third.len(), 1);
    assert_eq!(claim(end(&third)).await, []);
    let earlier = claim(None).await;
    assert_eq!(earlier.len(), 1);
    assert!(earlier[0].due_at < first[0].due_at);
}

async fn paused_clinics_wait(bed: Bed) {
    let (clinic, _) = due_reminders(&bed.store, 3).await;
    let id = clinic.id;
    bed.store.write(move |tx| tx.set_paused(id, true)).await.unwrap();
    assert!(claim(&bed.store, 3).await.1.is_empty());
    let next = || bed.store.read(|tx| tx.next_due().map(|next| next.reminders()));
    assert_eq!(next().await.unwrap(), None);
    let shelved = bed.store.write(|tx| Ok::<_, StoreError>([tx.shelve(2)?, tx.shelve(2)?]));
    assert_eq!(shelved.await.unwrap(), [2, 1]);
    assert_eq!(bed.store.write(|tx| tx.unshelve(9)).await.unwrap(), 0, "it is paused still");
    bed.store.write(move |tx| tx.set_paused(id, false)).await.unwrap();
    assert_eq!(next().await.unwrap(), None);
    let back = bed.store.write(|tx| Ok::<_, StoreError>([tx.unshelve(2)?, tx.unshelve(2)?]));
    assert_eq!(back.await.unwrap(), [2, 1]);
    assert_eq!(next().await.unwrap(), Some(bed.now() - MINUTE));
    assert_eq!(claim(&bed.store, 3).await.1.len(), 3);
}

/// Of several clinics those on the shelf are nobody's concern, and come back each with its clinic; what is
/// planned anew meanwhile is in the queue again.
async fn what_is_shelved_comes_back_with_its_clinic(bed: Bed) {
    let mut clinics = Vec::new();
    for due in [3, 1, 2, 2] {
        clinics.push(due_reminders(&bed.store, due).await.0.id);
    }
    let pause = |clinic, paused| bed.store.write(move |tx| tx.set_paused(clinic, paused));
    assert!(!bed.store.read(|tx| tx.minds_shelf()).await.unwrap());
    for clinic in &clinics[..3] {
        pause(*clinic, true).await.unwrap();
    }
    assert!(bed.store.read(|tx| tx.minds_shelf()).await.unwrap());
    assert_eq!(bed.store.write(|tx| tx.shelve(9)).await.unwrap(), 6);
    assert_eq!(bed.store.write(|tx| tx.shelve(9)).await.unwrap(), 0);
    let (_, claimed) = claim(&bed.store, 9).await;
    assert_eq!(claimed.len(), 2);
    assert!(claimed.iter().all(|reminder| reminder.clinic_id == clinics[3]));
    pause(clinics[1], false).await.unwrap();
    pause(clinics[2], false).await.unwrap();
    let unshelve = |tx: &mut Tx<'_>| -> Result<_, StoreError> {
        let mut back = [tx.unshelve(9)?, tx.unshelve(9)?, tx.unshelve(9)?];
        back.sort_unstable();
        Ok(back)
    };
    assert_eq!(bed.store.write(unshelve).await.unwrap(), [0, 1, 2], "clinic by clinic");
    let (_, claimed) = claim(&bed.store, 9).await;
    assert_eq!(claimed.len(), 3);
    assert!(claimed.iter().all(|reminder| clinics[1..3].contains(&reminder.clinic_id)));
    let planned_anew = clinics[0];
    let shelved_again = bed.store.write(move |tx| {
        let of = tx.unheard_reminders(planned_anew, tx.now(), None, 9)?;
        let patient = tx.lock_patient(of[0].patient_id)?.unwrap().id;
        let rows = tx.lock_reminders(patient)?;
        tx.save_reminders(&rows)?;
        tx.shelve(9)
    });
    assert_eq!(shelved_again.await.unwrap(), 3);
}

async fn all_wait_also_who_comes_later_and_who_is_paused_alone_goes_on_waiting(bed: Bed) {
    bed.store.write(|tx| tx.set_all_paused(true)).await.unwrap();
    let (alone, _) = due_reminders(&bed.store, 2).await;
    let id = alone.id;
    bed.store.write(move |tx| tx.set_paused(id, true)).await.unwrap();
    due_reminders(&bed.store, 3).await;
    assert!(claim(&bed.store, 9).await.1.is_empty());
    let next = || bed.store.read(|tx| tx.next_due().map(|next| next.reminders()));
    assert_eq!(next().await.unwrap(), None);
    bed.store.write(|tx| tx.set_all_paused(false)).await.unwrap();
    assert_eq!(next().await.unwrap(), Some(bed.now() - MINUTE));
    let (_, claimed) = claim(&bed.store, 9).await;
    assert_eq!(claimed.len(), 3);
    assert!(claimed.iter().all(|reminder| reminder.clinic_id != id));
}

/// Re-planning and completing lock the same rows: neither may wait for the other in a circle.
async fn planners_and_completers_do_not_deadlock(bed: Bed) {
    due_reminders(&bed.store, 60).await;
    let other = bed.again().await;
    let (lease, claimed) = claim(&bed.store, 60).await;
    let patient = claimed[0].patient_id;
    let mut backwards = sent(&claimed, bed.now());
    backwards.reverse();
    let completers = backwards.chunks(20).map(|chunk| complete(&bed.store, lease, chunk.to_vec()));
    let planners = (0..6).map(|_| {
        other.write(move |tx| {
            tx.lock_patient(patient)?;
            let rows = tx.lock_reminders(patient)?;
            tx.save_reminders(&rows)
        })
    });
    let (completed, planned) = futures_util::join!(join_all(completers), join_all(planners));
    assert_eq!(completed.concat().len(), 60);
    assert!(planned.iter().all(Result::is_ok), "{planned:?}");
}

/// PostgreSQL writes a claim into no index (HOT) as long as none has a column that a claim changes, neither among
/// those that it sorts by nor in its condition.
#[tokio::test]
async fn a_claim_touches_no_index() {
    let Some(bed) = Bed::postgres().await else { return };
    due_reminders(&bed.store, 1).await;
    let row = || -> Map<String, Value> {
        serde_json::from_str(&bed.query("SELECT to_jsonb(r) FROM reminders r").concat()).unwrap()
    };
    let before = row();
    claim(&bed.store, 1).await;
    let changed: Vec<String> =
        row().into_iter().filter(|(name, value)| before[name] != *value).map(|one| one.0).collect();
    assert!(changed.contains(&"state".to_owned()), "{changed:?}");
    let names = changed.join("|");
    let indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'reminders'";
    assert_eq!(bed.query(&format!("{indexes} AND indexdef ~ '\\m({names})\\M'")), [""; 0]);
    bed.execute(
        "DO $$ BEGIN
            UPDATE reminders SET leased_until = leased_until + interval '1 s', attempts = attempts + 1;
            ASSERT pg_stat_get_xact_tuples_hot_updated('reminders'::regclass) = 1, 'an index hangs on it';
         END $$",
    );
}

on_both_engines!(
    what_is_due_is_claimed_in_its_order,
    two_claimers_never_get_the_same_reminder,
    every_outcome_is_written,
    many_are_completed_at_once,
    whoever_lost_the_lease_writes_nothing,
    what_is_before_it_in_the_queue_hides_no_lost_lease,
    a_cancelled_claim_is_not_completed,
    a_claim_goes_on_where_another_ended,
    paused_clinics_wait,
    what_is_shelved_comes_back_with_its_clinic,
    all_wait_also_who_comes_later_and_who_is_paused_alone_goes_on_waiting,
    planners_and_completers_do_not_deadlock,
);
