//! What happens to a patient: a story made from a seed, in steps that can be left out one by one.

/// Deterministic numbers (SplitMix64): the same seed tells the same story.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn range(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(to.abs_diff(from))).expect("a small range")
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).expect("a small list")]
    }
}

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
    /// So many days and hours after the last session; `None` = what was booked is cancelled.
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
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let time = format!("T{:02}:{:02}:07Z", dice.below(24), dice.below(60));
        let start = dice.pick(&DAYS).to_owned() + &time;
        let clinic_zone = dice.pick(&ZONES);
        let patient_zone = dice.chance(30).then(|| dice.pick(&ZONES));
        let home = patient_zone.unwrap_or(clinic_zone);
        let mut steps = Vec::new();
        if dice.chance(75) {
            steps.push(Step::Phone { which: 0, zone: home, notifies: true });
        }
        steps.push(record(&mut dice, 40));
        for _ in 0..dice.range(4, 22) {
            steps.push(step(&mut dice));
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
        0..4 => Step::Meanwhile(Box::new(happening(dice))),
        4..5 => Step::Crash,
        5..28 => Step::Pass { minutes: minutes(dice) },
        28..32 => Step::Outage { minutes: dice.pick(&[20, 100, 240, 700, 2_000]) },
        _ => happening(dice),
    }
}

/// Something that people do.
fn happening(dice: &mut Dice) -> Step {
    let which = dice.next();
    match dice.range(32, 100) {
        32..43 => record(dice, 600),
        43..45 => Step::Repeat { same: dice.chance(70) },
        45..54 => Step::Amend {
            which,
            moved: dice.chance(60).then(|| dice.range(-400, 400)),
            zone: dice.chance(20).then(|| dice.pick(&ZONES)),
            areas: dice.chance(40).then(|| dice.range(1, 512).unsigned_abs()),
        },
        54..58 => Step::Void { which },
        58..63 => Step::Book {
            protocol: if dice.chance(75) { 0 } else { dice.next() },
            after: dice.chance(65).then(|| (dice.range(1, 40), dice.range(7, 20))),
        },
        63..70 => Step::Phone { which, zone: dice.pick(&ZONES), notifies: dice.chance(85) },
        70..73 => Step::LosePhone { which },
        73..76 => Step::Travel { zone: dice.chance(70).then(|| dice.pick(&ZONES)) },
        76..77 => Step::Clinic { zone: dice.pick(&ZONES) },
        77..81 => Step::Mute { rules: if dice.chance(60) { dice.next() % 1024 } else { 0 } },
        81..84 => {
            let hours = [(22, 7), (20, 9), (9, 17), (0, 0), (13, 14), (1, 5)];
            Step::Quiet { hours: dice.chance(75).then(|| dice.pick(&hours)) }
        }
        84..86 => Step::Exercise { hour: dice.chance(70).then(|| dice.pick(&[6, 12, 18, 20, 22])) },
        86..90 => Step::Consent { recall: dice.chance(50), granted: dice.chance(50) },
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

/// From minutes to months, so that courses go on, lapse and start anew.
fn minutes(dice: &mut Dice) -> i64 {
    const DAY: i64 = 24 * 60;
    match dice.below(100) {
        0..40 => dice.range(1, 180),
        40..70 => dice.range(180, DAY),
        70..85 => dice.range(DAY, 4 * DAY),
        85..96 => dice.range(20 * DAY, 40 * DAY),
        // About the half year after which a course starts anew, to the day.
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
        protocol: if dice.chance(75) { 0 } else { dice.next() },
        ago,
        zone: dice.chance(25).then(|| dice.pick(&ZONES)),
        areas: dice.chance(30).then(|| dice.range(1, 512).unsigned_abs()),
        booked_in_days: dice.chance(15).then(|| dice.range(1, 40)),
    }
}
