//! Events that are signed instead of sent with a bearer, by the SDK of Standard Webhooks.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::clients::{Message, completed, event, made_by_sdks};
use crate::http::Body;
use crate::stage::Stage;

const NOW: &str = "2026-11-22T15:40:00Z";
/// The secret of somebody else.
const STRANGER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A secret of the clinic: its id, and as it is written.
async fn secret(stage: &Stage) -> (String, String) {
    let made = stage.clinic("POST", "/v1/signing-secrets", Body::None).await.expect(201);
    assert_eq!(made["clinic_id"], stage.clinic.clinic_id.to_string());
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

/// A wish for a message, signed with each of these secrets.
fn signed(id: &str, secrets: &[&str], at: &str, mode: &str, event: &Value) -> Value {
    json!({"mode": mode, "event": event, "sign": {"secrets": secrets, "id": id, "at": at}})
}

fn of_clinic(stage: &Stage) -> String {
    format!("?clinic={}", stage.clinic.clinic_id)
}

impl Message {
    fn header(&mut self, name: &str) -> &mut String {
        let (_, value) = self.headers.iter_mut().find(|(known, _)| known == name).unwrap();
        value
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }
}

async fn the_sdk_signs_what_its_clinic_may_say(bed: Bed) {
    let stage = Stage::set(bed).await;
    let ((old_id, old), (_, new)) = (secret(&stage).await, secret(&stage).await);
    let mut of_known = completed("9", "p-9");
    of_known["data"]["patient_ref"] = of_known["data"]["patient"]["ref"].take();
    of_known["data"].as_object_mut().unwrap().remove("patient");
    let wanted = json!([
        signed("m1", &[&old], NOW, "structured", &completed("1", "p-1")),
        signed("m2", &[STRANGER, &new], NOW, "batch", &json!([completed("2", "p-2")])),
        signed("m3", &[&old], NOW, "binary", &completed("3", "p-3")),
        signed("m4", &[&old], NOW, "structured", &event("4", "completed", &json!({}))),
        signed("m5", &[&old], NOW, "structured", &completed("3", "p-3")),
        signed("m6", &[&old], NOW, "structured", &of_known),
    ]);
    let Some(made) = made_by_sdks(&wanted).await else { return };
    let clinic = of_clinic(&stage);
    let first = stage.send(&clinic, &made[0], None).await.expect(201);
    assert_eq!(stage.shown(&first).await["treatment"]["patient_ref"], "p-1");
    // The first answer again, though the event is known by now.
    assert_eq!(stage.send(&clinic, &made[0], None).await.expect(201), first);
    let batch = stage.send(&clinic, &made[1], None).await.expect(200);
    assert_eq!(batch["items"][0]["status"], 201);
    stage.send(&clinic, &made[2], None).await.problem(415, "unsupported-media-type");
    stage.send(&clinic, &made[3], None).await.problem(422, "invalid-fields");
    // What was refused is judged anew: the sender tries again once the patient is known.
    stage.send(&clinic, &made[5], None).await.problem(422, "unknown-patient");
    stage.patient("p-9").await;
    stage.send(&clinic, &made[5], None).await.expect(201);
    // Plain senders of webhooks know one media type.
    let mut plain = made[4].clone();
    plain.header("content-type").replace_range(.., "application/json");
    stage.send(&clinic, &plain, None).await.expect(201);

    let path = format!("/v1/signing-secrets/{old_id}");
    stage.clinic("DELETE", &path, Body::None).await.expect(204);
    stage.clinic("DELETE", &path, Body::None).await.problem(404, "not-found");
    stage.send(&clinic, &made[0], None).await.problem(401, "invalid-signature");
    stage.send(&clinic, &made[1], None).await.expect(200);
    let actor = format!("clinic:{}", stage.clinic.clinic_id);
    let noted = stage.bed.query(&format!(
        "SELECT action FROM audit WHERE actor = '{actor}' AND action LIKE 'signing-secret.%'"
    ));
    assert_eq!(noted.len(), 3, "{noted:?}");
}

async fn nothing_is_taken_that_the_clinic_did_not_sign_just_now(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (_, ours) = secret(&stage).await;
    let other = stage.make_clinic().await;
    let token = stage.token_of(&other).await;
    let path = "/v1/signing-secrets";
    let theirs = stage.http.call("POST", path, Some(&token), Body::None).await.expect(201);
    let theirs = theirs["secret"].as_str().unwrap().to_owned();

    let said = completed("1", "p-1");
    let message = |secrets: &[&str], at: &str| signed("m", secrets, at, "structured", &said);
    let wanted = json!([
        message(&[&ours], NOW),
        message(&[STRANGER], NOW),
        message(&[&theirs], NOW),
        message(&[&ours], "2026-11-22T15:34:59Z"),
        message(&[&ours], "2026-11-22T15:45:01Z"),
    ]);
    let Some(made) = made_by_sdks(&wanted).await else { return };
    let clinic = of_clinic(&stage);
    let good = &made[0];
    let changed = |name: &str, value: &str| {
        let mut message = good.clone();
        message.header(name).replace_range(.., value);
        message
    };
    let signature = good.clone().header("webhook-signature").clone();
    let mut body = good.clone();
    body.body = body.body.replace("p-1", "p-2");
    let mut hostile: Vec<_> = made[1..].to_vec();
    hostile.extend(
        ["id", "timestamp", "signature"]
            .map(|name| good.clone().without(&format!("webhook-{name}"))),
    );
    hostile.extend([
        body,
        changed("webhook-id", "other"),
        changed("webhook-timestamp", "1795362001"),
        changed("webhook-timestamp", "now"),
        changed("webhook-signature", ""),
        changed("webhook-signature", &signature.replace("v1,", "v1a,")),
        changed("webhook-signature", &signature.replace("v1,", "")),
        changed("webhook-signature", &format!("{}{signature}", "v1,AAAA ".repeat(8))),
    ]);
    for message in &hostile {
        let answer = stage.send(&clinic, message, None).await;
        answer.problem(401, "invalid-signature");
        assert_eq!(answer.header("www-authenticate"), Some("bearer"));
    }
    // A clinic that is not there is told from a wrong secret by nobody.
    let nobodys = "?clinic=019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f";
    let wrong = stage.send(&clinic, &made[1], None).await;
    for query in [nobodys, "", &format!("?clinic={}", other.clinic_id)] {
        let answer = stage.send(query, good, None).await;
        assert_eq!(answer.told(), wrong.told(), "{query}");
    }
    for query in ["?clinic=x", &format!("{clinic}&utm=1"), &format!("{clinic}&{}", &clinic[1..])] {
        stage.send(query, good, None).await.problem(422, "invalid-fields");
    }
    // Nor does a bearer help whoever signs wrongly, or say that it is another clinic's.
    let token = stage.clinic_token().await;
    stage.send(&clinic, &made[1], Some(&token)).await.problem(401, "invalid-signature");
    let bare = ["id", "timestamp", "signature"]
        .iter()
        .fold(good.clone(), |message, name| message.without(&format!("webhook-{name}")));
    stage.send(&clinic, &bare, Some(&token)).await.problem(422, "invalid-fields");
    stage.send(&clinic, &bare, None).await.problem(401, "missing-token");
    assert_eq!(stage.bed.query("SELECT count(*) FROM patients"), ["0"]);
    let mut several = good.clone();
    several.header("webhook-signature").insert_str(0, "v1a,AAAA v1,AAAA v1,? ");
    stage.send(&clinic, &several, None).await.expect(201);
}

/// The answers are kept for a week, and nothing of them is in clear.
async fn answers_are_forgotten(bed: Bed) {
    let stage = Stage::set(bed).await;
    let (_, ours) = secret(&stage).await;
    let wanted = json!([signed("m", &[&ours], NOW, "structured", &completed("1", "p-1"))]);
    let Some(made) = made_by_sdks(&wanted).await else { return };
    stage.send(&of_clinic(&stage), &made[0], None).await.expect(201);
    let kept = || stage.bed.query("SELECT count(*) FROM webhook_answers");
    stage.bed.clock.advance(SignedDuration::from_hours(7 * 24));
    stage.scheduler.tidy().await;
    assert_eq!(kept(), ["1"]);
    stage.bed.clock.advance(SignedDuration::from_secs(1));
    stage.scheduler.tidy().await;
    assert_eq!(kept(), ["0"]);
}

/// Of many who ask at once, two get a secret.
async fn a_clinic_has_two_secrets_at_most(bed: Bed) {
    let stage = Stage::set(bed).await;
    let token = stage.clinic_token().await;
    let (_other, http) = stage.another_server().await;
    let servers = [stage.http, http];
    let path = "/v1/signing-secrets";
    let asked = (0..8).map(|n| servers[n % 2].call("POST", path, Some(&token), Body::None));
    let answers = futures_util::future::join_all(asked).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 2);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        refused.problem(409, "too-many-secrets");
    }
    let listed = stage.clinic("GET", path, Body::None).await;
    assert_eq!(listed.expect(200)["items"].as_array().unwrap().len(), 2);
    for made in made {
        let made = made.expect(201);
        assert!(listed.text().contains(made["id"].as_str().unwrap()));
        let secret = made["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
        assert!(!listed.text().contains(secret), "a secret is shown once");
    }
}

on_both_engines!(
    the_sdk_signs_what_its_clinic_may_say,
    nothing_is_taken_that_the_clinic_did_not_sign_just_now,
    answers_are_forgotten,
    a_clinic_has_two_secrets_at_most,
);
