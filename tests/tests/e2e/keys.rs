//! The keys of access tokens take turns under load, with two servers on one database.

use std::collections::{BTreeMap, VecDeque};

use aftercare::care::{self, ACCESS_LIFETIME, PUBLISHED_AHEAD};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::http::{Answer, Body, Http};
use crate::stage::Stage;

const APPS: usize = 6;
/// How far the clock goes between two rounds of requests.
const STEP: SignedDuration = SignedDuration::from_secs(30);
/// What a server and a cache before it may take to show a new key, twice over.
const SEEN_LATE: SignedDuration = SignedDuration::from_mins(2);

/// A phone's app, which refreshes all the time and uses each token until it expires.
struct App {
    refresh: String,
    tokens: VecDeque<(Timestamp, String)>,
}

impl App {
    fn keep(&mut self, now: Timestamp, tokens: &Value) {
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        self.refresh = text("refresh_token");
        self.tokens.push_back((now, text("access_token")));
        self.tokens.retain(|(issued, _)| now < *issued + ACCESS_LIFETIME);
    }

    /// Gets a token from one server; shows it and the oldest that is still good to both.
    async fn round(&mut self, now: Timestamp, servers: [Http; 2]) -> Vec<Answer> {
        let form = format!("grant_type=refresh_token&refresh_token={}", self.refresh);
        let tokens = servers[0].call("POST", "/v1/oauth/token", None, Body::Form(&form)).await;
        self.keep(now, &tokens.expect(200));
        let (newest, oldest) = (self.tokens.back().unwrap(), self.tokens.front().unwrap());
        let mut answers = vec![tokens];
        for (_, token) in [newest, oldest] {
            for server in servers {
                answers.push(timeline(server, token).await);
            }
        }
        answers
    }
}

async fn timeline(server: Http, token: &str) -> Answer {
    server.call("GET", "/v1/me/timeline", Some(token), Body::None).await
}

async fn apps(stage: &Stage) -> Vec<App> {
    stage.patient("ana").await;
    let mut apps = Vec::new();
    for n in 0..APPS {
        let enrolment =
            stage.clinic("POST", "/v1/patients/ana/enrolments", Body::None).await.expect(201);
        let body = json!({"code": enrolment["code"], "installation_id": format!("phone-{n}")});
        let redeemed =
            stage.http.call("POST", "/v1/enrolments/redeem", None, Body::Json(&body)).await;
        let mut app = App { refresh: String::new(), tokens: VecDeque::new() };
        app.keep(stage.now(), &redeemed.expect(200));
        apps.push(app);
    }
    apps
}

