//! Treatments under way, and another version of their protocol: what it would change of them, and how
//! they move to it, one patient in one unit of work.
//!
//! A treatment is under way as long as one of its reminders is to come, or its version or the new one
//! may still say something of it. It moves to newer versions only, and to none that cannot be applied
//! where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::case::{Case, cases, locked_case};
use super::each::each_patient;
use super::plan::replan_amended;
use super::protocols;
use super::publish::{PublishError, draft};
use super::treatments::note;
use crate::ids::{ClinicId, PatientId, ProtocolId, TreatmentId};
use crate::planner::{Chart, Facts, Key, Message, Planned, plan};
use crate::protocol::Protocol;
use crate::store::{AuditEntry, ProtocolMove, Store, StoreError, Treatment, TreatmentState, Tx};

/// Patients that are looked up at once.
const PAGE: i64 = 100;

/// What a new version would change of what was not sent yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Impact {
    /// Patients with a treatment that would move.
    pub patients: u64,
    /// Treatments that would move.
    pub treatments: u64,
    /// Treatments under way that would stay as they are: the version knows none of their areas.
    pub staying: u64,
    /// Reminders that would come besides.
    pub added: u64,
    /// Reminders that would come at another moment, or be worthless at another.
    pub moved: u64,
    /// Reminders that would come at their moment, in other words.
    pub reworded: u64,
    /// Reminders that would not come.
    pub cancelled: u64,
    /// Pushes that would set right what was sent.
    pub corrections: u64,
}

/// Which treatments are under way, seen from the version of their protocol that they may move to.
#[derive(Debug)]
pub(super) struct Underway {
    /// The version.
    to: Arc<Protocol>,
    /// Those before it.
    pub(super) versions: Vec<ProtocolId>,
    /// Who ended later is under way whatever was sent.
    pub(super) since: Timestamp,
}

/// What is under way beneath the version `to`; `id` is its own, once it is published.
pub(super) fn running_of(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    to: Arc<Protocol>,
    id: Option<ProtocolId>,
) -> Result<Underway, StoreError> {
    let mut versions = tx.protocol_versions(clinic, &to.slug)?;
    let place = versions.iter().position(|version| Some(*version) == id);
    versions.truncate(place.unwrap_or(versions.len()));
    let others = protocols::by_id(tx, &versions)?;
    let reach = others.values().map(|other| other.reach()).chain([to.reach()]).max();
    let since = reach.and_then(|reach| tx.now().checked_sub(reach).ok());
    Ok(Underway { to, versions, since: since.unwrap_or(Timestamp::MIN) })
}

impl Underway {
    /// The treatments of one patient that are under way: those that can move, and those that cannot, as
    /// the version knows none of their areas.
    fn of(&self, case: &Case) -> (BTreeSet<TreatmentId>, BTreeSet<TreatmentId>) {
        let planned = |id: TreatmentId| {
            case.reminders.iter().any(|row| {
                row.state.is_to_come()
                    && row.members.iter().any(|member| member.key.treatment == id)
            })
        };
        let running = case.treatments.iter().filter(|treatment| {
            treatment.state == TreatmentState::Active
                && treatment.closed_at.is_none()
                && self.versions.contains(&treatment.protocol_id)
                && (treatment.completed_at > self.since || planned(treatment.id))
        });
        let (moving, staying): (Vec<_>, Vec<_>) =
            running.partition(|treatment| !self.to.known(&treatment.areas).is_empty());
        let ids = |of: Vec<&Treatment>| of.into_iter().map(|treatment| treatment.id).collect();
        (ids(moving), ids(staying))
    }
}

