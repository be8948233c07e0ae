//! A clinic's own protocols: published, tried out, called by its own codes; and what becomes of the
//! treatments that are under way.

use aftercare::care;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::{Value, json};

use crate::http::{Answer, Body};
use crate::stage::{Stage, done};

impl Stage {
    /// The document that the clinic's treatments follow.
    async fn document(&self, slug: &str) -> Value {
        let path = format!("/v1/protocols/{slug}");
        self.clinic("GET", &path, Body::None).await.expect(200)
    }

    async fn publish(&self, document: &Value, query: &str) -> Answer {
        self.clinic("PUT", &format!("/v1/protocols/microneedling{query}"), Body::Json(document))
            .await
    }

    /// Microneedling as this clinic approved it: without the step before exercise, no makeup for three
    /// days, another word in the morning.
    async fn own(&self) -> Value {
        let mut own = self.document("microneedling").await;
        own.as_object_mut().unwrap().remove("version");
        own["reviewed_by"] = json!("Dr. M. Sousa");
        own["reviewed_at"] = json!("2026-11-20");
        own["slots"]["when_to_call"]["en"] = json!("Call us if it burns.");
        let rules = own["rules"].as_array_mut().unwrap();
        let makeup = rules.iter_mut().find(|rule| rule["id"] == "no-makeup").unwrap();
        makeup["until"]["after"] = json!("PT72H");
        let steps = own["steps"].as_array_mut().unwrap();
        steps.retain(|step| step["id"] != "before-exercise");
        own
    }

    async fn version_of(&self, treatment: &Value) -> Value {
        let id = treatment["treatment"]["id"].as_str().unwrap();
        let path = format!("/v1/treatments/{id}");
        let shown = self.clinic("GET", &path, Body::None).await.expect(200);
        shown["treatment"]["protocol_version"].clone()
    }

    fn audited(&self, action: &str) -> usize {
        let rows = format!("SELECT actor FROM audit WHERE action = '{action}'");
        self.bed.query(&rows).len()
    }
}

fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap().iter();
    errors.map(|error| error["pointer"].as_str().unwrap()).collect()
}

async fn sessions_follow_the_version_in_use_when_they_are_recorded(bed: Bed) {
    let stage = Stage::set(bed).await;
    let before = stage.treated("ana").await;
    let own = stage.own().await;
    let published = stage.publish(&own, "").await.expect(201);
    assert_eq!(published["moving"], 0);
    let shown = &published["protocol"];
    assert_eq!((&shown["version"], &shown["reviewed_by"]), (&json!(2), &json!("Dr. M. Sousa")));
    assert_eq!(shown["notice"], Value::Null, "somebody approved it");
    assert_eq!(stage.publish(&own, "").await.expect(200), published, "the same again");
    assert_eq!(stage.document("microneedling").await["version"], 2);

    let after = stage.treated("rui").await;
    assert_eq!(before["treatment"]["protocol_version"], 1);
    assert_eq!(after["treatment"]["protocol_version"], 2);
    assert_eq!(stage.version_of(&before).await, 1, "who is under way stays");
    stage.play("2026-11-24T12:00:00Z").await;
    assert!(stage.diary("ana").iter().any(|line| line.ends_with("No intense exercise today")));
    assert!(!stage.diary("rui").iter().any(|line| line.ends_with("No intense exercise today")));
    let last = stage.pushes().into_iter().rfind(|push| push.address == "rui").unwrap();
    assert!(last.body.ends_with("Call us if it burns."), "{}", last.body);

    let mut again = own.clone();
    again["version"] = json!(2);
    assert_eq!(stage.publish(&again, "").await.expect(200)["protocol"]["version"], 2);
    again["version"] = json!(7);
    assert_eq!(stage.publish(&again, "").await.expect(201)["protocol"]["version"], 7);
    assert_eq!(stage.audited("protocol.published"), 2);

    // Nobody else's is touched.
    let token = stage.another_clinic().await;
    let path = "/v1/protocols/microneedling";
    let theirs = stage.http.call("GET", path, Some(&token), Body::None).await.expect(200);
    assert_eq!((&theirs["version"], &theirs["reviewed_by"]), (&json!(1), &Value::Null));
}

