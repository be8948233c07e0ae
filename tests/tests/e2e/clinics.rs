//! What the operator sets for a clinic, and what becomes of it on phones.

use std::path::Path;

use aftercare::care::{ClinicPatch, change_clinic};
use aftercare::store::{PatientsOf, PushContent};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use diesel::RunQueryDsl as _;
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::sqlite::SqliteConnection;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::http::Body;
use crate::process::{Clinic, Server, aftercare, make_clinic, run};
use crate::stage::{Stage, device};

/// What the reminder after a session is called.
const TITLE: &str = "Your next 48 hours";

impl Stage {
    async fn set_clinic(&self, patch: ClinicPatch) {
        let changed = self.bed.store.write(move |tx| {
            let clinic = tx.clinics()?.remove(0).id;
            change_clinic(tx, clinic, patch)
        });
        changed.await.unwrap();
    }
}

/// Whether the words of a reminder are anywhere in the message, and how much it says it says.
fn said(message: &Value) -> (bool, String) {
    let text = message.to_string();
    let words = text.contains(TITLE) || text.contains("makeup");
    (words, message["data"]["content"].as_str().unwrap().to_owned())
}

fn strictest(clinic: &str, own: &str) -> &'static str {
    match (clinic, own) {
        ("reference", _) | (_, "reference") => "reference",
        ("discreet", _) | (_, "discreet") => "discreet",
        _ => "text",
    }
}

async fn of_clinic_and_patient_the_stricter_wins_on_every_phone(bed: Bed) {
    use PushContent::{Discreet, Reference, Text};
    let stage = Stage::set(bed).await;
    let phones =
        [("android", "push"), ("ios", "push"), ("web", "push"), ("android", "local_fallback")];
    for clinic in [Text, Discreet, Reference] {
        let patch = ClinicPatch { push_content: Some(clinic), ..ClinicPatch::default() };
        stage.set_clinic(patch).await;
        for own in [None, Some(Text), Some(Discreet), Some(Reference)] {
            let name = format!("{clinic}-{}", own.map_or("none", PushContent::as_str));
            stage.patient(&name).await;
            let app = stage.signed_in(&name, &name).await;
            for (n, (platform, delivery)) in phones.iter().enumerate() {
                let phone = format!("{name}-{n}");
                let token = stage.app(&name, &phone).await;
                let mut device = device(&phone);
                (device["platform"], device["delivery"]) = (json!(platform), json!(delivery));
                stage.register(&token, &phone, &device).await.expect(204);
            }
            let tag = async || {
                let answer = app.call("GET", "/v1/me/timeline", Body::None).await;
                answer.header("etag").unwrap().to_owned()
            };
            let before = tag().await;
            app.wish(json!({"push_content": own.map(PushContent::as_str)})).await;
            let strictest = strictest(clinic.as_str(), own.unwrap_or(Text).as_str());
            let timeline = app.get("/v1/me/timeline").await;
            assert_eq!(
                timeline["push_content"], strictest,
                "for what the app plans itself: {name}"
            );
            assert_eq!(tag().await != before, strictest != clinic.as_str(), "{name}");
            stage.session_done(&format!("visit-{name}"), &name).await;
        }
        // What the clinic wants when it is sent counts, and by then the next is not set.
        let due = stage.now() + SignedDuration::from_mins(15);
        stage.run_at(&due.to_string()).await;
    }
    let accepted = stage.fcm.accepted();
    assert_eq!(accepted.len(), 3 * 4 * phones.len());
    for push in accepted {
        let mut parts = push.address.split('-');
        let (clinic, own) = (parts.next().unwrap(), parts.next().unwrap());
        let strictest = strictest(clinic, own);
        let expected = (strictest == "text", strictest.to_owned());
        assert_eq!(said(&push.message), expected, "{}: {}", push.address, push.message);
        if strictest == "reference" {
            let data = &push.message["data"];
            assert_eq!((data.get("title"), data.get("body")), (None, None), "{data}");
        }
    }
}

/// Ana's zone was told by the clinic, Bea's by nobody; one who comes third cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_clinic_that_moves_takes_those_along_who_have_no_zone_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let made = make_clinic(folder.path(), &[]);
    let id = made["clinic_id"].as_str().unwrap();
    let mut server = Server::start(aftercare(folder.path()).arg("serve")).await;
    let clinic = Clinic::sign_in(server.http, &made).await;
    let path = "/v1/patients/ana";
    clinic.call("PUT", path, Body::Json(&json!({"time_zone": "Europe/Lisbon"}))).await;
    for name in ["bea", "eva"] {
        clinic.call("PUT", &format!("/v1/patients/{name}"), Body::Json(&json!({}))).await;
    }
    for name in ["ana", "bea", "eva"] {
        clinic.session_done(name, SignedDuration::ZERO).await;
    }
    clinic.call("PUT", "/v1/patients/idle", Body::Json(&json!({}))).await;
    let morning = async |name: &str| {
        let path = format!("/v1/patients/{name}/timeline");
        let timeline = clinic.call("GET", &path, Body::None).await;
        let rows = timeline["reminders"].as_array().unwrap();
        rows.iter().find(|row| row["title"] == "Good morning").unwrap()["due_local"].clone()
    };
    let is_at = |due: &Value, zone: &str| due.as_str().unwrap().ends_with(&format!("[{zone}]"));
    for name in ["ana", "bea", "eva"] {
        assert!(is_at(&morning(name).await, "Europe/Lisbon"));
    }
    let eva = "(SELECT max(id) FROM patients WHERE id IN (SELECT patient_id FROM treatments))";
    let mut conn = file(folder.path());
    conn.batch_execute(&format!(
        "CREATE TABLE kept AS SELECT id, key_wrapped FROM patients WHERE id = {eva};
         UPDATE patients SET key_wrapped = x'01' WHERE id = {eva}"
    ))
    .unwrap();
    let set = || {
        let mut command = aftercare(folder.path());
        command.args(["clinic", "set", "--clinic", id, "--time-zone", "Atlantic/Azores"]);
        let done = run(&mut command);
        (done.status.code(), String::from_utf8(done.stdout).unwrap())
    };
    let (code, said) = set();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("time zone: Europe/Lisbon -> Atlantic/Azores"), "{said}");
    assert!(said.contains("planned anew: 1 of 2 patients"), "{said}");
    assert!(is_at(&morning("bea").await, "Atlantic/Azores"));
    assert!(is_at(&morning("ana").await, "Europe/Lisbon"));

    // What was left is done by the same call.
    conn.batch_execute(
        "UPDATE patients SET key_wrapped = (SELECT key_wrapped FROM kept) WHERE id IN (SELECT id FROM kept)",
    )
    .unwrap();
    let (code, said) = set();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing of the clinic was changed"), "{said}");
    assert!(said.contains("planned anew: 1 of 2 patients"), "{said}");
    assert!(is_at(&morning("eva").await, "Atlantic/Azores"));
    assert!(set().1.contains("planned anew: 0 of 2 patients"));
    assert!(server.process.terminate().await.success());
}

