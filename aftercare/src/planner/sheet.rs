//! A treatment on paper: every rule with its hour, said so that it is still true when it is read.
//!
//! What is in force is what the timeline says; hours are told with their dates, because paper knows
//! no "tomorrow".

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use super::message::{fill, slot_text};
use super::speech::Words;
use super::{CourseState, Facts, Restriction, TreatmentFacts, of_treatment};
use crate::ids::TreatmentId;
use crate::locale::Locale;
use crate::protocol::{Area, RuleKind};
use crate::zone::Zone;

/// One treatment in words, in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// The language of the protocol's texts.
    pub locale: Locale,
    /// The page's own words, in the language that comes nearest.
    pub headings: &'static Headings,
    /// What was done.
    pub treatment: String,
    /// When, on the wall of the treatment's zone, as all hours of the page are.
    pub done: String,
    /// Whose wall that is; `None` where the patient's clocks show the same hours.
    pub hours: Option<String>,
    /// Where on the body.
    pub areas: Vec<String>,
    /// Which session it was, and of how many; `None` where there is no course.
    pub session: Option<String>,
    /// What not to do, and until when.
    pub avoid: Vec<String>,
    /// What to do, and until when.
    pub care: Vec<String>,
    /// What is no cause for alarm.
    pub expect: Vec<String>,
    /// When to call the clinic.
    pub when_to_call: Option<String>,
    /// When the next session is, or is to be; `None` when the course is complete.
    pub next: Option<String>,
    /// Whether somebody of the clinic has approved the texts.
    pub reviewed: bool,
}

/// The words of the page itself in one language.
#[derive(Debug, PartialEq, Eq)]
pub struct Headings {
    /// The language.
    pub language: &'static str,
    /// The page's title.
    pub title: &'static str,
    /// Before what not to do.
    pub avoid: &'static str,
    /// Before what to do.
    pub care: &'static str,
    /// Before what is to be expected.
    pub expect: &'static str,
    /// Before when to call.
    pub call: &'static str,
    /// Before the clinic's number.
    pub phone: &'static str,
    /// Before the next session.
    pub next: &'static str,
    /// Before the code for the phone.
    pub app: &'static str,
    /// What to do with it; `{until}` is when it ends.
    scan: &'static str,
    /// Before the clinic's name for the patient.
    pub reference: &'static str,
    /// Over texts that nobody has approved.
    pub draft: &'static str,
    /// What the page is not.
    pub disclaimer: &'static str,
    /// `{zone}` is the place whose clocks the page goes by.
    hours: &'static str,
    /// `{n}` and `{of}` are numbers.
    session: &'static str,
    /// Of a session that is not booked; `{day}` is the first day that it may be on.
    not_booked: &'static str,
    /// What the parts of the body are called that the shipped protocols know.
    areas: &'static [(&'static str, &'static str)],
}

const ENGLISH: Headings = Headings {
    language: "en",
    title: "After your treatment",
    avoid: "What to avoid",
    care: "What to do",
    expect: "What to expect",
    call: "When to call",
    phone: "Phone:",
    next: "Your next session",
    app: "Reminders on your phone",
    scan: "Scan this code with your phone. It works once, until {until}.",
    reference: "Reference:",
    draft: "Draft: nobody at the clinic has reviewed these texts yet.",
    disclaimer: "These are your clinic’s rules for after the treatment. This page is not a medical device and \
        does not replace medical advice.",
    hours: "All hours on this page are those of {zone}.",
    session: "Session {n} of {of}",
    not_booked: "Not booked yet; from {day}.",
    areas: &[],
};

