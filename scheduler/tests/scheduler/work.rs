//! Claims, leases and the second look, on both engines: what is sent, what is not, who may say so.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aftercare::care::{self, dispatch};
use aftercare::ids::LeaseId;
use aftercare::planner::{Reason, ReminderState};
use aftercare::store::{Consent, ConsentKind, DeliveryMode, FcmLine, Platform, PushContent, Store};
use aftercare_scheduler::SchedulerConfig;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::{EmulatorConfig, Fault, FaultKind, ShownKind};
use jiff::SignedDuration;
use tokio::time::timeout;

use crate::world::{Treated, World, at, secs};

const DUE: &str = "2026-11-22T15:55:00Z";
/// A busy machine may take its time.
const PATIENCE: Duration = Duration::from_secs(20);
const LEASE: SignedDuration = SignedDuration::from_mins(1);

on_both_engines!(
    a_worker_that_died_is_replaced_and_can_write_nothing_after,
    a_void_takes_a_claim_away,
    a_phone_s_own_retry_waits_for_a_clock_that_was_set_back,
    withdrawn_consent_acts_in_the_last_moment,
    without_a_phone_a_reminder_waits_for_one,
    a_phone_registered_during_a_claim_is_not_overlooked,
    a_bundle_past_its_use_by_gives_way_to_what_still_holds,
    a_paused_clinic_s_reminders_wait_and_go_stale,
    the_stricter_wish_decides_what_a_push_says,
    a_crowd_is_drained_in_small_claims,
    schedulers_on_one_store_share_the_work_and_send_nothing_twice,
    schedulers_on_one_store_share_one_rate,
    a_pause_holds_all_but_what_leaves_within_a_second,
    a_whole_course_of_two_days_says_five_things_at_most,
    a_row_that_cannot_be_read_holds_up_nobody_else,
);

/// Claims by hand, as another worker would.
async fn claim(store: &Store) -> dispatch::Claim {
    let lease: LeaseId = store.env().id();
    store.write(move |tx| dispatch::claim(tx, lease, LEASE, 10)).await.unwrap()
}

/// What that worker found out: everything it claimed was refused for good.
async fn fail_all(store: &Store, claim: dispatch::Claim) -> dispatch::Tally {
    let failed = store.write(move |tx| {
        let settled: Vec<_> = claim
            .singles()
            .map(|(item, _)| dispatch::Settled {
                item,
                verdict: dispatch::Verdict::Failed(Reason::Rejected),
                said: None,
            })
            .collect();
        dispatch::settle(tx, &settled)
    });
    failed.await.unwrap()
}

async fn a_worker_that_died_is_replaced_and_can_write_nothing_after(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let ana = world.treated("ana").await;
    world.clock.set(at(DUE));
    let zombie = claim(&world.store).await;
    assert_eq!(zombie.len(), 1);
    assert_eq!(world.run_after(secs(59)).await.claimed, 0, "it is another's");
    let run = world.run_after(secs(1)).await;
    assert_eq!((run.reclaimed, run.tally.sent), (1, 1));
    let tally = fail_all(&world.store, zombie).await;
    assert_eq!((tally.lost, tally.failed), (1, 0));
    assert_eq!(world.start_of(ana).await.state, ReminderState::Sent);
}

async fn a_void_takes_a_claim_away(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let ana = world.treated("ana").await;
    world.clock.set(at(DUE));
    let claimed = claim(&world.store).await;
    let (clinic, treatment) = (world.clinic, ana.treatment);
    let voided = world.store.write(move |tx| care::void_treatment(tx, clinic, treatment)).await;
    assert!(voided.unwrap().is_some());
    let again = claimed.clone();
    let jobs = world.store.read(move |tx| dispatch::prepare(tx, &again)).await.unwrap();
    assert!(
        matches!(jobs[0].decision, dispatch::Decision::Not(dispatch::Verdict::Released)),
        "the second look finds it taken away: {jobs:?}"
    );
    assert_eq!(fail_all(&world.store, claimed).await.lost, 1);
    assert_eq!(world.start_of(ana).await.state, ReminderState::Cancelled);
    assert_eq!(world.run_after(secs(600)).await.claimed, 0);
    assert_eq!(world.accepted(), 0);
}

