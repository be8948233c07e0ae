//! The pages before somebody is in, and those that say what went wrong.

use aftercare::store::Staff;
use maud::{Markup, html};

use super::outside;
use crate::problem::Problem;

fn alert(fault: Option<&str>) -> Markup {
    html! { @if let Some(fault) = fault { p.alert role="alert" #fault { (fault) } } }
}

pub(crate) fn sign_in(fault: Option<&str>) -> Markup {
    let described = fault.map(|_| "fault");
    outside(
        "Sign in",
        &html! {
            h1 { "Sign in to the desk" }
            (alert(fault))
            form.card method="post" action="/desk/sign-in" {
                div.field {
                    label for="name" { "Name" }
                    input #name type="text" name="name" autocomplete="username" required autofocus
                        aria-describedby=[described];
                }
                div.field {
                    label for="password" { "Password" }
                    input #password type="password" name="password" autocomplete="current-password"
                        required aria-describedby=[described];
                }
                button type="submit" { "Sign in" }
            }
        },
    )
}

pub(crate) fn join(staff: &Staff, invitation: &str, fault: Option<&str>) -> Markup {
    let described = if fault.is_some() { "fault rule" } else { "rule" };
    outside(
        "Set your password",
        &html! {
            h1 { "Welcome, " (staff.name) }
            p { "Set the password that you will sign in with." }
            (alert(fault))
            form.card method="post" action=(format!("/desk/join/{invitation}")) {
                div.field {
                    label for="name" { "Name" }
                    input #name type="text" name="name" value=(staff.name) autocomplete="username"
                        readonly;
                }
                div.field {
                    label for="password" { "Password" }
                    p.hint #rule { "12 characters or more, without your name in it" }
                    input #password type="password" name="password" autocomplete="new-password"
                        required autofocus aria-describedby=(described);
                }
                div.field {
                    label for="again" { "The same password again" }
                    input #again type="password" name="again" autocomplete="new-password" required;
                }
                button type="submit" { "Set the password" }
            }
        },
    )
}

/// What went wrong, and the way back.
pub(crate) fn problem(problem: &Problem) -> Markup {
    let document = problem.document();
    let said_below = document.errors.iter().any(|fault| fault.detail == document.detail);
    outside(
        document.title,
        &html! {
            h1 { (document.title) }
            div.alert role="alert" {
                @if !said_below { p { (document.detail) } }
                @if !document.errors.is_empty() {
                    ul {
                        @for fault in document.errors {
                            li { (label(&fault.pointer)) ": " (fault.detail) }
                        }
                    }
                }
                @if let Some(id) = document.id { p { "Id for the server’s log: " (id) } }
            }
            p { a.button href="/desk" { "Back to the desk" } }
        },
    )
}

/// What the forms call a field of the API.
fn label(pointer: &str) -> &str {
    match pointer.trim_start_matches('/') {
        "patient_ref" => "Patient",
        "protocol" => "Treatment",
        "completed_at" => "Ended at",
        "areas" => "Treated",
        "next_session_at" => "Next session",
        other => other,
    }
}
