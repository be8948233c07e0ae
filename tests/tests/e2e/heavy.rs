//! Somebody with very many treatments: what that costs is the cost of whoever asks.

use std::sync::atomic::{AtomicUsize, Ordering};

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use futures_util::future::{join, join_all};
use jiff::SignedDuration;
use serde_json::Value;

use crate::http::{Body, wait_for};
use crate::stage::{Stage, done};

const TREATMENTS: i64 = 40;
const AT_ONCE: usize = 24;

/// Ana had a session each day for weeks.
async fn treated_daily(bed: Bed) -> Stage {
    let stage = Stage::set(bed).await;
    stage.patient("ana").await;
    for day in 0..TREATMENTS {
        let completed_at = stage.now() - SignedDuration::from_hours(24 * day + 1);
        stage.post(&done(&format!("visit-{day}"), "ana", completed_at)).await.expect(201);
    }
    stage
}

async fn who_reads_much_at_once_waits_in_a_line_of_their_own(bed: Bed) {
    let stage = treated_daily(bed).await;
    let other = stage.another_clinic().await;
    let token = stage.clinic_token().await;
    for path in ["/v1/patients/ana/timeline", "/v1/patients/ana/export", "/v1/treatments"] {
        let answered = AtomicUsize::new(0);
        let reads = (0..AT_ONCE).map(|_| async {
            stage.http.call("GET", path, Some(&token), Body::None).await.expect(200);
            answered.fetch_add(1, Ordering::Relaxed);
        });
        let meanwhile = async {
            let first = async || (answered.load(Ordering::Relaxed) > 0).then_some(());
            wait_for("the first answer", first).await;
            stage.http.call("GET", "/v1/treatments", Some(&other), Body::None).await.expect(200);
            answered.load(Ordering::Relaxed)
        };
        let (before, _) = join(meanwhile, join_all(reads)).await;
        assert!(before <= AT_ONCE / 2, "{path}: {before} came before another clinic's");
    }
}

async fn of_many_treatments_each_is_shown_as_it_is_shown_alone(bed: Bed) {
    let stage = treated_daily(bed).await;
    let page = stage.clinic("GET", "/v1/treatments", Body::None).await.expect(200);
    let timeline = stage.clinic("GET", "/v1/patients/ana/timeline", Body::None).await.expect(200);
    let export = stage.clinic("GET", "/v1/patients/ana/export", Body::None).await.expect(200);
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), usize::try_from(TREATMENTS).unwrap());
    let find = |document: &Value, id: &Value| {
        let all = document["reminders"].as_array().unwrap();
        all.iter().find(|one| one["id"] == *id).unwrap().clone()
    };
    for item in items {
        let id = item["treatment"]["id"].as_str().unwrap();
        let mut exported = export["treatments"].as_array().unwrap().iter();
        let exported = exported.find(|one| one["id"] == id).unwrap();
        let alone = stage.clinic("GET", &format!("/v1/treatments/{id}"), Body::None).await;
        assert_eq!(alone.expect(200), *item);
        for (name, value) in item["treatment"].as_object().unwrap() {
            assert_eq!(exported[name], *value, "{name}");
        }
        for reminder in item["reminders"].as_array().unwrap() {
            let (shown, exported) =
                (find(&timeline, &reminder["id"]), find(&export, &reminder["id"]));
            assert_eq!(shown, *reminder);
            assert_eq!(exported["body"], reminder["body"]);
        }
    }
}

on_both_engines!(
    who_reads_much_at_once_waits_in_a_line_of_their_own,
    of_many_treatments_each_is_shown_as_it_is_shown_alone,
);
