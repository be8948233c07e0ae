//! Many at once with one code, one refresh token, one session, one patient.

use std::pin::Pin;

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use aftercare_tests::postgres::TestDatabase;
use fcm_emulator::{Fault, FaultKind};
use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::clients::{completed, event};
use crate::http::{Answer, Body, Http};
use crate::stage::{Stage, device};

const AT_ONCE: usize = 20;

async fn code(stage: &Stage) -> String {
    let path = "/v1/patients/ana/enrolments";
    let enrolment = stage.clinic("POST", path, Body::None).await.expect(201);
    enrolment["code"].as_str().unwrap().to_owned()
}

async fn redeem(server: Http, code: &str, installation: &str) -> Answer {
    let body = json!({"code": code, "installation_id": installation});
    server.call("POST", "/v1/enrolments/redeem", None, Body::Json(&body)).await
}

async fn refresh(server: Http, token: &str) -> Answer {
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    server.call("POST", "/v1/oauth/token", None, Body::Form(&form)).await
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_no_deadlock(bed: &Bed) {
    let deadlocks = bed.database.as_ref().map_or(0, TestDatabase::deadlocks);
    assert_eq!(deadlocks, 0, "PostgreSQL had to break deadlocks");
}

async fn one_code_opens_one_session(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (_other, http) = stage.another_server().await;
    let servers = [stage.http, http];
    stage.patient("ana").await;
    for _ in 0..5 {
        let code = code(&stage).await;
        let uses = (0..AT_ONCE).map(|n| {
            let code = &code;
            async move { redeem(servers[n % 2], code, &format!("phone-{n}")).await }
        });
        let answers = join_all(uses).await;
        let opened = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(opened, 1);
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.problem(422, "invalid-code");
        }
    }
}

async fn one_refresh_token_has_one_successor(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (_other, http) = stage.another_server().await;
    let servers = [stage.http, http];
    stage.patient("ana").await;
    let code = code(&stage).await;
    let mut token = text(&redeem(stage.http, &code, "phone").await.expect(200), "refresh_token");
    for _ in 0..5 {
        let asks = (0..AT_ONCE).map(|n| refresh(servers[n % 2], &token));
        let answers = join_all(asks).await;
        let mut next: Vec<String> =
            answers.iter().map(|answer| text(&answer.expect(200), "refresh_token")).collect();
        next.dedup();
        assert_eq!(next.len(), 1, "the chain must not fork");
        token = next.remove(0);
    }
}

async fn who_refreshes_while_logging_out_is_out(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    for n in 0..10 {
        let code = code(&stage).await;
        let name = format!("phone-{n}");
        let tokens = redeem(stage.http, &code, &name).await.expect(200);
        let access = text(&tokens, "access_token");
        stage.register(&access, &name, &device(&name)).await.expect(204);
        let token = text(&tokens, "refresh_token");
        let form = format!("token={token}");
        let logout = stage.http.call("POST", "/v1/oauth/revoke", None, Body::Form(&form));
        let (refreshed, left) = futures_util::join!(refresh(stage.http, &token), logout);
        left.expect(200);
        assert!(matches!(refreshed.status, 200 | 400), "{refreshed:?}");
        let mut tokens = vec![access];
        if refreshed.status == 200 {
            let refreshed = refreshed.expect(200);
            let successor = text(&refreshed, "refresh_token");
            refresh(stage.http, &successor).await.expect(400);
            tokens.push(text(&refreshed, "access_token"));
        }
        refresh(stage.http, &token).await.expect(400);
        for token in tokens {
            let timeline =
                stage.http.call("GET", "/v1/me/timeline", Some(&token), Body::None).await;
            timeline.problem(401, "invalid-token");
        }
    }
    let reachable = stage.session_done("visit", "ana").await;
    assert_eq!(reachable["reachable"], false, "nothing is pushed to who has left");
}

/// Refreshing takes the patient, then the token, then the session; enrolling again takes the patient and
/// ends the session that is being refreshed.
async fn refreshing_and_enrolling_again_never_lock_each_other_out(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let first = code(&stage).await;
    let mut token = text(&redeem(stage.http, &first, "phone").await.expect(200), "refresh_token");
    for _ in 0..15 {
        let codes = [code(&stage).await, code(&stage).await, code(&stage).await];
        let redeems = join_all(codes.iter().map(|code| redeem(stage.http, code, "phone")));
        let refreshes = join_all((0..6).map(|_| refresh(stage.http, &token)));
        let (opened, answers) = futures_util::join!(redeems, refreshes);
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 400)), "{answers:?}");
        let mut live = Vec::new();
        for answer in opened {
            let next = text(&answer.expect(200), "refresh_token");
            let answer = refresh(stage.http, &next).await;
            if answer.status == 200 {
                live.push(text(&answer.expect(200), "refresh_token"));
            }
        }
        assert_eq!(live.len(), 1, "one installation, one session");
        token = live.remove(0);
    }
    assert_no_deadlock(&stage.bed);
}

/// Registering a phone takes the patient, the reminders, then the devices; writing down that an address
/// is gone takes the reminders, then the devices.
async fn registering_and_settling_never_lock_each_other_out(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let mut phones = Vec::new();
    for n in 0..4 {
        let name = format!("phone-{n}");
        phones.push((stage.phone("ana", &name).await, name));
    }
    stage.fcm.set_fault(Fault::new(FaultKind::Unregistered));
    for round in 0..12 {
        let visit = stage.session_done(&format!("visit-{round}"), "ana").await;
        stage.bed.clock.advance(SignedDuration::from_mins(16));
        for (token, name) in &mut phones {
            *token = stage.app("ana", name).await;
        }
        let register = phones.iter().enumerate().map(|(n, (token, name))| {
            let device = device(&format!("address-{round}-{n}"));
            let stage = &stage;
            async move { stage.register(token, name, &device).await }
        });
        let (answers, _) = futures_util::join!(join_all(register), stage.run());
        for answer in answers {
            answer.expect(204);
        }
        stage.void(&visit).await.expect(200);
    }
    assert_no_deadlock(&stage.bed);
}

