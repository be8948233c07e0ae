//! Nobody else works at this desk: every page of it against every caller who has no business there.
//!
//! The pages are no part of the OpenAPI document, so they are read off the code that serves them: a new
//! one is attacked without a change here, or the test fails until somebody teaches it how.

use std::path::Path;

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::Value;

use super::browser::{Browser, PASSWORD};
use crate::http::{Answer, Body};
use crate::stage::Stage;

/// What is open to whoever has no sign-in yet.
const DOOR: [&str; 4] = ["/desk/", "/desk/sign-in", "/desk/join/{invitation}", "/desk/live.js"];
/// What leads to the first page, which asks for a sign-in itself.
const HOME: [&str; 3] = ["GET /desk/record", "GET /desk/undo", "GET /desk/invite"];
/// Where everybody has a name space of their own: another's name is a fresh one here.
const OWN_NAMES: [&str; 1] = ["POST /desk/patient"];

/// The pages of the code: method and path.
fn pages() -> Vec<(&'static str, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/src/desk");
    let mut pages = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let code = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for (mark, method) in [("#[get(\"", "GET"), ("#[post(\"", "POST")] {
            let paths = code.split(mark).skip(1).map(|rest| rest.split_once('"').unwrap().0);
            pages.extend(paths.map(|path| (method, path.to_owned())));
        }
    }
    pages.retain(|(_, path)| !DOOR.contains(&path.as_str()));
    pages.retain(|(method, path)| !HOME.contains(&format!("{method} {path}").as_str()));
    // Whoever signs out is out: that comes last.
    pages.sort_by_key(|(method, path)| (path == "/desk/sign-out", *method, path.clone()));
    pages
}

/// Somebody's objects, as a page names them.
struct Target {
    reference: String,
    treatment: String,
}

impl Target {
    fn nobody(n: usize) -> Self {
        let treatment = format!("01a0c8e2-7a2c-7d10-8f01-3c5d1b2a{n:04}");
        Self { reference: format!("nobody-{n}"), treatment }
    }

    fn fields(&self, path: &str) -> Vec<(&'static str, &str)> {
        match path {
            "/desk" | "/desk/sign-out" => Vec::new(),
            "/desk/patient" | "/desk/invite" | "/desk/test-push" => vec![("ref", &self.reference)],
            "/desk/treatment" | "/desk/handout" | "/desk/undo" => vec![("id", &self.treatment)],
            "/desk/record" => vec![
                ("ref", &self.reference),
                ("protocol", "microneedling"),
                ("event", "isolated"),
                ("area", "face"),
            ],
            other => panic!("teach the matrix to fill {other}"),
        }
    }

    async fn ask(&self, who: &Browser, (method, path): (&str, &str), token: &str) -> Answer {
        let mut fields = self.fields(path);
        if method == "GET" {
            let query: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            return who.get(&format!("{path}?{}", query.join("&"))).await;
        }
        fields.push(("csrf", token));
        who.post(path, &fields).await
    }
}

/// An answer without what differs by itself.
fn told(answer: &Answer, of: &Target) -> (u16, String) {
    let text = answer.text().replace(&of.reference, "…").replace(&of.treatment, "…");
    (answer.status, text)
}

