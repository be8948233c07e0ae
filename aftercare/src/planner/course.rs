//! Courses: which session of which series a treatment is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;

use super::TreatmentFacts;
use super::moment::instant;
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

impl TreatmentFacts {
    /// From when on the next session of the course is due, booked by nobody: the first moment, in the
    /// treatment's zone, of the day on which the protocol's interval ends. `None` where no session is to
    /// come, and where so much time has passed by `now` that the next one begins another course.
    #[must_use]
    pub fn session_due(&self, state: &CourseState, now: Timestamp) -> Option<Timestamp> {
        let open = state.latest && state.session < state.of && self.next_session_at.is_none();
        let course = self.protocol.course.as_ref().filter(|_| open)?;
        let zone = self.zone.tz();
        let day = |at: Timestamp| at.to_zoned(zone.clone()).date();
        let done = day(self.completed_at);
        let is_on = course.restart_after.after(done)? >= day(now);
        let due = course.interval.after(done).filter(|_| is_on)?;
        instant(due.at(0, 0, 0, 0), zone)
    }
}

/// The protocols of which these sessions complete the latest course: one of several sessions, the last of
/// which is done.
#[must_use]
pub fn complete(treatments: &[TreatmentFacts]) -> BTreeSet<&str> {
    let states = courses(treatments);
    let is_last = |treatment: &&TreatmentFacts| {
        let state = states.get(&treatment.id);
        state.is_some_and(|state| state.latest && state.of > 1 && state.session >= state.of)
    };
    let last = treatments.iter().filter(is_last);
    last.map(|treatment| treatment.protocol.slug.as_str()).collect()
}

fn restarts(treatment: &TreatmentFacts, before: Date, day: Date) -> bool {
    let Some(course) = &treatment.protocol.course else { return false };
    course.restart_after.after(before).is_some_and(|limit| day > limit)
}
