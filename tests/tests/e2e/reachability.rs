//! Who is going to hear nothing is told before, and told right: what is listed stays silent, and
//! what is not listed is heard.

use std::collections::{BTreeMap, BTreeSet};

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use fcm_emulator::{Fault, FaultKind, PhoneSettings};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::http::Body;
use crate::stage::{Stage, device, done};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

impl Stage {
    /// The items of all pages.
    async fn unheard(&self, query: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/reachability?{query}{cursor}");
            let page = self.clinic("GET", &path, Body::None).await.expect(200);
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { return items };
            cursor = format!("&cursor={next}");
        }
    }

    /// A patient with a phone of the same name, which the test then breaks.
    async fn with_phone(&self, name: &str) -> String {
        self.patient(name).await;
        self.phone(name, name).await
    }

    /// A patient whose session was done a month ago less a week, so that it is time to book the next.
    async fn about_to_book(&self, name: &str) {
        let path = format!("/v1/patients/{name}");
        let body = json!({"time_zone": "Europe/Lisbon", "locale": "en"});
        self.clinic("PUT", &path, Body::Json(&body)).await;
        let completed = self.now() - 23 * 24 * HOUR;
        self.post(&done(&format!("visit-{name}"), name, completed)).await.expect(201);
    }
}

/// The reasons for each patient, of all their reminders.
fn reasons(items: &[Value]) -> BTreeMap<&str, BTreeSet<String>> {
    let mut reasons: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for item in items {
        let all: Vec<&str> = item["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reason| reason.as_str().unwrap())
            .collect();
        assert_eq!(item["reason"], all[0]);
        reasons.entry(item["patient_ref"].as_str().unwrap()).or_default().insert(all.join(" "));
    }
    reasons
}

/// Ten patients, eight of whom no push reaches, each for a reason of their own.
async fn set_apart(stage: &Stage) -> BTreeMap<&'static str, Value> {
    // An app that is not opened for 271 days loses its address.
    stage.with_phone("stale").await;
    stage.set_clock("2027-08-20T15:40:00Z");
    stage.scheduler.tidy().await;
    stage.patient("none").await;
    let off = stage.with_phone("off").await;
    let mut silent = device("off");
    silent["notifications_enabled"] = json!(false);
    stage.register(&off, "off", &silent).await.expect(204);
    stage.with_phone("gone").await;
    let gone = PhoneSettings { installed: Some(false), ..PhoneSettings::default() };
    stage.fcm.set_phone("gone", gone);
    stage.with_phone("refused").await;
    stage.fcm.set_fault(Fault::new(FaultKind::SenderIdMismatch).for_address("refused"));
    stage.with_phone("moved").await;
    stage.patient("taker").await;
    let taker = stage.app("taker", "taker").await;
    stage.register(&taker, "taker", &device("moved")).await.expect(204);
    stage.with_phone("unwilling").await;
    stage.signed_in("unwilling", "tablet").await.consent("aftercare", false).await;
    // One phone is enough, and a wish for fewer next-session pushes leaves the others alone.
    stage.with_phone("fine").await;
    let tablet = stage.app("fine", "tablet-of-fine").await;
    let mut silent = device("tablet-of-fine");
    silent["notifications_enabled"] = json!(false);
    stage.register(&tablet, "tablet-of-fine", &silent).await.expect(204);
    let mut treated = BTreeMap::new();
    for name in ["none", "off", "gone", "refused", "moved", "stale", "unwilling", "fine"] {
        treated.insert(name, stage.session_done(&format!("visit-{name}"), name).await);
    }
    for name in ["recall", "booker"] {
        stage.with_phone(name).await;
    }
    stage.signed_in("recall", "recall-tablet").await.consent("recall", false).await;
    for name in ["recall", "booker"] {
        stage.about_to_book(name).await;
    }
    treated
}

