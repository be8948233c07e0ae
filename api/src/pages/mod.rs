//! Pages for people: rendered here, whole, without scripts and without anything from elsewhere.
//!
//! `maud` escapes whatever is put into a page; markup comes from these files alone.

pub(crate) mod desk;
mod front;
mod handout;
mod qr;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::Markup;

pub(crate) use front::{enrol, root};
pub(crate) use handout::handout;

/// What the browser may do for a page, beside showing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scripts {
    /// Nothing.
    None,
    /// Run this server's own scripts, which may ask this server.
    Own,
}

/// A page whose only style is `style`, which the policy names by its hash.
pub(crate) fn answer(
    status: StatusCode,
    style: &str,
    scripts: Scripts,
    page: Markup,
) -> HttpResponse {
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes()));
    let scripts = match scripts {
        Scripts::None => "",
        Scripts::Own => " script-src 'self'; connect-src 'self';",
    };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}';{scripts} form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .body(page.into_string())
}