/// An app that gets in, or is in, while its patient is erased; gives the tokens that it ends up with.
async fn enter(stage: &Stage, server: Http, code: &str, name: &str) -> Vec<Value> {
    let redeemed = redeem(server, code, name).await;
    if redeemed.status != 200 {
        redeemed.problem(422, "invalid-code");
        return Vec::new();
    }
    let tokens = redeemed.expect(200);
    let registered = stage.register(&text(&tokens, "access_token"), name, &device(name)).await;
    assert!(matches!(registered.status, 204 | 401 | 404), "{registered:?}");
    vec![tokens]
}

async fn renew(server: Http, token: &str) -> Vec<Value> {
    let refreshed = refresh(server, token).await;
    assert!(matches!(refreshed.status, 200 | 400), "{refreshed:?}");
    if refreshed.status == 200 { vec![refreshed.expect(200)] } else { Vec::new() }
}

async fn erase(stage: &Stage, reference: &str) -> Vec<Value> {
    let path = format!("/v1/patients/{reference}");
    stage.clinic("DELETE", &path, Body::None).await.expect(204);
    Vec::new()
}

/// Codes are redeemed, phones registered and tokens refreshed while the clinic erases the patient:
/// whoever comes first, afterwards nobody is in and nothing is held.
async fn who_gets_in_while_erased_is_out(bed: Bed) {
    type Work<'a> = Pin<Box<dyn Future<Output = Vec<Value>> + 'a>>;
    let stage = Stage::set(bed).await;
    let (_other, http) = stage.another_server().await;
    let servers = [stage.http, http];
    let holders = stage.bed.tables_with("patient_id");
    let holders: Vec<String> = holders.into_iter().filter(|table| table != "erasures").collect();
    assert!(holders.iter().any(|table| table == "sessions"), "{holders:?}");
    for round in 0..12 {
        stage.patient("ana").await;
        let mut codes = Vec::new();
        for _ in 0..6 {
            codes.push(code(&stage).await);
        }
        let tokens = redeem(stage.http, &codes.remove(0), "first").await.expect(200);
        stage.register(&text(&tokens, "access_token"), "first", &device("first")).await.expect(204);
        stage.session_done(&format!("visit-{round}"), "ana").await;
        let token = text(&tokens, "refresh_token");
        let names: Vec<String> = (0..codes.len()).map(|n| format!("phone-{n}")).collect();

        let mut work: Vec<Work<'_>> = Vec::new();
        for (n, (code, name)) in codes.iter().zip(&names).enumerate() {
            work.push(Box::pin(enter(&stage, servers[n % 2], code, name)));
            work.push(Box::pin(renew(servers[n % 2], &token)));
        }
        work.insert(round % work.len(), Box::pin(erase(&stage, "ana")));
        let got = join_all(work).await;

        for tokens in got.into_iter().flatten().chain([tokens]) {
            let access = text(&tokens, "access_token");
            let path = "/v1/me/timeline";
            let timeline = stage.http.call("GET", path, Some(&access), Body::None).await;
            timeline.problem(401, "invalid-token");
            refresh(stage.http, &text(&tokens, "refresh_token")).await.expect(400);
        }
        for code in codes {
            redeem(stage.http, &code, "late").await.problem(422, "invalid-code");
        }
        for table in &holders {
            let held = format!("SELECT count(*) FROM {table} WHERE patient_id IS NOT NULL");
            assert_eq!(stage.bed.query(&held), ["0"], "{table}");
        }
        for table in ["patients", "refresh_tokens"] {
            assert_eq!(stage.bed.query(&format!("SELECT count(*) FROM {table}")), ["0"], "{table}");
        }
    }
    assert_no_deadlock(&stage.bed);
}

/// A session and what is said of it arrive at once, at two servers: neither misses the other.
async fn a_session_and_its_void_never_miss_each_other(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (_other, http) = stage.another_server().await;
    let servers = [stage.http, http];
    let token = stage.clinic_token().await;
    let kind = [("content-type".to_owned(), "application/cloudevents+json".to_owned())];
    for round in 0..10 {
        let session = format!("c-{round}");
        let voided =
            |n| event(&format!("v-{round}-{n}"), "voided", &json!({"supersedes": session}));
        let mut said = vec![completed(&session, &format!("p-{round}"))];
        said.extend((0..AT_ONCE).map(voided));
        let told = said.iter().enumerate().map(async |(n, event)| {
            let body = Body::Raw { headers: &kind, text: &event.to_string() };
            servers[n % 2].call("POST", "/v1/events", Some(&token), body).await
        });
        let told = join_all(told).await;
        assert!(told.iter().all(|answer| answer.status < 300), "{told:?}");
        let shown = stage.shown(&told[0].expect(201)).await;
        assert_eq!(shown["treatment"]["state"], "voided", "round {round}");
        let waiting = "SELECT count(*) FROM amendments WHERE treatment_id IS NULL";
        assert_eq!(stage.bed.query(waiting), ["0"], "round {round}");
    }
    assert_no_deadlock(&stage.bed);
}

on_both_engines!(
    a_session_and_its_void_never_miss_each_other,
    one_code_opens_one_session,
    one_refresh_token_has_one_successor,
    who_refreshes_while_logging_out_is_out,
    refreshing_and_enrolling_again_never_lock_each_other_out,
    registering_and_settling_never_lock_each_other_out,
    who_gets_in_while_erased_is_out,
);
