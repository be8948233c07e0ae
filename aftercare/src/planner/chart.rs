//! A patient's facts, looked through once.

use std::collections::BTreeMap;

use super::correction::Past;
use super::ends::Ends;
use super::{CourseState, Facts, TreatmentFacts, courses};
use crate::ids::TreatmentId;

/// What planning and speaking look up again and again: made once for all of a patient's reminders, so
/// that what they cost grows with the number of treatments and not with its square.
#[derive(Debug)]
pub struct Chart<'f> {
    pub(super) facts: &'f Facts,
    pub(super) courses: BTreeMap<TreatmentId, CourseState>,
    pub(super) ends: Ends<'f>,
    pub(super) past: Past<'f>,
    treatments: BTreeMap<TreatmentId, &'f TreatmentFacts>,
}

impl<'f> Chart<'f> {
    /// The chart of these facts.
    #[must_use]
    pub fn of(facts: &'f Facts) -> Self {
        let treatments = facts.treatments.iter().map(|one| (one.id, one)).collect();
        let ends = Ends::of(facts);
        Self {
            facts,
            courses: courses(&facts.treatments),
            past: Past::of(facts, &treatments, &ends),
            ends,
            treatments,
        }
    }

    /// The treatment of that id.
    #[must_use]
    pub fn treatment(&self, id: TreatmentId) -> Option<&'f TreatmentFacts> {
        self.treatments.get(&id).copied()
    }
}