const SPANISH: Headings = Headings {
    language: "es",
    title: "Después de tu tratamiento",
    avoid: "Qué evitar",
    care: "Qué hacer",
    expect: "Qué esperar",
    call: "Cuándo llamar",
    phone: "Teléfono:",
    next: "Tu próxima sesión",
    app: "Recordatorios en tu teléfono",
    scan: "Escanea este código con tu teléfono. Sirve una sola vez, hasta el {until}.",
    reference: "Referencia:",
    draft: "Borrador: nadie de la clínica ha revisado todavía estos textos.",
    disclaimer: "Son las indicaciones de tu clínica para después del tratamiento. Esta hoja no es un producto \
        sanitario ni sustituye el consejo médico.",
    hours: "Todas las horas de esta hoja son las de {zone}.",
    session: "Sesión {n} de {of}",
    not_booked: "Aún sin reservar; a partir del {day}.",
    areas: &[
        ("face", "cara"),
        ("neck", "cuello"),
        ("chest", "pecho"),
        ("scalp", "cuero cabelludo"),
        ("hands", "manos"),
        ("back", "espalda"),
        ("abdomen", "abdomen"),
        ("arms", "brazos"),
        ("underarms", "axilas"),
        ("bikini", "zona del bikini"),
        ("legs", "piernas"),
    ],
};

const PORTUGUESE: Headings = Headings {
    language: "pt",
    title: "Depois do seu tratamento",
    avoid: "O que evitar",
    care: "O que fazer",
    expect: "O que esperar",
    call: "Quando ligar",
    phone: "Telefone:",
    next: "A sua próxima sessão",
    app: "Lembretes no seu telemóvel",
    scan: "Leia este código com o seu telemóvel. Funciona uma só vez, até {until}.",
    reference: "Referência:",
    draft: "Rascunho: ainda ninguém da clínica reviu estes textos.",
    disclaimer: "São as indicações da sua clínica para depois do tratamento. Esta folha não é um dispositivo \
        médico nem substitui o conselho médico.",
    hours: "Todas as horas desta folha são as de {zone}.",
    session: "Sessão {n} de {of}",
    not_booked: "Ainda por marcar; a partir de {day}.",
    areas: &[
        ("face", "rosto"),
        ("neck", "pescoço"),
        ("chest", "peito"),
        ("scalp", "couro cabeludo"),
        ("hands", "mãos"),
        ("back", "costas"),
        ("abdomen", "abdómen"),
        ("arms", "braços"),
        ("underarms", "axilas"),
        ("bikini", "virilhas"),
        ("legs", "pernas"),
    ],
};

const FRENCH: Headings = Headings {
    language: "fr",
    title: "Après votre soin",
    avoid: "À éviter",
    care: "À faire",
    expect: "À quoi s’attendre",
    call: "Quand appeler",
    phone: "Téléphone\u{a0}:",
    next: "Votre prochaine séance",
    app: "Des rappels sur votre téléphone",
    scan: "Scannez ce code avec votre téléphone. Il ne sert qu’une fois, jusqu’au {until}.",
    reference: "Référence\u{a0}:",
    draft: "Brouillon : personne à la clinique n’a encore relu ces textes.",
    disclaimer: "Ce sont les consignes de votre clinique pour après le soin. Cette fiche n’est pas un dispositif \
        médical et ne remplace pas un avis médical.",
    hours: "Toutes les heures de cette fiche sont celles de {zone}.",
    session: "Séance {n} sur {of}",
    not_booked: "Pas encore réservée ; à partir du {day}.",
    areas: &[
        ("face", "visage"),
        ("neck", "cou"),
        ("chest", "poitrine"),
        ("scalp", "cuir chevelu"),
        ("hands", "mains"),
        ("back", "dos"),
        ("abdomen", "ventre"),
        ("arms", "bras"),
        ("underarms", "aisselles"),
        ("bikini", "maillot"),
        ("legs", "jambes"),
    ],
};

impl Headings {
    /// The words in the language of that locale; in English where it has none.
    #[must_use]
    pub fn of(locale: &Locale) -> &'static Self {
        match locale.language() {
            "es" => &SPANISH,
            "pt" => &PORTUGUESE,
            "fr" => &FRENCH,
            _ => &ENGLISH,
        }
    }

    /// What to do with the code that ends then, on the wall of `zone`.
    #[must_use]
    pub fn scan(&self, locale: &Locale, until: Timestamp, zone: &Zone) -> String {
        self.scan.replace("{until}", &Words::of(locale).dated(until, zone.tz()))
    }

    /// What a part of the body is called; the protocol's own word, which is English, where nothing
    /// else is known.
    fn area<'a>(&self, area: &'a Area) -> &'a str {
        let known = self.areas.iter().find(|(word, _)| *word == area.as_str());
        known.map_or(area.as_str(), |(_, name)| name)
    }
}

