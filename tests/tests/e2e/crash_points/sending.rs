//! The dispatcher's and the webhooks' units of work, and the doors of FCM, of the token endpoint and of a
//! clinic's server: whatever happens there, what is due is sent, once more at most than its answer was lost,
//! under the same name; nothing is sent of what was taken back, and clinics are told all of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aftercare::store::Side;
use aftercare_scheduler::SchedulerHandle;
use aftercare_scheduler::push::DEFAULT_RATE;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::{Fault, FaultKind};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::trap::{Harm, Trap};
use super::{HARMS, Played, assert_whole, each_of};
use crate::http::{Body, wait_for};
use crate::receiver::{Receiver, Reply};
use crate::stage::{Stage, done};

const RECLAIM: &str = "aftercare::care::dispatch::reclaim";
const CLAIM: &str = "aftercare_scheduler::dispatcher::look::<impl aftercare_scheduler::dispatcher::Dispatcher>::claim";
const SETTLE: &str = "aftercare_scheduler::dispatcher::write::<impl aftercare_scheduler::dispatcher::Dispatcher>::write";
const TAKE_TURNS: &str = "aftercare_scheduler::push::limiter::Shared::take";
const CLAIM_WEBHOOK: &str = "aftercare_scheduler::webhooks::Deliverer::lane";
/// The second that passes.
const SETTLE_WEBHOOK: &str = "aftercare_scheduler::webhooks::Deliverer::lane#2";

pub(super) const UNITS: [&str; 6] =
    [RECLAIM, CLAIM, TAKE_TURNS, SETTLE, CLAIM_WEBHOOK, SETTLE_WEBHOOK];

const FCM: &str = "FCM";
const TOKENS: &str = "the token endpoint";
const WEBHOOK: &str = "a clinic's server";

/// The HTTP boundaries: `BeforeCommit` stands for the way there, `AfterCommit` for the way of the answer.
const DOORS: [&str; 3] = [FCM, TOKENS, WEBHOOK];

/// Longer than a lease.
const LEASE_OVER: SignedDuration = SignedDuration::from_secs(61);
/// Longer than a test waits.
const EVER: Duration = Duration::from_mins(10);
const MOMENT: Duration = Duration::from_millis(200);

/// How often the reminder may reach FCM: twice only where nobody could write down that it had.
fn pushes((point, side, harm): (&str, Side, Harm)) -> usize {
    match (point, side, harm) {
        (SETTLE, Side::BeforeCommit, Harm::Abort)
        | (FCM, Side::AfterCommit, Harm::Abort | Harm::Error) => 2,
        _ => 1,
    }
}

/// The same of what the clinic is told.
fn tellings((point, side, harm): (&str, Side, Harm)) -> usize {
    match (point, side, harm) {
        (SETTLE_WEBHOOK, Side::BeforeCommit, Harm::Abort | Harm::Error)
        | (WEBHOOK, _, Harm::Abort | Harm::Error) => 2,
        _ => 1,
    }
}

struct Ground {
    stage: Stage,
    trap: Arc<Trap>,
    receiver: Receiver,
    /// A scheduler in whose way nothing is.
    other: SchedulerHandle,
    cells: i64,
}

/// One cell's patient, and another whose session was taken back.
struct Patient {
    name: String,
    completed_at: Timestamp,
    treated: Value,
    voided: Value,
}

impl Ground {
    async fn set(bed: Bed) -> Self {
        let (stage, receiver) = (Stage::set(bed).await, Receiver::start().await);
        let types = ["treatment.planned", "reminder.sent"];
        let webhook = json!({"url": receiver.url(), "types": types});
        stage.clinic("POST", "/v1/webhooks", Body::Json(&webhook)).await.expect(201);
        let other = stage.scheduler_at(DEFAULT_RATE, stage.bed.again().await);
        Self { stage, trap: Arc::default(), receiver, other, cells: 0 }
    }

