//! A process that runs a scheduler: the real dispatcher's loop, on a network, a machine and a heartbeat that
//! are not.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use aftercare::clock::Clock;
use aftercare::store::{Pace, Store};
use aftercare_scheduler::{Scheduler, SchedulerConfig, SchedulerHandle};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::dice::{Bytes, Dice};
use crate::ground::{Database, Ground};
use crate::network::{MESSAGES, Network};
use crate::rows;
use crate::time::Machine;
use crate::world::{Running, Shared, World};

/// A queue in which nothing comes due is not looked at sooner.
const IDLE: Duration = Duration::from_hours(24 * 30);

pub(crate) struct Process {
    pub(crate) number: u8,
    handle: SchedulerHandle,
    serving: JoinHandle<()>,
    beating: JoinHandle<()>,
    poke: Arc<Notify>,
}

impl Process {
    pub(crate) async fn start(
        number: u8,
        dice: Dice,
        ground: &Ground,
        database: &Database,
        world: &Shared,
    ) -> Self {
        let machine = Arc::new(Machine::new(Dice::of(dice.clone().roll(), 1)));
        let clock = {
            let mut world = world.lock().unwrap();
            let running = Running { machine: Arc::clone(&machine), ended: None };
            world.processes.insert(number, running);
            world.tell(&format!("process {number}"), "starts");
            Arc::clone(&world.clock) as Arc<dyn Clock>
        };
        let store =
            database.open(clock, Bytes::new(dice, number), Some(machine as Arc<dyn Pace>)).await;
        store.finish_erasures().await.unwrap();
        let config = SchedulerConfig {
            base_url: Some(format!("http://127.0.0.1:{MESSAGES}").parse().unwrap()),
            dial: Arc::new(Network { world: Arc::downgrade(world), process: number }),
            heartbeat: false,
            ..SchedulerConfig::new(ground.account.clone())
        };
        let handle = Scheduler::start(store.clone(), config).unwrap();
        let poke = Arc::new(Notify::new());
        let serving = tokio::spawn({
            let handle = handle.clone();
            async move { handle.serve().await }
        });
        let beating =
            tokio::spawn(beat(Arc::downgrade(world), handle.clone(), store, Arc::clone(&poke)));
        Self { number, handle, serving, beating, poke }
    }

    /// Something has changed that its heartbeat would find within a second.
    pub(crate) fn poke(&self) {
        self.poke.notify_one();
    }

    /// Its dispatcher must run as long as it does.
    pub(crate) fn is_broken(&self) -> bool {
        self.serving.is_finished()
    }

    pub(crate) async fn tidy(&self) {
        self.handle.tidy().await;
    }

    /// It is gone, whatever it was doing.
    pub(crate) async fn crash(self) {
        self.serving.abort();
        self.beating.abort();
        let _ = self.serving.await;
        let _ = self.beating.await;
    }

    /// It finishes what is under way.
    pub(crate) async fn stop(self) {
        self.handle.shutdown(Duration::from_secs(20)).await;
        self.beating.abort();
        let _ = self.beating.await;
        let stopped = timeout(Duration::from_mins(2), self.serving).await;
        stopped.expect("a dispatcher stops when it is told to").expect("it ends well");
    }
}

/// After this a message has been answered, or given up.
const UNDER_WAY: Duration = Duration::from_mins(2);

/// The heart beats every second; here only those beats come that could find something.
async fn beat(world: Weak<Mutex<World>>, handle: SchedulerHandle, store: Store, poke: Arc<Notify>) {
    let (mut idle, mut poked) = (1, false);
    loop {
        store.finish_erasures().await.unwrap();
        handle.wake();
        let Some(next) = world.upgrade().map(|world| next(&mut world.lock().unwrap())) else {
            return;
        };
        let wait = next.unwrap_or_else(|| {
            idle = (idle * 2).min(60);
            Duration::from_secs(idle)
        });
        if next.is_some() {
            idle = 1;
        }
        // What was taken back while a message was under way may be planned anew when that comes back.
        let wait = if poked { wait.min(UNDER_WAY) } else { wait };
        poked = timeout(wait, poke.notified()).await.is_ok();
        if poked {
            idle = 1;
            sleep(Duration::from_millis(300)).await;
        }
    }
}

/// How long nothing comes due; `None`: something is due, or under way.
fn next(world: &mut World) -> Option<Duration> {
    if rows::is_any_claimed(&mut world.look) {
        return None;
    }
    let now = world.clock.now();
    let Some(next) = rows::next_moment(&mut world.look) else { return Some(IDLE) };
    let wait = Duration::try_from(next.duration_since(now)).ok().filter(|wait| !wait.is_zero())?;
    Some((wait + Duration::from_millis(400)).min(IDLE))
}
