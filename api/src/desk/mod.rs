//! The desk: pages on which the people of a clinic record a session and hand out invitations.
//!
//! Everything is rendered here and works without scripts. Somebody at the desk is signed in by a cookie
//! that no other part of the server takes; each form carries a token bound to that sign-in, and must
//! come from a page of this server. What is done runs through the same units of work as the API, and
//! the audit trail names the person by their opaque id.

mod door;
mod session;
mod test_push;
mod work;

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, REFERRER_POLICY};
use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, ResponseError};
use aftercare::care::UndoError;
use aftercare::store::StoreError;
use maud::Markup;

use crate::pages::{self, Scripts};
use crate::problem::{Code, Problem};

pub(crate) fn routes(config: &mut ServiceConfig) {
    door::routes(config);
    work::routes(config);
    test_push::routes(config);
}

/// Why a page is not shown.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nobody is signed in.
    SignIn,
    /// Nobody is signed in any more who could have sent this: it is lost, and that must be said.
    Lost,
    /// Anything else, said on a page.
    Problem(Problem),
}

impl Refused {
    /// What a form is refused with.
    fn or_lost(self) -> Self {
        if matches!(self, Self::SignIn) { Self::Lost } else { self }
    }
}

impl<E: Into<Problem>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

impl From<UndoError> for Problem {
    fn from(error: UndoError) -> Self {
        match error {
            UndoError::TooLate => Self::new(
                Code::UndoTooLate,
                "A treatment can be undone for 15 minutes; now only the clinic's software can void it",
            ),
            UndoError::Store(error) => error.into(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignIn | Self::Lost => f.write_str("sign-in"),
            Self::Problem(problem) => problem.fmt(f),
        }
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignIn | Self::Lost => StatusCode::SEE_OTHER,
            Self::Problem(problem) => problem.code().status(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::SignIn => see("/desk/sign-in"),
            Self::Lost => see(door::LOST),
            Self::Problem(problem) => {
                let mut response = page(self.status_code(), pages::desk::problem(problem));
                if let Some((name, value)) = problem.header() {
                    response.headers_mut().insert(name, value);
                }
                response
            }
        }
    }
}

type Answer = Result<HttpResponse, Refused>;

/// A page of the desk.
fn page(status: StatusCode, markup: Markup) -> HttpResponse {
    dressed(status, Scripts::None, markup)
}

/// Its forms tell where they come from, to this server alone.
fn dressed(status: StatusCode, scripts: Scripts, markup: Markup) -> HttpResponse {
    let mut response = pages::answer(status, pages::desk::STYLE, scripts, markup);
    let same_origin = actix_web::http::header::HeaderValue::from_static("same-origin");
    response.headers_mut().insert(REFERRER_POLICY, same_origin);
    response
}

/// Sends the browser on with a GET.
fn see(path: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, path)).finish()
}

/// The database's errors, where a unit of work has none of its own.
fn failed(error: StoreError) -> Refused {
    error.into()
}