    async fn play(&mut self, cell: (&str, Side, Harm)) -> Result<(), String> {
        let patient = self.patient().await;
        let store = self.stage.bed.again_with(self.trap.options()).await;
        let scheduler = self.stage.scheduler_at(DEFAULT_RATE, store);
        self.arm(cell, &patient);
        let work = tokio::spawn(async move {
            let ran = scheduler.run_once().await.is_ok();
            scheduler.tell_webhooks().await.is_ok() && ran
        });
        let happened = self.happens(cell, work).await;
        self.stage.fcm.clear_faults();
        self.receiver.answer(|_| Reply::Status(200));
        self.trap.set("", Side::BeforeCommit, Harm::Error);
        happened?;
        self.dead_are_noticed().await;
        // Somebody else goes on.
        for _ in 0..4 {
            self.stage.bed.clock.advance(LEASE_OVER);
            self.other.run_once().await.map_err(|error| error.to_string())?;
            self.other.tell_webhooks().await.map_err(|error| error.to_string())?;
        }
        let judged = self.judge(cell, &patient).await;
        self.stage.void(&patient.treated).await.expect(200);
        judged
    }

    /// PostgreSQL takes a moment to see that a connection is gone, and until then passes by what it held.
    async fn dead_are_noticed(&self) {
        const OPEN: &str = "SELECT pid::text FROM pg_stat_activity
             WHERE datname = current_database() AND xact_start IS NOT NULL
               AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let Some(database) = &self.stage.bed.database else { return };
        wait_for("the end of all transactions", async || {
            database.query(OPEN).is_empty().then_some(())
        })
        .await;
    }

    /// Both were treated a quarter of an hour ago; another day for each cell.
    async fn patient(&mut self) -> Patient {
        self.cells += 1;
        let day: Timestamp = aftercare_tests::bed::START.parse().unwrap();
        self.stage.bed.clock.set(day + SignedDuration::from_hours(24 * self.cells));
        let name = format!("cell-{}", self.cells);
        let (completed_at, treated) = (self.stage.now(), self.stage.treated(&name).await);
        let voided = self.stage.treated(&format!("no-{name}")).await;
        self.stage.void(&voided).await.expect(200);
        self.stage.bed.clock.advance(SignedDuration::from_mins(15));
        self.receiver.take();
        Patient { name, completed_at, treated, voided }
    }

    fn arm(&self, (point, side, harm): (&str, Side, Harm), patient: &Patient) {
        if !DOORS.contains(&point) {
            return self.trap.set(point, side, harm);
        }
        let wait = if harm == Harm::Abort { EVER } else { MOMENT };
        if point == WEBHOOK {
            let reply = match (side, harm) {
                (Side::BeforeCommit, Harm::Error) => Reply::Status(503),
                (Side::AfterCommit, Harm::Error) => Reply::Nothing,
                _ => Reply::Late(wait),
            };
            return self.receiver.answer(move |_| reply.clone());
        }
        let kind = match (side, harm) {
            (Side::BeforeCommit, Harm::Error) => FaultKind::DropBefore,
            (Side::AfterCommit, Harm::Error) => FaultKind::DropAfter,
            (Side::BeforeCommit, _) => FaultKind::Delay,
            (Side::AfterCommit, _) => FaultKind::DelayAnswer,
        };
        let fault = Fault::new(kind).times(1);
        let fault = if harm == Harm::Error { fault } else { fault.delay(wait) };
        self.stage.fcm.set_fault(match point {
            TOKENS => fault.on_token_endpoint(),
            _ => fault.for_address(&patient.name),
        });
    }