async fn every_fault_of_a_document_is_named_at_once(bed: Bed) {
    let stage = Stage::set(bed).await;
    let mut wrong = stage.own().await;
    wrong["slug"] = json!("needling");
    wrong["version"] = json!(1);
    wrong["rules"][0]["until"]["clock"] = json!("lunar");
    wrong["colour"] = json!("red");
    let refused = stage.publish(&wrong, "?running=later").await;
    assert_eq!(pointers(&refused.expect(422)), ["?running"]);
    let refused = stage.publish(&wrong, "").await.expect(422);
    assert_eq!(refused["code"], "invalid-fields");
    let named = pointers(&refused);
    for pointer in ["/slug", "/version", "/rules/0/until/clock", "/colour"] {
        assert!(named.contains(&pointer), "{pointer} not in {named:?}");
    }
    let path = "/v1/protocols/microneedling/impact";
    let judged = stage.clinic("POST", path, Body::Json(&wrong)).await.expect(422);
    assert_eq!(judged["errors"], refused["errors"]);
    let trial = json!({"completed_at": "2026-11-22T15:40:00Z", "document": wrong});
    let path = "/v1/protocols/microneedling/preview";
    let tried = stage.clinic("POST", path, Body::Json(&trial)).await.expect(422);
    assert!(pointers(&tried).contains(&"/document/rules/0/until/clock"), "{tried}");
    assert_eq!(stage.document("microneedling").await["version"], 1, "nothing was published");
}

async fn what_is_under_way_moves_when_the_clinic_says_so(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    stage.treated("rui").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    let own = stage.own().await;
    let path = "/v1/protocols/microneedling/impact";
    let impact = stage.clinic("POST", path, Body::Json(&own)).await.expect(200);
    // The one before exercise goes, the last words change, and both were told that makeup ends too early.
    let expected = json!({
        "patients": 2, "treatments": 2, "staying": 0, "added": 0, "moved": 0, "reworded": 4, "cancelled": 2,
        "corrections": 2,
    });
    assert_eq!(impact, expected);
    assert_eq!(stage.version_of(&treatment).await, 1, "asking changes nothing");

    let published = stage.publish(&own, "?running=move").await.expect(201);
    assert_eq!(published["moving"], 2);
    assert_eq!(care::move_running(&stage.bed.store).await.unwrap(), 2);
    assert_eq!(care::move_running(&stage.bed.store).await.unwrap(), 0, "all are there");
    assert_eq!(stage.version_of(&treatment).await, 2);
    assert_eq!(stage.audited("treatment.moved"), 2);
    assert_eq!(stage.audited("protocol.move-finished"), 1);
    stage.play("2026-11-24T12:00:00Z").await;
    let expected = [
        "Sun 22 Nov 15:55  Your next 48 hours",
        "Sun 22 Nov 15:55  Please note: a change",
        "Sun 22 Nov 21:05  Before you go to bed",
        "Mon 23 Nov 07:50  Good morning",
        "Tue 24 Nov 07:50  Two days after",
    ];
    assert_eq!(stage.diary("ana"), expected);
    let change = stage.pushes().into_iter().find(|push| push.title.contains("change")).unwrap();
    assert_eq!(change.body, "No makeup until Wednesday 15:40.");

    // A later correction of the session keeps the version that it moved to.
    let amended = stage.amend(&treatment, &json!({"areas": ["face"]})).await.expect(200);
    assert_eq!(amended["treatment"]["protocol_version"], 2);
    let amended = stage.amend(&treatment, &json!({"protocol": "microneedling"})).await.expect(200);
    assert_eq!(amended["treatment"]["protocol_version"], 2);
}