/// The key that a token says it was signed with.
fn kid(token: &str) -> String {
    let header = token.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn published(server: Http) -> Vec<String> {
    let keys = server.get("/.well-known/jwks.json").await;
    let keys = keys["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn a_rotation_under_load_refuses_nobody(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (_other, http) = stage.another_server().await;
    let servers = [stage.http, http];
    let mut apps = apps(&stage).await;
    let begun = stage.now();
    let (mut answers, mut refused) = (0, Vec::new());
    // When each key was first published by both servers, and when one first signed with it.
    let (mut seen, mut signed) = (BTreeMap::new(), BTreeMap::new());
    let rotate_at = begun + SignedDuration::from_mins(3);
    let end = rotate_at + PUBLISHED_AHEAD + ACCESS_LIFETIME + SignedDuration::from_mins(5);
    while stage.now() < end {
        let now = stage.now();
        let rotate = async {
            if now == rotate_at {
                let rotations = (0..10).map(|_| stage.bed.store.write(care::rotate_signing_keys));
                let made = join_all(rotations).await.into_iter().map(|rotation| rotation.unwrap());
                assert_eq!(made.filter(|rotation| rotation.made).count(), 1);
            }
        };
        let rounds = apps
            .iter_mut()
            .enumerate()
            .map(|(n, app)| app.round(now, [servers[n % 2], servers[(n + 1) % 2]]));
        let (rounds, ()) = futures_util::join!(join_all(rounds), rotate);
        for answer in rounds.into_iter().flatten() {
            answers += 1;
            if answer.status != 200 {
                refused.push((now - begun, answer));
            }
        }
        let (one, two) = (published(servers[0]).await, published(servers[1]).await);
        for kid in one.into_iter().filter(|kid| two.contains(kid)) {
            seen.entry(kid).or_insert(now);
        }
        for app in &apps {
            signed.entry(kid(&app.tokens.back().unwrap().1)).or_insert(now);
        }
        stage.bed.clock.advance(STEP);
    }
    assert_eq!(signed.len(), 2, "the turn went from one key to the next: {signed:?}");
    let (next, first_signature) = signed.iter().max_by_key(|(_, at)| **at).unwrap();
    let ahead = first_signature.duration_since(seen[next]);
    assert!(ahead >= PUBLISHED_AHEAD - SEEN_LATE, "{next} was published {ahead} before it signed");
    println!("{answers} answers across the rotation, {} refused", refused.len());
    assert!(refused.is_empty(), "{refused:?}");
    for server in servers {
        assert_eq!(published(server).await, std::slice::from_ref(next), "the old key is dropped");
    }
    let kept = stage.bed.store.read(|tx| tx.signing_keys()).await.unwrap();
    assert_eq!(kept.iter().map(|key| &key.kid).collect::<Vec<_>>(), [next]);
}

async fn a_key_that_retired_has_no_private_half(bed: Bed) {
    let stage = Stage::set(bed).await;
    let mut app = apps(&stage).await.remove(0);
    stage.bed.store.write(care::rotate_signing_keys).await.unwrap();
    let halves = async || {
        let keys = stage.bed.store.read(|tx| tx.signing_keys()).await.unwrap();
        keys.iter().map(|key| key.private.is_some()).collect::<Vec<_>>()
    };
    stage.bed.clock.advance(PUBLISHED_AHEAD);
    app.round(stage.now(), [stage.http; 2]).await;
    assert_eq!(halves().await, [true, true], "a server whose clock is late may still sign");
    stage.bed.clock.advance(SignedDuration::from_mins(2));
    app.round(stage.now(), [stage.http; 2]).await;
    assert_eq!(halves().await, [true, false]);
    assert_eq!(published(stage.http).await.len(), 2, "its last tokens are still good");
}

async fn a_stolen_key_is_refused_at_once_everywhere(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (_other, http) = stage.another_server().await;
    let servers = [stage.http, http];
    let mut apps = apps(&stage).await;
    // One under way does not hold it up, and its key goes too.
    let under_way = stage.bed.store.write(care::rotate_signing_keys).await.unwrap().next;
    for app in &mut apps {
        app.round(stage.now(), servers).await;
    }
    let rotation = stage.bed.store.write(care::replace_signing_keys).await.unwrap();
    assert_eq!(rotation.keys.len(), 1);
    assert_ne!(rotation.next, under_way);
    for app in &apps {
        for server in servers {
            timeline(server, &app.tokens[0].1).await.problem(401, "invalid-token");
        }
    }
    // The keys that servers sign with are at most a second old.
    stage.bed.clock.advance(SignedDuration::from_secs(1));
    for (n, app) in apps.iter_mut().enumerate() {
        app.tokens.clear();
        for answer in app.round(stage.now(), [servers[n % 2], servers[(n + 1) % 2]]).await {
            answer.expect(200);
        }
        assert_eq!(kid(&app.tokens[0].1), rotation.next);
    }
}

async fn a_rotation_that_is_cut_off_has_not_happened(bed: Bed) {
    let stage = Stage::set(bed).await;
    let app = apps(&stage).await.remove(0);
    let before = published(stage.http).await;
    for rotate in [care::rotate_signing_keys, care::replace_signing_keys] {
        stage.bed.store.dry_run(rotate).await.unwrap();
    }
    stage.bed.clock.advance(SignedDuration::from_mins(1));
    assert_eq!(published(stage.http).await, before);
    timeline(stage.http, &app.tokens[0].1).await.expect(200);
}

on_both_engines!(
    a_rotation_under_load_refuses_nobody,
    a_key_that_retired_has_no_private_half,
    a_stolen_key_is_refused_at_once_everywhere,
    a_rotation_that_is_cut_off_has_not_happened,
);
