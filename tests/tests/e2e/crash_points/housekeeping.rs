//! What the heartbeat does beside sending: whatever befalls it, it is done by the next, and only once.

use std::sync::Arc;
use std::time::Duration;

use aftercare::care;
use aftercare::store::{Side, Store};
use aftercare_scheduler::SchedulerHandle;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::trap::{Harm, Trap};
use super::{Played, assert_whole, each_of, harms_on};
use crate::http::Body;
use crate::stage::{Stage, done};

/// So long ago that nothing of it is kept.
const LONG_AGO: &str = "2023-12-01T10:00:00Z";
const FOLLOW: &str = "aftercare::care::moving::follow";

pub(super) const UNITS: [&str; 14] = [
    "aftercare::care::each::each_patient<bool, aftercare::care::moving::follow>",
    "aftercare::care::each::each_patient<bool, aftercare_scheduler::keeper::Keeper::erase_who_is_over>",
    "aftercare::care::each::each_patient<usize, aftercare::care::courses::tell_due_sessions>",
    "aftercare::care::each::each_patient<usize, aftercare::care::devices::drop_silent_devices>",
    "aftercare::care::each::each_patient<usize, aftercare_scheduler::keeper::Keeper::close_what_is_over>",
    FOLLOW,
    "aftercare::care::moving::follow#2",
    "aftercare::care::webhooks::give_up_for_the_gone",
    "aftercare::store::audit_chain::<impl aftercare::store::Store>::seal_audit",
    "aftercare_scheduler::keeper::Keeper::forget_sessions",
    "aftercare_scheduler::keeper::Keeper::forget_waiting_amendments",
    "aftercare_scheduler::keeper::Keeper::forget_webhook_answers",
    "aftercare_scheduler::keeper::Keeper::forget_webhook_events",
    "aftercare_scheduler::sealing::log_head",
];

/// Everything that the heartbeat does.
async fn keep_house(scheduler: &SchedulerHandle, store: &Store) {
    // What fails now is done by the next beat, as there.
    let _ = care::move_running(store).await;
    let _ = store.seal_audit().await;
    scheduler.tidy().await;
    let _ = store.finish_erasures().await;
}

struct Ground {
    stage: Stage,
    trap: Arc<Trap>,
    other: SchedulerHandle,
    cells: i64,
    /// How many patients have been erased.
    gone: i64,
}

/// Whose treatment is to be moved to a new version, whose is to be closed, and whose own time is over.
struct Patients {
    moving: Value,
    closing: Value,
    over: String,
}

impl Ground {
    /// Another day, on which there is something to do.
    async fn work(&mut self) -> Patients {
        self.cells += 1;
        self.gone += 1;
        let (stage, n) = (&self.stage, self.cells);
        let day: Timestamp = aftercare_tests::bed::START.parse().unwrap();
        stage.bed.clock.set(day + SignedDuration::from_hours(24 * n));
        let moving = stage.treated(&format!("moving-{n}")).await;
        let path = "/v1/protocols/microneedling";
        let mut own = stage.clinic("GET", path, Body::None).await.expect(200);
        own.as_object_mut().unwrap().remove("version");
        own["reviewed_by"] = json!(format!("Dr. {n}"));
        let path = format!("{path}?running=move");
        stage.clinic("PUT", &path, Body::Json(&own)).await.expect(201);
        let due = format!("due-{n}");
        stage.patient(&due).await;
        stage.phone(&due, &due).await;
        let mut session = done(&format!("visit-{due}"), &due, stage.now());
        session["protocol"] = json!("chemical-peel");
        stage.post(&session).await.expect(201);
        let closing = format!("closing-{n}");
        stage.patient(&closing).await;
        let long_ago = done(&format!("visit-{closing}"), &closing, LONG_AGO.parse().unwrap());
        let long_ago = stage.post(&long_ago).await.expect(201);
        stage.session_done(&format!("again-{closing}"), &closing).await;
        let over = format!("over-{n}");
        stage.patient(&over).await;
        // Who was never treated has been forgotten, phones have been silent, and sessions are due.
        let postgres = stage.bed.database.is_some();
        let then = if postgres { "'2024-01-01T00:00:00Z'" } else { "1704067200000000" };
        stage.bed.execute(&format!(
            "UPDATE patients SET updated_at = {then}
                 WHERE id NOT IN (SELECT patient_id FROM treatments);
             UPDATE devices SET last_seen_at = {then};
             UPDATE refresh_tokens SET created_at = {then};
             UPDATE treatments SET session_due_at = {then}
                 WHERE recorded_at = (SELECT max(recorded_at) FROM treatments);
             UPDATE treatments SET recorded_at = {then} WHERE completed_at < {then}"
        ));
        Patients { moving, closing: long_ago, over }
    }

