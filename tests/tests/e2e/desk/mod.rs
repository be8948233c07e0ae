//! The desk: who gets in and for how long, what is done there, and that it is done by somebody.

mod apart;
pub(crate) mod browser;
mod keyboard;

use aftercare_api::{add_staff, remove_staff, staff};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::http::Body;
use crate::stage::{Stage, device};
use browser::{Browser, PASSWORD, microneedling, treatment_of};

async fn an_invitation_lets_one_person_in_once(bed: Bed) {
    let stage = Stage::set(bed).await;
    let clinic = stage.clinic.clinic_id;
    let added = add_staff(&stage.bed.store, clinic, "Maria Lopes").await.unwrap();
    let taken = add_staff(&stage.bed.store, clinic, "maria lopes").await.unwrap_err();
    assert!(taken.to_string().contains("choose another"), "{taken}");
    assert!(add_staff(&stage.bed.store, clinic, " x ").await.is_err());
    let path = format!("/desk/join/{}", added.invitation.expose_secret());
    let browser = Browser::new(stage.http);
    // Before there is a password, none is right.
    assert_eq!(Browser::sign_in(stage.http, "Maria Lopes", "").await.status, 401);
    for (password, again, said) in [
        ("short", "short", "12 to 128 characters"),
        ("maria lopes 1234", "maria lopes 1234", "your name"),
        (PASSWORD, "something else", "not the same"),
    ] {
        let answer = browser.post(&path, &[("password", password), ("again", again)]).await;
        assert!(answer.status == 422 && answer.text().contains(said), "{}", answer.text());
    }
    let maria = stage.join(added.invitation.expose_secret()).await;
    assert!(maria.page("/desk").await.contains("Maria Lopes"));
    assert_eq!(browser.get(&path).await.status, 404, "used");
    let again = browser.post(&path, &[("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(again.status, 404);

    let late = add_staff(&stage.bed.store, clinic, "Late").await.unwrap();
    stage.set_clock("2026-11-25T15:40:00Z");
    let path = format!("/desk/join/{}", late.invitation.expose_secret());
    assert_eq!(browser.get(&path).await.status, 404, "72 hours are over");
    let listed = staff(&stage.bed.store, clinic).await.unwrap();
    let names: Vec<_> = listed.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["Late", "Maria Lopes"]);
}

async fn a_sign_in_ends_when_it_should(bed: Bed) {
    let stage = Stage::set(bed).await;
    let maria = stage.at_the_desk("Maria").await;
    let wrong = Browser::sign_in(stage.http, "Maria", "correct horse").await;
    assert!(wrong.status == 401 && wrong.header("set-cookie").is_none());
    let unknown = Browser::sign_in(stage.http, "Nobody", PASSWORD).await;
    assert_eq!((unknown.status, unknown.text()), (401, wrong.text()), "told alike");
    let other = Browser::sign_in(stage.http, "MARIA", PASSWORD).await;
    let other = Browser::new(stage.http).entered(&other);

    // Whoever sends a form too late is told that it was lost.
    let door = Browser::new(stage.http).page("/desk/sign-in?lost").await;
    assert!(door.contains("What you sent was not kept"), "{door}");
    // Signing out ends one, and only one.
    let answer = other.submit(&other.page("/desk").await, "/desk/sign-out", &[]).await;
    assert_eq!(answer.header("location"), Some("/desk/sign-in"));
    assert!(answer.header("set-cookie").unwrap().contains("max-age=0"));
    assert!(other.is_out().await && !maria.is_out().await);

    // An hour after its last use it is over.
    stage.set_clock("2026-11-22T16:39:59Z");
    assert!(!maria.is_out().await);
    stage.set_clock("2026-11-22T17:39:58Z");
    assert!(!maria.is_out().await, "the use before counted");
    stage.set_clock("2026-11-22T18:39:58Z");
    assert!(maria.is_out().await);

    // Twelve hours after it began it is over, however busy.
    let answer = Browser::sign_in(stage.http, "Maria", PASSWORD).await;
    let busy = Browser::new(stage.http).entered(&answer);
    for half_hours in 1..24 {
        let began: jiff::Timestamp = "2026-11-22T18:39:58Z".parse().unwrap();
        let now = began + jiff::SignedDuration::from_mins(30 * half_hours);
        stage.set_clock(&now.to_string());
        assert!(!busy.is_out().await, "{now}");
    }
    stage.set_clock("2026-11-23T06:39:58Z");
    assert!(busy.is_out().await);

    // Whoever is removed is out, and forgotten.
    let answer = Browser::sign_in(stage.http, "Maria", PASSWORD).await;
    let last = Browser::new(stage.http).entered(&answer);
    let clinic = stage.clinic.clinic_id;
    let id = staff(&stage.bed.store, clinic).await.unwrap()[0].id;
    remove_staff(&stage.bed.store, clinic, id).await.unwrap();
    assert!(last.is_out().await);
    assert!(remove_staff(&stage.bed.store, clinic, id).await.is_err());
    assert_eq!(stage.bed.query("SELECT count(*) FROM staff_sessions"), ["0"]);
    assert_eq!(Browser::sign_in(stage.http, "Maria", PASSWORD).await.status, 401);
}

async fn a_session_is_recorded_shown_and_undone(bed: Bed) {
    let stage = Stage::set(bed).await;
    let maria = stage.at_the_desk("Maria").await;
    let unknown = maria.get("/desk/patient?ref=p-7").await;
    assert_eq!(unknown.status, 404);
    let added = maria.submit(&unknown.text(), "/desk/patient", &[("locale", "pt")]).await;
    assert_eq!(added.header("location"), Some("/desk/patient?ref=p-7"));
    let patient = maria.page("/desk/patient?ref=p-7").await;
    assert!(patient.contains("No phone is enrolled."), "{patient}");

    let filled = [("area", "face"), ("area", "scalp"), ("completed", "2026-11-22T15:30")];
    let recorded =
        treatment_of(&maria.submit(microneedling(&patient), "/desk/record", &filled).await);
    let again = treatment_of(&maria.submit(microneedling(&patient), "/desk/record", &filled).await);
    assert_eq!(recorded, again, "a form that is sent twice records once");
    let path = format!("/v1/treatments/{recorded}");
    let seen = stage.clinic("GET", &path, Body::None).await.expect(200);
    assert_eq!(seen["treatment"]["completed_at"], "2026-11-22T15:30:00Z");
    assert_eq!(seen["treatment"]["areas"], json!(["face", "scalp"]));
    assert_eq!(seen["treatment"]["patient_ref"], "p-7");

    // The code on the page enrols the phone; then none is shown any more.
    let path = format!("/desk/treatment?id={recorded}");
    let page = maria.page(&path).await;
    let (_, url) = page.split_once("<code>").unwrap();
    let (_, code) = url.split_once("</code>").unwrap().0.split_once("/enrol#").unwrap();
    let body = json!({"code": code, "installation_id": "p-7"});
    let redeem = "/v1/enrolments/redeem";
    let tokens = stage.http.call("POST", redeem, None, Body::Json(&body)).await.expect(200);
    let token = tokens["access_token"].as_str().unwrap();
    stage.register(token, "p-7", &device("p-7")).await.expect(204);
    assert!(!maria.page(&path).await.contains("<svg"));
    assert!(maria.page("/desk/patient?ref=p-7").await.contains("Reminders reach"));
    let handout = maria.page(&format!("/desk/handout?id={recorded}")).await;
    assert!(handout.contains("<html lang=\"en\""), "in the phone's language: {handout}");
    let invited = maria.submit(&patient, "/desk/invite", &[]).await;
    assert!(invited.status == 200 && invited.text().contains("<svg"));

    // A quarter of an hour to undo, and no longer.
    let late = maria
        .submit(
            microneedling(&patient),
            "/desk/record",
            &[("area", "face"), ("completed", "2026-11-22T15:35")],
        )
        .await;
    assert_eq!(late.status, 409, "the same form with another content: {}", late.text());
    stage.set_clock("2026-11-22T15:54:59Z");
    let page = maria.page(&path).await;
    assert_eq!(maria.submit(&page, "/desk/undo", &[]).await.status, 303);
    let reloaded = maria.get("/desk/undo").await;
    assert_eq!((reloaded.status, reloaded.header("location")), (303, Some("/desk")));
    assert!(maria.page(&path).await.contains("Undone"));
    let patient = maria.page("/desk/patient?ref=p-7").await;
    let filled = [("area", "neck"), ("next", "2026-12-23T11:00")];
    let (second, twin) = tokio::join!(
        maria.submit(microneedling(&patient), "/desk/record", &filled),
        maria.submit(microneedling(&patient), "/desk/record", &filled),
    );
    let second = treatment_of(&second);
    assert_eq!(second, treatment_of(&twin), "a double click records once");
    stage.set_clock("2026-11-22T15:55:05Z");
    let other = [("area", "face")];
    let other = maria.submit(microneedling(&patient), "/desk/record", &other).await;
    assert_eq!(other.status, 409, "what was changed meanwhile is not dropped silently");
    let again = treatment_of(&maria.submit(microneedling(&patient), "/desk/record", &filled).await);
    assert_eq!(second, again, "the second \"just now\" is the first");
    let path = format!("/v1/treatments/{second}");
    let seen = stage.clinic("GET", &path, Body::None).await.expect(200);
    assert_eq!(seen["treatment"]["completed_at"], "2026-11-22T15:54:59Z");
    assert_eq!(seen["treatment"]["next_session_at"], "2026-12-23T11:00:00Z");
    let path = format!("/desk/treatment?id={second}");
    let page = maria.page(&path).await;
    stage.set_clock("2026-11-22T16:09:59Z");
    assert_eq!(maria.submit(&page, "/desk/undo", &[]).await.status, 409);
    assert!(!maria.page(&path).await.contains("/desk/undo"));
    stage.play("2026-11-22T21:30:00Z").await;
    assert_eq!(stage.diary("p-7").len(), 2, "what was not undone is sent");
}

async fn the_desk_offers_what_the_clinic_has(bed: Bed) {
    let stage = Stage::set(bed).await;
    let maria = stage.at_the_desk("Maria").await;
    stage.treated("ana").await;
    let path = "/v1/protocols/microneedling";
    let mut own = stage.clinic("GET", path, Body::None).await.expect(200);
    own.as_object_mut().unwrap().remove("version");
    own["reviewed_by"] = json!("Dr. M. Sousa");
    own["title"]["en"] = json!("Dermapen <deluxe>");
    own["areas"].as_array_mut().unwrap().push(json!("stretch-marks"));
    stage.clinic("PUT", path, Body::Json(&own)).await.expect(201);

    let page = maria.page("/desk/patient?ref=ana").await;
    assert!(page.contains("Dermapen &lt;deluxe&gt; done"), "{page}");
    assert!(page.contains("Chemical peel done"), "{page}");
    let first = page.split_once("<summary>").unwrap().1;
    assert!(first.starts_with("Dermapen"), "what was used last comes first: {first}");
    let filled = [("area", "stretch-marks")];
    let recorded = maria.submit(microneedling(&page), "/desk/record", &filled).await;
    let recorded = treatment_of(&recorded);
    let page = maria.page(&format!("/desk/treatment?id={recorded}")).await;
    assert!(page.contains("Stretch marks") && page.contains("Reminders reach"), "{page}");
    stage.set_clock("2026-11-22T15:40:01Z");
    let peel = maria.page("/desk/patient?ref=ana").await;
    let peel = peel.split_once("id=\"chemical-peel\"").unwrap().1;
    assert!(peel.contains("draft, not reviewed"), "{peel}");
    let peeled = treatment_of(&maria.submit(peel, "/desk/record", &[("area", "face")]).await);
    let home = maria.page("/desk").await;
    let (last, before) = (home.find(&peeled).unwrap(), home.find(&recorded).unwrap());
    assert!(last < before, "the last recorded comes first: {home}");

    // Who hears nothing is told, with the reason.
    assert!(home.contains("Everybody with something due is reached by a phone."));
    stage.bed.execute("UPDATE devices SET notifications_enabled = FALSE");
    for path in ["/desk", "/desk/patient?ref=ana", &format!("/desk/treatment?id={peeled}")] {
        let page = maria.page(path).await;
        assert!(page.contains("Notifications are off on the phone."), "{path}: {page}");
    }
    stage.bed.execute("UPDATE devices SET notifications_enabled = TRUE");
    stage.bed.execute("UPDATE clinics SET paused = TRUE");
    let page = maria.page(&format!("/desk/treatment?id={peeled}")).await;
    assert!(page.contains("Sending is paused.") && !page.contains("<svg"), "{page}");
}

async fn each_look_and_each_deed_is_noted_under_a_name(bed: Bed) {
    let stage = Stage::set(bed).await;
    let maria = stage.at_the_desk("Maria").await;
    let unknown = maria.get("/desk/patient?ref=p-7").await.text();
    assert_eq!(maria.submit(&unknown, "/desk/patient", &[]).await.status, 303);
    let page = maria.page("/desk/patient?ref=p-7").await;
    let recorded = maria.submit(microneedling(&page), "/desk/record", &[("area", "face")]).await;
    let id = treatment_of(&recorded);
    let shown = maria.page(&format!("/desk/treatment?id={id}")).await;
    maria.page(&format!("/desk/handout?id={id}")).await;
    maria.page("/desk").await;
    assert_eq!(maria.submit(&page, "/desk/invite", &[]).await.status, 200);
    assert_eq!(maria.submit(&shown, "/desk/undo", &[]).await.status, 303);
    let notes = "SELECT action || ' ' || count(*) FROM audit WHERE actor LIKE 'staff:%'
        GROUP BY action ORDER BY action";
    assert_eq!(
        stage.bed.query(notes),
        [
            "enrolment.created 3",
            "handout.read 1",
            "reachability.read 1",
            "staff.signed-in 1",
            "treatment.read 1",
            "treatment.recorded 1",
            "treatment.voided 1",
            "treatments.read 2",
        ]
    );
    let who = "SELECT DISTINCT actor FROM audit WHERE actor LIKE 'staff:%'";
    let known = staff(&stage.bed.store, stage.clinic.clinic_id).await.unwrap();
    assert_eq!(stage.bed.query(who), [format!("staff:{}", known[0].id)]);
    let names = "SELECT count(*) FROM audit WHERE actor LIKE '%Maria%' OR subject LIKE '%Maria%'";
    assert_eq!(stage.bed.query(names), ["0"]);
}

async fn what_is_not_typed_right_is_said_on_a_page(bed: Bed) {
    let stage = Stage::set(bed).await;
    let maria = stage.at_the_desk("Maria").await;
    stage.patient("ana").await;
    let page = maria.page("/desk/patient?ref=ana").await;
    for (name, typed, said) in [
        ("completed", "tomorrow", "must be a date and an hour"),
        (
            "completed",
            "2026-11-22T16:00",
            "Ended at: the session ends more than 5 minutes in the future",
        ),
        ("next", "2026-11-21T16:00", "Next session: "),
        ("area", "elbow", "Treated: the protocol is not applied to all of these"),
        ("area", "no area", "names what is no area"),
    ] {
        let filled = [("area", "face"), (name, typed)];
        let answer = maria.submit(microneedling(&page), "/desk/record", &filled).await;
        assert!(answer.status == 422 && answer.text().contains(said), "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
    let nowhere = maria.submit(microneedling(&page), "/desk/record", &[]).await;
    assert!(nowhere.status == 422 && nowhere.text().contains("choose at least one"));
    let refused = maria.get("/desk/patient?ref=ana%40example.com").await;
    assert!(refused.status == 422 && refused.text().contains("e-mail address"));
    let script = "/desk/patient?ref=%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let answer = maria.get(script).await;
    assert_eq!(answer.status, 404);
    assert!(!answer.text().contains("<script"), "{}", answer.text());
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
}

on_both_engines!(
    an_invitation_lets_one_person_in_once,
    a_sign_in_ends_when_it_should,
    a_session_is_recorded_shown_and_undone,
    the_desk_offers_what_the_clinic_has,
    what_is_not_typed_right_is_said_on_a_page,
    each_look_and_each_deed_is_noted_under_a_name,
);