async fn every_page_is_its_clinics_own(bed: Bed) {
    let stage = Stage::set(bed).await;
    let other = stage.make_clinic().await;
    let (maria, gone) = (stage.at_the_desk("Maria").await, stage.at_the_desk("Gone").await);
    let eva = stage.at_the_desk_of(&other, "Eva").await;
    let (marias, evas) = (maria.token().await, eva.token().await);
    assert_eq!(gone.submit(&gone.page("/desk").await, "/desk/sign-out", &[]).await.status, 303);
    let patients_token = {
        stage.patient("rui").await;
        stage.phone("rui", "rui").await
    };
    let pages = pages();
    assert!(pages.len() >= 9, "{pages:?}");
    for (n, (method, path)) in pages.iter().enumerate() {
        let page = (*method, path.as_str());
        let reference = format!("victim-{n}");
        let treated = stage.treated(&reference).await;
        let treatment = treated["treatment"]["id"].as_str().unwrap().to_owned();
        if page == ("GET", "/desk/test-push") {
            let path = format!("/v1/patients/{reference}/test-push");
            stage.clinic("POST", &path, Body::None).await.expect(201);
        }
        let (victim, nobody) = (Target { reference, treatment }, Target::nobody(n));
        let before = seen(&stage, &victim).await;

        for cookie in ["", "acd_forged", &gone.cookie, &stage.clinic_token().await, &patients_token]
        {
            let stranger = Browser { http: stage.http, cookie: cookie.to_owned() };
            let answer = victim.ask(&stranger, page, &marias).await;
            let to = answer.header("location");
            let door = if *method == "POST" { "/desk/sign-in?lost" } else { "/desk/sign-in" };
            assert_eq!((answer.status, to), (303, Some(door)), "{page:?} {cookie}");
        }
        if path == "/desk/sign-out" {
            // It names nobody but who sends it.
            foreign(&stage, &victim, path, [(&maria, &evas), (&eva, &marias)]).await;
            continue;
        }
        let theirs = victim.ask(&eva, page, &evas).await;
        let nobodys = nobody.ask(&eva, page, &evas).await;
        assert!(
            OWN_NAMES.contains(&format!("{method} {path}").as_str())
                || victim.fields(path).is_empty()
                || theirs.status >= 400,
            "another clinic's people got {theirs:?} of {page:?}"
        );
        assert_eq!(told(&theirs, &victim), told(&nobodys, &nobody), "{page:?}");
        let text = theirs.text();
        assert!(!text.contains(&victim.reference) || path == "/desk/patient", "{page:?}: {text}");
        assert_eq!(seen(&stage, &victim).await, before, "{page:?} changed something");

        if *method == "POST" {
            foreign(&stage, &victim, path, [(&maria, &evas), (&eva, &marias)]).await;
            assert_eq!(seen(&stage, &victim).await, before, "{page:?} changed something");
        }
        let own = victim.ask(&maria, page, &marias).await;
        assert!(matches!(own.status, 200 | 303), "its own people got {own:?} of {page:?}");
        assert_ne!(own.header("location"), Some("/desk/sign-in"), "{page:?}");
    }
}

/// What the clinic sees of somebody.
async fn seen(stage: &Stage, of: &Target) -> Value {
    let path = format!("/v1/treatments/{}", of.treatment);
    stage.clinic("GET", &path, Body::None).await.expect(200)
}

/// A form that no page of this sign-in showed does nothing, whatever it says.
async fn foreign(stage: &Stage, of: &Target, path: &str, crossed: [(&Browser, &String); 2]) {
    for (browser, token) in crossed {
        assert_eq!(of.ask(browser, ("POST", path), token).await.status, 403, "{path}");
        assert_eq!(of.ask(browser, ("POST", path), "").await.status, 403, "{path}");
        let fields = of.fields(path);
        let own = browser.token().await;
        let with_token: Vec<_> = fields.into_iter().chain([("csrf", own.as_str())]).collect();
        for origin in ["http://evil.example", "null", "", &format!("https://{}", stage.http.0)] {
            let answer = browser.post_from(origin, path, &with_token).await;
            assert_eq!(answer.status, 403, "{path} from {origin}");
        }
    }
}

async fn a_sign_in_from_elsewhere_is_refused(bed: Bed) {
    let stage = Stage::set(bed).await;
    let maria = stage.at_the_desk("Maria").await;
    let sign_in = [("name", "Maria"), ("password", PASSWORD)];
    let answer = maria.post_from("http://evil.example", "/desk/sign-in", &sign_in).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (403, None));
    // The cookie opens no API; every operation is asked in the API's own matrix.
    maria.get("/v1/treatments").await.problem(401, "missing-token");
    let token = stage.clinic_token().await;
    let desk = stage.http.call("GET", "/desk", Some(&token), Body::None).await;
    assert_eq!(desk.header("location"), Some("/desk/sign-in"));
}

on_both_engines!(every_page_is_its_clinics_own, a_sign_in_from_elsewhere_is_refused);
