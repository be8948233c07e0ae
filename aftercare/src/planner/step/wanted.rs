//! Whether a step is wanted: the session, consent, the course, the booking, and what was said already.

use std::collections::BTreeMap;

use super::super::correction::appointments;
use super::super::ends::{concerns, muted};
use super::super::{
    CourseState, Facts, Fate, Key, Reason, ReminderState, Standing, TreatmentFacts,
};
use super::{Candidate, View};
use crate::ids::TreatmentId;
use crate::protocol::{Condition, Covered, Moment, Step};

/// Whether a claimed reminder may go out as it is: one that speaks for a voided treatment, or
/// without consent, is taken back and its other steps are planned anew.
pub(in crate::planner) fn may_go_out(facts: &Facts, standing: &Standing) -> bool {
    standing.members.iter().all(|member| {
        facts.treatment(member.key.treatment).is_some_and(|treatment| {
            let step = treatment.protocol.step(&member.key.step);
            let recall = step.is_some_and(|step| treatment.protocol.is_recall(step));
            (!treatment.voided || member.key.step.is_correction())
                && facts.person.aftercare
                && (!recall || facts.person.recall)
        })
    })
}

/// Why the step is not wanted, whatever the hour and whatever it would say: the session was taken
/// back, consent was withdrawn, or the course went on without it. `None` while it is wanted.
#[must_use]
pub fn unwanted(
    facts: &Facts,
    courses: &BTreeMap<TreatmentId, CourseState>,
    key: &Key,
) -> Option<Reason> {
    let Some(treatment) = facts.treatment(key.treatment) else { return Some(Reason::Voided) };
    if treatment.voided && !key.step.is_correction() {
        return Some(Reason::Voided);
    }
    if !facts.person.aftercare {
        return Some(Reason::Consent);
    }
    let step = treatment.protocol.step(&key.step)?;
    if treatment.protocol.is_recall(step) {
        if !facts.person.recall {
            return Some(Reason::Consent);
        }
        let course = courses.get(&treatment.id);
        if course.is_some_and(|course| !course.latest) {
            return Some(Reason::NewerSession);
        }
        if course.is_some_and(|course| course.session >= course.of) {
            return Some(Reason::CourseComplete);
        }
    }
    match (step.condition, treatment.next_session_at) {
        (Some(Condition::Booked), None) => Some(Reason::NotBooked),
        (Some(Condition::Unbooked), Some(_)) => Some(Reason::Booked),
        _ => None,
    }
}

impl View<'_, '_> {
    /// Whether the step is wanted at all, whatever the hour.
    pub(super) fn wanted(
        &self,
        treatment: &TreatmentFacts,
        step: &Step,
        key: &Key,
    ) -> Result<(), Fate> {
        let over = self.standing.get(key).filter(|standing| {
            matches!(
                standing.state,
                ReminderState::Sent | ReminderState::Expired | ReminderState::Failed
            )
        });
        if over.is_some_and(|standing| !self.rebooked(standing, treatment, step)) {
            return Err(Fate::Settled);
        }
        if let Some(reason) = unwanted(self.facts, self.courses, key) {
            return Err(match reason {
                Reason::Consent => Fate::Skipped(reason),
                Reason::NewerSession => Fate::Superseded(reason),
                _ => Fate::Cancelled(reason),
            });
        }
        let claimed = |standing: &&&Standing| standing.state == ReminderState::Claimed;
        let claimed = self.standing.get(key).filter(claimed);
        if claimed.is_some_and(|standing| may_go_out(self.facts, standing)) {
            return Err(Fate::Settled);
        }
        let mut clauses =
            step.clauses.iter().filter(|c| concerns(self.facts, treatment, c)).peekable();
        if clauses.peek().is_none() {
            return Err(Fate::Skipped(Reason::NothingToSay));
        }
        if clauses.all(|clause| muted(&self.facts.person.muted, clause)) {
            return Err(Fate::Skipped(Reason::Muted));
        }
        Ok(())
    }

    /// Whether the next session has another date than the one that this reminder told, or was to
    /// tell, the patient. One that said more under its name stays as it was sent.
    fn rebooked(&self, row: &Standing, treatment: &TreatmentFacts, step: &Step) -> bool {
        let key = Key { treatment: treatment.id, step: step.id.clone() };
        let booking = matches!(step.due, Moment::Booking { .. });
        if !booking || (row.key == key && row.members.len() > 1) {
            return false;
        }
        if let Some(said) = &row.said {
            return appointments(treatment, step).any(|rule| {
                said.until.get(&rule.id).is_some_and(|told| *told != treatment.next_session_at)
            });
        }
        let Some((nominal_at, _)) = self.moments(treatment, step) else { return false };
        let missed = row.members.iter().find(|member| member.key == key);
        row.sent_at.is_none()
            && self.now < nominal_at
            && missed.is_some_and(|missed| missed.nominal_at < nominal_at)
    }

    /// An evening treatment's first reminder says what a later one of that evening would; but only
    /// if it was, or will be, sent.
    pub(super) fn covered(
        &self,
        treatment: &TreatmentFacts,
        step: &Step,
        earlier: &[Candidate],
    ) -> bool {
        let Some(covered) = step.covered.as_ref().filter(|covered| late_enough(treatment, covered))
        else {
            return false;
        };
        let said = Key { treatment: treatment.id, step: covered.by.clone() };
        let sent = self.standing.get(&said).is_some_and(|standing| {
            matches!(standing.state, ReminderState::Sent | ReminderState::Claimed)
                || standing.is_snoozed()
                // It was, though what it was put off to could not be met.
                || standing.sent_at.is_some()
        });
        sent || earlier.iter().any(|candidate| candidate.key == said)
    }
}

/// Whether the step says, for this treatment, what another one therefore leaves out.
#[must_use]
pub fn covers(facts: &Facts, key: &Key) -> bool {
    let Some(treatment) = facts.treatment(key.treatment) else { return false };
    let covered = treatment.protocol.steps.iter().filter_map(|step| step.covered.as_ref());
    covered.filter(|covered| covered.by == key.step).any(|covered| late_enough(treatment, covered))
}

/// Whether the treatment ended after the hour from which on one step covers another.
fn late_enough(treatment: &TreatmentFacts, covered: &Covered) -> bool {
    treatment.completed_at.to_zoned(treatment.zone.tz().clone()).time() > covered.after
}
