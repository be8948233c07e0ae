//! What a clinic and a patient see of treatments and plans.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::case::{Case, cases, reachable};
use crate::ids::{ClinicId, PatientId, ReminderId, TreatmentId};
use crate::planner::{
    Chart, Key, Message, Reason, ReminderState, Restriction, TreatmentFacts, in_force, local,
    of_treatment,
};
use crate::protocol::RuleId;
use crate::store::{PushContent, Reminder, StoreError, Treatment, Tx};
use crate::words::words;
use crate::zone::Zone;

/// How long a cancelled reminder is still shown, so that a phone that was offline drops it too.
pub(super) const TOMBSTONE: SignedDuration = SignedDuration::from_hours(24 * 7);

words! {
    /// What a clinic should know of a treatment, though it is taken as it is.
    Warning {
        /// The next session is booked for a day before the protocol's interval is over.
        EarlierThanInterval = "earlier-than-interval",
        /// The next session is booked, but the course has all its sessions.
        CourseComplete = "course-complete",
    }
}

/// A treatment, and what it is called.
#[derive(Debug)]
pub struct TreatmentCard {
    /// The treatment.
    pub treatment: Treatment,
    /// What the clinic calls the patient. Personal: never logged.
    pub patient_ref: String,
    /// The protocol's slug.
    pub protocol: String,
    /// The version it was recorded under.
    pub protocol_version: u32,
    /// Its session of the course, from 1; 0 when voided.
    pub session: u32,
    /// How many sessions the course has.
    pub of: u32,
}

/// A treatment and its plan.
#[derive(Debug)]
pub struct TreatmentView {
    /// The treatment.
    pub card: TreatmentCard,
    /// What it forbids, asks and lets expect.
    pub restrictions: Vec<RestrictionView>,
    /// The reminders that speak for it.
    pub reminders: Vec<ReminderView>,
    /// Whether a push would be seen now.
    pub reachable: bool,
    /// What looks wrong, and may be right.
    pub warnings: Vec<Warning>,
}

/// A restriction, with its end on the patient's wall.
#[derive(Debug)]
pub struct RestrictionView {
    /// The restriction.
    pub restriction: Restriction,
    /// The end on the patient's wall; `None` = open-ended.
    pub until_local: Option<String>,
}

/// A reminder as it is shown.
#[derive(Debug)]
pub struct ReminderView {
    /// Its id; the phone knows the push by it.
    pub id: ReminderId,
    /// The rules it speaks of.
    pub rule_ids: Vec<RuleId>,
    /// When it is, or was, due.
    pub due_at: Timestamp,
    /// The same on the patient's wall.
    pub due_local: String,
    /// From when on it is worthless.
    pub use_by: Timestamp,
    /// Where it stands; a claimed one is shown as planned.
    pub state: ReminderState,
    /// Why.
    pub reason: Option<Reason>,
    /// The heading.
    pub title: String,
    /// The text.
    pub body: String,
}

/// A patient's timeline.
#[derive(Debug)]
pub struct Timeline {
    /// When it was made.
    pub generated_at: Timestamp,
    /// Grows with each change of the plan.
    pub plan_version: i64,
    /// How much a push says, and a notification that the app plans.
    pub push_content: PushContent,
    /// Whom to call.
    pub clinic: ClinicCard,
    /// What holds now, merged by rule.
    pub restrictions: Vec<RestrictionView>,
    /// All reminders, by due moment.
    pub reminders: Vec<ReminderView>,
    /// The courses under way, and those that are complete.
    pub courses: Vec<CourseView>,
}

/// What a patient sees of the clinic.
#[derive(Debug)]
pub struct ClinicCard {
    /// Its name.
    pub display_name: String,
    /// Its number.
    pub contact_phone: Option<String>,
}

/// Where a patient stands in a series of sessions.
#[derive(Debug)]
pub struct CourseView {
    /// The protocol's slug.
    pub protocol: String,
    /// Sessions done.
    pub session: u32,
    /// Sessions in all.
    pub of: u32,
    /// The day of the next one: the booked one, else the one the protocol names; `None` when the
    /// course is complete.
    pub next_session_on: Option<Date>,
    /// When it is booked for.
    pub next_session_at: Option<Timestamp>,
}

/// The treatment of that id and its plan; `None` when the clinic has no such treatment.
///
/// # Errors
/// When the database refuses.
pub fn treatment(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: TreatmentId,
) -> Result<Option<TreatmentView>, StoreError> {
    let Some(found) = tx.treatment(clinic, id)? else { return Ok(None) };
    Ok(treatment_views(tx, vec![found])?().pop())
}

/// A treatment of the case and its plan.
pub(super) fn view_of(case: &Case, treatment: &Treatment) -> Option<TreatmentView> {
    Shown::of(case).treatment(treatment.clone())
}

/// Treatments with their plans, in the order given. They are put into words when that is called, which
/// needs no connection.
///
/// # Errors
/// When the database refuses.
pub fn treatment_views(
    tx: &mut Tx<'_>,
    treatments: Vec<Treatment>,
) -> Result<impl FnOnce() -> Vec<TreatmentView> + Send + use<>, StoreError> {
    let mut patients: Vec<_> = treatments.iter().map(|treatment| treatment.patient_id).collect();
    patients.sort_unstable();
    patients.dedup();
    let cases: BTreeMap<PatientId, Case> =
        cases(tx, &patients)?.into_iter().map(|case| (case.patient.id, case)).collect();
    Ok(move || {
        let shown: BTreeMap<_, _> = cases.iter().map(|(id, case)| (id, Shown::of(case))).collect();
        let view = |treatment: Treatment| shown.get(&treatment.patient_id)?.treatment(treatment);
        treatments.into_iter().filter_map(view).collect()
    })
}