async fn a_phone_s_own_retry_waits_for_a_clock_that_was_set_back(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let ana = world.treated("ana").await;
    world.phone(ana.patient, "tablet").await;
    world.clock.set(at(DUE));
    let claimed = claim(&world.store).await;
    let prepared = claimed.clone();
    let jobs = world.store.read(move |tx| dispatch::prepare(tx, &prepared)).await.unwrap();
    let dispatch::Decision::Send(outgoing) = &jobs[0].decision else { panic!("{jobs:?}") };
    let early = at("2026-11-22T14:55:00Z");
    world.clock.set(early);
    let trials = [dispatch::Trial::Accepted, dispatch::Trial::Again(Some(early))];
    let attempts = outgoing.targets.iter().zip(trials).map(|(target, trial)| dispatch::Attempt {
        target: target.clone(),
        at: early,
        trial,
        status: None,
        code: None,
        detail: None,
    });
    let verdict = dispatch::Verdict::Tried(attempts.collect());
    let settled = dispatch::Settled { item: jobs[0].item, verdict, said: outgoing.said.clone() };
    let tally = world.store.write(move |tx| dispatch::settle(tx, &[settled])).await.unwrap();
    assert_eq!(tally.sent, 1);
    let run = world.run().await;
    assert_eq!((run.claimed, run.tally.retrying, run.tally.sent), (1, 1, 0), "it is not due yet");
    assert_eq!(world.run_at("2026-11-22T15:54:59Z").await.claimed, 0);
    assert_eq!(world.run_at(DUE).await.tally.sent, 1);
    assert_eq!(world.accepted(), 1);
}

async fn withdrawn_consent_acts_in_the_last_moment(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let ana = world.treated("ana").await;
    world.clock.set(at(DUE));
    let withdrawn = world.store.write(move |tx| {
        let at = tx.now();
        tx.set_consent(&Consent {
            patient_id: ana.patient,
            kind: ConsentKind::Aftercare,
            granted: false,
            notice_version: None,
            at,
        })
    });
    withdrawn.await.unwrap();
    let run = world.run().await;
    assert_eq!((run.tally.replanned, run.tally.sent), (1, 0));
    let reminder = world.start_of(ana).await;
    assert_eq!(reminder.state, ReminderState::Skipped);
    assert_eq!(reminder.reason, Some(Reason::Consent));
    assert_eq!(world.fcm.stats().sends, 0);
}

async fn without_a_phone_a_reminder_waits_for_one(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let ana = world.treated_without_phone("ana").await;
    assert_eq!(world.run_at(DUE).await.tally.no_device, 1);
    assert_eq!(world.run_after(secs(60)).await.claimed, 0, "out of the queue");
    world.clock.set(at("2026-11-22T17:00:00Z"));
    world.phone(ana.patient, "ana").await;
    assert_eq!(world.run().await.tally.sent, 1);
    assert_eq!(world.fcm.inbox("ana").len(), 1);
    assert_eq!(world.start_of(ana).await.state, ReminderState::Sent);
}

async fn a_phone_registered_during_a_claim_is_not_overlooked(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let ana = world.treated_without_phone("ana").await;
    world.clock.set(at(DUE));
    let claimed = claim(&world.store).await;
    let jobs = world.store.read(move |tx| dispatch::prepare(tx, &claimed)).await.unwrap();
    world.phone(ana.patient, "ana").await;
    let settled: Vec<_> = jobs
        .into_iter()
        .map(|job| match job.decision {
            dispatch::Decision::Not(verdict) => {
                dispatch::Settled { item: job.item, verdict, said: None }
            }
            dispatch::Decision::Send(outgoing) => panic!("to nobody: {outgoing:?}"),
        })
        .collect();
    world.store.write(move |tx| dispatch::settle(tx, &settled)).await.unwrap();
    assert_eq!(world.run().await.tally.sent, 1);
    assert_eq!(world.fcm.inbox("ana").len(), 1);
}

