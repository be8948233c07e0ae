//! Planning many patients anew, one in one unit of work: after a release brought other time-zone rules,
//! or a clinic moved, what is not sent yet follows, and what was sent is set right.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::case::{Case, cases, locked_case};
use super::each::each_patient;
use super::plan::write;
use crate::ids::{ClinicId, PatientId};
use crate::planner::{Change, diff, plan};
use crate::store::{PatientsOf, Store, StoreError, Tx};
use crate::zone::Zone;

/// Patients that are looked up at once.
const PAGE: i64 = 100;

/// More than the difference of any two clocks: what is worthless by the old rules may not be by the new.
const CLOCKS_APART: SignedDuration = SignedDuration::from_hours(26);

/// Who is planned anew.
#[derive(Debug, Clone, Default)]
pub struct ReplanFilter {
    /// Only whose wall, or whose treatment's, is in this zone.
    pub zone: Option<Zone>,
    /// Only a clinic's.
    pub clinic: Option<ClinicId>,
    /// Only who has no zone of their own: the clinic's counts for them.
    pub in_clinics_zone: bool,
    /// Only patients whose id is greater: where an earlier call stopped.
    pub after: Option<PatientId>,
}

/// What became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Replanned {
    /// Patients who were looked at.
    pub patients: u64,
    /// Patients of whom something changed.
    pub changed: u64,
    /// Reminders that are due at another moment, or worthless at another.
    pub moved: u64,
    /// Reminders that come besides.
    pub added: u64,
    /// Reminders that do not come any more.
    pub ended: u64,
    /// Patients whose records could not be understood; the log names them.
    pub failed: u64,
    /// The last patient who was looked at.
    pub last: Option<PatientId>,
}

/// Plans everybody anew who has something to come, in the order of their ids; `progress` hears how far it
/// is. It may be stopped and begun again at any moment: who is done does not change again. Servers may run
/// meanwhile, as long as they have the same time-zone rules.
///
/// # Errors
/// When the database refuses.
pub async fn replan_everybody(
    store: &Store,
    filter: ReplanFilter,
    mut progress: impl FnMut(&Replanned),
) -> Result<Replanned, StoreError> {
    let mut done = Replanned { last: filter.after, ..Replanned::default() };
    loop {
        let next = ReplanFilter { after: done.last, ..filter.clone() };
        let page = store.read(move |tx| page(tx, &next)).await?;
        let Some(last) = page.last else { return Ok(done) };
        let each = each_patient(store, "plan anew", page.concerned, replan_counted).await?;
        done.patients += each.failed;
        done.failed += each.failed;
        for one in each.done {
            done.add(one);
        }
        done.last = Some(last);
        progress(&done);
    }
}

struct Page {
    /// The last patient of the page, whomever the filter leaves out.
    last: Option<PatientId>,
    concerned: Vec<PatientId>,
}

fn page(tx: &mut Tx<'_>, filter: &ReplanFilter) -> Result<Page, StoreError> {
    let since = tx.now().checked_sub(CLOCKS_APART).unwrap_or(Timestamp::MIN);
    let of = PatientsOf { clinic: filter.clinic, in_clinics_zone: filter.in_clinics_zone };
    let mut concerned = tx.patients_underway(of, since, filter.after, PAGE)?;
    let last = concerned.last().copied();
    if let Some(zone) = &filter.zone {
        let mut in_zone: Vec<_> = cases(tx, &concerned)?
            .into_iter()
            .filter(|case| is_in(case, zone))
            .map(|case| case.patient.id)
            .collect();
        in_zone.sort_unstable();
        concerned = in_zone;
    }
    Ok(Page { last, concerned })
}

fn is_in(case: &Case, zone: &Zone) -> bool {
    let of_treatments = case.treatments.iter().map(|treatment| &treatment.time_zone);
    of_treatments.chain([&case.facts.person.zone]).any(|known| known == zone)
}

fn replan_counted(tx: &mut Tx<'_>, patient: PatientId) -> Result<Replanned, StoreError> {
    let mut counted = Replanned { patients: 1, ..Replanned::default() };
    let Some(mut case) = locked_case(tx, patient)? else { return Ok(counted) };
    let changes = diff(&case.facts, &plan(&case.facts, tx.now()));
    for change in &changes {
        counted.count(&case, change);
    }
    counted.changed = u64::from(write(tx, &mut case, changes)?);
    Ok(counted)
}

impl Replanned {
    fn count(&mut self, case: &Case, change: &Change) {
        let stored = case.facts.standing.iter().find(|row| row.key == change.key);
        let before = stored.is_some_and(|row| row.state.is_to_come());
        match (before, change.state.is_to_come()) {
            (true, true) => self.moved += 1,
            (false, true) => self.added += 1,
            (true, false) => self.ended += 1,
            (false, false) => {}
        }
    }

    fn add(&mut self, one: Self) {
        self.patients += one.patients;
        self.changed += one.changed;
        self.moved += one.moved;
        self.added += one.added;
        self.ended += one.ended;
    }
}