/// Counts what publishing this document, and moving what is under way to it, would change.
///
/// # Errors
/// As [`draft`].
pub async fn protocol_impact(
    store: &Store,
    clinic: ClinicId,
    slug: String,
    document: Map<String, Value>,
) -> Result<Impact, PublishError> {
    let running = store
        .read(move |tx| {
            let draft = draft(tx, clinic, &slug, document)?;
            let same = draft.same.map(|record| record.id);
            Ok::<_, PublishError>(Arc::new(running_of(tx, clinic, draft.protocol, same)?))
        })
        .await?;
    let mut impact = Impact::default();
    let mut after = None;
    loop {
        let running = Arc::clone(&running);
        let page = store.read(move |tx| {
            let (versions, since) = (&running.versions, running.since);
            let ids = tx.running_patients(clinic, versions, since, after, PAGE)?;
            let found = cases(tx, &ids)?;
            let counts: Vec<_> =
                found.iter().map(|case| impact_on(case, &running, tx.now())).collect();
            Ok::<_, StoreError>((ids.last().copied(), counts))
        });
        let (last, counts) = page.await?;
        for one in counts {
            impact.add(one);
        }
        match last {
            Some(last) => after = Some(last),
            None => return Ok(impact),
        }
    }
}

fn impact_on(case: &Case, running: &Underway, now: Timestamp) -> Impact {
    let (ids, staying) = running.of(case);
    let count = |ids: &BTreeSet<_>| u64::try_from(ids.len()).unwrap_or(u64::MAX);
    let mut impact = Impact {
        patients: u64::from(!ids.is_empty()),
        treatments: count(&ids),
        staying: count(&staying),
        ..Impact::default()
    };
    let facts = moved(&case.facts, &ids, &running.to);
    let planned = plan(&facts, now);
    let (old, new) = (Chart::of(&case.facts), Chart::of(&facts));
    let mut before: BTreeMap<_, _> = case
        .facts
        .standing
        .iter()
        .filter(|row| row.state.is_to_come())
        .map(|row| (&row.key, row))
        .collect();
    for after in &planned.reminders {
        let said = say(&new, after);
        match before.remove(&after.key) {
            None if after.key.step.is_correction() => impact.corrections += 1,
            None => impact.added += 1,
            Some(row) => {
                let keys: Vec<_> = row.members.iter().map(|one| one.key.clone()).collect();
                let use_by = row.members.iter().map(|member| member.use_by).min();
                if (row.due_at, use_by) != (after.due_at, Some(after.use_by)) {
                    impact.moved += 1;
                } else if old.describe(&keys, row.due_at) != said {
                    impact.reworded += 1;
                }
            }
        }
    }
    impact.cancelled += u64::try_from(before.len()).unwrap_or(u64::MAX);
    impact
}

fn say(chart: &Chart<'_>, planned: &Planned) -> Message {
    let keys: Vec<Key> = planned.members.iter().map(|member| member.key.clone()).collect();
    chart.describe(&keys, planned.due_at)
}

/// The facts, were these treatments recorded under another version.
fn moved(facts: &Facts, ids: &BTreeSet<TreatmentId>, to: &Arc<Protocol>) -> Facts {
    let mut facts = facts.clone();
    for treatment in facts.treatments.iter_mut().filter(|treatment| ids.contains(&treatment.id)) {
        treatment.protocol = Arc::clone(to);
        treatment.areas = to.known(&treatment.areas);
    }
    for row in &mut facts.standing {
        if row.members.iter().any(|member| ids.contains(&member.key.treatment)) {
            row.renew();
        }
    }
    facts
}

impl Impact {
    fn add(&mut self, other: Self) {
        self.patients += other.patients;
        self.treatments += other.treatments;
        self.staying += other.staying;
        self.added += other.added;
        self.moved += other.moved;
        self.reworded += other.reworded;
        self.cancelled += other.cancelled;
        self.corrections += other.corrections;
    }
}

/// Moves treatments that are under way to the versions that their clinics published for them, until there
/// are none left; gives how many patients were planned anew. Whatever interrupts it, the next call
/// goes on where this one stopped; calls at the same time do no harm.
///
/// # Errors
/// When the database refuses. A patient whose records cannot be understood is left out, with a line in
/// the log.
pub async fn move_running(store: &Store) -> Result<u64, StoreError> {
    let mut count = 0;
    for of in store.read(|tx| tx.protocol_moves()).await? {
        count += follow(store, of).await?;
    }
    Ok(count)
}

