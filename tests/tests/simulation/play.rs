//! Ninety days, from event to event.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aftercare::care;
use aftercare::clock::Clock;
use aftercare::store::{Clinic, PushContent, StoreError};
use jiff::{Timestamp, ToSpan as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::dice::{Bytes, Dice};
use crate::fcm::Fcm;
use crate::ground::{Database, Ground};
use crate::history::History;
use crate::ledger::{self, Ledger, Patient};
use crate::plan::{DAYS, Event, Plan};
use crate::process::Process;
use crate::rules::Rules;
use crate::story::Story;
use crate::time::WallClock;
use crate::world::{Shared, World};
use crate::zones;

/// What came of a seed.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) story: Story,
    pub(crate) wrongs: Vec<String>,
    /// Messages that phones got.
    pub(crate) messages: usize,
}

/// Plays a seed's world to its end, or to the first thing that is wrong.
pub(crate) fn play(ground: &Ground, rules: &Arc<Rules>, seed: u64) -> Played {
    static TELLING: AtomicU64 = AtomicU64::new(0);
    let database = ground.database(seed, TELLING.fetch_add(1, Ordering::Relaxed));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = runtime.block_on(async {
        let thrown = Plan::throw(Dice::of(seed, 1));
        let (world, later) = found(&database, rules, seed, &thrown).await;
        let mut play = Play {
            ground,
            database: &database,
            seed,
            world: Arc::clone(&world),
            places: [None, None],
            started: 0,
            queue: BTreeMap::new(),
            later,
        };
        play.run(thrown.events).await;
        world
    });
    drop(runtime);
    let world = Arc::into_inner(world).expect("nobody else is left in this world");
    let world = world.into_inner().unwrap();
    let messages = world.arrivals.iter().filter(|one| one.reply.taken).count();
    Played { story: world.story, wrongs: world.wrongs, messages }
}

struct Play<'g> {
    ground: &'g Ground,
    database: &'g Database,
    seed: u64,
    world: Shared,
    places: [Option<Process>; 2],
    started: u8,
    /// What is to happen, in the order in which it was thought of at each moment.
    queue: BTreeMap<(Duration, usize), Event>,
    later: UnboundedReceiver<(Duration, Event)>,
}

impl Play<'_> {
    async fn run(&mut self, events: Vec<(Duration, Event)>) {
        let clock = Arc::clone(&self.world.lock().unwrap().clock);
        for (at, event) in events {
            self.queue.insert((at, self.queue.len()), event);
        }
        let end = Duration::from_secs(DAYS * 86_400);
        let mut n = self.queue.len();
        while let Some((&(at, _), _)) = self.queue.first_key_value() {
            let wait = at.saturating_sub(clock.elapsed());
            if let Ok(Some((soon, event))) = timeout(wait, self.later.recv()).await {
                n += 1;
                self.queue.insert((clock.elapsed() + soon, n), event);
                continue;
            }
            let Some((_, event)) = self.queue.pop_first() else { break };
            self.happens(event).await;
            if !self.goes_on() {
                return;
            }
        }
        clock.until(end).await;
        if self.goes_on() {
            self.world.lock().unwrap().check_end();
        }
        for process in &mut self.places {
            if let Some(process) = process.take() {
                process.crash().await;
            }
        }
    }

    /// Looks at the rows; whether all is right so far.
    fn goes_on(&self) -> bool {
        let mut world = self.world.lock().unwrap();
        if self.places.iter().flatten().any(Process::is_broken) {
            world.wrong("a dispatcher has ended".to_owned());
        }
        world.check();
        world.wrongs.is_empty()
    }

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Act(act, n) => self.world.lock().unwrap().act(act, n, None),
            Event::Of(act, id) => {
                let mut world = self.world.lock().unwrap();
                let n = world.ledger.sessions[&id].patient;
                world.act(act, n, Some(id));
            }
            Event::Look => {}
            Event::Weather(weather) => self.world.lock().unwrap().weather(weather),
            Event::Step(seconds) => self.world.lock().unwrap().step(seconds),
            Event::Crash(number) => {
                let place = self
                    .places
                    .iter()
                    .position(|one| one.as_ref().is_some_and(|process| process.number == number));
                if let Some(place) = place {
                    self.end(place, true).await;
                    self.start(place).await;
                }
            }
            Event::CrashPlace(place) => self.end(place, true).await,
            Event::Stop(place) => self.end(place, false).await,
            Event::Start(place) => self.start(place).await,
            Event::Tidy(place) => {
                if let Some(process) = &self.places[place] {
                    process.tidy().await;
                }
            }
            Event::Pause(..) | Event::PauseAll(_) => self.pause(event),
        }
        for process in self.places.iter().flatten() {
            process.poke();
        }
    }

    async fn start(&mut self, place: usize) {
        if self.places[place].is_some() {
            return;
        }
        self.started += 1;
        let number = self.started;
        let dice = Dice::of(self.seed, 100 + u64::from(number));
        let process = Process::start(number, dice, self.ground, self.database, &self.world).await;
        self.places[place] = Some(process);
        self.world.lock().unwrap().troubled("nobody sends", false);
    }

    async fn end(&mut self, place: usize, crash: bool) {
        let Some(process) = self.places[place].take() else { return };
        let number = process.number;
        if crash {
            process.crash().await;
        } else {
            process.stop().await;
        }
        let mut world = self.world.lock().unwrap();
        let now = world.clock.elapsed();
        if let Some(running) = world.processes.get_mut(&number) {
            running.ended = Some(now);
        }
        world.jolted(Duration::from_secs(30), Duration::from_mins(4));
        world.tell(&format!("process {number}"), if crash { "dies" } else { "stops" });
        if self.places.iter().all(Option::is_none) {
            world.troubled("nobody sends", true);
        }
    }

    fn pause(&self, event: Event) {
        let mut world = self.world.lock().unwrap();
        let now = world.clock.elapsed();
        match event {
            Event::Pause(n, on) => {
                let id = world.ledger.clinics[n].id;
                world.write(move |tx| tx.set_paused(id, on)).unwrap();
                world.ledger.clinics[n].paused.set(now, on);
                world.tell(&format!("clinic {n}"), &format!("paused: {on}"));
            }
            Event::PauseAll(on) => {
                world.write(move |tx| tx.set_all_paused(on)).unwrap();
                let all = world.ledger.all_paused.get_or_insert(History::new(now, false));
                all.set(now, on);
                world.tell("operator", &format!("all paused: {on}"));
            }
            _ => {}
        }
    }
}

