//! A patient: who hears what, and what was done today.

use std::sync::Arc;

use aftercare::care::DeskPatient;
use aftercare::locale::Locale;
use aftercare::protocol::Protocol;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::treatment::line;
use super::{Frame, code, hearing, patient_link, test_push, word};
use crate::dto::EnrolmentAnswer;

/// The patient's languages that the shipped protocols speak.
const LANGUAGES: [(&str, &str); 4] =
    [("en", "English"), ("es", "Español"), ("pt", "Português"), ("fr", "Français")];

/// How far ahead of the server's clock the browser's may be.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What can be recorded.
pub(crate) struct Offer {
    /// What the clinic does most likely comes first.
    pub(crate) protocols: Vec<Arc<Protocol>>,
    pub(crate) now: Timestamp,
    /// Names what is about to be recorded.
    pub(crate) event: String,
    /// The clinic's language.
    pub(crate) locale: Locale,
}

pub(crate) fn unknown_patient(frame: &Frame, reference: &str) -> Markup {
    frame.page(
        "New patient",
        &html! {
            h1 { "There is no patient " (reference) }
            p { "Check the reference. If it is right, add the patient." }
            form.card method="post" action="/desk/patient" {
                (frame.token())
                input type="hidden" name="ref" value=(reference);
                div.field {
                    label for="locale" { "Language" }
                    select #locale name="locale" {
                        option value="" { "As the clinic" }
                        @for (tag, name) in LANGUAGES { option value=(tag) lang=(tag) { (name) } }
                    }
                }
                div.actions {
                    button type="submit" autofocus { "Add the patient" }
                    a.button.plain href="/desk" { "Back" }
                }
            }
        },
    )
}

pub(crate) fn patient(frame: &Frame, patient: &DeskPatient, offer: &Offer) -> Markup {
    frame.page(
        &patient.reference,
        &html! {
            h1 { "Patient " (patient.reference) }
            (hearing(&patient.unheard))
            div.actions {
                form method="post" action="/desk/invite" {
                    (frame.token())
                    input type="hidden" name="ref" value=(patient.reference);
                    button.plain type="submit" { "Show a code for the phone" }
                }
                @if patient.unheard.is_empty() {
                    (test_push::form(frame, &patient.reference, "Send a test message"))
                }
            }
            h2 { "What was done" }
            @for (n, protocol) in offer.protocols.iter().enumerate() {
                (record(frame, patient, offer, protocol, n == 0))
            }
            @if !patient.treatments.is_empty() {
                h2 { "Recorded before" }
                ul.rows { @for done in &patient.treatments { li { (line(frame, done)) } } }
            }
        },
    )
}

fn record(
    frame: &Frame,
    patient: &DeskPatient,
    offer: &Offer,
    protocol: &Protocol,
    open: bool,
) -> Markup {
    let slug = &protocol.slug;
    let title = protocol.title.get(&offer.locale);
    html! {
        details #(slug) name="done" open[open] {
            summary { (title) " done" }
            form method="post" action="/desk/record" {
                (frame.token())
                input type="hidden" name="ref" value=(patient.reference);
                input type="hidden" name="protocol" value=(slug);
                input type="hidden" name="event" value=(format!("{}-{slug}", offer.event));
                fieldset {
                    legend { "Treated" }
                    @for area in &protocol.areas {
                        label.choice {
                            input type="checkbox" name="area" value=(area)
                                checked[protocol.default_areas.contains(area)];
                            (word(area.as_str()))
                        }
                    }
                }
                @if let Some(notice) = protocol.notice() { p.hint { "Its texts: " (notice) } }
                (moment(frame, offer, slug))
                @if protocol.course.is_some() { (booking(frame, slug)) }
                button type="submit" { "Record " (title) }
            }
        }
    }
}

fn moment(frame: &Frame, offer: &Offer, slug: &str) -> Markup {
    let (id, hint) = (format!("{slug}-completed"), format!("{slug}-completed-hint"));
    let latest = (offer.now + SKEW).to_zoned(frame.zone.tz().clone());
    html! {
        div.field {
            label for=(id) { "Ended at" }
            p.hint #(hint) { "Leave it empty for: just now. On the clock of " (frame.zone) }
            input #(id) type="datetime-local" name="completed"
                max=(latest.strftime("%Y-%m-%dT%H:%M")) aria-describedby=(hint);
        }
    }
}

fn booking(frame: &Frame, slug: &str) -> Markup {
    let (id, hint) = (format!("{slug}-next"), format!("{slug}-next-hint"));
    html! {
        div.field {
            label for=(id) { "Next session" }
            p.hint #(hint) { "If it is booked. On the clock of " (frame.zone) }
            input #(id) type="datetime-local" name="next" aria-describedby=(hint);
        }
    }
}

pub(crate) fn invitation(frame: &Frame, reference: &str, invitation: &EnrolmentAnswer) -> Markup {
    frame.page(
        "Code for the phone",
        &html! {
            h1 { "Code for " (patient_link(reference)) }
            (code(frame, invitation))
        },
    )
}