/// As [`a_clinic_that_moves_takes_those_along_who_have_no_zone_of_their_own`], of whom the store names.
async fn those_without_a_zone_are_named_in_batches(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    for name in ["bea", "eva", "ida"] {
        let visit = json!({
            "event_id": format!("visit-{name}"), "patient": {"ref": name},
            "protocol": "microneedling", "completed_at": stage.now().to_string(),
        });
        stage.post(&visit).await.expect(201);
    }
    let named = stage.bed.store.read(|tx| {
        let clinic = tx.clinics()?.remove(0).id;
        let of = PatientsOf { clinic: Some(clinic), in_clinics_zone: true };
        let now = tx.now();
        let first = tx.patients_underway(of, now, None, 2)?;
        let rest = tx.patients_underway(of, now, first.last().copied(), 2)?;
        let patients = tx.patients_by_id(&[first.clone(), rest.clone()].concat())?;
        let mut names: Vec<String> = patients.into_iter().map(|one| one.reference).collect();
        names.sort();
        Ok::<_, aftercare::store::StoreError>((first.len(), rest.len(), names))
    });
    let (first, rest, who) = named.await.unwrap();
    assert_eq!((first, rest, who.join(" ")), (2, 1, "bea eva ida".to_owned()));
}

#[test]
fn the_operator_sets_and_lists_clinics() {
    let folder = tempfile::tempdir().unwrap();
    let made = make_clinic(folder.path(), &[]);
    let id = made["clinic_id"].as_str().unwrap();
    let set = |args: &[&str]| {
        let mut command = aftercare(folder.path());
        let done = run(command.args(["clinic", "set", "--clinic", id]).args(args));
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(said).unwrap())
    };
    let list = || -> Value {
        let done = run(aftercare(folder.path()).args(["clinic", "list", "--json"]));
        let mut listed: Value = serde_json::from_slice(&done.stdout).unwrap();
        listed["clinics"][0].take()
    };
    assert_eq!(list()["push_content"], "text");
    let all = [
        "--push-content",
        "discreet",
        "--contact-phone",
        "+351 21 000 00 00",
        "--name",
        " Pele Velha ",
        "--locale",
        "pt-PT",
        "--time-zone",
        "atlantic/azores",
    ];
    let (code, said) = set(&all);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "name: Pele Nova -> Pele Velha",
        "contact phone: none -> +351 21 000 00 00",
        "push content: text -> discreet",
        "planned anew: 0 of 0 patients",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    let listed = list();
    for (field, value) in [
        ("clinic_id", id),
        ("push_content", "discreet"),
        ("contact_phone", "+351 21 000 00 00"),
        ("name", "Pele Velha"),
        ("locale", "pt-PT"),
        ("time_zone", "Atlantic/Azores"),
    ] {
        assert_eq!(listed[field], value);
    }
    assert_eq!(set(&["--no-contact-phone"]).0, Some(0));
    assert_eq!(list()["contact_phone"], Value::Null);
    assert_eq!(list()["name"], "Pele Velha", "what was not spoken of stays");
    for wrong in [
        &[][..],
        &["--push-content", "loud"],
        &["--time-zone", "Europe/Nowhere"],
        &["--contact-phone", "1", "--no-contact-phone"],
    ] {
        assert_eq!(set(wrong).0, Some(2), "{wrong:?}");
    }
    assert_eq!(set(&["--name", ""]).0, Some(1));
    assert_eq!(list()["name"], "Pele Velha");
    let deeds: i64 =
        diesel::sql_query("SELECT count(*) AS n FROM audit WHERE action = 'clinic.changed'")
            .get_result::<Count>(&mut file(folder.path()))
            .unwrap()
            .n;
    assert_eq!(deeds, 2);
}

fn file(folder: &Path) -> SqliteConnection {
    let file = folder.join("aftercare.db");
    let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    // The server that runs beside it writes, too.
    conn.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
    conn
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    n: i64,
}

on_both_engines!(
    of_clinic_and_patient_the_stricter_wins_on_every_phone,
    those_without_a_zone_are_named_in_batches,
);
