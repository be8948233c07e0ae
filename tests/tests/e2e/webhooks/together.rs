//! What happens and the word of it are written together, or neither is.

use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use aftercare_tests::postgres::TestDatabase;
use serde_json::json;

use super::ALL;
use crate::http::Body;
use crate::receiver::Receiver;
use crate::stage::{Stage, done};

impl Stage {
    /// From now on the database refuses these rows, as if the server died when it writes one.
    fn refuse_rows(&self, table: &str, which: &str) {
        let sql = if self.bed.database.is_some() {
            format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                     AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
                 CREATE TRIGGER refuse BEFORE INSERT ON {table}
                     FOR EACH ROW WHEN ({which}) EXECUTE FUNCTION refuse();"
            )
        } else {
            format!(
                "CREATE TRIGGER refuse BEFORE INSERT ON {table}
                     WHEN {which} BEGIN SELECT RAISE(ABORT, 'refused'); END;"
            )
        };
        self.bed.execute(&sql);
    }

    fn take_rows(&self, table: &str) {
        let sql = if self.bed.database.is_some() {
            format!("DROP TRIGGER refuse ON {table}; DROP FUNCTION refuse();")
        } else {
            "DROP TRIGGER refuse".to_owned()
        };
        self.bed.execute(&sql);
    }

    fn count(&self, table: &str) -> String {
        self.bed.query(&format!("SELECT count(*) FROM {table}")).remove(0)
    }
}

async fn no_deed_is_kept_without_its_word(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &ALL).await;
    stage.patient("ana").await;
    stage.refuse_rows("webhook_events", "NEW.kind = 'treatment.planned'");
    let event = done("visit-1", "ana", stage.now());
    assert!(stage.post(&event).await.status >= 500);
    let kept = ["treatments", "reminders", "webhook_events"].map(|table| stage.count(table));
    assert_eq!(kept, ["0", "0", "0"]);
    stage.take_rows("webhook_events");
    stage.post(&event).await.expect(201);
    stage.post(&event).await.expect(200);
    assert_eq!(stage.tell().await.delivered, 1);
    assert_eq!(receiver.lines(), ["ana treatment.planned"]);

    stage.refuse_rows("webhook_events", "NEW.kind = 'patient.erased'");
    let erase = || stage.clinic("DELETE", "/v1/patients/ana", Body::None);
    assert!(erase().await.status >= 500);
    assert_eq!(stage.count("patients"), "1");
    stage.take_rows("webhook_events");
    erase().await.expect(204);
    erase().await.problem(404, "not-found");
    assert_eq!(stage.tell().await.delivered, 1);
    assert_eq!(receiver.lines(), ["- patient.erased"]);
}

async fn no_word_is_kept_without_its_deed(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    stage.webhook(&receiver, &ALL).await;
    stage.patient("ana").await;
    let token = stage.phone("ana", "ana").await;
    // What is noted last.
    stage.refuse_rows("audit", "NEW.action IN ('consent.recall.withdrawn', 'treatment.recorded')");
    let no = json!({"granted": false});
    let path = "/v1/me/consents/recall";
    let withdrawn = stage.http.call("PUT", path, Some(&token), Body::Json(&no)).await;
    assert!(withdrawn.status >= 500, "{withdrawn:?}");
    let event = done("visit-1", "ana", stage.now());
    assert!(stage.post(&event).await.status >= 500);
    assert_eq!(stage.outbox(), 0);
    stage.take_rows("audit");
    stage.app_call(&token, "PUT", path, &no).await;
    stage.post(&event).await.expect(201);
    assert_eq!(stage.tell().await.delivered, 2);
    assert_eq!(receiver.lines(), ["ana consent.withdrawn", "ana treatment.planned"]);
}

async fn who_deletes_a_webhook_stops_nobody_else(bed: Bed) {
    let stage = Stage::set(bed).await;
    let receiver = Receiver::start().await;
    for n in 0..40 {
        let webhook = stage.webhook(&receiver, &ALL).await;
        let path = format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
        let (name, other) = (format!("p-{n}"), format!("q-{n}"));
        stage.patient(&name).await;
        stage.patient(&other).await;
        for visit in ["a", "b", "c"] {
            stage.session_done(&format!("{other}-{visit}"), &other).await;
        }
        let (event, other) = (done(&name, &name, stage.now()), format!("/v1/patients/{other}"));
        let replay = format!("{path}/replay");
        let (done, deleted, erased, replayed) = futures_util::join!(
            stage.post(&event),
            stage.clinic("DELETE", &path, Body::None),
            stage.clinic("DELETE", &other, Body::None),
            stage.clinic("POST", &replay, Body::None),
        );
        done.expect(201);
        deleted.expect(204);
        erased.expect(204);
        assert!(matches!(replayed.status, 200 | 404), "{replayed:?}");
    }
    assert_eq!(stage.count("webhook_events"), "0");
    let deadlocks = stage.bed.database.as_ref().map_or(0, TestDatabase::deadlocks);
    assert_eq!(deadlocks, 0);
}

on_both_engines!(
    no_deed_is_kept_without_its_word,
    no_word_is_kept_without_its_deed,
    who_deletes_a_webhook_stops_nobody_else,
);
