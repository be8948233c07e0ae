//! A patient's app that stays signed in: it renews its tokens before each call, because the test's
//! clock leaves them behind.

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::http::{Answer, Body};
use crate::stage::{Stage, device};

pub(crate) struct App<'s> {
    stage: &'s Stage,
    /// The installation, and the address of its phone.
    pub(crate) name: String,
    refresh_token: Mutex<String>,
}

impl Stage {
    /// Enrols an app of a known patient.
    pub(crate) async fn signed_in(&self, reference: &str, name: &str) -> App<'_> {
        let path = format!("/v1/patients/{reference}/enrolments");
        let enrolment = self.clinic("POST", &path, Body::None).await.expect(201);
        let body = json!({"code": enrolment["code"], "installation_id": name});
        let path = "/v1/enrolments/redeem";
        let tokens = self.http.call("POST", path, None, Body::Json(&body)).await.expect(200);
        let refresh_token = Mutex::new(tokens["refresh_token"].as_str().unwrap().to_owned());
        App { stage: self, name: name.to_owned(), refresh_token }
    }

    /// A new patient with an app and a phone of the same name, whose session is done now.
    pub(crate) async fn treated_with_app(&self, name: &str) -> (App<'_>, Value) {
        self.patient(name).await;
        let app = self.signed_in(name, name).await;
        app.register(&device(name)).await.expect(204);
        (app, self.session_done(&format!("visit-{name}"), name).await)
    }
}

impl App<'_> {
    pub(crate) async fn call(&self, method: &str, path: &str, body: Body<'_>) -> Answer {
        let token = self.token().await;
        self.stage.http.call(method, path, Some(&token), body).await
    }

    /// Renews the sign-in and gives an access token.
    pub(crate) async fn token(&self) -> String {
        let form = format!("grant_type=refresh_token&refresh_token={}", self.refresh_token());
        let answer = self.stage.http.call("POST", "/v1/oauth/token", None, Body::Form(&form)).await;
        let tokens = answer.expect(200);
        tokens["refresh_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut self.refresh_token.lock().unwrap());
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn refresh_token(&self) -> String {
        self.refresh_token.lock().unwrap().clone()
    }

    pub(crate) async fn register(&self, device: &Value) -> Answer {
        let path = format!("/v1/me/devices/{}", self.name);
        self.call("PUT", &path, Body::Json(device)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.call("GET", path, Body::None).await.expect(200)
    }

    pub(crate) async fn wish(&self, wishes: Value) -> Value {
        self.call("PATCH", "/v1/me/preferences", Body::Json(&wishes)).await.expect(200)
    }

    pub(crate) async fn consent(&self, kind: &str, granted: bool) -> Value {
        let body = json!({"granted": granted, "notice_version": "1"});
        let path = format!("/v1/me/consents/{kind}");
        self.call("PUT", &path, Body::Json(&body)).await.expect(200)
    }

    /// The reminder of a step, as the timeline has it.
    pub(crate) async fn reminder(&self, title: &str) -> Value {
        let timeline = self.get("/v1/me/timeline").await;
        let reminders = timeline["reminders"].as_array().unwrap();
        reminders.iter().find(|reminder| reminder["title"] == title).unwrap().clone()
    }

    pub(crate) async fn snooze(&self, reminder: &Value, minutes: u32) -> Answer {
        let path = format!("/v1/me/reminders/{}/snooze", reminder["id"].as_str().unwrap());
        self.call("POST", &path, Body::Json(&json!({"minutes": minutes}))).await
    }
}