async fn a_move_goes_on_where_it_stopped(bed: Bed) {
    let stage = Stage::set(bed).await;
    let clinic = stage.clinic.clinic_id;
    let mut patients = Vec::new();
    for name in ["ana", "rui", "eva"] {
        let treatment = stage.treated(name).await;
        let patient = stage.bed.store.read(move |tx| tx.patient_by_ref(clinic, name)).await;
        patients.push((patient.unwrap().unwrap().id, treatment));
    }
    patients.sort_by_key(|(id, _)| *id);
    let [(_, first), (second, _), (_, third)] = <[_; 3]>::try_from(patients).unwrap();
    let own = stage.own().await;
    assert_eq!(stage.publish(&own, "?running=move").await.expect(201)["moving"], 3);
    // A server looked at the first two patients, moved neither, and crashed.
    let reached = stage.bed.store.write(move |tx| {
        let of = tx.protocol_moves()?.remove(0);
        tx.advance_protocol_move(&of, second)
    });
    reached.await.unwrap();
    assert_eq!(care::move_running(&stage.bed.store).await.unwrap(), 1);
    assert_eq!(stage.version_of(&third).await, 2);
    assert_eq!(stage.version_of(&first).await, 1);
    // Publishing the same again, with the wish to move, is no new version, and moves who is left.
    let again = stage.publish(&own, "?running=move").await.expect(200);
    assert_eq!((&again["moving"], &again["protocol"]["version"]), (&json!(2), &json!(2)));
    let (one, other) = (stage.bed.again().await, stage.bed.again().await);
    let moved = tokio::join!(care::move_running(&one), care::move_running(&other));
    assert_eq!(moved.0.unwrap() + moved.1.unwrap(), 2, "each is moved once");
    assert_eq!(stage.version_of(&first).await, 2);
    assert_eq!(stage.bed.store.read(|tx| tx.protocol_moves()).await.unwrap(), []);
}

async fn nothing_is_moved_back_from_a_newer_version(bed: Bed) {
    let stage = Stage::set(bed).await;
    let first = stage.treated("ana").await;
    let mut own = stage.own().await;
    assert_eq!(stage.publish(&own, "?running=move").await.expect(201)["moving"], 1);
    own["slots"]["when_to_call"]["en"] = json!("Call us at once.");
    assert_eq!(stage.publish(&own, "").await.expect(201)["protocol"]["version"], 3);
    let newer = stage.treated("rui").await;
    assert_eq!(newer["treatment"]["protocol_version"], 3);
    assert_eq!(care::move_running(&stage.bed.store).await.unwrap(), 1);
    assert_eq!(stage.version_of(&first).await, 2);
    assert_eq!(stage.version_of(&newer).await, 3);
    // What stands at 2 can go on to 3, what stands at 3 is there.
    assert_eq!(stage.publish(&own, "?running=move").await.expect(200)["moving"], 1);
    assert_eq!(care::move_running(&stage.bed.store).await.unwrap(), 1);
    assert_eq!(stage.version_of(&first).await, 3);
}

async fn a_treatment_stays_where_the_new_version_cannot_be_applied(bed: Bed) {
    let stage = Stage::set(bed).await;
    let face = stage.treated("ana").await;
    stage.patient("rui").await;
    stage.phone("rui", "rui").await;
    let mut event = done("visit-rui", "rui", stage.now());
    event["areas"] = json!(["face", "scalp"]);
    let both = stage.post(&event).await.expect(201);
    let before = stage.fates(&face).await;
    let mut own = stage.own().await;
    own["areas"] = json!(["scalp"]);
    own["default_areas"] = json!(["scalp"]);
    for rule in own["rules"].as_array_mut().unwrap() {
        rule["areas"] = json!(["scalp"]);
    }
    let path = "/v1/protocols/microneedling/impact";
    let impact = stage.clinic("POST", path, Body::Json(&own)).await.expect(200);
    let counted = (&impact["patients"], &impact["treatments"], &impact["staying"]);
    assert_eq!(counted, (&json!(1), &json!(1), &json!(1)));
    assert_eq!(impact["corrections"], 0, "{impact}");
    stage.publish(&own, "?running=move").await.expect(201);
    assert_eq!(care::move_running(&stage.bed.store).await.unwrap(), 1);
    assert_eq!(stage.version_of(&face).await, 1);
    assert_eq!(stage.fates(&face).await, before);
    let id = both["treatment"]["id"].as_str().unwrap();
    let path = format!("/v1/treatments/{id}");
    let moved = stage.clinic("GET", &path, Body::None).await.expect(200);
    assert_eq!(moved["treatment"]["protocol_version"], 2);
    assert_eq!(moved["treatment"]["areas"], json!(["scalp"]));
}

