//! What happens to a patient: a story made from a seed, in steps that can be left out one by one.

use aftercare_tests::dice::Dice;

/// Where clinics, phones and wishes are: with and without changes of the clocks, of an hour and of half an
/// hour, at midnight and at night, north and south, on both sides of the date line.
pub(crate) const ZONES: [&str; 10] = [
    "Europe/Lisbon",
    "America/New_York",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Africa/Casablanca",
    "Asia/Tokyo",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Asia/Kathmandu",
];

/// Days around which clocks change somewhere, months end, or nothing is special.
const DAYS: [&str; 14] = [
    "2026-11-22",
    "2026-03-27",
    "2026-10-23",
    "2026-03-06",
    "2026-10-30",
    "2026-04-22",
    "2026-10-28",
    "2026-04-03",
    "2026-10-02",
    "2026-09-04",
    "2027-02-05",
    "2027-01-30",
    "2028-02-28",
    "2026-12-30",
];

pub(crate) const RULES: [&str; 10] = [
    "no-face-washing",
    "hydrate",
    "sun-protection",
    "no-makeup",
    "no-sweating",
    "expect-reaction",
    "next-session",
    "no-swimming",
    "gentle-care",
    "no-hair-pulling",
];

/// How FCM answers from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Again in so many minutes.
    Busy(i64),
    /// The app is gone from the first phone it is asked for.
    Gone,
    /// The message is refused for good.
    Rejects,
    /// The first phone gets it, the others again in so many minutes.
    Halves(i64),
}

/// One thing that happens. Numbers that name a session, a reminder or a phone are taken modulo how many
/// there are, so that a story still makes sense when steps are left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Record {
        protocol: u64,
        ago: i64,
        zone: Option<&'static str>,
        areas: Option<u64>,
        booked_in_days: Option<i64>,
    },
    /// The last event once more, with other content or the same.
    Repeat {
        same: bool,
    },
    Amend {
        which: u64,
        moved: Option<i64>,
        zone: Option<&'static str>,
        areas: Option<u64>,
    },
    Void {
        which: u64,
    },
    /// The clinic's software says of a session, or of the next one that will be recorded, what was otherwise
    /// since so many minutes; 0 days = the next session is not booked.
    Event {
        which: u64,
        ago: i64,
        moved: Option<i64>,
        zone: Option<&'static str>,
        areas: Option<u64>,
        booked_in_days: Option<i64>,
        voids: bool,
    },
    /// In so many days and hours; `None` = what was booked is cancelled.
    Book {
        protocol: u64,
        after: Option<(i64, i64)>,
    },
    Clinic {
        zone: &'static str,
    },
    Phone {
        which: u64,
        zone: &'static str,
        notifies: bool,
    },
    LosePhone {
        which: u64,
    },
    Travel {
        zone: Option<&'static str>,
    },
    Mute {
        rules: u64,
    },
    Quiet {
        hours: Option<(i8, i8)>,
    },
    Exercise {
        hour: Option<i8>,
    },
    Consent {
        recall: bool,
        granted: bool,
    },
    Snooze {
        which: u64,
        minutes: i64,
    },
    Publish {
        variant: u64,
    },
    Fcm(Mood),
    /// Time passes, and what is due is sent at its moment.
    Pass {
        minutes: i64,
    },
    /// Time passes while nothing is sent.
    Outage {
        minutes: i64,
    },
    /// It happens between the claim of what is due next and the second look.
    Meanwhile(Box<Step>),
    /// The dispatcher dies with what is due next in its hands.
    Crash,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Story {
    pub(crate) seed: u64,
    pub(crate) start: String,
    pub(crate) clinic_zone: &'static str,
    pub(crate) patient_zone: Option<&'static str>,
    pub(crate) steps: Vec<Step>,
}

