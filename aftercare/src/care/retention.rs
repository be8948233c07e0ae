//! How long patients are kept, and of whoever stays, what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Unit};

use super::case::{Case, locked_case};
use super::erasure::{ErasedBy, erase_patient};
use crate::ids::{PatientId, TreatmentId};
use crate::planner::{Plan, TreatmentFacts, of_treatment, plan};
use crate::protocol::RuleKind;
use crate::store::{AuditEntry, Reminder, StoreError, Treatment, Tx};

/// The year 9999: beyond all that anybody keeps.
const NEVER: Timestamp = Timestamp::constant(253_370_764_800, 0);

/// How long a patient is kept after the last treatment: a span of the calendar, of 30 days at least.
/// Whoever was never treated is kept as long after their last change.
///
/// Written as an ISO 8601 duration of years, months, weeks and days. It is counted back from now in
/// UTC: where a month ends sooner, a patient is kept up to three days longer.
///
/// ```
/// use aftercare::care::Retention;
///
/// let now = "2027-12-22T15:40:00Z".parse()?;
/// assert_eq!(Retention::default().before(now).to_string(), "2026-11-22T15:40:00Z");
/// for refused in ["PT13M", "P13", "P1W", "-P13M", "P0D", "P9999Y", ""] {
///     assert!(refused.parse::<Retention>().is_err(), "{refused}");
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Retention(Span);

/// It is no such span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a retention is an ISO 8601 duration of years, months, weeks and days, such as P13M: 30 days at \
     least, 100 years at most"
)]
pub struct RetentionError;

impl Default for Retention {
    /// 13 months: a course's year, and a month to come back in.
    fn default() -> Self {
        Self(Span::new().months(13))
    }
}

impl FromStr for Retention {
    type Err = RetentionError;

    fn from_str(text: &str) -> Result<Self, RetentionError> {
        // "PT13M" is 13 minutes: nobody may lose their patients to one letter.
        if !text.starts_with('P') || text.contains('T') {
            return Err(RetentionError);
        }
        let span: Span = text.parse().map_err(|_| RetentionError)?;
        let days = span.total((Unit::Day, jiff::civil::date(2001, 1, 1)));
        let days = days.map_err(|_| RetentionError)?;
        (30.0..=36_525.0).contains(&days).then_some(Self(span)).ok_or(RetentionError)
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Retention {
    /// The instant since which something must have happened to a patient who is kept.
    #[must_use]
    pub fn before(self, now: Timestamp) -> Timestamp {
        let then = now.to_zoned(TimeZone::UTC).checked_sub(self.0);
        then.map_or(Timestamp::MIN, |then| then.timestamp())
    }
}

/// Erases a patient whose time is over, unless something happened meanwhile: while anything is planned,
/// or a session booked, nobody is. Whether it did; then
/// [`Store::finish_erasures`](crate::store::Store::finish_erasures) must follow the commit.
///
/// # Errors
/// When the database refuses.
pub fn erase_if_over(
    tx: &mut Tx<'_>,
    patient: PatientId,
    retention: Retention,
) -> Result<bool, StoreError> {
    let before = retention.before(tx.now());
    if !tx.lock_if_over(patient, before)? {
        return Ok(false);
    }
    Ok(erase_patient(tx, patient, ErasedBy::Retention)?.is_some())
}

/// Forgets what a patient who stays was told of treatments whose time is over: their reminders, and what became
/// of these. The treatments stay, count in their courses, and plan nothing any more. How many were closed.
///
/// A treatment's time is over when it has been as long ago as patients are kept that it was completed and
/// recorded, that any of its steps or reminders was of use, and that the last of its instructions ended, as
/// it is now and as it was told: one without an end keeps it open. Treatments that share a reminder go
/// together.
///
/// # Errors
/// When the database refuses, or what is sealed does not open.
pub fn close_if_over(
    tx: &mut Tx<'_>,
    patient: PatientId,
    retention: Retention,
) -> Result<usize, StoreError> {
    let (now, before) = (tx.now(), retention.before(tx.now()));
    tx.lock_everything_of(patient)?;
    let Some(case) = locked_case(tx, patient)? else { return Ok(0) };
    let over = Worth { plan: plan(&case.facts, now), case: &case, now }.over();
    let (closing, staying): (Vec<_>, Vec<_>) = over.into_iter().partition(|(_, at)| *at <= before);
    for (treatment, at) in staying {
        tx.set_over(treatment, at)?;
    }
    for (treatment, _) in &closing {
        tx.close_treatment(*treatment)?;
        tx.append_audit(&AuditEntry {
            clinic_id: Some(case.clinic.id),
            actor: "system",
            action: "treatment.closed",
            subject: Some(&format!("treatment:{treatment}")),
        })?;
    }
    Ok(closing.len())
}

/// Of what use a patient's open treatments still are.
struct Worth<'c> {
    case: &'c Case,
    plan: Plan,
    now: Timestamp,
}

impl Worth<'_> {
    /// From when on each is of none. Of those that share a reminder, the last to be over counts for all.
    fn over(&self) -> BTreeMap<TreatmentId, Timestamp> {
        let open = self.case.treatments.iter().zip(&self.case.facts.treatments);
        let open = open.filter(|(treatment, _)| treatment.closed_at.is_none());
        let mut over: BTreeMap<_, _> =
            open.map(|(treatment, facts)| (treatment.id, self.over_at(treatment, facts))).collect();
        let shared: Vec<_> = self.case.reminders.iter().map(treatments_of).collect();
        let mut settled = false;
        while !settled {
            settled = true;
            for treatments in &shared {
                let last = treatments.iter().filter_map(|one| over.get(one)).max().copied();
                for one in treatments {
                    if let (Some(at), Some(last)) = (over.get_mut(one), last) {
                        settled &= *at == last;
                        *at = last;
                    }
                }
            }
        }
        over
    }

    fn over_at(&self, treatment: &Treatment, facts: &TreatmentFacts) -> Timestamp {
        let steps = self.plan.steps.iter().filter(|(key, _)| key.treatment == treatment.id);
        let rows = self.case.reminders.iter().filter(|row| row.treatment_id == treatment.id);
        let held = of_treatment(&self.case.facts, facts).into_iter();
        let instructions = held.filter(|held| matches!(held.kind, RuleKind::Avoid | RuleKind::Do));
        steps
            .map(|(_, outcome)| outcome.use_by)
            .chain(rows.flat_map(|row| self.of_use(row)))
            .chain(instructions.map(|rule| rule.until.unwrap_or(NEVER)))
            .fold(treatment.completed_at.max(treatment.recorded_at), Timestamp::max)
    }

    /// Until when a reminder is of use, and what it said can be wrong.
    fn of_use(&self, row: &Reminder) -> impl Iterator<Item = Timestamp> {
        let to_come = row.state.is_to_come().then_some(self.now);
        let told = row.said.iter().flat_map(|said| {
            let instructions = said.until.values().map(|until| until.unwrap_or(NEVER));
            instructions.chain(said.appointments.values().copied().flatten())
        });
        [row.use_by].into_iter().chain(to_come).chain(told)
    }
}

/// The treatments that a reminder is of.
fn treatments_of(reminder: &Reminder) -> BTreeSet<TreatmentId> {
    let members = reminder.members.iter().map(|member| member.key.treatment);
    members.chain([reminder.treatment_id]).collect()
}
