//! A calendar feed as RFC 5545 has it, with the hints of RFC 7986 and those that older calendars know.
//!
//! Every instant is written in UTC, which each calendar shows on its own wall; a day is a day wherever
//! the phone is. What is written depends on the entries alone and not on when it is asked for, so that
//! an unchanged feed is the same bytes. There are no alarms: the phone is reminded by a push.

use aftercare::care::{Entry, EntryKind, Feed, When};
use aftercare::locale::Locale;
use jiff::Timestamp;
use jiff::civil::Date;

/// The longest line, in octets, without its end.
const LINE: usize = 75;

/// What a feed says, in one language. It never says what the reminders are about.
struct Words {
    feed: &'static str,
    reminder: &'static str,
    session: &'static str,
    session_to_book: &'static str,
    description: &'static str,
}

const ENGLISH: Words = Words {
    feed: "Reminders",
    reminder: "Reminder",
    session: "Appointment",
    session_to_book: "Appointment to book",
    description: "Open the app to read more.",
};

const SPANISH: Words = Words {
    feed: "Recordatorios",
    reminder: "Recordatorio",
    session: "Cita",
    session_to_book: "Cita por reservar",
    description: "Abre la aplicación para leer más.",
};

const PORTUGUESE: Words = Words {
    feed: "Lembretes",
    reminder: "Lembrete",
    session: "Consulta",
    session_to_book: "Consulta por marcar",
    description: "Abra a aplicação para ler mais.",
};

const FRENCH: Words = Words {
    feed: "Rappels",
    reminder: "Rappel",
    session: "Rendez-vous",
    session_to_book: "Rendez-vous à prendre",
    description: "Ouvrez l’application pour en savoir plus.",
};

fn words(locale: &Locale) -> &'static Words {
    match locale.language() {
        "es" => &SPANISH,
        "pt" => &PORTUGUESE,
        "fr" => &FRENCH,
        _ => &ENGLISH,
    }
}

/// The feed as text, its lines ended by CRLF and none longer than 75 octets.
pub(crate) fn write(feed: &Feed) -> String {
    let words = words(&feed.locale);
    let mut lines = Lines::default();
    lines.put("BEGIN", "VCALENDAR");
    lines.put("VERSION", "2.0");
    lines.put("PRODID", "-//Aftercare//Feed//EN");
    lines.put("CALSCALE", "GREGORIAN");
    lines.text("NAME", words.feed);
    lines.text("X-WR-CALNAME", words.feed);
    lines.put("REFRESH-INTERVAL;VALUE=DURATION", "PT6H");
    lines.put("X-PUBLISHED-TTL", "PT6H");
    for entry in &feed.entries {
        event(&mut lines, entry, words);
    }
    lines.put("END", "VCALENDAR");
    lines.0
}

fn event(lines: &mut Lines, entry: &Entry, words: &Words) {
    let (title, booked) = match entry.kind {
        EntryKind::Reminder => (words.reminder, false),
        EntryKind::Session => (words.session, true),
        EntryKind::SessionToBook => (words.session_to_book, false),
    };
    let status = match (entry.cancelled, entry.kind) {
        (true, _) => "CANCELLED",
        (false, EntryKind::SessionToBook) => "TENTATIVE",
        (false, EntryKind::Reminder | EntryKind::Session) => "CONFIRMED",
    };
    let changed = instant(entry.changed_at);
    lines.put("BEGIN", "VEVENT");
    lines.put("UID", &entry.id.to_string());
    lines.put("SEQUENCE", &sequence(entry).to_string());
    lines.put("DTSTAMP", &changed);
    lines.put("LAST-MODIFIED", &changed);
    lines.put("CREATED", &instant(entry.created_at));
    match entry.when {
        When::At(at, length) => {
            lines.put("DTSTART", &instant(at));
            lines.put("DTEND", &instant(at.checked_add(length).unwrap_or(at)));
        }
        When::On(day) => lines.put("DTSTART;VALUE=DATE", &date(day)),
    }
    lines.text("SUMMARY", title);
    lines.text("DESCRIPTION", words.description);
    lines.put("STATUS", status);
    lines.put("CLASS", "PRIVATE");
    lines.put("TRANSP", if booked && !entry.cancelled { "OPAQUE" } else { "TRANSPARENT" });
    lines.put("END", "VEVENT");
}