impl Story {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let time = format!("T{:02}:{:02}:07Z", dice.below(24), dice.below(60));
        let start = dice.pick(&DAYS).to_owned() + &time;
        let clinic_zone = dice.pick(&ZONES);
        let patient_zone = dice.percent(30).then(|| dice.pick(&ZONES));
        let home = patient_zone.unwrap_or(clinic_zone);
        let mut steps = Vec::new();
        if dice.percent(75) {
            steps.push(Step::Phone { which: 0, zone: home, notifies: true });
        }
        match dice.below(100) {
            0..10 => steps.extend(clinic_day(&mut dice)),
            10..18 => steps.extend(two_phones(&mut dice, home)),
            18..22 => steps.extend(half_a_year_later(&mut dice)),
            _ => steps.push(record(&mut dice, 40)),
        }
        for _ in 0..dice.range(4, 22) {
            steps.push(step(&mut dice));
            if let Some(Step::Book { protocol, after: Some((days @ ..4, _)) }) =
                steps.last().cloned()
                && dice.percent(40)
            {
                // Cancelled while the patient may have heard of it.
                let minutes = days * 24 * 60 - dice.range(0, 20 * 60);
                steps.push(Step::Pass { minutes: minutes.max(1) });
                steps.push(Step::Book { protocol, after: None });
            }
        }
        steps.push(Step::Pass { minutes: dice.pick(&[3_000, 20_000, 70_000]) });
        Self { seed, start, clinic_zone, patient_zone, steps }
    }

    pub(crate) fn without(&self, n: usize) -> Self {
        let mut shorter = self.clone();
        shorter.steps.remove(n);
        shorter
    }
}

fn step(dice: &mut Dice) -> Step {
    match dice.below(100) {
        0..6 => Step::Meanwhile(Box::new(meanwhile(dice))),
        6..7 => Step::Crash,
        7..28 => Step::Pass { minutes: minutes(dice) },
        28..32 => Step::Outage { minutes: dice.pick(&[20, 100, 240, 700, 2_000]) },
        _ => happening(dice),
    }
}

/// What matters most while a reminder is on its way: that it must not go out, or not so.
fn meanwhile(dice: &mut Dice) -> Step {
    let which = dice.roll();
    match dice.below(100) {
        0..15 => Step::Void { which },
        15..35 => Step::Consent { recall: dice.percent(40), granted: dice.percent(15) },
        35..50 => Step::Mute { rules: dice.roll() % 1024 },
        50..60 => Step::Book { protocol: dice.below(3), after: None },
        _ => happening(dice),
    }
}

/// Something that people do.
fn happening(dice: &mut Dice) -> Step {
    let which = dice.roll();
    match dice.range(32, 100) {
        32..43 => record(dice, 600),
        43..45 => Step::Repeat { same: dice.percent(70) },
        45..54 => Step::Amend {
            which,
            moved: dice.percent(60).then(|| dice.range(-400, 400)),
            zone: dice.percent(20).then(|| dice.pick(&ZONES)),
            areas: dice.percent(40).then(|| dice.range(1, 512).unsigned_abs()),
        },
        54..57 => Step::Void { which },
        57..60 => event(dice),
        60..63 => Step::Book {
            protocol: if dice.percent(75) { 0 } else { dice.roll() },
            after: dice.percent(75).then(|| {
                let far = dice.percent(50);
                (dice.range(0, if far { 40 } else { 4 }), dice.range(1, 24))
            }),
        },
        63..70 => Step::Phone { which, zone: dice.pick(&ZONES), notifies: dice.percent(85) },
        70..73 => Step::LosePhone { which },
        73..76 => Step::Travel { zone: dice.percent(70).then(|| dice.pick(&ZONES)) },
        76..77 => Step::Clinic { zone: dice.pick(&ZONES) },
        77..81 => Step::Mute { rules: if dice.percent(60) { dice.roll() % 1024 } else { 0 } },
        81..84 => {
            let hours = [(22, 7), (20, 9), (9, 17), (0, 0), (13, 14), (1, 5)];
            Step::Quiet { hours: dice.percent(75).then(|| dice.pick(&hours)) }
        }
        84..86 => {
            Step::Exercise { hour: dice.percent(70).then(|| dice.pick(&[6, 12, 18, 20, 22])) }
        }
        86..90 => Step::Consent { recall: dice.percent(50), granted: dice.percent(50) },
        90..94 => Step::Snooze { which, minutes: dice.pick(&[5, 30, 60, 120, 400]) },
        94..96 => Step::Publish { variant: which % 4 },
        96..98 => Step::Fcm(Mood::Well),
        _ => {
            let moods =
                [Mood::Busy(50), Mood::Busy(400), Mood::Gone, Mood::Rejects, Mood::Halves(90)];
            Step::Fcm(dice.pick(&moods))
        }
    }
}

