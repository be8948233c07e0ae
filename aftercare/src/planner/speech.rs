//! How a moment is said in each language that shipped texts are written in.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, TimestampRound, Unit};

use crate::locale::Locale;

/// The words of one language. `{time}` is the hour, `{day}` a weekday or a date.
#[derive(Debug)]
pub(super) struct Words {
    /// The hour, from `{h}` and `{m}`, for one o'clock and for the others.
    one: &'static str,
    time: &'static str,
    today: &'static str,
    tomorrow: &'static str,
    later: &'static str,
    date: &'static str,
    /// A whole date, from `{weekday}` and `{date}`, and what stands behind it with the year.
    full: [&'static str; 2],
    /// Midnight at the end of today, of tomorrow, of `{day}`.
    midnight: [&'static str; 3],
    /// Monday first.
    weekdays: [&'static str; 7],
    months: [&'static str; 12],
}

const ENGLISH: Words = Words {
    one: "{h}:{m}",
    time: "{h}:{m}",
    today: "today {time}",
    tomorrow: "tomorrow {time}",
    later: "{day} {time}",
    date: "{n} {month}",
    full: ["{weekday} {date}", " {year}"],
    midnight: ["midnight tonight", "midnight tomorrow", "midnight on {day}"],
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
};

const SPANISH: Words = Words {
    one: "a la {h}:{m}",
    time: "a las {h}:{m}",
    today: "hoy {time}",
    tomorrow: "mañana {time}",
    later: "el {day} {time}",
    date: "{n} de {month}",
    full: ["{weekday} {date}", " de {year}"],
    midnight: ["esta medianoche", "mañana a medianoche", "el {day} a medianoche"],
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
};

const PORTUGUESE: Words = Words {
    one: "à {h}:{m}",
    time: "às {h}:{m}",
    today: "hoje {time}",
    tomorrow: "amanhã {time}",
    later: "{day} {time}",
    date: "{n} de {month}",
    full: ["{weekday}, {date}", " de {year}"],
    midnight: ["à meia-noite de hoje", "à meia-noite de amanhã", "à meia-noite de {day}"],
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
};

const FRENCH: Words = Words {
    one: "{h}\u{a0}h\u{a0}{m}",
    time: "{h}\u{a0}h\u{a0}{m}",
    today: "{time} aujourd’hui",
    tomorrow: "demain {time}",
    later: "{day} {time}",
    date: "{n} {month}",
    full: ["{weekday} {date}", " {year}"],
    midnight: ["ce soir minuit", "demain minuit", "{day} minuit"],
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

    /// The moment as one says it at `now`, on the wall of `zone`: "today 15:40", "midnight
    /// tonight", "tomorrow 15:40", "Tuesday 15:40" within a week, else with its date. Seconds round
    /// up to the minute: what ends a little later is never said to end earlier.
    pub(super) fn moment(&self, at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
        let at = rounded_up(at).to_zoned(zone.clone());
        let today = now.to_zoned(zone.clone()).date();
        let days = today.until(at.date()).map_or(i32::MAX, |span| span.get_days());
        // Midnight is said of the day that it ends.
        if at.time() == Time::midnight()
            && days >= 1
            && let Ok(day) = at.date().yesterday()
        {
            let [tonight, tomorrow, later] = self.midnight;
            return match days {
                1 => tonight.to_owned(),
                2 => tomorrow.to_owned(),
                _ => later.replace("{day}", &self.day(day, days - 1)),
            };
        }
        let words = match days {
            0 => self.today.to_owned(),
            1 => self.tomorrow.to_owned(),
            _ => self.later.replace("{day}", &self.day(at.date(), days)),
        };
        words.replace("{time}", &self.hour(at.time()))
    }

    /// The moment as one prints it, for whoever reads it on whatever day: "Tuesday 24 November 15:40",
    /// "midnight on Tuesday 24 November". Seconds round up as in [`Words::moment`].
    pub(super) fn printed(&self, at: Timestamp, zone: &TimeZone) -> String {
        let at = rounded_up(at).to_zoned(zone.clone());
        let [_, _, midnight] = self.midnight;
        if at.time() == Time::midnight()
            && let Ok(day) = at.date().yesterday()
        {
            return midnight.replace("{day}", &self.full_date(day));
        }
        self.later
            .replace("{day}", &self.full_date(at.date()))
            .replace("{time}", &self.hour(at.time()))
    }

    /// The moment with its year: "Tuesday 24 November 2026 15:40".
    pub(super) fn dated(&self, at: Timestamp, zone: &TimeZone) -> String {
        let at = rounded_up(at).to_zoned(zone.clone());
        let [_, year] = self.full;
        let year = year.replace("{year}", &at.year().to_string());
        format!("{}{year} {}", self.full_date(at.date()), self.hour(at.time()))
    }

    /// The date without its year: "Tuesday 24 November".
    pub(super) fn full_date(&self, day: Date) -> String {
        let [date, _] = self.full;
        date.replace("{weekday}", self.weekday_of(day.weekday()))
            .replace("{date}", &self.date_of(day))
    }

    fn hour(&self, time: Time) -> String {
        let words = if time.hour() == 1 { self.one } else { self.time };
        words
            .replace("{h}", &format!("{:02}", time.hour()))
            .replace("{m}", &format!("{:02}", time.minute()))
    }

    /// A day that is so many days ahead: its weekday within a week, else its date.
    fn day(&self, day: Date, ahead: i32) -> String {
        if (0..=6).contains(&ahead) {
            return self.weekday_of(day.weekday()).to_owned();
        }
        self.date_of(day)
    }

    fn date_of(&self, day: Date) -> String {
        let month = usize::from(day.month().unsigned_abs()).checked_sub(1);
        let month = month.and_then(|month| self.months.get(month)).copied().unwrap_or_default();
        self.date.replace("{n}", &day.day().to_string()).replace("{month}", month)
    }

    fn weekday_of(&self, day: Weekday) -> &'static str {
        let day = usize::from(day.to_monday_zero_offset().unsigned_abs());
        self.weekdays.get(day).copied().unwrap_or_default()
    }
}

fn rounded_up(at: Timestamp) -> Timestamp {
    let minutes = TimestampRound::new().smallest(Unit::Minute).mode(jiff::RoundMode::Ceil);
    at.round(minutes).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(language: &str, at: &str) -> String {
        let locale: Locale = language.parse().unwrap();
        let now = "2026-11-22T00:20:00Z".parse().unwrap();
        Words::of(&locale).moment(at.parse().unwrap(), now, &TimeZone::UTC)
    }

    #[test]
    fn moments_are_said_as_people_say_them() {
        for (language, at, words) in [
            ("en", "2026-11-22T15:40:00Z", "today 15:40"),
            ("en", "2026-11-22T15:40:01Z", "today 15:41"),
            ("en", "2026-11-23T00:00:00Z", "midnight tonight"),
            ("en", "2026-11-24T00:00:00Z", "midnight tomorrow"),
            ("en", "2026-11-25T00:00:00Z", "midnight on Tuesday"),
            ("en", "2026-11-24T09:00:00Z", "Tuesday 09:00"),
            ("en", "2026-11-29T00:00:00Z", "midnight on Saturday"),
            ("en", "2026-11-29T09:00:00Z", "29 November 09:00"),
            ("en", "2026-12-24T09:00:00Z", "24 December 09:00"),
            ("en", "2026-12-07T00:00:00Z", "midnight on 6 December"),
            ("es", "2026-12-24T09:00:00Z", "el 24 de diciembre a las 09:00"),
            ("es", "2026-12-07T00:00:00Z", "el 6 de diciembre a medianoche"),
            ("pt", "2026-12-07T00:00:00Z", "à meia-noite de 6 de dezembro"),
            ("fr", "2026-12-07T00:00:00Z", "6 décembre minuit"),
            // A moment before now is said with its date.
            ("en", "2026-11-20T09:00:00Z", "20 November 09:00"),
            ("es", "2026-11-23T01:20:00Z", "mañana a la 01:20"),
            ("es", "2026-11-24T13:20:00Z", "el martes a las 13:20"),
            ("pt", "2026-11-22T01:20:00Z", "hoje à 01:20"),
            ("pt-BR", "2026-11-23T00:00:00Z", "à meia-noite de hoje"),
            ("fr", "2026-11-22T15:40:00Z", "15\u{a0}h\u{a0}40 aujourd’hui"),
            ("fr", "2026-11-25T00:00:00Z", "mardi minuit"),
        ] {
            assert_eq!(said(language, at), words);
        }
    }

    #[test]
    fn on_paper_there_is_no_tomorrow() {
        let said = |language: &str, at: &str| {
            let words = Words::of(&language.parse().unwrap());
            let at = at.parse().unwrap();
            (words.printed(at, &TimeZone::UTC), words.dated(at, &TimeZone::UTC))
        };
        for (language, at, printed, dated) in [
            (
                "en",
                "2026-11-22T15:39:01Z",
                "Sunday 22 November 15:40",
                "Sunday 22 November 2026 15:40",
            ),
            (
                "en",
                "2026-11-23T00:00:00Z",
                "midnight on Sunday 22 November",
                "Monday 23 November 2026 00:00",
            ),
            (
                "es",
                "2026-11-23T01:20:00Z",
                "el lunes 23 de noviembre a la 01:20",
                "lunes 23 de noviembre de 2026 a la 01:20",
            ),
            (
                "pt-BR",
                "2026-11-23T00:00:00Z",
                "à meia-noite de domingo, 22 de novembro",
                "segunda-feira, 23 de novembro de 2026 às 00:00",
            ),
            (
                "fr",
                "2026-11-22T15:40:00Z",
                "dimanche 22 novembre 15\u{a0}h\u{a0}40",
                "dimanche 22 novembre 2026 15\u{a0}h\u{a0}40",
            ),
        ] {
            assert_eq!(said(language, at), (printed.to_owned(), dated.to_owned()));
        }
    }
}
