//! The page that a patient takes home: right in every language, for nobody else, one sheet of paper.

use std::path::Path;

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::chromium;
use crate::http::{Answer, Body};
use crate::stage::Stage;

const LANGUAGES: [&str; 4] = ["en", "es", "pt", "fr"];

impl Stage {
    async fn print(&self, treated: &Value, query: &str) -> Answer {
        let id = treated["treatment"]["id"].as_str().unwrap();
        self.clinic("GET", &format!("/v1/treatments/{id}/handout{query}"), Body::None).await
    }

    /// The page, once it is one.
    async fn handout(&self, treated: &Value, query: &str) -> String {
        let answer = self.print(treated, query).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    fn has_a_number(&self) {
        self.bed.execute("UPDATE clinics SET contact_phone = '+351 210 000 000'");
    }
}

/// The invitation on a page.
fn invitation(page: &str) -> Option<&str> {
    let (_, code) = page.split_once("<code>")?;
    Some(code.split_once("</code>").unwrap().0)
}

/// Compares a page with the one that was looked at, or writes it anew with `UPDATE_GOLDEN=1`.
fn is_as_before(language: &str, page: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let file = folder.join(format!("handout-{language}.html"));
    let page = page.replace("><", ">\n<") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&file, &page).unwrap();
    }
    assert_eq!(page, std::fs::read_to_string(&file).unwrap(), "{}", file.display());
}

async fn every_rule_stands_there_with_its_hour(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.has_a_number();
    let treated = stage.treated("ana").await;
    for language in LANGUAGES {
        let page = stage.handout(&treated, &format!("?lang={language}")).await;
        is_as_before(language, &page);
        assert_eq!(invitation(&page), None, "a phone is reached");
    }
    let english = stage.handout(&treated, "").await;
    for said in [
        "No makeup until Monday 23 November 15:40.",
        "Do not wash your face until midnight on Sunday 22 November.",
        "Not booked yet; from Tuesday 22 December.",
        "+351 210 000 000",
        "Draft: nobody at the clinic has reviewed these texts yet.",
        "not a medical device",
    ] {
        assert!(english.contains(said), "{said}: {english}");
    }
    // The nearest language that the protocol has, else its first.
    assert!(
        stage.handout(&treated, "?lang=pt-BR").await.contains("<html lang=\"pt\" dir=\"ltr\">")
    );
    assert!(stage.handout(&treated, "?lang=ar").await.contains("<html lang=\"en\" dir=\"ltr\">"));
    let notes = stage.bed.query("SELECT count(*) FROM audit WHERE action = 'handout.read'");
    assert_eq!(notes, ["7"]);
}

async fn what_is_corrected_or_booked_is_printed_so(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    let id = treated["treatment"]["id"].as_str().unwrap();
    let corrected = json!({
        "completed_at": "2026-11-22T15:10:00Z", "areas": ["scalp"],
        "next_session_at": "2026-12-23T10:30:00Z",
    });
    let path = format!("/v1/treatments/{id}");
    let amended = stage.clinic("PATCH", &path, Body::Json(&corrected)).await.expect(200);
    let page = stage.handout(&treated, "").await;
    for held in amended["restrictions"].as_array().unwrap() {
        assert_ne!(held["rule"], "no-makeup");
    }
    assert!(!page.contains("makeup") && page.contains("scalp"), "{page}");
    assert!(page.contains("No sweating until Tuesday 24 November 15:10:"), "{page}");
    assert!(page.contains("Wednesday 23 December 2026 10:30"), "{page}");
    stage.void(&treated).await.expect(200);
    stage.print(&treated, "").await.problem(409, "treatment-voided");
    stage.print(&json!({"treatment": {"id": "x"}}), "").await.problem(404, "not-found");
    stage.print(&treated, "?lang=english!&enrol=1").await.problem(422, "invalid-fields");
}

