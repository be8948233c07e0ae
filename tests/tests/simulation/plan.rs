//! What is to happen in ninety days, thrown before they begin.

use std::time::Duration;

use aftercare::ids::TreatmentId;

use crate::acts::Act;
use crate::dice::Dice;
use crate::fcm::Weather;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody does something: the patient of that number, or their clinic for them.
    Act(Act, usize),
    /// The same, about that treatment.
    Of(Act, TreatmentId),
    /// Nothing but that somebody looks.
    Look,
    Weather(Weather),
    /// The clock is set forwards, or back, by seconds.
    Step(i64),
    /// A process dies.
    Crash(u8),
    /// So does whoever runs in that place.
    CrashPlace(usize),
    Stop(usize),
    Start(usize),
    Tidy(usize),
    Pause(usize, bool),
    PauseAll(bool),
}

pub(crate) const DAYS: u64 = 90;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How large a world is, and what happens in it and when.
pub(crate) struct Plan {
    pub(crate) clinics: usize,
    pub(crate) patients: usize,
    pub(crate) events: Vec<(Duration, Event)>,
    dice: Dice,
}

impl Plan {
    pub(crate) fn throw(dice: Dice) -> Self {
        let mut plan = Self { clinics: 1, patients: 1, events: Vec::new(), dice };
        plan.clinics = 1 + plan.dice.index(4);
        plan.patients = plan.clinics.max(2 + plan.dice.index(3));
        plan.processes();
        let sessions: Vec<(u64, usize)> = (0..plan.patients).flat_map(|n| plan.life(n)).collect();
        let moment = |dice: &mut Dice| {
            if dice.chance(300) {
                return dice.below(DAYS * DAY);
            }
            sessions[dice.index(sessions.len())].0 + dice.below(50 * HOUR)
        };
        for _ in 0..3 + plan.dice.below(5) {
            let at = moment(&mut plan.dice);
            plan.outage(at);
        }
        for _ in 0..plan.dice.below(4) {
            let (at, by) = (moment(&mut plan.dice), plan.dice.pick(&[60, -60, 3_600, -3_600]));
            plan.at(at, Event::Step(by));
            if plan.dice.chance(700) {
                let after = 5 * MINUTE + plan.dice.below(12 * HOUR);
                plan.at(at + after, Event::Step(-by));
            }
        }
        for _ in 0..plan.dice.below(3) {
            let at = moment(&mut plan.dice);
            let length = 10 * MINUTE + plan.dice.below(8 * HOUR);
            let clinic = plan.dice.index(plan.clinics);
            let pause =
                |on| if clinic == 0 { Event::PauseAll(on) } else { Event::Pause(clinic, on) };
            plan.at(at, pause(true));
            plan.at(at + length, pause(false));
        }
        plan.end();
        plan.events.sort_by_key(|(at, _)| *at);
        plan
    }

    fn at(&mut self, seconds: u64, event: Event) {
        self.events.push((Duration::from_secs(seconds), event));
    }

    fn processes(&mut self) {
        self.at(0, Event::Start(0));
        if self.dice.chance(750) {
            self.at(self.dice.clone().below(DAY), Event::Start(1));
        }
        for _ in 0..2 + self.dice.below(4) {
            let (at, place) = (self.dice.below(DAYS * DAY), self.dice.index(2));
            let event =
                if self.dice.chance(300) { Event::Stop(place) } else { Event::CrashPlace(place) };
            self.at(at, event);
            let down = if self.dice.chance(800) { 90 } else { 2 * HOUR };
            self.at(at + 1 + self.dice.clone().below(down), Event::Start(place));
        }
        for _ in 0..6 {
            let (at, place) = (self.dice.below(DAYS * DAY), self.dice.index(2));
            self.at(at, Event::Tidy(place));
        }
    }

    /// One patient's sessions, and what they do about them.
    fn life(&mut self, n: usize) -> Vec<(u64, usize)> {
        let first = self.dice.below(35 * DAY);
        let phones = self.dice.pick(&[0, 1, 1, 1, 2, 2, 3]);
        for _ in 0..phones {
            let late = self.dice.chance(200);
            let after = self.dice.below(if late { 30 * HOUR } else { HOUR });
            self.at(if late { first + after } else { after }, Event::Act(Act::Register, n));
        }
        let mut sessions = Vec::new();
        let mut at = first;
        while at < 84 * DAY && sessions.len() < 3 {
            sessions.push((at, n));
            self.at(at, Event::Act(Act::Record, n));
            for _ in 0..self.dice.below(5) {
                let after = self.dice.below(60 * HOUR);
                let act = self.usual();
                self.at(at + after, Event::Act(act, n));
            }
            let days = self.dice.pick(&[0, 1, 12, 27, 30, 31, 33, 45]);
            at += days * DAY + self.dice.below(12 * HOUR);
        }
        for _ in 0..self.dice.below(4) {
            let (at, act) = (self.dice.below(DAYS * DAY), self.usual());
            self.at(at, Event::Act(act, n));
        }
        if self.dice.chance(60) {
            self.at(first + self.dice.clone().below(40 * DAY), Event::Act(Act::Erase, n));
        }
        sessions
    }

    fn usual(&mut self) -> Act {
        match self.dice.below(100) {
            0..12 => Act::Amend,
            12..18 => Act::Void,
            18..28 => Act::Book,
            28..40 => Act::Travel,
            40..54 => Act::Register,
            54..58 => Act::Remove,
            58..63 => Act::Uninstall,
            63..66 => Act::HandOver,
            66..74 => Act::Aftercare,
            74..78 => Act::Recall,
            78..84 => Act::Quiet,
            84..87 => Act::Exercise,
            87..94 => Act::Snooze,
            94..97 => Act::Repeat,
            _ => Act::Told,
        }
    }

    fn outage(&mut self, at: u64) {
        let after = self.dice.pick(&[None, Some(20), Some(120), Some(900), Some(3_600)]);
        let weather = match self.dice.below(100) {
            0..15 => Weather::Down(503, after),
            15..25 => Weather::Down(500, after),
            25..40 => Weather::Throttled(after),
            40..50 => Weather::Unreachable,
            50..57 => Weather::BlackHole,
            57..67 => Weather::Slow(self.dice.pick(&[3, 9, 12])),
            67..77 => Weather::TokenUnknown,
            77..83 => Weather::Forbidden,
            83..90 => Weather::NoTokens,
            90..95 => Weather::AccountRefused,
            _ => Weather::Rejecting,
        };
        let length = match self.dice.below(10) {
            0..7 => self.dice.below(10 * MINUTE),
            7..9 => self.dice.below(HOUR),
            _ => self.dice.below(4 * HOUR),
        };
        self.at(at, Event::Weather(weather));
        self.at(at + 30 + length, Event::Weather(Weather::Fine));
    }

    /// In the last days all is well.
    fn end(&mut self) {
        let last = (DAYS - 2) * DAY;
        self.events.retain(|(at, _)| at.as_secs() < last);
        self.at(last, Event::Weather(Weather::Fine));
        self.at(last, Event::PauseAll(false));
        for clinic in 0..self.clinics {
            self.at(last, Event::Pause(clinic, false));
        }
        self.at(last, Event::Start(0));
    }
}
