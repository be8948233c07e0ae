//! The world: what is in it, what has happened in it, and what was wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aftercare::care::SessionDone;
use aftercare::clock::Clock as _;
use aftercare::ids::{ClinicId, ReminderId, TreatmentId};
use aftercare::store::Store;
use diesel::sqlite::SqliteConnection;
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use crate::acts::Act;
use crate::dice::Dice;
use crate::fcm::{Fcm, Reply, Weather};
use crate::history::UNDER_WAY;
use crate::ledger::Ledger;
use crate::plan::Event;
use crate::rows::{Lease, Row};
use crate::rules::Rules;
use crate::story::Story;
use crate::time::{Machine, WallClock};
use crate::watch::Arrival;

pub(crate) type Shared = Arc<Mutex<World>>;

/// A process that runs, or ran, a scheduler.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) machine: Arc<Machine>,
    pub(crate) ended: Option<Duration>,
}

pub(crate) struct World {
    pub(crate) clock: Arc<WallClock>,
    pub(crate) story: Story,
    pub(crate) fcm: Fcm,
    pub(crate) ledger: Ledger,
    pub(crate) rules: Arc<Rules>,
    /// The API's.
    pub(crate) api: Store,
    pub(crate) look: SqliteConnection,
    pub(crate) dice: Dice,
    pub(crate) later: UnboundedSender<(Duration, Event)>,
    pub(crate) processes: BTreeMap<u8, Running>,
    pub(crate) events: Vec<(ClinicId, SessionDone)>,
    pub(crate) order: u64,
    /// Every message that arrived.
    pub(crate) arrivals: Vec<Arrival>,
    /// From which arrival on those count of a reminder that was put off.
    pub(crate) fresh: BTreeMap<ReminderId, usize>,
    /// Until when reminders were put off.
    pub(crate) snoozed: BTreeMap<ReminderId, Timestamp>,
    /// The rows as they were last seen, who held them, and how far the attempts were read.
    pub(crate) rows: BTreeMap<ReminderId, Row>,
    pub(crate) holders: BTreeMap<ReminderId, Option<Lease>>,
    pub(crate) seen: i64,
    /// What is written down as sent, and what that told which phone.
    pub(crate) sent: BTreeSet<ReminderId>,
    pub(crate) told: BTreeMap<(String, TreatmentId, String), ReminderId>,
    /// When something was in the way, and what is.
    pub(crate) troubles: Vec<(Duration, Duration)>,
    pub(crate) trouble: BTreeMap<&'static str, Duration>,
    /// When the clock was set.
    pub(crate) steps: Vec<Duration>,
    pub(crate) wrongs: Vec<String>,
}

impl World {
    pub(crate) fn tell(&mut self, who: &str, what: &str) {
        self.story.tell(format!("{} {who}: {what}", self.clock.now()));
    }

    /// The world is not as it should be.
    pub(crate) fn wrong(&mut self, why: String) {
        self.tell("WRONG", &why);
        self.wrongs.push(why);
    }

    /// Something is in the way from now on, or no longer.
    pub(crate) fn troubled(&mut self, what: &'static str, is: bool) {
        let now = self.clock.elapsed();
        if is {
            self.trouble.entry(what).or_insert(now);
        } else if let Some(since) = self.trouble.remove(what) {
            self.troubles.push((since, now + Duration::from_mins(6)));
        }
    }

    /// Something was in the way for a moment, and for a while after it.
    pub(crate) fn jolted(&mut self, before: Duration, after: Duration) {
        let now = self.clock.elapsed();
        self.troubles.push((now.saturating_sub(before), now + after));
    }

    /// Whether anything was in the way between the two.
    pub(crate) fn disturbed(&self, from: Duration, until: Duration) -> bool {
        self.trouble.values().any(|since| *since <= until)
            || self.troubles.iter().any(|(began, ended)| *began <= until && *ended >= from)
    }