/// Whole seconds from the entry's beginning to its last change: grows with each change, and what a
/// change of the same second was, no calendar has seen yet.
fn sequence(entry: &Entry) -> i64 {
    let seconds = entry.changed_at.as_second().saturating_sub(entry.created_at.as_second());
    seconds.clamp(0, i64::from(i32::MAX))
}

fn instant(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn date(day: Date) -> String {
    day.strftime("%Y%m%d").to_string()
}

/// Lines as they go over the wire.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// A line whose value needs no escaping.
    fn put(&mut self, name: &str, value: &str) {
        let line = format!("{name}:{value}");
        let mut room = LINE;
        for character in line.chars() {
            if character.len_utf8() > room {
                self.0.push_str("\r\n ");
                room = LINE - 1;
            }
            room -= character.len_utf8();
            self.0.push(character);
        }
        self.0.push_str("\r\n");
    }

    /// A line of text.
    fn text(&mut self, name: &str, value: &str) {
        let escaped = value.replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,");
        self.put(name, &escaped.replace('\n', "\\n"));
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use uuid::Uuid;

    use super::*;

    fn entry(kind: EntryKind, when: When) -> Entry {
        let created_at: Timestamp = "2026-11-22T15:41:00Z".parse().unwrap();
        Entry {
            id: Uuid::from_u128(7),
            kind,
            when,
            cancelled: false,
            created_at,
            changed_at: created_at + SignedDuration::from_secs(90),
        }
    }

    fn feed(locale: &str, entries: Vec<Entry>) -> String {
        let patient = Uuid::from_u128(1).into();
        write(&Feed { patient, locale: locale.parse().unwrap(), entries })
    }

    #[test]
    fn an_event_says_when_and_not_what() {
        let at = When::At("2026-11-23T07:50:00Z".parse().unwrap(), SignedDuration::from_mins(15));
        let text = feed("pt-PT", vec![entry(EntryKind::Reminder, at)]);
        let event = [
            "BEGIN:VEVENT",
            "UID:00000000-0000-0000-0000-000000000007",
            "SEQUENCE:90",
            "DTSTAMP:20261122T154230Z",
            "LAST-MODIFIED:20261122T154230Z",
            "CREATED:20261122T154100Z",
            "DTSTART:20261123T075000Z",
            "DTEND:20261123T080500Z",
            "SUMMARY:Lembrete",
            "DESCRIPTION:Abra a aplicação para ler mais.",
            "STATUS:CONFIRMED",
            "CLASS:PRIVATE",
            "TRANSP:TRANSPARENT",
            "END:VEVENT",
            "END:VCALENDAR",
            "",
        ];
        assert!(text.ends_with(&event.join("\r\n")), "{text}");
        assert!(text.starts_with("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"), "{text}");
    }

    #[test]
    fn a_day_is_a_date_and_a_cancellation_frees_the_time() {
        let day = entry(EntryKind::SessionToBook, When::On("2026-12-22".parse().unwrap()));
        let text = feed("fr", vec![day]);
        assert!(text.contains("DTSTART;VALUE=DATE:20261222\r\n"), "{text}");
        assert!(text.contains("STATUS:TENTATIVE\r\n") && !text.contains("DTEND"), "{text}");
        let at = When::At("2026-12-20T11:00:00Z".parse().unwrap(), SignedDuration::from_hours(1));
        let booked = entry(EntryKind::Session, at);
        assert!(feed("en", vec![booked.clone()]).contains("TRANSP:OPAQUE\r\n"));
        let text = feed("en", vec![Entry { cancelled: true, ..booked }]);
        assert!(text.contains("STATUS:CANCELLED\r\n") && text.contains("TRANSP:TRANSPARENT"));
    }

    #[test]
    fn long_lines_are_folded_between_characters() {
        let mut lines = Lines::default();
        let value = "à, prendre; ".repeat(30);
        lines.text("SUMMARY", &value);
        assert!(lines.0.trim_end().split("\r\n").all(|line| line.len() <= 75), "{}", lines.0);
        assert!(lines.0.split("\r\n ").count() > 4);
        let unfolded = lines.0.replace("\r\n ", "");
        let escaped = value.replace(',', "\\,").replace(';', "\\;");
        assert_eq!(unfolded, format!("SUMMARY:{escaped}\r\n"));
    }
}