/// A step of each of two treatments fits into a push, but not both in one.
async fn what_is_too_long_for_one_push_is_fetched_by_the_app(bed: Bed) {
    let stage = Stage::set(bed).await;
    for (slug, letter) in [("microneedling", "ά"), ("chemical-peel", "ό")] {
        let mut own = stage.document(slug).await;
        own.as_object_mut().unwrap().remove("version");
        let clauses = own["steps"][0]["clauses"].as_array_mut().unwrap();
        for last in ["α", "ω"] {
            let text = letter.repeat(420) + last;
            clauses.push(json!({"text": {"en": text, "es": "a", "pt": "b", "fr": "c"}}));
        }
        let path = format!("/v1/protocols/{slug}");
        stage.clinic("PUT", &path, Body::Json(&own)).await.expect(201);
    }
    stage.treated("ana").await;
    let mut peel = done("visit-peel", "ana", stage.now());
    peel["protocol"] = json!("chemical-peel");
    stage.post(&peel).await.expect(201);
    stage.run_at("2026-11-22T15:55:00Z").await;
    let accepted = stage.fcm.accepted();
    assert_eq!(accepted.len(), 1, "one reminder for both");
    assert_eq!(accepted[0].message["data"]["content"], "reference");
    assert!(!accepted[0].message.to_string().contains('ά'), "no words travel");
    // It is whichever treatment's that came first.
    let list = stage.clinic("GET", "/v1/treatments", Body::None).await.expect(200);
    let items = list["items"].as_array().unwrap().iter();
    let mut reminders = items.flat_map(|item| item["reminders"].as_array().unwrap());
    let id = &accepted[0].message["data"]["reminder_id"];
    let sent = reminders.find(|reminder| reminder["id"] == *id).unwrap();
    assert_eq!(sent["state"], "sent");
    let body = sent["body"].as_str().unwrap();
    assert!(body.contains('ά') && body.contains('ό') && body.len() > 4_000, "{body}");
}

async fn a_version_is_near_the_last_one(bed: Bed) {
    let stage = Stage::set(bed).await;
    let mut own = stage.own().await;
    own["version"] = json!(i32::MAX);
    assert_eq!(pointers(&stage.publish(&own, "").await.expect(422)), ["/version"]);
    own["version"] = json!(1_001);
    stage.publish(&own, "").await.expect(201);
    own["version"] = json!(null);
    own["reviewed_by"] = json!("Dr. R. Lima");
    assert_eq!(stage.publish(&own, "").await.expect(201)["protocol"]["version"], 1_002);
}

async fn a_reminder_of_a_step_that_is_gone_is_named_after_its_protocol(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    let own = stage.own().await;
    stage.publish(&own, "?running=move").await.expect(201);
    care::move_running(&stage.bed.store).await.unwrap();
    let path = format!("/v1/treatments/{}", treatment["treatment"]["id"].as_str().unwrap());
    let shown = stage.clinic("GET", &path, Body::None).await.expect(200);
    let cancelled = shown["reminders"].as_array().unwrap().iter();
    let titles: Vec<_> =
        cancelled.filter(|one| one["state"] == "cancelled").map(|one| &one["title"]).collect();
    assert_eq!(titles, ["Microneedling"]);
}

async fn a_voided_or_finished_treatment_is_not_under_way(bed: Bed) {
    let stage = Stage::set(bed).await;
    let voided = stage.treated("ana").await;
    stage.void(&voided).await.expect(200);
    let finished = stage.treated("rui").await;
    stage.play("2027-02-22T12:00:00Z").await;
    let own = stage.own().await;
    let path = "/v1/protocols/microneedling/impact";
    let impact = stage.clinic("POST", path, Body::Json(&own)).await.expect(200);
    assert_eq!((&impact["patients"], &impact["treatments"]), (&json!(0), &json!(0)));
    assert_eq!(stage.publish(&own, "?running=move").await.expect(201)["moving"], 0);
    assert_eq!(stage.version_of(&finished).await, 1);
}