    pub(crate) fn weather(&mut self, weather: Weather) {
        self.fcm.weather = weather;
        self.troubled("weather", weather != Weather::Fine);
        self.tell("FCM", &format!("{weather:?}"));
    }

    pub(crate) fn step(&mut self, seconds: i64) {
        self.clock.step(seconds);
        let by = Duration::from_secs(seconds.unsigned_abs());
        self.jolted(by, by + Duration::from_mins(5));
        self.steps.push(self.clock.elapsed());
        self.tell("clock", &format!("set by {seconds} s, wrong by {} s", self.clock.wrong_by()));
    }

    /// Whether the clock was set since a message that leaves now may have been looked at.
    pub(crate) fn stepped_lately(&self) -> bool {
        let now = self.clock.elapsed();
        self.steps.last().is_some_and(|at| *at + UNDER_WAY > now)
    }

    /// A process that was thought dead, and has something to write of what another one holds now, goes on.
    pub(crate) fn wake_zombies(&mut self, process: u8, id: ReminderId) {
        let zombies: Vec<u8> = self
            .processes
            .iter()
            .filter(|(_, one)| one.machine.stands_still())
            .map(|(number, _)| *number)
            .filter(|number| {
                *number != process && self.arrivals_of(id).any(|one| one.process == *number)
            })
            .collect();
        for number in zombies {
            self.processes[&number].machine.wake();
            self.tell("machine", &format!("process {number} goes on"));
            let _ = self.later.send((Duration::from_millis(300), Event::Look));
        }
    }

    /// What happens some milliseconds after a reminder is due.
    pub(crate) fn ambush(&mut self, row: &Row) {
        let Some((treatment, _)) = row.members().into_iter().next() else { return };
        let Some(wait) = row.attempt_at.map(|at| at.duration_since(self.clock.now())) else {
            return;
        };
        if let Ok(wait) = Duration::try_from(wait) {
            let after = Duration::from_millis(self.dice.below(120));
            let act = self.dice.pick(&[
                Act::Void,
                Act::Aftercare,
                Act::Recall,
                Act::Travel,
                Act::Remove,
                Act::Amend,
            ]);
            let _ = self.later.send((wait + after, Event::Of(act, treatment)));
        }
    }

    /// What happens in the very moment in which a message is under way.
    pub(crate) fn mischief(&mut self, process: u8, row: Option<&Row>, reply: Reply) {
        let soon = Duration::from_millis(self.dice.below(12_000));
        let phones = row
            .and_then(|row| self.ledger.by_id(row.patient))
            .map(|n| self.ledger.patients[n].phones.len());
        // One of several phones is still to get it: what it says may no longer be so by then.
        if !reply.taken && phones > Some(1) && self.dice.chance(300) {
            let treatment = row.and_then(|row| row.members().into_iter().next());
            let act = self.dice.pick(&[Act::Void, Act::Aftercare]);
            let _ =
                self.later.send((soon, Event::Of(act, treatment.expect("it says something").0)));
            return;
        }
        if !self.dice.chance(40) {
            return;
        }
        let patient = row.and_then(|row| self.ledger.by_id(row.patient)).unwrap_or(0);
        let event = match self.dice.below(10) {
            0..2 => Event::Crash(process),
            2..4 => Event::Step(self.dice.pick(&[60, -60, 3_600, -3_600])),
            4..6 => {
                let length = Duration::from_secs(self.dice.pick(&[30, 70, 90, 200]));
                self.processes[&process].machine.stall(length);
                self.jolted(Duration::ZERO, length + Duration::from_mins(3));
                self.tell("machine", &format!("process {process} stands still for {length:?}"));
                return;
            }
            _ => {
                let acts =
                    [Act::Void, Act::Aftercare, Act::Travel, Act::Remove, Act::Amend, Act::Erase];
                Event::Act(self.dice.pick(&acts), patient)
            }
        };
        let _ = self.later.send((soon, event));
    }
}