/// A treatment of these facts in words, in the language of its protocol that serves `wanted` best.
#[must_use]
pub fn sheet(
    facts: &Facts,
    courses: &BTreeMap<TreatmentId, CourseState>,
    treatment: &TreatmentFacts,
    wanted: &Locale,
) -> Sheet {
    let protocol = &treatment.protocol;
    let locale = protocol.title.locale_for(wanted).clone();
    let mut facts = facts.clone();
    facts.person.locale = locale.clone();
    let (words, headings) = (Words::of(&locale), Headings::of(&locale));
    let held = of_treatment(&facts, treatment);
    let of_kind = |kind| {
        let rules = held.iter().filter(|held| held.kind == kind);
        rules.map(|held| rule(&facts, treatment, held, words)).collect()
    };
    let course = courses.get(&treatment.id).filter(|_| protocol.course.is_some());
    let numbers = |text: &str, n: u32, of: u32| {
        text.replace("{n}", &n.to_string()).replace("{of}", &of.to_string())
    };
    Sheet {
        headings,
        treatment: protocol.title.get(&locale).to_owned(),
        done: words.dated(treatment.completed_at, treatment.zone.tz()),
        hours: (facts.person.zone != treatment.zone)
            .then(|| headings.hours.replace("{zone}", &place(&treatment.zone))),
        areas: treatment.areas.iter().map(|area| headings.area(area).to_owned()).collect(),
        session: course.map(|course| numbers(headings.session, course.session, course.of)),
        avoid: of_kind(RuleKind::Avoid),
        care: of_kind(RuleKind::Do),
        expect: of_kind(RuleKind::Expect),
        when_to_call: slot_text(&facts, treatment, "when_to_call"),
        next: course
            .filter(|course| course.session < course.of)
            .and_then(|_| next_session(&facts, treatment, words, headings)),
        reviewed: protocol.reviewed_by.is_some(),
        locale,
    }
}

/// What a zone is called among people, and its name: "New York (`America/New_York`)".
fn place(zone: &Zone) -> String {
    match zone.name().rsplit_once('/') {
        Some((_, city)) => format!("{} ({})", city.replace('_', " "), zone.name()),
        None => zone.name().to_owned(),
    }
}

/// A rule with its hour, on the wall of the treatment's zone: paper stays where it was printed.
fn rule(
    facts: &Facts,
    treatment: &TreatmentFacts,
    held: &Restriction,
    words: &'static Words,
) -> String {
    let until = held.until.map(|until| words.printed(until, treatment.zone.tz()));
    match (until, treatment.protocol.rule(&held.rule)) {
        (Some(until), Some(rule)) => fill(rule.push.get(&facts.person.locale), |word| match word {
            "until" => Some(until.clone()),
            slot => slot_text(facts, treatment, slot),
        }),
        _ => held.text.clone(),
    }
}

fn next_session(
    facts: &Facts,
    treatment: &TreatmentFacts,
    words: &'static Words,
    headings: &'static Headings,
) -> Option<String> {
    if let Some(booked) = treatment.next_session_at {
        return Some(words.dated(booked, treatment.zone.tz()));
    }
    let day: Date = treatment.anchor(&facts.person.zone).next_session_on()?;
    Some(headings.not_booked.replace("{day}", &words.full_date(day)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_words_of_its_own() {
        let all = [&ENGLISH, &SPANISH, &PORTUGUESE, &FRENCH];
        for headings in all {
            let locale: Locale = headings.language.parse().unwrap();
            assert_eq!(Headings::of(&locale), headings);
            for (text, names) in [
                (headings.scan, &["{until}"][..]),
                (headings.session, &["{n}", "{of}"]),
                (headings.hours, &["{zone}"]),
                (headings.not_booked, &["{day}"]),
            ] {
                assert!(names.iter().all(|name| text.contains(name)), "{text}");
            }
        }
        let titles: std::collections::BTreeSet<_> = all.iter().map(|one| one.title).collect();
        assert_eq!(titles.len(), all.len());
    }
}
