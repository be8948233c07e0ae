//! What was recorded, and what follows from it.

use aftercare::care::{DeskSession, DeskTreatment, ReminderView, UNDO};
use aftercare::planner::ReminderState;
use aftercare::store::TreatmentState;
use jiff::Timestamp;
use maud::{Markup, html};

use super::{Frame, code, hearing, patient_link, result, test_push, word};
use crate::dto::EnrolmentAnswer;

/// A treatment in a list.
pub(super) fn line(frame: &Frame, done: &DeskTreatment) -> Markup {
    let (card, treatment) = (&done.card, &done.card.treatment);
    html! {
        a href=(format!("/desk/treatment?id={}", treatment.id)) {
            (done.title) ", " (frame.day_and_hour(treatment.completed_at))
        }
        @if treatment.state == TreatmentState::Voided { " · undone" }
        @else if card.of > 1 { " · session " (card.session) " of " (card.of) }
    }
}

pub(crate) fn treatment(
    frame: &Frame,
    session: &DeskSession,
    invitation: Option<&EnrolmentAnswer>,
    now: Timestamp,
) -> Markup {
    let (card, treatment) = (&session.view.card, &session.view.card.treatment);
    let voided = treatment.state == TreatmentState::Voided;
    let areas: Vec<_> = treatment.areas.iter().map(|area| word(area.as_str())).collect();
    frame.page(
        &session.title,
        &html! {
            h1 { (session.title) " · " (patient_link(&card.patient_ref)) }
            p.facts {
                "Ended " (frame.day_and_hour(treatment.completed_at)) " · " (areas.join(", "))
                @if !voided && card.of > 1 { " · session " (card.session) " of " (card.of) }
                @if let Some(next) = treatment.next_session_at {
                    br; "Next session " (frame.day_and_hour(next))
                }
            }
            @if voided {
                (result(&html! { "Undone: nothing of it is sent any more." }))
            } @else {
                @if now < treatment.recorded_at + UNDO { (result(&html! { "Recorded." })) }
                (hearing(&session.unheard))
            }
            @if let Some(invitation) = invitation { (code(frame, invitation)) }
            (actions(frame, session, now))
            @if treatment.closed_at.is_some() {
                p { "What was sent about it is no longer kept." }
            }
            @if !session.view.reminders.is_empty() {
                h2 { "Reminders" }
                ul.rows {
                    @for reminder in &session.view.reminders { (reminder_row(frame, reminder)) }
                }
            }
        },
    )
}

fn actions(frame: &Frame, session: &DeskSession, now: Timestamp) -> Markup {
    let treatment = &session.view.card.treatment;
    let undone_until = treatment.recorded_at + UNDO;
    html! {
        @if treatment.state == TreatmentState::Active {
            div.actions {
                a.button href=(format!("/desk/handout?id={}", treatment.id)) { "Page to print" }
                @if session.unheard.is_empty() {
                    (test_push::form(frame, &session.view.card.patient_ref, "Send a test message"))
                }
                @if now < undone_until {
                    form method="post" action="/desk/undo" {
                        (frame.token())
                        input type="hidden" name="id" value=(treatment.id);
                        button.plain type="submit" aria-describedby="undo-hint" { "Undo" }
                        span.hint #undo-hint { "until " (frame.hour(undone_until)) }
                    }
                }
            }
        }
    }
}

fn reminder_row(frame: &Frame, reminder: &ReminderView) -> Markup {
    html! {
        li {
            (frame.day_and_hour(reminder.due_at)) " · " (reminder.title)
            @if reminder.state != ReminderState::Planned {
                " · " (reminder.state)
                @if let Some(reason) = reminder.reason {
                    " (" (reason.to_string().replace('-', " ")) ")"
                }
            }
        }
    }
}
