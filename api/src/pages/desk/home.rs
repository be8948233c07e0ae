//! Where everybody starts.

use aftercare::care::{DeskTreatment, UnheardPage, UnheardReminder};
use maud::{Markup, html};

use super::treatment::line;
use super::{Frame, patient_link, reasons};

pub(crate) fn home(frame: &Frame, last: &[DeskTreatment], unheard: &UnheardPage) -> Markup {
    frame.page(
        "Start",
        &html! {
            h1 { "Who is here?" }
            form.card method="get" action="/desk/patient" {
                div.field {
                    label for="ref" { "Patient’s reference" }
                    p.hint #ref-hint { "Your own number for the patient, never a name" }
                    input #ref type="text" name="ref" autocomplete="off" required autofocus
                        maxlength="128" aria-describedby="ref-hint";
                }
                button type="submit" { "Open or add" }
            }
            @if !last.is_empty() {
                h2 { "Recorded last" }
                ul.rows {
                    @for done in last {
                        li { (patient_link(&done.card.patient_ref)) " · " (line(frame, done)) }
                    }
                }
            }
            h2 { "Will not hear what is due in the next 48 hours" }
            @if unheard.items.is_empty() {
                p.good { "Everybody with something due is reached by a phone." }
            } @else {
                ul.rows { @for item in &unheard.items { (unheard_row(frame, item)) } }
                @if unheard.next.is_some() { p { "There are more; the API lists all of them." } }
            }
        },
    )
}

fn unheard_row(frame: &Frame, item: &UnheardReminder) -> Markup {
    html! {
        li {
            (patient_link(&item.patient_ref))
            " · " (item.reminder.title) ", " (frame.day_and_hour(item.reminder.due_at))
            br;
            span.hint { (reasons(&item.reasons)) }
        }
    }
}