    /// Plays the scheduler's part until it is through, or dead.
    async fn happens(
        &self,
        (point, side, harm): (&str, Side, Harm),
        work: JoinHandle<bool>,
    ) -> Result<(), String> {
        if DOORS.contains(&point) {
            if harm != Harm::Abort {
                work.await.map_err(|died| died.to_string())?;
                return Ok(());
            }
            let (address, told) = (format!("cell-{}", self.cells), self.receiver.clone());
            wait_for("the request", async || {
                let accepted = self.stage.pushes().iter().any(|push| push.address == address);
                let reached = match (point, side) {
                    (WEBHOOK, _) => told.has_any(),
                    (FCM, Side::AfterCommit) => accepted,
                    // What has not gone in leaves no trace there; the fault is spent in the moment it comes.
                    _ => self.stage.fcm.faults().is_empty(),
                };
                reached.then_some(())
            })
            .await;
            work.abort();
            let _ = work.await;
            return Ok(());
        }
        match harm {
            Harm::Abort => {
                let lives = work.await.is_ok();
                // The message itself takes turns; with it ends all that waits for it, and not the dispatcher.
                (lives == (point == TAKE_TURNS) && self.trap.did())
                    .then_some(())
                    .ok_or_else(|| "it lives".to_owned())
            }
            Harm::Error => {
                work.await.map_err(|died| died.to_string())?;
                self.trap.did().then_some(()).ok_or_else(|| "not reached".to_owned())
            }
            Harm::Delay => {
                let held = tokio::time::timeout(Duration::from_secs(20), self.trap.holds()).await;
                held.map_err(|_| "not reached".to_owned())?;
                self.stage.bed.clock.advance(LEASE_OVER);
                // SQLite's one writer is in the middle of its work; elsewhere others take over.
                if side == Side::AfterCommit || self.stage.bed.database.is_some() {
                    self.other.run_once().await.map_err(|error| error.to_string())?;
                    self.other.tell_webhooks().await.map_err(|error| error.to_string())?;
                }
                self.trap.release();
                work.await.map_err(|died| died.to_string())?;
                Ok(())
            }
        }
    }

    async fn judge(&self, cell: (&str, Side, Harm), patient: &Patient) -> Result<(), String> {
        let Patient { name, completed_at, treated, voided } = patient;
        let stage = &self.stage;
        let of = |address: &str| {
            let all = stage.pushes().into_iter();
            all.filter(|push| push.address == address).collect::<Vec<_>>()
        };
        let sent = of(name);
        let fates = stage.fates(treated).await;
        let start = fates.iter().find(|(step, _)| step == "start").map(|(_, fate)| fate.as_str());
        if start != Some("sent: accepted") {
            return Err(format!("{fates:?}, {} pushes", sent.len()));
        }
        if sent.len() != pushes(cell) {
            return Err(format!("{} pushes", sent.len()));
        }
        let same = sent.iter().all(|push| push.tag == push.reminder && push.tag == sent[0].tag);
        if !same || sent.iter().any(|push| push.at >= push.use_by) {
            return Err(format!("{sent:#?}"));
        }
        let taken_back = of(&format!("no-{name}"));
        if !taken_back.is_empty() {
            return Err(format!("{taken_back:#?} of {voided}"));
        }
        let repeated = stage.post(&done(&format!("visit-{name}"), name, *completed_at)).await;
        let ids = |view: &Value| {
            let reminders = view["reminders"].as_array().unwrap().iter();
            let ids = reminders.map(|one| one["id"].to_string()).collect::<BTreeSet<_>>();
            (view["treatment"]["id"].to_string(), ids)
        };
        if repeated.status != 200 || ids(&repeated.expect(200)) != ids(treated) {
            return Err(format!("another plan: {repeated:?}"));
        }
        self.judge_tellings(cell, name)
    }

    fn judge_tellings(&self, cell: (&str, Side, Harm), name: &str) -> Result<(), String> {
        let told = self.receiver.take();
        let of_kind = |kind: &str| {
            let mine = told.iter().filter(|one| one.line() == format!("{name} {kind}"));
            mine.map(|one| one.id.clone()).collect::<Vec<_>>()
        };
        for kind in ["treatment.planned", "reminder.sent"] {
            let ids = of_kind(kind);
            let one = ids.iter().collect::<BTreeSet<_>>().len() == 1;
            if !one || ids.len() > tellings(cell) {
                return Err(format!("{kind} was told as {ids:?}"));
            }
        }
        Ok(())
    }
}

async fn what_befalls_the_dispatcher_is_no_patients_loss(bed: Bed) {
    let mut ground = Ground::set(bed).await;
    let (mut played, mut wrongs) = (Played::new(), Vec::new());
    let points: Vec<&str> = UNITS.into_iter().chain(DOORS).collect();
    for point in &points {
        for (side, harm) in each_of(&HARMS) {
            if let Err(why) = ground.play((point, side, harm)).await {
                wrongs.push(format!("{point} {side:?} {harm:?}: {why}"));
            }
            played.insert(((*point).to_owned(), side, harm));
        }
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
    assert_whole(&played, &points, &HARMS);
}

on_both_engines!(what_befalls_the_dispatcher_is_no_patients_loss);
