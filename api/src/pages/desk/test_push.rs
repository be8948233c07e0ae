//! A test message, and when the phone showed it.

use aftercare::care::DeskPatient;
use aftercare::planner::{Reason, ReminderState};
use aftercare::store::TestPush;
use jiff::Timestamp;
use maud::{Markup, html};

use super::{Frame, hearing, patient_link};

/// What the page does by itself; it works without.
pub(crate) const SCRIPT: &str = include_str!("live.js");

/// The form that sends one.
pub(super) fn form(frame: &Frame, reference: &str, label: &str) -> Markup {
    html! {
        form method="post" action="/desk/test-push" {
            (frame.token())
            input type="hidden" name="ref" value=(reference);
            button.plain type="submit" { (label) }
        }
    }
}

pub(crate) fn test_push(
    frame: &Frame,
    patient: &DeskPatient,
    push: &TestPush,
    now: Timestamp,
) -> Markup {
    let (reference, under_way) = (&patient.reference, is_under_way(push, now));
    frame.page(
        "Test message",
        &html! {
            h1 { "Test message to " (patient_link(reference)) }
            p.note #said role="status" aria-live="polite" tabindex="-1" autofocus
                data-under-way[under_way] { (said(frame, push, now)) }
            p.hint { "It tells the patient nothing but that messages arrive." }
            @if !patient.unheard.is_empty() { (hearing(&patient.unheard)) }
            div.actions {
                @if patient.unheard.is_empty() { (form(frame, reference, "Send another")) }
                @if under_way {
                    a.button.plain href=(path(reference)) { "Look again" }
                    script src="/desk/live.js" defer {}
                }
            }
        },
    )
}

/// Where it is.
pub(crate) fn path(reference: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    format!("/desk/test-push?{}", query.append_pair("ref", reference).finish())
}

/// Whether there may be more to tell.
fn is_under_way(push: &TestPush, now: Timestamp) -> bool {
    let open = matches!(push.standing(now).0, ReminderState::Planned | ReminderState::Sent);
    open && push.displayed_at.is_none() && now < push.use_by
}

fn said(frame: &Frame, push: &TestPush, now: Timestamp) -> String {
    match push.displayed_at {
        Some(at) if at < push.requested_at => {
            return format!(
                "The phone showed it; its own clock, which is slow, said {}.",
                frame.second(at)
            );
        }
        Some(at) => return format!("The phone showed it at {}.", frame.second(at)),
        None => {}
    }
    let (state, reason) = push.standing(now);
    match (state, push.sent_at) {
        (_, Some(at)) if now < push.use_by => {
            format!("Sent at {}. The phone has not shown it yet.", frame.second(at))
        }
        (_, Some(at)) => format!(
            "Sent at {}, but no phone has said that it showed it. Is it switched on, and online?",
            frame.second(at)
        ),
        (ReminderState::Planned, None) => "It is on its way.".to_owned(),
        (ReminderState::Expired, None) => "It could not be sent in time.".to_owned(),
        (_, None) => match reason {
            Some(Reason::NoDevice) => "No phone can be reached any more.".to_owned(),
            Some(Reason::Consent) => "The patient does not want reminders any more.".to_owned(),
            _ => "It was refused; whoever runs the server finds the reason in its log.".to_owned(),
        },
    }
}
