//! How a moment is said in each language that shipped texts are written in.

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::locale::Locale;

/// The words of one language.
#[derive(Debug)]
pub(super) struct Words {
    today: &'static str,
    tomorrow: &'static str,
    midnight: &'static str,
    /// Before the name of a weekday or a date.
    on: &'static str,
    /// Between a day and an hour.
    at: &'static str,
    /// Monday first.
    weekdays: [&'static str; 7],
    months: [&'static str; 12],
    day_then: &'static str,
}

const ENGLISH: Words = Words {
    today: "today",
    tomorrow: "tomorrow",
    midnight: "midnight",
    on: "",
    at: " ",
    weekdays: ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    day_then: " ",
};

const SPANISH: Words = Words {
    today: "hoy",
    tomorrow: "mañana",
    midnight: "medianoche",
    on: "el ",
    at: " a las ",
    weekdays: ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
    months: [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    day_then: " de ",
};

const PORTUGUESE: Words = Words {
    today: "hoje",
    tomorrow: "amanhã",
    midnight: "à meia-noite",
    on: "",
    at: " às ",
    weekdays: [
        "segunda-feira",
        "terça-feira",
        "quarta-feira",
        "quinta-feira",
        "sexta-feira",
        "sábado",
        "domingo",
    ],
    months: [
        "janeiro",
        "fevereiro",
        "março",
        "abril",
        "maio",
        "junho",
        "julho",
        "agosto",
        "setembro",
        "outubro",
        "novembro",
        "dezembro",
    ],
    day_then: " de ",
};

const FRENCH: Words = Words {
    today: "aujourd’hui",
    tomorrow: "demain",
    midnight: "minuit",
    on: "",
    at: " à ",
    weekdays: ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    months: [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
    day_then: " ",
};

impl Words {
    /// The words that go with a text in that locale; English where a language has none.
    pub(super) fn of(locale: &Locale) -> &'static Self {
        match locale.as_str().split('-').next() {
            Some("es") => &SPANISH,
            Some("pt") => &PORTUGUESE,
            Some("fr") => &FRENCH,
            _ => &ENGLISH,
        }
    }

    /// The moment as one says it at `now`, on the wall of `zone`: "today 15:40", "midnight",
    /// "tomorrow 15:40", "Tuesday 15:40" within a week, else with its date.
    pub(super) fn moment(&self, at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
        let (at, today) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()).date());
        let days = today.until(at.date()).map_or(i32::MAX, |span| span.get_days());
        if days == 1 && at.time() == Time::midnight() {
            return self.midnight.to_owned();
        }
        let day = match days {
            0 => self.today.to_owned(),
            1 => self.tomorrow.to_owned(),
            2..=6 => format!("{}{}", self.on, pick(&self.weekdays, weekday(at.weekday()))),
            _ => {
                let month = pick(&self.months, usize::from(at.month().unsigned_abs()) - 1);
                format!("{}{}{}{month}", self.on, at.day(), self.day_then)
            }
        };
        format!("{day}{}{:02}:{:02}", self.at, at.hour(), at.minute())
    }
}

fn weekday(day: Weekday) -> usize {
    usize::from(day.to_monday_zero_offset().unsigned_abs())
}

fn pick<'w>(words: &[&'w str], at: usize) -> &'w str {
    words.get(at).copied().unwrap_or_default()
}