async fn who_is_listed_hears_nothing_and_who_is_not_hears_all(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = set_apart(&stage).await;
    // The first pushes find out whose app is gone, and whose address is not ours.
    stage.play("2027-08-20T16:10:00Z").await;
    let heard_before = stage.pushes().len();
    assert_eq!(heard_before, 1, "only one patient of those treated today is reached");

    let items = stage.unheard("").await;
    let expected = [
        ("gone", "app-gone"),
        ("moved", "address-moved"),
        ("none", "no-device"),
        ("off", "notifications-off"),
        ("recall", "consent-withdrawn"),
        ("refused", "refused-address"),
        ("stale", "stale-address"),
        ("unwilling", "consent-withdrawn"),
    ];
    let expected: BTreeMap<_, _> =
        expected.map(|(name, reason)| (name, BTreeSet::from([reason.to_owned()]))).into();
    assert_eq!(reasons(&items), expected);
    let of_none = items.iter().find(|item| item["patient_ref"] == "none").unwrap();
    let start = &treated["none"]["reminders"][0];
    assert_eq!(of_none["reminder_id"], start["id"]);
    for field in ["due_at", "due_local", "use_by", "title", "rule_ids"] {
        assert_eq!(of_none[field], start[field], "{field}");
    }
    assert_eq!(of_none["title"], "Your next 48 hours");
    assert_eq!(of_none["due_local"], "2027-08-20T16:55:00+01:00[Europe/Lisbon]");
    assert_eq!(of_none["treatment_id"], treated["none"]["treatment"]["id"]);
    let of_recall: Vec<_> = items.iter().filter(|item| item["patient_ref"] == "recall").collect();
    assert_eq!((of_recall.len(), &of_recall[0]["title"]), (1, &json!("Your next session")));

    // Page by page it is the same list; a look less far ahead is its beginning.
    assert_eq!(stage.unheard("limit=1").await, items);
    assert_eq!(stage.unheard("limit=3").await, items);
    let soon = stage.unheard("within_hours=1").await;
    assert!(!soon.is_empty() && soon.len() < items.len());
    assert_eq!(soon[..], items[..soon.len()]);

    // What is going to be due, of whomever: either it is listed, or a phone shows it.
    let until = stage.now() + 48 * HOUR;
    let mut due = BTreeSet::new();
    let list = stage.clinic("GET", "/v1/treatments", Body::None).await.expect(200);
    for treatment in list["items"].as_array().unwrap() {
        for reminder in treatment["reminders"].as_array().unwrap() {
            let at: jiff::Timestamp = reminder["due_at"].as_str().unwrap().parse().unwrap();
            if reminder["state"] == "planned" && at <= until {
                due.insert(reminder["id"].as_str().unwrap().to_owned());
            }
        }
    }
    let id = |item: &Value| item["reminder_id"].as_str().unwrap().to_owned();
    let listed: BTreeSet<String> = items.iter().map(id).collect();
    stage.play(&until.to_string()).await;
    let pushes = stage.pushes();
    let heard: BTreeSet<String> =
        pushes[heard_before..].iter().map(|push| push.reminder.clone()).collect();
    assert_eq!(listed.intersection(&heard).count(), 0);
    let told: BTreeSet<String> = listed.union(&heard).cloned().collect();
    assert_eq!(due.difference(&told).collect::<Vec<_>>(), [&""; 0]);
    assert!(heard.len() >= 5, "four of who is fine, and one who books: {heard:?}");
}

async fn all_of_a_paused_clinic_is_listed(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.patient("bea").await;
    let mistake = stage.session_done("visit-bea", "bea").await;
    assert_eq!(reasons(&stage.unheard("").await).keys().collect::<Vec<_>>(), [&"bea"]);
    let clinic = stage.clinic.clinic_id;
    stage.bed.store.write(move |tx| tx.set_paused(clinic, true)).await.unwrap();
    let expected = BTreeMap::from([
        ("ana", BTreeSet::from(["sending-paused".to_owned()])),
        ("bea", BTreeSet::from(["sending-paused no-device".to_owned()])),
    ]);
    assert_eq!(reasons(&stage.unheard("within_hours=168").await), expected);
    stage.bed.store.write(move |tx| tx.set_paused(clinic, false)).await.unwrap();
    stage.bed.store.write(|tx| tx.set_all_paused(true)).await.unwrap();
    assert_eq!(reasons(&stage.unheard("within_hours=168").await), expected);
    stage.bed.store.write(|tx| tx.set_all_paused(false)).await.unwrap();
    stage.void(&mistake).await.expect(200);
    assert_eq!(stage.unheard("").await, [Value::Null; 0]);
}

async fn what_fcm_refused_for_good_is_listed_while_it_is_of_use(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    stage.fcm.set_fault(Fault::new(FaultKind::InvalidArgument).on_field("message.android.ttl"));
    stage.run_at("2026-11-22T15:55:00Z").await;
    stage.fcm.clear_faults();
    assert_eq!(stage.fates(&treated).await[0].1, "failed: rejected");
    let items = stage.unheard("").await;
    let expected = BTreeMap::from([("ana", BTreeSet::from(["message-refused".to_owned()]))]);
    assert_eq!(reasons(&items), expected);
    assert_eq!((items.len(), &items[0]["title"]), (1, &json!("Your next 48 hours")));
    // Paper may tell it until then; after its use-by it is too late.
    stage.set_clock("2026-11-22T18:39:00Z");
    assert_eq!(stage.unheard("").await.len(), 1);
    stage.set_clock("2026-11-22T18:40:00Z");
    assert_eq!(stage.unheard("").await, [Value::Null; 0]);
    stage.set_clock("2026-11-22T18:39:00Z");
    stage.void(&treated).await.expect(200);
    assert_eq!(stage.unheard("").await, [Value::Null; 0]);
}

async fn each_clinic_sees_its_own_and_each_look_leaves_a_note(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.patient("bea").await;
    stage.session_done("visit-bea", "bea").await;
    assert_eq!(stage.unheard("").await.len(), 5);
    let notes = "SELECT subject FROM audit WHERE action = 'reachability.read'";
    assert_eq!(stage.bed.query(notes), ["reminders:5"]);

    let token = stage.another_clinic().await;
    let page = stage.http.call("GET", "/v1/reachability", Some(&token), Body::None).await;
    assert_eq!(page.expect(200), json!({"items": [], "next_cursor": null}));

    let path = "/v1/reachability?within_hours=169&limit=0&cursor=!&who=me";
    let problem = stage.clinic("GET", path, Body::None).await.problem(422, "invalid-fields");
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|fault| &fault["pointer"]).collect();
    assert_eq!(pointers, ["?within_hours", "?limit", "?who"]);
    stage
        .clinic("GET", "/v1/reachability?cursor=!", Body::None)
        .await
        .problem(422, "invalid-fields");
}

on_both_engines!(
    who_is_listed_hears_nothing_and_who_is_not_hears_all,
    all_of_a_paused_clinic_is_listed,
    what_fcm_refused_for_good_is_listed_while_it_is_of_use,
    each_clinic_sees_its_own_and_each_look_leaves_a_note,
);