/// A patient's timeline; `None` when there is no such patient. It is put into words when that is called,
/// which needs no connection.
///
/// # Errors
/// When the database refuses.
pub fn timeline(
    tx: &mut Tx<'_>,
    patient: PatientId,
) -> Result<Option<impl FnOnce() -> Timeline + Send + use<>>, StoreError> {
    let now = tx.now();
    Ok(cases(tx, &[patient])?.pop().map(|case| move || case.timeline(now)))
}

/// A case whose treatments are shown.
struct Shown<'c> {
    case: &'c Case,
    chart: Chart<'c>,
    /// The reminders that speak for each treatment.
    reminders: BTreeMap<TreatmentId, Vec<&'c Reminder>>,
}

impl<'c> Shown<'c> {
    fn of(case: &'c Case) -> Self {
        let mut reminders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in &case.reminders {
            let treatments: BTreeSet<_> =
                row.members.iter().map(|member| member.key.treatment).collect();
            for treatment in treatments {
                reminders.entry(treatment).or_default().push(row);
            }
        }
        Self { case, chart: case.chart(), reminders }
    }

    fn treatment(&self, treatment: Treatment) -> Option<TreatmentView> {
        let (case, facts) = (self.case, self.chart.treatment(treatment.id)?);
        let restrictions = of_treatment(&case.facts, facts).into_iter();
        let reminders = self.reminders.get(&treatment.id).into_iter().flatten();
        Some(TreatmentView {
            card: case.card(treatment, facts),
            restrictions: restrictions.map(|held| case.restriction(held)).collect(),
            reminders: reminders.map(|row| case.reminder(row, &self.chart)).collect(),
            reachable: case.devices.iter().any(reachable),
            warnings: case.warnings(facts),
        })
    }
}

impl Case {
    fn zone(&self) -> &Zone {
        &self.facts.person.zone
    }

    pub(super) fn card(&self, treatment: Treatment, facts: &TreatmentFacts) -> TreatmentCard {
        let course = self.courses.get(&treatment.id);
        TreatmentCard {
            patient_ref: self.patient.reference.clone(),
            protocol: facts.protocol.slug.clone(),
            protocol_version: facts.protocol.version,
            session: course.map_or(0, |course| course.session),
            of: facts.protocol.course.as_ref().map_or(1, |course| course.sessions),
            treatment,
        }
    }

    pub(super) fn clinic_card(&self) -> ClinicCard {
        ClinicCard {
            display_name: self.clinic.display_name.clone(),
            contact_phone: self.clinic.contact_phone.clone(),
        }
    }

    fn warnings(&self, treatment: &TreatmentFacts) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let Some(booked) = treatment.next_session_at.filter(|_| !treatment.voided) else {
            return warnings;
        };
        let day = booked.to_zoned(treatment.zone.tz().clone()).date();
        if treatment.anchor(self.zone()).next_session_on().is_some_and(|earliest| day < earliest) {
            warnings.push(Warning::EarlierThanInterval);
        }
        if self.courses.get(&treatment.id).is_some_and(|course| course.session >= course.of) {
            warnings.push(Warning::CourseComplete);
        }
        warnings
    }

    fn timeline(&self, now: Timestamp) -> Timeline {
        let gone = |row: &&Reminder| {
            matches!(row.state, ReminderState::Cancelled | ReminderState::Superseded)
                && now.duration_since(row.updated_at) > TOMBSTONE
        };
        let shown = self.reminders.iter().filter(|row| !gone(row));
        let held = in_force(&self.facts, now).into_iter();
        let chart = self.chart();
        Timeline {
            generated_at: now,
            plan_version: self.patient.plan_version,
            push_content: self.push_content(),
            clinic: self.clinic_card(),
            restrictions: held.map(|held| self.restriction(held)).collect(),
            reminders: shown.map(|row| self.reminder(row, &chart)).collect(),
            courses: self.course_views(),
        }
    }

    fn restriction(&self, restriction: Restriction) -> RestrictionView {
        let until_local = restriction.until.map(|until| local(until, self.zone()));
        RestrictionView { restriction, until_local }
    }

    pub(super) fn reminder(&self, row: &Reminder, chart: &Chart<'_>) -> ReminderView {
        let keys: Vec<Key> = row.members.iter().map(|member| member.key.clone()).collect();
        let said = row.said.clone().filter(|_| row.state == ReminderState::Sent);
        let described = || chart.describe(&keys, row.spoken_at());
        let said = said.map_or_else(described, Message::from);
        ReminderView {
            id: row.id,
            rule_ids: said.rule_ids,
            due_at: row.due_at,
            due_local: local(row.due_at, self.zone()),
            use_by: row.use_by,
            state: row.shown_state(),
            reason: row.reason,
            title: said.title,
            body: said.body,
        }
    }

    fn course_views(&self) -> Vec<CourseView> {
        let latest = self.facts.treatments.iter().filter_map(|treatment| {
            let course = self.courses.get(&treatment.id).filter(|course| course.latest)?;
            treatment.protocol.course.as_ref()?;
            let booked = treatment.next_session_at;
            let day = |at: Timestamp| at.to_zoned(treatment.zone.tz().clone()).date();
            let due = || treatment.anchor(self.zone()).next_session_on();
            let open = course.session < course.of;
            Some(CourseView {
                protocol: treatment.protocol.slug.clone(),
                session: course.session,
                of: course.of,
                next_session_on: booked.map(day).or_else(due).filter(|_| open),
                next_session_at: booked.filter(|_| open),
            })
        });
        latest.collect()
    }
}
