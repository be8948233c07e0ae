//! Nobody is kept for longer than the operator says. 13 months after 22 November 2026, 15:40, is
//! 22 December 2027, 15:40.

use std::collections::BTreeSet;

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use serde_json::json;

use crate::http::Body;
use crate::stage::{Stage, done};

impl Stage {
    /// The patients that are still there, after the hourly look.
    async fn kept(&self, now: &str) -> BTreeSet<&'static str> {
        self.set_clock(now);
        self.scheduler.tidy().await;
        let names = ["ana", "bea", "eva", "ida", "mia", "zoe"];
        let kept = self.bed.store.read(move |tx| {
            let clinic = tx.clinics()?.remove(0).id;
            let mut kept = BTreeSet::new();
            for name in names {
                if tx.patient_by_ref(clinic, name)?.is_some() {
                    kept.insert(name);
                }
            }
            Ok::<_, aftercare::store::StoreError>(kept)
        });
        kept.await.unwrap()
    }
}

async fn patients_go_thirteen_months_after_their_last_treatment(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treated = stage.treated("ana").await;
    // Never treated, and only by mistake.
    stage.patient("bea").await;
    let mistake = stage.treated("eva").await;
    stage.void(&mistake).await.expect(200);
    // A treatment of long ago, told of today.
    stage.patient("ida").await;
    stage.set_clock("2026-11-22T15:41:00Z");
    let long_ago = "2024-01-10T10:00:00Z".parse().unwrap();
    stage.post(&done("visit-ida", "ida", long_ago)).await.expect(201);
    stage.play("2027-01-22T15:40:00Z").await;

    assert_eq!(stage.kept("2027-12-22T15:39:59Z").await, ["ana", "bea", "eva", "ida"].into());
    assert_eq!(stage.kept("2027-12-22T15:40:00Z").await, ["ida"].into());
    assert_eq!(stage.kept("2027-12-22T15:41:00Z").await, [].into());
    let erased = stage.bed.query("SELECT count(*) FROM erasures");
    assert_eq!(erased, ["4"]);
    let actors = "SELECT DISTINCT actor FROM audit WHERE action = 'patient.erased'";
    assert_eq!(stage.bed.query(actors), ["system"]);
    let path = format!("/v1/treatments/{}", treated["treatment"]["id"].as_str().unwrap());
    stage.clinic("GET", &path, Body::None).await.problem(404, "not-found");
}

async fn whoever_is_expected_stays(bed: Bed) {
    let stage = Stage::set(bed).await;
    let book = async |name: &str| {
        let path = format!("/v1/patients/{name}/courses/microneedling/next-session");
        let next = json!({"at": "2028-03-01T15:00:00Z"});
        stage.clinic("PUT", &path, Body::Json(&next)).await.expect(200);
    };
    // Booked, and reminded of it.
    stage.treated("mia").await;
    book("mia").await;
    // Booked, and does not want to be reminded of it.
    let (zoe, _) = stage.treated_with_app("zoe").await;
    zoe.consent("recall", false).await;
    book("zoe").await;
    stage.play("2027-12-22T15:40:00Z").await;
    assert_eq!(stage.kept("2027-12-22T16:00:00Z").await, ["mia", "zoe"].into());
    // The day before: Mia's reminder is due and waits to be sent.
    assert_eq!(stage.kept("2028-02-29T10:05:00Z").await, ["mia", "zoe"].into());
    // Nobody has heard of her phone for long: it expires that evening.
    stage.play("2028-02-29T20:00:01Z").await;
    assert_eq!(stage.kept("2028-03-01T14:59:59Z").await, ["mia", "zoe"].into());
    assert_eq!(stage.kept("2028-03-01T15:00:00Z").await, [].into());
}

on_both_engines!(patients_go_thirteen_months_after_their_last_treatment, whoever_is_expected_stays,);
