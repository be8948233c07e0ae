//! What happens in the demo: a patient enrols, three sessions are recorded, the phone is pushed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use aftercare::clock::Clock as _;
use aftercare::zone::Zone;
use hyper::Method;
use jiff::{SignedDuration, Span, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::super::plan::wrapped;
use super::super::serve::stopped;
use super::super::{Failure, heading};
use super::Args;
use super::http::Body;
use super::stage::Stage;

const PATIENT: &str = "demo-patient";
const PHONE: &str = "demo-phone";
/// The push address; the emulator's inbox knows the phone by it.
const ADDRESS: &str = "demo-phone-token";
/// The real time within which a due reminder must be on the phone: a second of the heartbeat, and
/// room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Story<'s> {
    stage: &'s Stage,
    zone: Zone,
    areas: Vec<String>,
    completed_at: Timestamp,
    patient: Value,
    /// The clinic's token, and until when it is used.
    token: RefCell<Option<(String, Timestamp)>>,
}

impl<'s> Story<'s> {
    /// Creates the patient and registers the phone, through the API.
    pub(super) async fn begin(
        stage: &'s Stage,
        args: &Args,
        completed_at: Timestamp,
    ) -> Result<Self, Failure> {
        let mut story = Self {
            stage,
            zone: args.zone.clone(),
            areas: args.areas.iter().map(ToString::to_string).collect(),
            completed_at,
            patient: Value::Null,
            token: RefCell::new(None),
        };
        say("A clinic, a patient and a phone")?;
        let body = json!({"time_zone": args.zone.name(), "locale": args.lang.as_str()});
        story.clinic(Method::PUT, &format!("/v1/patients/{PATIENT}"), &body).await?;
        let path = format!("/v1/patients/{PATIENT}/enrolments");
        let enrolment = story.clinic(Method::POST, &path, &json!({})).await?;
        let body = json!({"code": enrolment.get("code"), "installation_id": PHONE});
        let redeem = "/v1/enrolments/redeem";
        story.patient = stage.http.call(Method::POST, redeem, None, Body::Json(&body)).await?;
        let device = json!({
            "address_kind": "token", "address": ADDRESS, "platform": "android",
            "time_zone": args.zone.name(), "locale": args.lang.as_str(),
            "notifications_enabled": true, "delivery": "push",
        });
        let token = text(&story.patient, "/access_token");
        let path = format!("/v1/me/devices/{PHONE}");
        stage.http.call(Method::PUT, &path, token, Body::Json(&device)).await?;
        Ok(story)
    }

    /// Three sessions, a month apart, and every push on the way.
    pub(super) async fn tell(&self) -> Result<(), Failure> {
        let first = self.completed_at.to_zoned(self.zone.tz().clone());
        for session in 1..=3 {
            let at = first.checked_add(Span::new().months(session - 1)).map_err(Failure::work)?;
            self.push_until(at.timestamp()).await?;
            self.stage.clock.set(at.timestamp());
            let wall = at.strftime("%a %d %b %Y %H:%M");
            say(&format!("Session {session} done, {wall} in {}", self.zone))?;
            let mut event = json!({
                "event_id": format!("demo-{session}"), "patient_ref": PATIENT,
                "protocol": "microneedling", "completed_at": at.timestamp().to_string(),
                "time_zone": self.zone.name(),
            });
            if !self.areas.is_empty() {
                event.as_object_mut().map(|event| event.insert("areas".into(), json!(self.areas)));
            }
            self.clinic(Method::POST, "/v1/treatments", &event).await?;
        }
        self.push_until(Timestamp::MAX).await?;
        self.summary().await
    }

    /// Moves the clock from due moment to due moment and shows what reaches the phone.
    async fn push_until(&self, end: Timestamp) -> Result<(), Failure> {
        let mut shown = self.stage.emulator.shown();
        while let Some(due) = self.next_due().await?.filter(|due| *due < end) {
            self.progress(due)?;
            self.stage.clock.set(due);
            let notification = timeout(PATIENCE, shown.recv()).await;
            let notification = notification
                .map_err(|_| Failure::Work(format!("nothing reached the phone, due at {due}")))?
                .map_err(Failure::work)?;
            self.show(&notification)?;
            self.settled(due).await?;
        }
        Ok(())
    }

    /// When the next reminder is due.
    async fn next_due(&self) -> Result<Option<Timestamp>, Failure> {
        let planned = self.reminders().await?;
        let due =
            planned.iter().filter(|r| text(r, "/state") == Some("planned")).filter_map(due_at);
        Ok(due.min())
    }

    /// Returns once nothing that was due by then is planned any more.
    async fn settled(&self, due: Timestamp) -> Result<(), Failure> {
        let settled = async {
            while self.next_due().await?.is_some_and(|next| next <= due) {
                sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        };
        let overdue = |_| Failure::Work(format!("the reminder due at {due} was not settled"));
        timeout(PATIENCE, settled).await.map_err(overdue)?
    }

    async fn reminders(&self) -> Result<Vec<Value>, Failure> {
        let path = format!("/v1/patients/{PATIENT}/timeline");
        let timeline = self.clinic(Method::GET, &path, &Value::Null).await?;
        Ok(list(&timeline, "/reminders"))
    }

    /// One line that is written over, on a terminal only.
    fn progress(&self, due: Timestamp) -> io::Result<()> {
        let mut err = io::stderr();
        if err.is_terminal() {
            write!(err, "\r\x1b[K… {}", self.wall(due))?;
            err.flush()?;
        }
        Ok(())
    }

    fn show(&self, shown: &fcm_emulator::ShownNotification) -> io::Result<()> {
        if io::stderr().is_terminal() {
            write!(io::stderr(), "\r\x1b[K")?;
        }
        let mut out = io::stdout().lock();
        let title = shown.title.as_deref().unwrap_or_default();
        writeln!(out, "{}  {title}", self.wall(shown.shown_at))?;
        for line in wrapped(shown.body.as_deref().unwrap_or_default(), 78) {
            writeln!(out, "{:18}{line}", "")?;
        }
        out.flush()
    }

    fn wall(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.tz().clone()).strftime("%a %d %b %H:%M").to_string()
    }