async fn all_hours_are_those_of_the_place_where_it_is_printed(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    assert!(!stage.handout(&treated, "").await.contains("All hours"), "nothing to tell apart");
    // She lives in New York, where it is five hours earlier.
    let ana = stage.app("ana", "tablet").await;
    let mut far = crate::stage::device("tablet");
    far["time_zone"] = json!("America/New_York");
    stage.bed.clock.advance(jiff::SignedDuration::from_mins(1));
    stage.register(&ana, "tablet", &far).await.expect(204);
    let page = stage.handout(&treated, "?enrol=true").await;
    for said in [
        "Sunday 22 November 2026 15:40",
        "All hours on this page are those of Lisbon (Europe/Lisbon).",
        "No makeup until Monday 23 November 15:40.",
        "until midnight on Sunday 22 November.",
        "until Wednesday 25 November 2026 15:41",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let french = stage.handout(&treated, "?lang=fr").await;
    assert!(french.contains("sont celles de Lisbon (Europe/Lisbon)."), "{french}");
}

async fn whoever_is_not_reached_is_invited(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let treated = stage.session_done("visit-1", "ana").await;
    assert_eq!(invitation(&stage.handout(&treated, "?enrol=false").await), None);
    let page = stage.handout(&treated, "").await;
    assert!(page.contains("<svg ") && page.contains("until Wednesday 25 November 2026 15:40"));
    let url = invitation(&page).unwrap().to_owned();
    assert_ne!(invitation(&stage.handout(&treated, "").await), Some(url.as_str()), "a fresh one");
    let (_, code) = url.split_once("/enrol#").unwrap();
    let body = json!({"code": code, "installation_id": "ana"});
    let redeem = "/v1/enrolments/redeem";
    let tokens = stage.http.call("POST", redeem, None, Body::Json(&body)).await.expect(200);
    let token = tokens["access_token"].as_str().unwrap();
    stage.register(token, "ana", &crate::stage::device("ana")).await.expect(204);
    assert_eq!(invitation(&stage.handout(&treated, "").await), None);
    assert!(invitation(&stage.handout(&treated, "?enrol=true").await).is_some());
}

async fn nothing_that_is_put_into_a_page_is_markup(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.bed.execute("UPDATE clinics SET display_name = '<img src=x onerror=alert(1)> & \"Co\"'");
    let reference = "<script>alert(1)</script>";
    let event = json!({
        "event_id": "visit-1", "patient": {"ref": reference}, "protocol": "microneedling",
        "completed_at": stage.now().to_string(),
    });
    let treated = stage.post(&event).await.expect(201);
    let answer = stage.print(&treated, "").await;
    let page = answer.text();
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt; &amp; &quot;Co&quot;"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");

    let (_, style) = page.split_once("<style>").unwrap();
    let (style, _) = style.split_once("</style>").unwrap();
    let hash = STANDARD.encode(digest(&SHA256, style.as_bytes())).to_lowercase();
    let policy = answer.header("content-security-policy").unwrap();
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'"
        )
    );
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

on_both_engines!(
    every_rule_stands_there_with_its_hour,
    what_is_corrected_or_booked_is_printed_so,
    all_hours_are_those_of_the_place_where_it_is_printed,
    whoever_is_not_reached_is_invited,
    nothing_that_is_put_into_a_page_is_markup,
);

/// The fullest page there is: the invitation, a number, a draft, everything treated.
#[tokio::test]
async fn in_every_language_it_is_one_sheet_of_paper() {
    if !chromium::is_installed() {
        return;
    }
    let stage = Stage::set(Bed::sqlite().await).await;
    stage.has_a_number();
    stage.patient("ana").await;
    let mut event = crate::stage::done("visit-1", "ana", stage.now());
    event["areas"] = json!(["face", "neck", "chest", "scalp"]);
    let treated = stage.post(&event).await.expect(201);
    for language in LANGUAGES {
        let page = stage.handout(&treated, &format!("?lang={language}")).await;
        assert_eq!(chromium::sheets(stage.bed.folder(), language, &page), 1, "{language}");
    }
    let long = stage.handout(&treated, "").await.replace("</main>", &"<p>More.</p>".repeat(60));
    assert!(chromium::sheets(stage.bed.folder(), "long", &long) > 1, "sheets are counted");
}