/// What arrives late, or before what it is about.
fn event(dice: &mut Dice) -> Step {
    Step::Event {
        which: dice.roll(),
        ago: if dice.percent(50) { dice.range(-4, 60) } else { dice.range(60, 6_000) },
        moved: dice.percent(50).then(|| dice.range(-400, 400)),
        zone: dice.percent(20).then(|| dice.pick(&ZONES)),
        areas: dice.percent(30).then(|| dice.range(1, 512).unsigned_abs()),
        booked_in_days: dice.percent(40).then(|| dice.range(0, 30)),
        voids: dice.percent(15),
    }
}

/// Sessions of all protocols on one day, and their next ones on another: announced in one breath, and
/// called off one by one.
fn clinic_day(dice: &mut Dice) -> Vec<Step> {
    let session = |dice: &mut Dice, protocol| Step::Record {
        protocol,
        ago: dice.range(0, 31),
        zone: None,
        areas: None,
        booked_in_days: None,
    };
    let mut steps: Vec<Step> = (0..3).map(|protocol| session(dice, protocol)).collect();
    let days = dice.range(1, 4);
    // Near the day on which one asks to be booked, too.
    let wait = if dice.percent(50) { dice.range(0, 40) } else { 23 - days };
    steps.push(Step::Pass { minutes: wait.max(0) * 24 * 60 + 1 });
    for protocol in 0..3 {
        if dice.percent(80) {
            let after = Some((days, dice.range(1, 24)));
            steps.push(Step::Book { protocol, after });
        }
    }
    steps.push(Step::Pass { minutes: days * 24 * 60 - dice.range(0, 20 * 60) });
    for _ in 0..dice.range(0, 3) {
        let after = dice.percent(30).then(|| (dice.range(0, 3), dice.range(1, 24)));
        steps.push(Step::Book { protocol: dice.below(3), after });
        steps.push(Step::Pass { minutes: dice.range(1, 300) });
    }
    steps
}

/// About the half year after which a course starts anew, to the day.
fn half_a_year_later(dice: &mut Dice) -> Vec<Step> {
    let days = dice.range(180, 185);
    let later = Step::Pass { minutes: days * 24 * 60 };
    vec![record(dice, 40), later, record(dice, 40)]
}

/// One phone has what the other is still to get, and something happens.
fn two_phones(dice: &mut Dice, zone: &'static str) -> Vec<Step> {
    let phone = |which| Step::Phone { which, zone, notifies: true };
    let mut steps = vec![phone(0), phone(1), record(dice, 40)];
    steps.push(Step::Pass { minutes: dice.range(1, 40) });
    steps.push(Step::Fcm(Mood::Halves(90)));
    for _ in 0..3 {
        steps.push(Step::Pass { minutes: dice.pick(&[1, 20, 300, 800]) });
        steps.push(match dice.below(4) {
            0 => Step::Snooze { which: dice.roll(), minutes: dice.pick(&[30, 120, 400]) },
            1 => Step::Amend {
                which: dice.roll(),
                moved: Some(dice.range(-400, 400)),
                zone: None,
                areas: None,
            },
            _ => meanwhile(dice),
        });
    }
    steps.push(Step::Fcm(Mood::Well));
    steps
}

/// From minutes to months, so that courses go on, lapse and start anew.
fn minutes(dice: &mut Dice) -> i64 {
    const DAY: i64 = 24 * 60;
    match dice.below(100) {
        0..40 => dice.range(1, 180),
        40..70 => dice.range(180, DAY),
        70..85 => dice.range(DAY, 4 * DAY),
        85..96 => dice.range(20 * DAY, 40 * DAY),
        _ => dice.range(180, 186) * DAY,
    }
}

fn record(dice: &mut Dice, latest: i64) -> Step {
    let ago = match dice.below(100) {
        0..60 => dice.range(0, 31),
        60..90 => dice.range(31, latest.max(32)),
        _ => dice.range(600, 5_000),
    };
    Step::Record {
        protocol: if dice.percent(75) { 0 } else { dice.roll() },
        ago,
        zone: dice.percent(25).then(|| dice.pick(&ZONES)),
        areas: dice.percent(30).then(|| dice.range(1, 512).unsigned_abs()),
        booked_in_days: dice.percent(15).then(|| dice.range(1, 40)),
    }
}