/// The world as it is on its first day.
async fn found(
    database: &Database,
    rules: &Arc<Rules>,
    seed: u64,
    plan: &Plan,
) -> (Shared, UnboundedReceiver<(Duration, Event)>) {
    let mut dice = Dice::of(seed, 2);
    let first: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let start = first + (dice.range(0, 700 * 24 * 60)).minutes();
    let clock = Arc::new(WallClock::new(start));
    let api = database
        .open(Arc::clone(&clock) as Arc<dyn Clock>, Bytes::new(Dice::of(seed, 3), 0), None)
        .await;
    let (sender, later) = unbounded_channel();
    let mut world = World {
        clock,
        story: Story::default(),
        fcm: Fcm::new(Dice::of(seed, 4)),
        ledger: Ledger::default(),
        rules: Arc::clone(rules),
        api,
        look: database.look(),
        dice,
        later: sender,
        processes: BTreeMap::new(),
        events: Vec::new(),
        order: 0,
        arrivals: Vec::new(),
        fresh: BTreeMap::new(),
        snoozed: BTreeMap::new(),
        rows: BTreeMap::new(),
        holders: BTreeMap::new(),
        seen: 0,
        sent: std::collections::BTreeSet::new(),
        told: BTreeMap::new(),
        troubles: Vec::new(),
        trouble: BTreeMap::new(),
        steps: Vec::new(),
        wrongs: Vec::new(),
    };
    for n in 0..plan.clinics {
        settle(&mut world, n);
    }
    for n in 0..plan.patients {
        let clinic = if n < plan.clinics { n } else { world.dice.index(plan.clinics) };
        live(&mut world, n, clinic);
    }
    (Arc::new(Mutex::new(world)), later)
}

fn settle(world: &mut World, n: usize) {
    let zone = zones::any(&mut world.dice);
    let clinic = Clinic {
        id: world.api.env().id(),
        client_id: format!("clinic-{n}"),
        display_name: format!("Clinic {n}"),
        time_zone: zone.clone(),
        locale: "en".parse().unwrap(),
        contact_phone: None,
        slots: BTreeMap::new(),
        push_content: PushContent::Text,
        paused: false,
        created_at: world.clock.now(),
    };
    let id = clinic.id;
    world.write(move |tx| tx.insert_clinic(&clinic)).unwrap();
    world.tell(&format!("clinic {n}"), &format!("opens in {}", zone.name()));
    world.ledger.clinics.push(ledger::Clinic {
        id,
        zone,
        paused: History::new(Duration::ZERO, false),
    });
}

fn live(world: &mut World, n: usize, clinic: usize) {
    let (reference, told) = (format!("P-{n}"), zones::any(&mut world.dice));
    let told = world.dice.chance(800).then_some(told);
    let (id, name, said) = (world.ledger.clinics[clinic].id, reference.clone(), told.clone());
    let made = world.write(move |tx| {
        Ok::<_, StoreError>(care::upsert_patient(tx, id, &name, said, None)?.0.id)
    });
    let zone = told.clone().unwrap_or_else(|| world.ledger.clinics[clinic].zone.clone());
    let (yes, no) = (History::new(Duration::ZERO, true), History::new(Duration::ZERO, false));
    world.tell(&format!("patient {n}"), &format!("of clinic {clinic} lives in {}", zone.name()));
    world.ledger.patients.push(Patient {
        id: made.unwrap(),
        clinic,
        reference,
        told,
        wished: None,
        zone: History::new(Duration::ZERO, zone),
        quiet: History::new(Duration::ZERO, None),
        exercises: false,
        aftercare: yes.clone(),
        recall: yes,
        erased: no.clone(),
        phones: BTreeMap::new(),
        reachable: no,
        treatments: Vec::new(),
        planned: Duration::ZERO,
    });
}
