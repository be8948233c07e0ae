//! Going back to a copy of the database: what was sent before it was made is not sent again.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use aftercare::care::dispatch;
use aftercare::ids::LeaseId;
use aftercare::store::Tx;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::process::{aftercare, make_clinic, run};
use crate::stage::{Push, Stage, at};

const LEASE: SignedDuration = SignedDuration::from_mins(1);

/// Lets a scheduler on a copy do all that is to do until then.
async fn play(stage: &Stage, copy: &Bed, until: &str) {
    let scheduler = stage.scheduler_of(copy);
    let until = at(until);
    for _ in 0..1_000 {
        let next = copy.store.look(|tx| tx.next_due()).await.unwrap();
        let next = next.first().map(|next| next.max(copy.now()));
        let Some(next) = next.filter(|next| *next <= until) else {
            return copy.clock.set(until);
        };
        copy.clock.set(next);
        scheduler.run_once().await.unwrap();
    }
    panic!("the queue never empties before {until}");
}

/// The pushes, by reminder.
fn by_reminder(pushes: &[Push]) -> BTreeMap<&str, &Push> {
    pushes.iter().map(|push| (push.reminder.as_str(), push)).collect()
}

async fn what_was_sent_before_a_backup_is_not_sent_by_who_goes_back_to_it(bed: Bed) {
    let stage = Stage::set(bed).await;
    for name in ["ana", "bea", "cai"] {
        stage.treated(name).await;
    }
    stage.play("2026-11-23T12:00:00Z").await;
    let before = stage.pushes();
    let copy = stage.bed.backup().await;
    stage.play("2026-11-24T15:45:00Z").await;
    let until_lost = stage.pushes();
    assert!(!before.is_empty() && before.len() < until_lost.len(), "both halves say something");

    play(&stage, &copy, "2027-01-31T00:00:00Z").await;
    let all = stage.pushes();
    let after = &all[until_lost.len()..];
    let (sent, lost) = (by_reminder(&before), by_reminder(&until_lost[before.len()..]));
    assert_eq!(by_reminder(after).len(), after.len(), "nothing comes twice");
    for push in after {
        assert!(!sent.contains_key(push.reminder.as_str()), "{push:?} was sent before");
        assert!(push.at < push.use_by, "{push:?} is of no use any more");
        if let Some(first) = lost.get(push.reminder.as_str()) {
            assert_eq!((&first.tag, &first.title), (&push.tag, &push.title));
        }
    }

    // Whoever never went back hears the same from then on.
    stage.set_clock("2026-11-24T15:45:00Z");
    stage.play("2027-01-31T00:00:00Z").await;
    let went_on = stage.pushes().split_off(all.len());
    assert!(!went_on.is_empty());
    let (after, went_on) = (by_reminder(after), by_reminder(&went_on));
    let missed: Vec<&&str> = went_on.keys().filter(|id| !after.contains_key(*id)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// Whether FCM took it nobody knows, so it is said again: under the same tag, it shows once.
async fn what_was_on_its_way_as_a_backup_was_made_is_sent_again(bed: Bed) {
    let stage = Stage::set(bed).await;
    stage.treated("ana").await;
    stage.set_clock("2026-11-22T16:00:00Z");
    let lease = stage.bed.store.env().id::<LeaseId>();
    let claim = move |tx: &mut Tx<'_>| dispatch::claim(tx, lease, LEASE, 10);
    let claimed = stage.bed.store.write(claim).await.unwrap();
    assert_eq!(claimed.singles().count(), 1);
    let copy = stage.bed.backup().await;
    stage.bed.clock.advance(LEASE);
    let (here, there) = (stage.scheduler_of(&stage.bed), stage.scheduler_of(&copy));
    assert_eq!(here.run_once().await.unwrap().tally.sent, 1);
    assert_eq!(there.run_once().await.unwrap().tally.sent, 1);
    let [first, second] = stage.pushes().try_into().unwrap();
    assert_eq!((first.reminder, first.tag), (second.reminder, second.tag));
    assert_eq!(stage.fcm.inbox("ana").len(), 1, "the second replaces the first on the phone");
}

on_both_engines!(
    what_was_sent_before_a_backup_is_not_sent_by_who_goes_back_to_it,
    what_was_on_its_way_as_a_backup_was_made_is_sent_again,
);

#[test]
fn the_command_copies_a_file_and_never_overwrites_one() {
    let folder = tempfile::tempdir().unwrap();
    let call = |words: &[&str]| {
        let output = run(aftercare(folder.path()).arg("backup").args(words));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, _, said) = call(&["copy.db"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no database aftercare.db here"), "{said}");
    assert!(!folder.path().join("aftercare.db").exists(), "to look is not to make");

    let clinic = make_clinic(folder.path(), &[]);
    let key = folder.path().join("aftercare.db.key");
    let hidden = folder.path().join("hidden.key");
    std::fs::rename(&key, &hidden).unwrap();
    let (code, out, said) = call(&["copy.db", "--json"]);
    assert_eq!((code, said.as_str()), (Some(0), ""), "nor is the key asked for");
    let made: Value = serde_json::from_str(&out).unwrap();
    let copy = folder.path().join("copy.db");
    let meta = copy.metadata().unwrap();
    assert_eq!(made["bytes"], meta.len());
    assert_eq!((&made["file"], &made["on_their_way"]), (&"copy.db".into(), &0.into()));
    assert!(made["as_of"].as_str().unwrap().parse::<Timestamp>().is_ok());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);

    let (code, _, said) = call(&["copy.db"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("copy.db is there already"), "{said}");
    std::fs::write(folder.path().join("other.db.part"), "").unwrap();
    let (code, _, said) = call(&["other.db"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("other.db.part is there"), "{said}");
    let (code, _, said) = call(&["no/folder/copy.db"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot write no/folder/copy.db.part"), "{said}");
    let (code, _, said) = call(&["a.db", "--database-url", "postgres://nobody@127.0.0.1/x"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("pg_dump"), "{said}");
    std::fs::write(folder.path().join("torn.db"), "no database at all").unwrap();
    let (code, _, said) = call(&["torn-copy.db", "--database-url", "sqlite:torn.db"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(!folder.path().join("torn-copy.db.part").exists(), "nothing is left behind");

    std::fs::rename(&hidden, folder.path().join("copy.db.key")).unwrap();
    let words = ["clinic", "list", "--json", "--database-url", "sqlite:copy.db"];
    let listed = run(aftercare(folder.path()).args(words));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(clinic["clinic_id"].as_str().unwrap()), "{listed}");
}
