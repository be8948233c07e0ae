//! The desk's pages: for a keyboard, a screen reader or a thumb as for a mouse.

mod door;
mod home;
mod patient;
mod test_push;
mod treatment;

use aftercare::care::Unheard;
use aftercare::zone::Zone;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

pub(crate) use door::{join, problem, sign_in};
pub(crate) use home::home;
pub(crate) use patient::{Offer, invitation, patient, unknown_patient};
pub(crate) use test_push::{SCRIPT, path as test_push_path, test_push};
pub(crate) use treatment::treatment;

use super::qr;
use crate::dto::EnrolmentAnswer;

pub(crate) const STYLE: &str = include_str!("desk.css");

/// What stands around a page.
pub(crate) struct Frame {
    pub(crate) clinic: String,
    /// The clinic's: every hour is told in it.
    pub(crate) zone: Zone,
    pub(crate) staff: String,
    pub(crate) csrf: String,
}

impl Frame {
    fn day_and_hour(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.tz().clone()).strftime("%a %-d %b, %H:%M").to_string()
    }

    fn hour(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.tz().clone()).strftime("%H:%M").to_string()
    }

    fn second(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.tz().clone()).strftime("%H:%M:%S").to_string()
    }

    /// What proves that a form is of this sign-in.
    fn token(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.csrf); }
    }

    fn page(&self, title: &str, main: &Markup) -> Markup {
        let header = html! {
            header {
                div {
                    a.name href="/desk" { "Desk" }
                    span.clinic { (self.clinic) }
                    form method="post" action="/desk/sign-out" {
                        (self.token())
                        span.hint { (self.staff) }
                        button.plain.small type="submit" { "Sign out" }
                    }
                }
            }
        };
        document(title, &header, main)
    }
}

fn document(title: &str, header: &Markup, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Aftercare desk" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the page" }
                (header)
                main #main tabindex="-1" { (main) }
            }
        }
    }
}

/// A page before anybody is signed in.
fn outside(title: &str, main: &Markup) -> Markup {
    document(title, &html! {}, main)
}

/// What came of it: read aloud at once, because the focus starts on it.
fn result(said: &Markup) -> Markup {
    html! { p.note role="status" aria-live="polite" tabindex="-1" autofocus { (said) } }
}

/// Where a patient's page is.
pub(crate) fn patient_path(reference: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    format!("/desk/patient?{}", query.append_pair("ref", reference).finish())
}

fn patient_link(reference: &str) -> Markup {
    html! { a href=(patient_path(reference)) { (reference) } }
}

/// Whether reminders are heard, and why not.
fn hearing(unheard: &[Unheard]) -> Markup {
    html! {
        @if unheard.is_empty() {
            p.good { "Reminders reach the patient’s phone." }
        } @else {
            p.alert { "Reminders do not reach the patient. " (reasons(unheard)) }
        }
    }
}

fn reasons(reasons: &[Unheard]) -> String {
    reasons.iter().map(|reason| said(*reason)).collect::<Vec<_>>().join(" ")
}

const fn said(reason: Unheard) -> &'static str {
    match reason {
        Unheard::ConsentWithdrawn => "The patient does not want reminders of this kind.",
        Unheard::MessageRefused => "Google refused the message; it is not tried again.",
        Unheard::SendingPaused => "Sending is paused.",
        Unheard::NoDevice => "No phone is enrolled.",
        Unheard::NotificationsOff => "Notifications are off on the phone.",
        Unheard::AppGone => "The app was removed from the phone.",
        Unheard::StaleAddress => "The app has not been opened for nine months.",
        Unheard::RefusedAddress => "The phone’s address is refused; opening the app renews it.",
        Unheard::AddressMoved => "The phone is registered elsewhere now.",
    }
}

/// A protocol's word, such as `bikini-line`, as a page says it.
fn word(name: &str) -> String {
    let spaced = name.replace(['-', '_'], " ");
    let mut letters = spaced.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The code that enrols a phone.
fn code(frame: &Frame, invitation: &EnrolmentAnswer) -> Markup {
    html! {
        section.card aria-label="Code for the patient’s phone" {
            @if let Some(code) = qr::code(&invitation.url, "QR code for the patient’s phone") {
                div.qr { (code) }
            }
            p {
                "The patient scans it with their phone. It works once, until "
                (frame.day_and_hour(invitation.expires_at)) "."
            }
            p { code { (invitation.url) } }
        }
    }
}