async fn a_bundle_past_its_use_by_gives_way_to_what_still_holds(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let first = world.treated("ana").await;
    world.clock.advance(secs(600));
    let second = world.treatment("ana", "event-second").await;
    world.fcm.set_fault(Fault::new(FaultKind::Unavailable));
    world.run_at(DUE).await;
    assert_eq!(world.start_of(first).await.members.len(), 2, "one reminder for both");
    while world.store.env().now() < at("2026-11-22T18:35:00Z") {
        world.run_after(secs(300)).await;
    }
    world.fcm.clear_faults();
    let run = world.run_at("2026-11-22T18:40:00Z").await;
    assert_eq!((run.tally.replanned, run.tally.sent), (1, 1), "{run:?}");
    let rows = world.reminders(first).await;
    let starts: Vec<_> = rows.iter().filter(|row| row.step_id.as_str() == "start").collect();
    let state_of = |of: Treated| {
        starts.iter().find(|row| row.treatment_id == of.treatment).map(|row| row.state)
    };
    assert_eq!(state_of(first), Some(ReminderState::Expired));
    assert_eq!(state_of(second), Some(ReminderState::Sent));
}

async fn a_paused_clinic_s_reminders_wait_and_go_stale(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let ana = world.treated("ana").await;
    let clinic = world.clinic;
    let pause = |paused| {
        let store = world.store.clone();
        async move {
            store.write(move |tx| tx.set_paused(clinic, paused)).await.unwrap();
        }
    };
    pause(true).await;
    assert_eq!(world.run_at(DUE).await.claimed, 0);
    world.clock.set(at("2026-11-22T18:40:00Z"));
    pause(false).await;
    assert_eq!(world.run().await.tally.expired, 1);
    assert_eq!(world.start_of(ana).await.reason, Some(Reason::PastUseBy));
    assert_eq!(world.fcm.stats().sends, 0);
}

async fn the_stricter_wish_decides_what_a_push_says(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let ana = world.treated("ana").await;
    world.phone_of(ana.patient, "iphone", Platform::Ios, DeliveryMode::Push).await;
    let strict = world.store.write(move |tx| {
        let mut patient = tx.lock_patient(ana.patient)?.unwrap();
        patient.preferences.push_content = Some(PushContent::Reference);
        tx.update_patient(&patient)
    });
    strict.await.unwrap();
    world.run_at(DUE).await;
    assert_eq!(world.accepted(), 2);
    for push in world.fcm.accepted() {
        let text = push.message.to_string();
        assert!(!text.contains("wash") && !text.contains("treatment"), "{text}");
        assert_eq!(push.message["data"]["content"], "reference");
    }
    assert_eq!(world.fcm.inbox("iphone")[0].body.as_deref(), Some("Open the app to read it."));
    assert!(matches!(world.fcm.inbox("ana")[0].kind, ShownKind::Data), "data only on Android");
}

async fn a_crowd_is_drained_in_small_claims(bed: Bed) {
    let world = World::on(bed, |config| (config.batch, config.concurrency) = (4, 6)).await;
    for patient in 0..25 {
        world.treated(&format!("patient-{patient}")).await;
    }
    let run = world.run_at(DUE).await;
    assert_eq!((run.claimed, run.tally.sent), (25, 25));
    let shown: BTreeSet<String> =
        world.fcm.inboxes().into_iter().map(|shown| shown.address).collect();
    assert_eq!((shown.len(), world.accepted()), (25, 25));
}

async fn schedulers_on_one_store_share_the_work_and_send_nothing_twice(bed: Bed) {
    let world = World::on(bed, |config| config.batch = 3).await;
    let other = world.second_scheduler(|config| config.batch = 3).await;
    for patient in 0..20 {
        world.treated(&format!("patient-{patient}")).await;
    }
    world.clock.set(at(DUE));
    let (one, two) = tokio::join!(world.scheduler.run_once(), other.run_once());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.claimed + two.claimed, 20);
    assert_eq!(one.tally.lost + two.tally.lost, 0);
    assert_eq!(world.accepted(), 20);
}

