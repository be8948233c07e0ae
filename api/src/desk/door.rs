//! Coming in and going out: invitations, passwords, sign-in, sign-out.

use actix_web::http::StatusCode;
use actix_web::http::header::SET_COOKIE;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, get, post};
use aftercare::store::Staff;
use secrecy::{ExposeSecret as _, SecretString};

use super::session::{Offered, Posted, clear_cookie, set_cookie};
use super::{Answer, Refused, failed, page, see};
use crate::auth;
use crate::pages::desk as pages;
use crate::problem::{Code, Problem};
use crate::state::Api;

/// Characters of a password at least, and at most.
const PASSWORD: std::ops::RangeInclusive<usize> = 12..=128;

/// Shorter names are part of many a word, and of passwords that nobody guesses by them.
const SHORT_NAME: usize = 4;

/// Where a form leads that nobody is signed in for any more.
pub(super) const LOST: &str = "/desk/sign-in?lost";

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(show_sign_in)
        .service(sign_in)
        .service(sign_out)
        .service(show_invitation)
        .service(accept_invitation);
}

#[get("/desk/sign-in")]
async fn show_sign_in(request: HttpRequest) -> Answer {
    let lost = LOST.split_once('?').is_some_and(|(_, query)| query == request.query_string());
    let said =
        "You were signed out meanwhile. What you sent was not kept: sign in and do it again.";
    Ok(page(StatusCode::OK, pages::sign_in(lost.then_some(said))))
}

#[post("/desk/sign-in")]
async fn sign_in(api: Data<Api>, request: HttpRequest, offered: Offered) -> Answer {
    let address = api.client(&request);
    api.limiter.may_try(address)?;
    let name = offered.form.get("name").to_owned();
    let known = api.store.read(move |tx| tx.staff_by_name(&name)).await.map_err(failed)?;
    let hash = known.as_ref().and_then(|staff| staff.password_hash.clone());
    let turn = api.hasher.turn(address).await.ok_or_else(Problem::unavailable)?;
    // Those who waited before this one may have spent the address's failures.
    api.limiter.may_try(address)?;
    let shown = offered.form.secret("password");
    let matches = api.hasher.matches(turn, shown, hash.into_iter().collect()).await;
    let matches = matches.map_err(|error| Problem::internal(&error))?.is_some();
    let Some(staff) = known.filter(|_| matches) else {
        api.limiter.failed(address)?;
        let said = "The name or the password is not right.";
        return Ok(page(StatusCode::UNAUTHORIZED, pages::sign_in(Some(said))));
    };
    welcome(&api, staff).await
}

/// Opens a sign-in and shows the desk.
async fn welcome(api: &Api, staff: Staff) -> Answer {
    let token = api.store.write(move |tx| auth::sign_in_staff(tx, &staff)).await;
    let token = token.map_err(failed)?;
    let mut response = see("/desk");
    set(&mut response, &set_cookie(api, &token));
    Ok(response)
}

fn set(response: &mut HttpResponse, cookie: &str) {
    if let Ok(value) = cookie.parse() {
        response.headers_mut().insert(SET_COOKIE, value);
    }
}

#[post("/desk/sign-out")]
async fn sign_out(api: Data<Api>, posted: Posted) -> Answer {
    let id = posted.auth.session;
    api.store.write(move |tx| tx.end_staff_session(id)).await.map_err(failed)?;
    let mut response = see("/desk/sign-in");
    set(&mut response, &clear_cookie(&api));
    Ok(response)
}

#[get("/desk/join/{invitation}")]
async fn show_invitation(api: Data<Api>, request: HttpRequest, invitation: Path<String>) -> Answer {
    let invitation = SecretString::from(invitation.into_inner());
    let staff = invited(&api, &request, invitation.clone()).await?;
    Ok(page(StatusCode::OK, pages::join(&staff, invitation.expose_secret(), None)))
}

/// Whose invitation it is; guessing counts as a failure of the address.
async fn invited(
    api: &Api,
    request: &HttpRequest,
    invitation: SecretString,
) -> Result<Staff, Refused> {
    let address = api.client(request);
    api.limiter.may_try(address)?;
    let known = api.store.read(move |tx| tx.staff_by_invitation(&invitation)).await;
    let Some(staff) = known.map_err(failed)? else {
        api.limiter.failed(address)?;
        return Err(spent());
    };
    Ok(staff)
}

fn spent() -> Refused {
    let detail = "This invitation was used or is too old; ask whoever runs the server for another";
    Problem::new(Code::NotFound, detail).into()
}

#[post("/desk/join/{invitation}")]
async fn accept_invitation(
    api: Data<Api>,
    request: HttpRequest,
    invitation: Path<String>,
    offered: Offered,
) -> Answer {
    let invitation = SecretString::from(invitation.into_inner());
    let staff = invited(&api, &request, invitation.clone()).await?;
    let password = offered.form.secret("password");
    if let Some(fault) = fault_of(&password, &offered.form.secret("again"), &staff.name) {
        let markup = pages::join(&staff, invitation.expose_secret(), Some(fault));
        return Ok(page(StatusCode::UNPROCESSABLE_ENTITY, markup));
    }
    let turn = api.hasher.turn(api.client(&request)).await.ok_or_else(Problem::unavailable)?;
    let hash = api.hasher.hash(turn, api.env().clone(), password).await;
    let hash = hash.map_err(|error| Problem::internal(&error))?;
    let accepted = api.store.write(move |tx| tx.spend_staff_invitation(&invitation, &hash)).await;
    let staff = accepted.map_err(failed)?.ok_or_else(spent)?;
    welcome(&api, staff).await
}

fn fault_of(password: &SecretString, again: &SecretString, name: &str) -> Option<&'static str> {
    let password = password.expose_secret();
    if !PASSWORD.contains(&password.chars().count()) {
        return Some("The password must have 12 to 128 characters.");
    }
    let told = name.chars().count() >= SHORT_NAME
        && password.to_lowercase().contains(&name.to_lowercase());
    if told {
        return Some("The password must not have your name in it.");
    }
    (password != again.expose_secret()).then_some("The two passwords are not the same.")
}