    async fn play(&mut self, (unit, side, harm): (&str, Side, Harm)) -> Result<(), String> {
        let patients = self.work().await;
        let store = self.stage.bed.again_with(self.trap.options()).await;
        let scheduler = self.stage.scheduler_over(store.clone());
        self.trap.set(unit, side, harm);
        let keeping = tokio::spawn(async move { keep_house(&scheduler, &store).await });
        if harm == Harm::Delay {
            let held = tokio::time::timeout(Duration::from_secs(20), self.trap.holds()).await;
            held.map_err(|_| "not reached".to_owned())?;
            // SQLite's one writer is in the middle of its work; elsewhere others do theirs.
            if side == Side::AfterCommit {
                keep_house(&self.other, &self.stage.bed.store).await;
            }
            self.trap.release();
        }
        let lives = keeping.await.is_ok();
        if !self.trap.did() || lives == (harm == Harm::Abort) {
            return Err(format!("reached: {}, lives: {lives}", self.trap.did()));
        }
        keep_house(&self.other, &self.stage.bed.store).await;
        let judged = self.judge(&patients).await;
        self.tidy_up().await;
        judged
    }

    /// The next cell is not to work on this one's patients.
    async fn tidy_up(&mut self) {
        for name in ["moving", "due", "closing"] {
            let path = format!("/v1/patients/{name}-{}", self.cells);
            self.stage.clinic("DELETE", &path, Body::None).await.expect(204);
            self.gone += 1;
        }
    }

    async fn judge(&self, patients: &Patients) -> Result<(), String> {
        let stage = &self.stage;
        let id = patients.moving["treatment"]["id"].as_str().unwrap();
        let path = format!("/v1/treatments/{id}");
        let moved = stage.clinic("GET", &path, Body::None).await.expect(200);
        let id = patients.closing["treatment"]["id"].as_str().unwrap();
        let path = format!("/v1/treatments/{id}");
        let closed = stage.clinic("GET", &path, Body::None).await.expect(200);
        if closed["treatment"]["closed_at"].is_null() || closed["reminders"] != json!([]) {
            return Err(format!("it was left open: {closed}"));
        }
        let named = format!(
            "SELECT count(*) FROM audit WHERE action = 'treatment.closed' AND subject = 'treatment:{id}'"
        );
        let noted = stage.bed.query(&named);
        if noted != ["1"] {
            return Err(format!("it was closed {noted:?} times"));
        }
        let current = stage.clinic("GET", "/v1/protocols/microneedling", Body::None).await;
        let version = &moved["treatment"]["protocol_version"];
        if *version != current.expect(200)["version"] {
            return Err(format!("it was left at version {version}"));
        }
        let path = format!("/v1/patients/{}/timeline", patients.over);
        let over = stage.clinic("GET", &path, Body::None).await.status;
        let noted = stage.bed.query("SELECT count(*) FROM erasures");
        if over != 404 || noted != [self.gone.to_string()] {
            return Err(format!("{over}, {noted:?} erasures of {}", self.gone));
        }
        let active = stage.bed.query("SELECT count(*) FROM devices WHERE state = 'active'");
        if active != ["0"] {
            return Err(format!("{active:?} phones"));
        }
        let report = stage.bed.store.verify_audit(None).await.map_err(|error| error.to_string())?;
        report.findings.is_empty().then_some(()).ok_or_else(|| format!("{report:?}"))
    }
}

async fn what_befalls_housekeeping_is_done_by_the_next(bed: Bed) {
    let harms = harms_on(&bed);
    let stage = Stage::set(bed).await;
    let other = stage.another_scheduler().await;
    let mut ground = Ground { stage, trap: Arc::default(), other, cells: 0, gone: 0 };
    ground.work().await;
    let store = ground.stage.bed.again_with(ground.trap.options()).await;
    let scheduler = ground.stage.scheduler_over(store.clone());
    keep_house(&scheduler, &store).await;
    ground.tidy_up().await;
    let mut units = ground.trap.passed();
    units.push(format!("{FOLLOW}#2"));
    let (mut played, mut wrongs) = (Played::new(), Vec::new());
    for unit in units {
        for (side, harm) in each_of(harms) {
            if let Err(why) = ground.play((&unit, side, harm)).await {
                wrongs.push(format!("{unit} {side:?} {harm:?}: {why}"));
            }
            played.insert((unit.clone(), side, harm));
        }
    }
    assert_whole(&played, &UNITS, harms);
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
}

on_both_engines!(what_befalls_housekeeping_is_done_by_the_next);
