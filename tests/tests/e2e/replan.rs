//! After a release that brought other time-zone rules: what is not sent yet follows them.

use aftercare::care::{ReplanFilter, Replanned, replan_everybody};
use aftercare::ids::PatientId;
use aftercare::planner::ReminderState;
use aftercare::store::Reminder;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::SignedDuration;
use serde_json::Value;

use crate::process::{aftercare, run};
use crate::stage::Stage;

impl Stage {
    /// Everything of a treatment, but for when it last changed.
    async fn rows(&self, treatment: &Value) -> Vec<Reminder> {
        let rows = self.reminders(treatment["treatment"]["id"].as_str().unwrap()).await;
        let unchanged = |row: Reminder| Reminder { updated_at: row.created_at, ..row };
        rows.into_iter().map(unchanged).collect()
    }

    /// Stores what is planned as a release would have whose Lisbon was an hour ahead of ours.
    async fn age(&self, treatment: &Value) {
        let hour = SignedDuration::from_hours(1);
        let mut rows = self.rows(treatment).await;
        rows.retain(|row| row.state == ReminderState::Planned);
        for row in &mut rows {
            row.due_at -= hour;
            row.use_by -= hour;
            row.attempt_at = Some(row.due_at);
            for member in &mut row.members {
                member.nominal_at -= hour;
                member.use_by -= hour;
            }
        }
        self.bed.store.write(move |tx| tx.save_reminders(&rows)).await.unwrap();
    }

    async fn replan(&self, filter: ReplanFilter) -> Replanned {
        replan_everybody(&self.bed.store, filter, |_| ()).await.unwrap()
    }

    async fn id_of(&self, reference: &'static str) -> PatientId {
        let clinic = self.clinic.clinic_id;
        let found = self.bed.store.read(move |tx| tx.patient_by_ref(clinic, reference)).await;
        found.unwrap().unwrap().id
    }
}

async fn what_is_not_sent_follows_the_rules_of_this_release(bed: Bed) {
    let stage = Stage::set(bed).await;
    let treatment = stage.treated("ana").await;
    stage.treated("rui").await;
    stage.run_at("2026-11-22T15:55:00Z").await;
    let planned = stage.rows(&treatment).await;
    stage.age(&treatment).await;
    assert_ne!(stage.rows(&treatment).await, planned);

    let kathmandu = Some("Asia/Kathmandu".parse().unwrap());
    let elsewhere = stage.replan(ReplanFilter { zone: kathmandu, ..ReplanFilter::default() }).await;
    assert_eq!((elsewhere.patients, elsewhere.changed), (0, 0));
    let other = Some(stage.bed.store.env().id());
    let theirs = stage.replan(ReplanFilter { clinic: other, ..ReplanFilter::default() }).await;
    assert_eq!(theirs, Replanned::default());

    let lisbon = Some("Europe/Lisbon".parse().unwrap());
    let mut told = 0;
    let filter = ReplanFilter { zone: lisbon, ..ReplanFilter::default() };
    let done = replan_everybody(&stage.bed.store, filter, |_| told += 1).await.unwrap();
    let last = stage.id_of("ana").await.max(stage.id_of("rui").await);
    // All but the first, which was sent.
    let expected =
        Replanned { patients: 2, changed: 1, moved: 6, last: Some(last), ..Replanned::default() };
    assert_eq!((done, told), (expected, 1));
    assert_eq!(stage.rows(&treatment).await, planned, "as if it had never been otherwise");
    let again = stage.replan(ReplanFilter::default()).await;
    assert_eq!((again.patients, again.changed, again.moved), (2, 0, 0));
}

async fn it_goes_on_where_it_stopped(bed: Bed) {
    let stage = Stage::set(bed).await;
    let mut patients = Vec::new();
    for name in ["ana", "rui"] {
        let treatment = stage.treated(name).await;
        stage.age(&treatment).await;
        patients.push((stage.id_of(name).await, treatment));
    }
    patients.sort_by_key(|(id, _)| *id);
    let aged = stage.rows(&patients[0].1).await;
    let after = Some(patients[0].0);
    let done = stage.replan(ReplanFilter { after, ..ReplanFilter::default() }).await;
    assert_eq!((done.patients, done.changed, done.last), (1, 1, Some(patients[1].0)));
    assert_eq!(stage.rows(&patients[0].1).await, aged, "who came before is left to that call");
    // Servers that do it at once, and an app that asks meanwhile, do no harm.
    let other = stage.bed.again().await;
    let (one, two) = tokio::join!(
        stage.replan(ReplanFilter::default()),
        replan_everybody(&other, ReplanFilter::default(), |_| ()),
    );
    assert_eq!(one.changed + two.unwrap().changed, 1, "each is planned anew once");
}

on_both_engines!(what_is_not_sent_follows_the_rules_of_this_release, it_goes_on_where_it_stopped,);

#[test]
fn the_command_says_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(aftercare(folder.path()).arg("migrate")).status.success());
    let output = run(aftercare(folder.path()).args(["replan", "--json"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["patients"], &told["moved"]), (&0.into(), &0.into()));
    let unknown = "019abc3e-7a2c-7d10-8f00-3c5d1b2a4e6f";
    let output = run(aftercare(folder.path()).args(["replan", "--clinic", unknown]));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such clinic"));
    let output = run(aftercare(folder.path()).args(["replan", "--zone", "Lisbon"]));
    assert_eq!(output.status.code(), Some(2));
}
