//! The page that a patient takes home: one sheet of A4.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use aftercare::care::Handout;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Scripts, answer, qr};
use crate::dto::EnrolmentAnswer;

const STYLE: &str = include_str!("handout.css");

/// The page, with an invitation to the app where there is one.
pub(crate) fn handout(handout: &Handout, invitation: Option<&EnrolmentAnswer>) -> HttpResponse {
    answer(StatusCode::OK, STYLE, Scripts::None, page(handout, invitation))
}

fn page(handout: &Handout, invitation: Option<&EnrolmentAnswer>) -> Markup {
    let sheet = &handout.sheet;
    let words = sheet.headings;
    // A clinic's own protocol may be in a language that the page's own words are not in.
    let other = (sheet.locale.language() != words.language).then_some(words.language);
    let dir = if sheet.locale.is_right_to_left() { "rtl" } else { "ltr" };
    let heading = |text| html! { h2 lang=[other] { (text) } };
    let list = |title, lines: &[String]| {
        html! {
            @if !lines.is_empty() {
                section { (heading(title)) ul { @for line in lines { li { (line) } } } }
            }
        }
    };
    html! {
        (DOCTYPE)
        html lang=(sheet.locale.as_str()) dir=(dir) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (words.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.clinic { (handout.clinic.display_name) }
                    @if let Some(phone) = &handout.clinic.contact_phone { p { (phone) } }
                }
                main {
                    @if !sheet.reviewed { p.draft lang=[other] { (words.draft) } }
                    h1 lang=[other] { (words.title) }
                    p.facts {
                        strong { (sheet.treatment) } " · " (sheet.done)
                        @if !sheet.areas.is_empty() {
                            " · " span lang=[other] { (sheet.areas.join(", ")) }
                        }
                        @if let Some(session) = &sheet.session {
                            " · " span lang=[other] { (session) }
                        }
                    }
                    @if let Some(hours) = &sheet.hours { p lang=[other] { (hours) } }
                    (list(words.avoid, &sheet.avoid))
                    (list(words.care, &sheet.care))
                    (list(words.expect, &sheet.expect))
                    (call(handout, &heading))
                    @if let Some(next) = &sheet.next {
                        section { (heading(words.next)) p { (next) } }
                    }
                    @if let Some(invitation) = invitation { (app(handout, invitation, &heading)) }
                }
                footer {
                    p lang=[other] { (words.disclaimer) }
                    p { span lang=[other] { (words.reference) } " " (handout.patient_ref) }
                }
            }
        }
    }
}

fn call(handout: &Handout, heading: &impl Fn(&'static str) -> Markup) -> Markup {
    let (sheet, phone) = (&handout.sheet, &handout.clinic.contact_phone);
    html! {
        @if sheet.when_to_call.is_some() || phone.is_some() {
            section {
                (heading(sheet.headings.call))
                @if let Some(text) = &sheet.when_to_call { p { (text) } }
                @if let Some(phone) = phone { p { (sheet.headings.phone) " " strong { (phone) } } }
            }
        }
    }
}

fn app(
    handout: &Handout,
    invitation: &EnrolmentAnswer,
    heading: &impl Fn(&'static str) -> Markup,
) -> Markup {
    let (sheet, words) = (&handout.sheet, handout.sheet.headings);
    let scan = words.scan(&sheet.locale, invitation.expires_at, &handout.zone);
    html! {
        section.app {
            @if let Some(code) = qr::code(&invitation.url, words.app) { (code) }
            div { (heading(words.app)) p { (scan) } code { (invitation.url) } }
        }
    }
}
