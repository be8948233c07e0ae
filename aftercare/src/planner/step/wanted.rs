//! Whether a step is wanted: the session, consent, the course, the booking, and what was said already.

use super::super::chart::Chart;
use super::super::ends::{concerns, muted};
use super::super::{Fate, Key, Reason, ReminderState, Standing, TreatmentFacts};
use super::{Candidate, Row, View};
use crate::protocol::{Condition, Covered, Moment, Step};

impl Chart<'_> {
    /// Whether a dispatcher holds it, and may send it as it is: then it goes its way, also where it is not
    /// needed any more. The dispatcher looks again before it sends, and has perhaps sent it already.
    pub(super) fn is_leaving(&self, standing: &Standing) -> bool {
        standing.state == ReminderState::Claimed && self.may_go_out(standing)
    }

    /// Whether a claimed reminder may go out as it is: one that speaks for a voided treatment, or
    /// without consent, is taken back and its other steps are planned anew.
    pub(in crate::planner) fn may_go_out(&self, standing: &Standing) -> bool {
        let person = &self.facts.person;
        standing.members.iter().all(|member| {
            self.treatment(member.key.treatment).is_some_and(|treatment| {
                let step = treatment.protocol.step(&member.key.step);
                let recall = step.is_some_and(|step| treatment.protocol.is_recall(step));
                (!treatment.voided || member.key.step.is_correction())
                    && person.aftercare
                    && (!recall || person.recall)
            })
        })
    }

    /// Why the step is not wanted, whatever the hour and whatever it would say: the session was taken
    /// back, the course went on without it, or consent was withdrawn. `None` while it is wanted. What
    /// nobody would be told anyway is not left out for want of consent.
    #[must_use]
    pub fn unwanted(&self, key: &Key) -> Option<Reason> {
        let person = &self.facts.person;
        let Some(treatment) = self.treatment(key.treatment) else { return Some(Reason::Voided) };
        if treatment.voided && !key.step.is_correction() {
            return Some(Reason::Voided);
        }
        let step = treatment.protocol.step(&key.step);
        let needless = step.and_then(|step| self.needless(treatment, step));
        let recall = step.is_some_and(|step| treatment.protocol.is_recall(step));
        let consented = person.aftercare && (!recall || person.recall);
        needless.or((!consented).then_some(Reason::Consent))
    }

    /// What the course makes of a step, and the booking.
    fn needless(&self, treatment: &TreatmentFacts, step: &Step) -> Option<Reason> {
        if treatment.protocol.is_recall(step) {
            let course = self.courses.get(&treatment.id);
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

    /// Whether the step says, for its treatment, what another one therefore leaves out.
    #[must_use]
    pub fn covers(&self, key: &Key) -> bool {
        let Some(treatment) = self.treatment(key.treatment) else { return false };
        let covered = treatment.protocol.steps.iter().filter_map(|step| step.covered.as_ref());
        covered
            .filter(|covered| covered.by == key.step)
            .any(|covered| late_enough(treatment, covered))
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
        let row = self.rows.get(key);
        let over = row.filter(|row| {
            matches!(
                row.standing.state,
                ReminderState::Sent | ReminderState::Expired | ReminderState::Failed
            )
        });
        if over.is_some_and(|row| !self.rebooked(row, treatment, step)) {
            return Err(Fate::Settled);
        }
        if let Some(reason) = self.chart.unwanted(key) {
            return Err(match reason {
                Reason::Consent => Fate::Skipped(reason),
                Reason::NewerSession => Fate::Superseded(reason),
                _ => Fate::Cancelled(reason),
            });
        }
        if row.is_some_and(|row| row.leaving) {
            return Err(Fate::Settled);
        }
        let mut clauses =
            step.clauses.iter().filter(|c| concerns(self.facts(), treatment, c)).peekable();
        if clauses.peek().is_none() {
            return Err(Fate::Skipped(Reason::NothingToSay));
        }
        if clauses.all(|clause| muted(&self.facts().person.muted, clause)) {
            return Err(Fate::Skipped(Reason::Muted));
        }
        Ok(())
    }

    /// Whether the next session has another date than the one that this reminder told, or was to
    /// tell, the patient. One that said more under its name stays as it was sent.
    fn rebooked(&self, row: &Row, treatment: &TreatmentFacts, step: &Step) -> bool {
        let Row { standing, member, .. } = *row;
        let booking = matches!(step.due, Moment::Booking { .. });
        if !booking || (standing.key == member.key && standing.members.len() > 1) {
            return false;
        }
        if standing.said.is_some() {
            let told = self.chart.past.announced(treatment.id);
            return told.is_some_and(|told| told.at != treatment.next_session_at);
        }
        let Some((nominal_at, _)) = self.chart.moments(treatment, step) else { return false };
        standing.sent_at.is_none() && self.now < nominal_at && member.nominal_at < nominal_at
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
        let sent = self.rows.get(&said).is_some_and(|row| {
            let standing = row.standing;
            matches!(standing.state, ReminderState::Sent | ReminderState::Claimed)
                || standing.is_snoozed()
                // It was, though what it was put off to could not be met.
                || standing.sent_at.is_some()
        });
        sent || earlier.iter().any(|candidate| candidate.key == said)
    }
}

/// Whether the treatment ended after the hour from which on one step covers another.
fn late_enough(treatment: &TreatmentFacts, covered: &Covered) -> bool {
    treatment.completed_at.to_zoned(treatment.zone.tz().clone()).time() > covered.after
}