    /// What became of every reminder of every session, and why.
    async fn summary(&self) -> Result<(), Failure> {
        let path = format!("/v1/treatments?patient_ref={PATIENT}");
        let treatments = self.clinic(Method::GET, &path, &Value::Null).await?;
        let treatments = list(&treatments, "/items");
        let reminders = treatments.iter().flat_map(|item| list(item, "/reminders"));
        let ends: BTreeMap<_, _> = reminders
            .map(|reminder| {
                let word = |at| text(&reminder, at).unwrap_or_default().to_owned();
                (word("/id"), (word("/state"), word("/reason")))
            })
            .collect();
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        for end in ends.values() {
            *counts.entry(end).or_default() += 1;
        }
        say("Summary")?;
        let mut out = io::stdout().lock();
        let sessions = treatments.len();
        writeln!(out, "{:>4} reminders planned, for {sessions} sessions", ends.len())?;
        for ((state, why), count) in counts {
            writeln!(out, "{count:>4} {state}: {why}")?;
        }
        let last = treatments.last();
        let number = |at| last.and_then(|item| item.pointer(at)).cloned().unwrap_or_default();
        let (session, of) = (number("/treatment/session"), number("/treatment/of"));
        writeln!(out, "     the course is at session {session} of {of}")?;
        Ok(())
    }

    /// Prints what can be done next, and waits to be stopped.
    pub(super) async fn leave_running(&self) -> Result<(), Failure> {
        let (api, fcm) = (self.stage.api.public_url(), self.stage.emulator.base_url());
        self.token.replace(None);
        let clinic = self.clinic_token().await?;
        let path = format!("/v1/patients/{PATIENT}/enrolments");
        let enrolment = self.clinic(Method::POST, &path, &json!({})).await?;
        let body = json!({"code": enrolment.get("code"), "installation_id": PHONE});
        let redeem = "/v1/enrolments/redeem";
        let phone = self.stage.http.call(Method::POST, redeem, None, Body::Json(&body)).await?;
        let patient = text(&phone, "/access_token").unwrap_or_default();
        let now = aftercare::clock::Env::system().now() - SignedDuration::from_mins(20);
        let now = now.strftime("%Y-%m-%dT%H:%M:%SZ");
        say("Still running, now on the real clock; Ctrl-C ends it")?;
        let mut out = io::stdout().lock();
        writeln!(out, "API            {api} ({api}/docs)")?;
        writeln!(out, "FCM emulator   {fcm}/inbox/{ADDRESS}")?;
        writeln!(out, "\n# the clinic records a session; the first push comes within seconds")?;
        writeln!(
            out,
            "curl -s {api}/v1/treatments -H 'Authorization: Bearer {clinic}' -H 'Content-Type: \
             application/json' -d '{{\"event_id\":\"demo-4\",\"patient_ref\":\"{PATIENT}\",\"protocol\":\
             \"microneedling\",\"completed_at\":\"{now}\"}}'"
        )?;
        writeln!(out, "\n# the patient's app")?;
        writeln!(out, "curl -s {api}/v1/me/timeline -H 'Authorization: Bearer {patient}'")?;
        let can = "/v1/me/can?activity=makeup";
        writeln!(out, "curl -s '{api}{can}' -H 'Authorization: Bearer {patient}'")?;
        writeln!(out, "\n# what the phone shows")?;
        writeln!(out, "curl -s {fcm}/inbox/{ADDRESS}")?;
        writeln!(out, "\n# tokens last 15 minutes; a fresh one for the clinic")?;
        let (id, secret) =
            (&self.stage.clinic.client_id, self.stage.clinic.client_secret.expose_secret());
        writeln!(
            out,
            "curl -s -u '{id}:{secret}' {api}/v1/oauth/token -d grant_type=client_credentials"
        )?;
        out.flush()?;
        drop(out);
        stopped().await
    }

    async fn clinic(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let token = self.clinic_token().await?;
        let body = if body.is_null() { Body::None } else { Body::Json(body) };
        self.stage.http.call(method, path, Some(&token), body).await
    }

    /// A token that is good for another moment: the story's clock leaves each behind.
    async fn clinic_token(&self) -> Result<String, Failure> {
        let now = self.stage.clock.now();
        let known = self.token.borrow().clone();
        if let Some((token, _)) = known.filter(|(_, until)| now < *until) {
            return Ok(token);
        }
        let clinic = &self.stage.clinic;
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            clinic.client_id,
            clinic.client_secret.expose_secret()
        );
        let path = "/v1/oauth/token";
        let answer = self.stage.http.call(Method::POST, path, None, Body::Form(&form)).await?;
        let token = text(&answer, "/access_token").map(str::to_owned);
        let token =
            token.ok_or_else(|| Failure::Work("the token endpoint gave no token".to_owned()))?;
        let until = now + SignedDuration::from_mins(5);
        self.token.replace(Some((token.clone(), until)));
        Ok(token)
    }
}

fn text<'v>(value: &'v Value, at: &str) -> Option<&'v str> {
    value.pointer(at)?.as_str()
}

fn list(value: &Value, at: &str) -> Vec<Value> {
    value.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn due_at(reminder: &Value) -> Option<Timestamp> {
    text(reminder, "/due_at")?.parse().ok()
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "\n{}", heading(line))
}
