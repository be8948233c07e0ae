//! Courses: which session of which series a treatment is.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::TreatmentFacts;
use crate::ids::TreatmentId;

/// Where a treatment stands in its course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CourseState {
    /// Its session, from 1.
    pub session: u32,
    /// How many sessions the course has.
    pub of: u32,
    /// No treatment of this protocol came after it: it speaks for the next session.
    pub latest: bool,
}

/// The place of every treatment that is not voided.
///
/// A course is made of one protocol's treatments by completion. Those on one local day (each in
/// its own zone) are one session; after a pause longer than `restart_after` the next one is
/// session 1 of a new course.
#[must_use]
pub fn courses(treatments: &[TreatmentFacts]) -> BTreeMap<TreatmentId, CourseState> {
    let mut by_protocol: BTreeMap<&str, Vec<&TreatmentFacts>> = BTreeMap::new();
    for treatment in treatments.iter().filter(|treatment| !treatment.voided) {
        by_protocol.entry(&treatment.protocol.slug).or_default().push(treatment);
    }
    let mut states = BTreeMap::new();
    for series in by_protocol.values_mut() {
        series.sort_by_key(|treatment| (treatment.completed_at, treatment.id));
        let mut session = 0;
        let mut previous: Option<Date> = None;
        for treatment in series.iter() {
            let day = treatment.completed_at.to_zoned(treatment.zone.tz().clone()).date();
            session = match previous {
                Some(before) if before == day => session,
                Some(before) if !restarts(treatment, before, day) => session + 1,
                _ => 1,
            };
            previous = Some(day);
            let of = treatment.protocol.course.as_ref().map_or(1, |course| course.sessions);
            states.insert(treatment.id, CourseState { session, of, latest: false });
        }
        if let Some(state) = series.last().and_then(|last| states.get_mut(&last.id)) {
            state.latest = true;
        }
    }
    states
}

fn restarts(treatment: &TreatmentFacts, before: Date, day: Date) -> bool {
    let Some(course) = &treatment.protocol.course else { return false };
    course.restart_after.after(before).is_some_and(|limit| day > limit)
}
