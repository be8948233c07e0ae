//! What happens to the processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aftercare_tests::dice::Dice;
use tokio::time::{Instant, sleep};

use super::Scale;
use super::clinic::{SOON, Software};
use super::field::{Fate, Field, Held};
use super::judge::Record;
use crate::process::Process;

/// Longer than a lease.
const STANDSTILL: Duration = Duration::from_secs(66);
/// How long a breeze's schedulers stand still; their leases are ended by hand.
const NOD: Duration = Duration::from_secs(2);
/// The longest between two blows while somebody answers, in milliseconds.
const GUST: u64 = 1_100;
/// How long whoever stood still may do its worst.
const AWAKE: Duration = Duration::from_secs(3);
/// After a storm everything that is due goes out within this.
const CALM: Duration = Duration::from_mins(5);

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Kill,
    Crash,
    Stop,
}

/// A scheduler that stands still, or did.
struct Zombie {
    process: Process,
    since: Instant,
    held: Held,
    /// Since when it runs again, and what was final by then.
    awake: Option<(Instant, BTreeMap<String, Fate>)>,
}

pub(super) struct Weather {
    field: Field,
    scale: Scale,
    dice: Dice,
    software: Arc<Software>,
    running: Vec<(&'static str, Process)>,
    zombies: Vec<Zombie>,
    record: Record,
}

impl Weather {
    pub(super) fn new(field: Field, scale: Scale) -> Self {
        let software = Arc::new(Software::new(&field, scale.seed));
        let (dice, record) = (Dice::of(scale.seed, u64::MAX), Record::default());
        let (running, zombies) = (Vec::new(), Vec::new());
        Self { field, scale, dice, software, running, zombies, record }
    }

    /// Lets it blow over processes in these roles, and judges.
    pub(super) async fn blow(mut self, roles: &[&'static str]) {
        self.running = roles.iter().map(|role| (*role, self.field.run(role))).collect();
        self.software.publish().await;
        let software = Arc::clone(&self.software);
        let working = tokio::spawn(async move { software.work().await });
        let began = Instant::now();
        for blow in self.blows() {
            self.software.wave();
            // Now and then somebody who has not come up yet is hit.
            if self.dice.below(5) > 0 {
                self.software.is_answered().await;
            }
            sleep(Duration::from_millis(self.dice.below(GUST))).await;
            self.look_after_zombies().await;
            match blow {
                Blow::Kill => self.kill(),
                Blow::Crash => self.crash(),
                Blow::Stop => self.stop(),
            }
        }
        while !self.zombies.is_empty() {
            sleep(Duration::from_millis(100)).await;
            self.look_after_zombies().await;
        }
        println!("the storm is over after {:?}", began.elapsed());
        self.software.close();
        working.await.unwrap();
        self.calm_down().await;
        self.record.judge(&self.field, &self.software).await;
        println!("{:#?}", self.record);
        self.record.assert_kept();
    }

    /// In a random order.
    fn blows(&mut self) -> Vec<Blow> {
        let Scale { kills, crashes, stops, .. } = self.scale;
        let of = |blow, times: u64| (0..times).map(move |_| blow);
        let blows =
            of(Blow::Kill, kills).chain(of(Blow::Crash, crashes)).chain(of(Blow::Stop, stops));
        let mut blows: Vec<(u64, Blow)> = blows.map(|blow| (self.dice.roll(), blow)).collect();
        blows.sort_by_key(|(order, _)| *order);
        blows.into_iter().map(|(_, blow)| blow).collect()
    }

    /// What was in anybody's hands in this moment may be sent again.
    fn note_in_flight(&mut self) -> Held {
        let held = self.field.held();
        self.record.in_flight(&held);
        held
    }

    fn kill(&mut self) {
        let n = self.dice.index(self.running.len());
        let (role, process) = &mut self.running[n];
        process.kill();
        let role = *role;
        self.record.kills += 1;
        self.note_in_flight();
        self.running[n].1 = self.field.run(role);
    }

    fn crash(&mut self) {
        self.note_in_flight();
        self.field.crash_database();
        self.record.crashes += 1;
        self.note_in_flight();
    }

    fn stop(&mut self) {
        let schedulers: Vec<usize> =
            (0..self.running.len()).filter(|n| self.running[*n].0 == "scheduler").collect();
        let n = self.dice.pick(&schedulers);
        self.running[n].1.signal("STOP");
        self.record.stops += 1;
        let held = self.note_in_flight();
        let process = std::mem::replace(&mut self.running[n].1, self.field.run("scheduler"));
        self.zombies.push(Zombie { process, since: Instant::now(), held, awake: None });
    }

    /// Wakes whoever has stood still for long enough, and lets nobody write who is woken.
    async fn look_after_zombies(&mut self) {
        let standstill = if self.scale.real_leases { STANDSTILL } else { NOD };
        for mut zombie in std::mem::take(&mut self.zombies) {
            if let Some((since, before)) = &zombie.awake {
                if since.elapsed() < AWAKE {
                    self.zombies.push(zombie);
                    continue;
                }
                zombie.process.kill();
                self.note_in_flight();
                let after = self.field.fates();
                self.record.judge_zombie(&zombie.held, before, &after);
            } else if zombie.since.elapsed() < standstill {
                self.zombies.push(zombie);
            } else {
                if !self.scale.real_leases {
                    // A breeze does not wait for the leases of whoever stands still.
                    self.field.end_leases(&zombie.held);
                    sleep(AWAKE).await;
                }
                zombie.awake = Some((Instant::now(), self.field.fates()));
                zombie.process.signal("CONT");
                self.zombies.push(zombie);
            }
        }
    }

    /// Waits until nothing is due any more.
    async fn calm_down(&mut self) {
        let began = Instant::now();
        if !self.scale.real_leases {
            sleep(AWAKE).await;
            let held = self.note_in_flight();
            self.field.end_leases(&held);
        }
        sleep(SOON).await;
        while self.field.count_due() > 0 {
            assert!(began.elapsed() < CALM, "{} are left", self.field.count_due());
            sleep(Duration::from_millis(200)).await;
        }
    }
}
