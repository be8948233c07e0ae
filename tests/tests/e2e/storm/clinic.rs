//! The clinic's software: it posts sessions, takes some back, and asks again until it is answered. What it was
//! told is what must be so.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aftercare_tests::dice::Dice;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::field::{Field, name};
use crate::http::{Answer, Body, Http, wait_for};
use crate::process::{Clinic, now};

/// How many sessions are posted at once.
const DESKS: u64 = 4;
/// How many are posted for each blow, so that all of them strike somebody who has something to do.
pub(super) const WAVE: u32 = 5;
/// How long it waits before it asks again.
const AGAIN: Duration = Duration::from_millis(40);
/// The first words of a session that is posted now are due within this.
pub(super) const SOON: Duration = Duration::from_secs(8);
/// Two protocols: one whose first words are of use for three hours, and one for seconds only.
pub(super) const HASTY: &str = "chemical-peel";
const HASTY_USE_BY: &str = "PT15M20S";

/// A session, and what the clinic was told of it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    event: Value,
    pub(super) treatment: String,
    reminders: BTreeSet<String>,
    /// When it was told that the session is taken back.
    pub(super) voided: Option<Timestamp>,
}

impl Told {
    pub(super) fn is_hasty(&self) -> bool {
        self.event["protocol"] == HASTY
    }
}

pub(super) struct Software {
    http: Http,
    account: Value,
    seed: u64,
    next: AtomicU64,
    /// Sessions that may be posted.
    turns: Semaphore,
    token: Mutex<String>,
    told: Mutex<Vec<Told>>,
    /// Requests without an answer, or with one that says to come again.
    pub(super) again: AtomicU64,
}

impl Software {
    pub(super) fn new(field: &Field, seed: u64) -> Self {
        Self {
            http: field.http,
            account: field.account.clone(),
            seed,
            next: AtomicU64::new(0),
            turns: Semaphore::new(0),
            token: Mutex::default(),
            told: Mutex::default(),
            again: AtomicU64::new(0),
        }
    }

    /// A protocol of its own, whose first words are soon of no use.
    pub(super) async fn publish(&self) {
        let path = format!("/v1/protocols/{HASTY}");
        let mut own = self.ask("GET", &path, Body::None).await.expect(200);
        own.as_object_mut().unwrap().remove("version");
        own["reviewed_by"] = json!("Dr. M. Sousa");
        own["steps"][0]["use_by"]["after"] = json!(HASTY_USE_BY);
        let published = self.ask("PUT", &path, Body::Json(&own)).await;
        assert!(matches!(published.status, 200 | 201), "{}", published.text());
    }

    /// Posts sessions as they come in, until there are to be no more.
    pub(super) async fn work(&self) {
        let desks = (0..DESKS).map(|_| async {
            while let Ok(turn) = self.turns.acquire().await {
                turn.forget();
                self.serve(self.next.fetch_add(1, Ordering::Relaxed)).await;
            }
        });
        futures_util::future::join_all(desks).await;
    }

    /// More sessions have ended.
    pub(super) fn wave(&self) {
        self.turns.add_permits(WAVE as usize);
    }

    /// Waits until there is a server.
    pub(super) async fn is_answered(&self) {
        wait_for("a server", async || {
            self.http.attempt("GET", "/healthz", None, Body::None).await.ok()
        })
        .await;
    }

    /// No more are posted; what is on its way is posted until it is answered.
    pub(super) fn close(&self) {
        self.turns.close();
    }

    pub(super) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// A patient's session ended a quarter of an hour ago: its first words are due from four seconds before
    /// this to [`SOON`] after it.
    async fn serve(&self, n: u64) {
        let mut dice = Dice::of(self.seed, n);
        let ago = SignedDuration::from_millis(898_000 + dice.range(-6_000, 6_000));
        let protocol = if dice.below(4) == 0 { HASTY } else { "microneedling" };
        let event = json!({
            "event_id": format!("visit-{n}"), "patient_ref": name(n), "protocol": protocol,
            "completed_at": (now() - ago).to_string(),
        });
        let answer = self.ask("POST", "/v1/treatments", Body::Json(&event)).await;
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        let (treatment, reminders) = ids(&answer.expect(answer.status));
        let mut told = Told { event, treatment, reminders, voided: None };
        if dice.below(20) == 0 {
            let path = format!("/v1/treatments/{}/void", told.treatment);
            self.ask("POST", &path, Body::None).await.expect(200);
            told.voided = Some(now());
        }
        self.told.lock().unwrap().push(told);
    }

    /// What is told of the same session when it is posted once more, if it is anything else.
    pub(super) async fn repeat(&self, told: &Told) -> Option<String> {
        let answer = self.ask("POST", "/v1/treatments", Body::Json(&told.event)).await;
        let said = (answer.status == 200).then(|| ids(&answer.expect(200)));
        let same = said == Some((told.treatment.clone(), told.reminders.clone()));
        (!same).then(|| format!("{}: {} {}", told.event, answer.status, answer.text()))
    }

    /// Asks until there is an answer.
    async fn ask(&self, method: &str, path: &str, body: Body<'_>) -> Answer {
        loop {
            let token = self.token.lock().unwrap().clone();
            match self.http.attempt(method, path, Some(&token), body).await {
                Ok(answer) if answer.status == 401 => self.sign_in().await,
                Ok(answer) if answer.status < 500 && answer.status != 429 => return answer,
                _ => {
                    self.again.fetch_add(1, Ordering::Relaxed);
                    sleep(AGAIN).await;
                }
            }
        }
    }

    async fn sign_in(&self) {
        if let Ok(token) = Clinic::token_of(self.http, &self.account).await {
            *self.token.lock().unwrap() = token;
        } else {
            sleep(AGAIN).await;
        }
    }
}

/// A treatment's id, and those of its reminders.
fn ids(view: &Value) -> (String, BTreeSet<String>) {
    let reminders = view["reminders"].as_array().unwrap().iter();
    let reminders = reminders.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    (view["treatment"]["id"].as_str().unwrap().to_owned(), reminders)
}