async fn schedulers_on_one_store_share_one_rate(bed: Bed) {
    const PER_SECOND: f64 = 200.0;
    const REMINDERS: usize = 100;
    let adjust = |config: &mut SchedulerConfig| {
        // Neither may have all of them before the other has found the database free.
        (config.batch, config.concurrency, config.rate) = (5, 20, Some(PER_SECOND));
    };
    let world = World::on(bed, adjust).await;
    let other = world.second_scheduler(adjust).await;
    for patient in 0..REMINDERS {
        world.treated(&format!("patient-{patient}")).await;
    }
    world.clock.set(at(DUE));
    // The ramp is over.
    let began_at = world.bed.now();
    let line = FcmLine {
        seen_at: began_at,
        next_at: began_at,
        ramp_began_at: began_at - SignedDuration::from_hours(1),
    };
    let project = EmulatorConfig::default().project_id;
    world
        .bed
        .write({
            let project = project.clone();
            move |tx| {
                tx.fcm_line(&project)?;
                tx.keep_fcm_line(&project, line)
            }
        })
        .await;
    let began = Instant::now();
    let (one, two) = tokio::join!(world.scheduler.run_once(), other.run_once());
    let (took, one, two) = (began.elapsed(), one.unwrap(), two.unwrap());
    assert_eq!((one.claimed + two.claimed, one.tally.lost + two.tally.lost), (REMINDERS, 0));
    assert!(one.claimed.min(two.claimed) > 0, "{one:?} {two:?}");
    let sent = world.fcm.accepted().into_iter().map(|push| push.address);
    assert_eq!(sent.collect::<BTreeSet<_>>().len(), REMINDERS);
    assert_eq!(world.accepted(), REMINDERS, "nothing twice");
    let turns = |messages: f64| Duration::from_secs_f64(messages / PER_SECOND);
    assert!(took >= turns(97.0), "{took:?}: they are faster than they may be together");
    let line = world.bed.write(move |tx| tx.fcm_line(&project)).await;
    let taken = Duration::try_from(line.next_at.duration_since(began_at)).unwrap();
    assert!(taken <= turns(100.0 / 0.9), "{taken:?}: turns were taken that nobody used");
}

/// What waits for its turn to leave has been decided.
async fn a_pause_holds_all_but_what_leaves_within_a_second(bed: Bed) {
    // Two a second, as its ramp begins.
    let world = World::on(bed, |config| config.rate = Some(20.0)).await;
    for patient in 0..20 {
        world.treated(&format!("patient-{patient}")).await;
    }
    let mut shown = world.fcm.shown();
    world.clock.set(at(DUE));
    let pause = async {
        timeout(PATIENCE, shown.recv()).await.unwrap().unwrap();
        world.store.write(|tx| tx.set_all_paused(true)).await.unwrap();
    };
    let (run, ()) = tokio::join!(world.scheduler.run_once(), pause);
    let run = run.unwrap();
    assert_eq!(run.tally.sent, run.claimed);
    // A busy machine may take its time to pause; twenty were claimed at once.
    assert!((1..=10).contains(&run.claimed), "{run:?}");
    assert_eq!(world.accepted(), run.claimed);
}

async fn a_whole_course_of_two_days_says_five_things_at_most(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let ana = world.treated("ana").await;
    for _ in 0..(50 * 6) {
        world.run_after(secs(600)).await;
    }
    let sent = world.reminders(ana).await;
    let sent = sent.iter().filter(|row| row.state == ReminderState::Sent).count();
    assert!((4..=5).contains(&sent), "{sent}");
    assert_eq!(world.accepted(), sent);
    for row in world.reminders(ana).await.iter().filter(|row| row.sent_at.is_some()) {
        let late = row.sent_at.unwrap().duration_since(row.due_at);
        assert!((SignedDuration::ZERO..=secs(600)).contains(&late), "{row:?}");
    }
}

async fn a_row_that_cannot_be_read_holds_up_nobody_else(bed: Bed) {
    let world = World::on(bed, |_| {}).await;
    let (ana, ben) = (world.treated("ana").await, world.treated("ben").await);
    let damaged = if world.bed.database.is_some() { "'\\x00'" } else { "x'00'" };
    let hex = ana.patient.0.simple();
    let patient = match &world.bed.database {
        Some(_) => format!("'{}'", ana.patient),
        None => format!("x'{hex}'"),
    };
    let sql = format!("UPDATE devices SET address_sealed = {damaged} WHERE patient_id = {patient}");
    world.bed.execute(&sql);
    let run = world.run_at(DUE).await;
    assert_eq!((run.claimed, run.tally.sent, run.tally.released), (2, 1, 1), "{run:?}");
    assert_eq!(world.start_of(ben).await.state, ReminderState::Sent);
    assert_eq!(world.start_of(ana).await.state, ReminderState::Planned);
    assert_eq!(world.run_after(secs(60)).await.claimed, 0, "set aside");
    assert_eq!(world.run_at("2026-11-22T18:40:00Z").await.tally.expired, 1);
}