async fn a_clinic_calls_a_protocol_by_its_own_codes(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    let name = async |slug: &str, codes: Value| {
        let path = format!("/v1/protocols/{slug}/aliases");
        stage.clinic("PUT", &path, Body::Json(&json!({"aliases": codes}))).await
    };
    assert_eq!(name("chemical-peel", json!(["P-1"])).await.expect(200)["aliases"], json!(["P-1"]));
    name("microneedling", json!(["MN/01", "needles"])).await.expect(200);
    let list = stage.clinic("GET", "/v1/protocols", Body::None).await.expect(200);
    let aliases: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| item["aliases"].clone()).collect();
    assert_eq!(aliases, [json!(["P-1"]), json!([]), json!(["MN/01", "needles"])]);

    let mut event = done("visit-1", "ana", stage.now());
    event["protocol"] = json!("MN/01");
    let treatment = stage.post(&event).await.expect(201);
    assert_eq!(treatment["treatment"]["protocol"], "microneedling");
    let amended = stage.amend(&treatment, &json!({"protocol": "P-1"})).await.expect(200);
    assert_eq!(amended["treatment"]["protocol"], "chemical-peel");

    let conflict = name("laser-hair-removal", json!(["L-1", "needles", "chemical-peel"])).await;
    let conflict = conflict.expect(409);
    assert_eq!(conflict["code"], "alias-taken");
    assert_eq!(pointers(&conflict), ["/aliases/1", "/aliases/2"]);
    let twice = name("laser-hair-removal", json!(["a", "a", "needles"])).await.expect(422);
    assert_eq!(pointers(&twice), ["/aliases/1", "/aliases/2"], "what is taken is named, too");
    name("botox", json!(["B-1"])).await.expect(404);
    // Codes that are left out are free again.
    name("microneedling", json!([])).await.expect(200);
    name("laser-hair-removal", json!(["needles"])).await.expect(200);
    assert_eq!(stage.audited("protocol.named"), 4);

    let token = stage.another_clinic().await;
    event["patient"] = json!({"ref": "eva"});
    event.as_object_mut().unwrap().remove("patient_ref");
    event["protocol"] = json!("P-1");
    let path = "/v1/treatments";
    let refused = stage.http.call("POST", path, Some(&token), Body::Json(&event)).await.expect(422);
    assert_eq!(refused["code"], "unknown-protocol", "the codes are the clinic's own");
}

async fn a_protocol_is_tried_out_for_any_moment(bed: Bed) {
    let stage = Stage::set(bed).await;
    let path = "/v1/protocols/laser-hair-removal/preview";
    let mut trial = json!({
        "completed_at": "2031-03-29T17:30:00Z", "areas": ["underarms"], "locale": "pt-BR",
        "time_zone": "Europe/Lisbon",
    });
    let preview = stage.clinic("POST", path, Body::Json(&trial)).await.expect(200);
    assert_eq!(preview["treatment"]["notice"], "draft, not reviewed");
    assert_eq!(preview["reminders"][1]["title"], "Bom dia");
    // The clocks went forward that night.
    assert_eq!(preview["reminders"][1]["due_local"], "2031-03-30T07:50:00+01:00[Europe/Lisbon]");
    let rules: Vec<_> = preview["restrictions"].as_array().unwrap().iter().collect();
    assert!(rules.iter().any(|rule| rule["rule"] == "no-deodorant"));
    trial["areas"] = json!(["scalp"]);
    let refused = stage.clinic("POST", path, Body::Json(&trial)).await.expect(422);
    assert_eq!(pointers(&refused), ["/areas"]);

    // A document that nobody published, under a name that nothing has.
    let mut own = stage.own().await;
    own.as_object_mut().unwrap().remove("slug");
    let path = "/v1/protocols/our-needles/preview";
    let mut trial = json!({"completed_at": "2026-11-22T15:40:00Z"});
    stage.clinic("POST", path, Body::Json(&trial)).await.expect(404);
    trial["document"] = own;
    let preview = stage.clinic("POST", path, Body::Json(&trial)).await.expect(200);
    let treatment = &preview["treatment"];
    assert_eq!(
        (&treatment["protocol"], &treatment["protocol_version"]),
        (&json!("our-needles"), &json!(1))
    );
    assert_eq!(
        (&treatment["notice"], &treatment["time_zone"]),
        (&Value::Null, &json!("Europe/Lisbon"))
    );
    stage.clinic("GET", "/v1/protocols/our-needles", Body::None).await.expect(404);
    let list = stage.clinic("GET", "/v1/treatments", Body::None).await.expect(200);
    assert_eq!(list["items"], json!([]), "nothing was recorded");
}

on_both_engines!(
    sessions_follow_the_version_in_use_when_they_are_recorded,
    every_fault_of_a_document_is_named_at_once,
    what_is_under_way_moves_when_the_clinic_says_so,
    a_move_goes_on_where_it_stopped,
    nothing_is_moved_back_from_a_newer_version,
    a_treatment_stays_where_the_new_version_cannot_be_applied,
    what_is_too_long_for_one_push_is_fetched_by_the_app,
    a_version_is_near_the_last_one,
    a_reminder_of_a_step_that_is_gone_is_named_after_its_protocol,
    a_voided_or_finished_treatment_is_not_under_way,
    a_clinic_calls_a_protocol_by_its_own_codes,
    a_protocol_is_tried_out_for_any_moment,
);