async fn follow(store: &Store, mut of: ProtocolMove) -> Result<u64, StoreError> {
    let mut count = 0;
    loop {
        let look = of.clone();
        let page = store.read(move |tx| page(tx, &look)).await?;
        let Some(last) = page.last().copied() else {
            let done = of.clone();
            store.write(move |tx| finish(tx, &done)).await?;
            return Ok(count);
        };
        let to = of.clone();
        let work = move |tx: &mut Tx<'_>, patient| move_patient(tx, patient, &to);
        let each = each_patient(store, "change the protocol version", page, work).await?;
        count += each.done.into_iter().map(u64::from).sum::<u64>();
        let reached = of.clone();
        store.write(move |tx| tx.advance_protocol_move(&reached, last)).await?;
        of.reached = Some(last);
    }
}

fn underway(tx: &mut Tx<'_>, of: &ProtocolMove) -> Result<Underway, StoreError> {
    let found = protocols::by_id(tx, &[of.protocol_id])?.remove(&of.protocol_id);
    let to = found.ok_or_else(|| StoreError::Corrupt("a version is gone".to_owned()))?;
    running_of(tx, of.clinic_id, to, Some(of.protocol_id))
}

fn page(tx: &mut Tx<'_>, of: &ProtocolMove) -> Result<Vec<PatientId>, StoreError> {
    let running = underway(tx, of)?;
    tx.running_patients(of.clinic_id, &running.versions, running.since, of.reached, PAGE)
}

fn finish(tx: &mut Tx<'_>, of: &ProtocolMove) -> Result<(), StoreError> {
    if tx.finish_protocol_move(of)? {
        tx.append_audit(&AuditEntry {
            clinic_id: Some(of.clinic_id),
            actor: "system",
            action: "protocol.move-finished",
            subject: Some(&format!("protocol:{}", of.protocol_id)),
        })?;
    }
    Ok(())
}

/// Moves one patient's treatments that are under way, and plans the patient anew: what was sent stays as
/// history, and what it got wrong is set right by one push. Whether there was anything to move.
fn move_patient(
    tx: &mut Tx<'_>,
    patient: PatientId,
    of: &ProtocolMove,
) -> Result<bool, StoreError> {
    let Some(case) = locked_case(tx, patient)? else { return Ok(false) };
    let running = underway(tx, of)?;
    let (ids, _) = running.of(&case);
    for treatment in case.treatments.iter().filter(|treatment| ids.contains(&treatment.id)) {
        let mut moved = treatment.clone();
        moved.protocol_id = of.protocol_id;
        moved.areas = running.to.known(&moved.areas);
        tx.amend_treatment(&case.patient, &moved)?;
        note(tx, &moved, "treatment.moved")?;
    }
    if !ids.is_empty() {
        replan_amended(tx, patient, &ids)?;
    }
    Ok(!ids.is_empty())
}

impl Protocol {
    /// For how long after a treatment the protocol has something to say of it, its next session aside.
    fn reach(&self) -> SignedDuration {
        use crate::protocol::Moment;
        let day = SignedDuration::from_hours(24);
        // The clocks change, and the patient may be a day behind the treatment.
        let after = |days: i32| day * (days.max(0) + 3);
        let of = |moment: &Moment| match moment {
            Moment::Elapsed(after) => *after,
            Moment::Wall { day, .. } | Moment::EndOfDay { day } => after(*day),
            Moment::Interval { days, .. } => {
                let interval = self.course.as_ref().map_or(0, |course| course.interval.at_most());
                after(interval.saturating_add(*days))
            }
            Moment::Booking { .. } | Moment::AfterDue { .. } => SignedDuration::ZERO,
        };
        let rules = self.rules.iter().filter_map(|rule| rule.until.as_ref());
        let steps = self.steps.iter().flat_map(|step| [Some(&step.due), step.use_by.as_ref()]);
        rules.chain(steps.flatten()).map(of).max().unwrap_or(SignedDuration::ZERO)
    }
}
