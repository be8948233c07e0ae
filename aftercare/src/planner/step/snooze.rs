//! What the patient put off: it was sent, and is to come again at a moment of the patient's own.

use jiff::Timestamp;

use super::super::quiet::put_off_into;
use super::super::{Key, Standing};
use super::{Candidate, Row, View};

impl<'f> View<'f, '_> {
    /// The reminder that was sent with this step and put off, while nothing in it is worthless: what
    /// waited for a device that is there now, or can only go out in part, is planned anew.
    pub(super) fn snoozed(&self, key: &Key) -> Option<&Row<'f>> {
        let row = self.rows.get(key)?;
        (row.standing.is_snoozed() && !row.stale && !self.waited(row.standing)).then_some(row)
    }

    /// What is snoozed keeps the moments that it was sent with, wherever the patient travels.
    pub(super) fn snoozed_moments(&self, key: &Key) -> Option<(Timestamp, Timestamp)> {
        self.snoozed(key).map(|row| (row.member.nominal_at, row.member.use_by))
    }

    /// Whether any step of it that is still wanted has something to say: the others stay in it, so
    /// that it keeps its name.
    pub(super) fn any_speaks(&self, standing: &Standing, at: Timestamp) -> bool {
        standing.members.iter().any(|member| {
            self.chart.step(&member.key).is_some_and(|(treatment, step)| {
                self.wanted(treatment, step, &member.key).is_ok()
                    && self.speaks(treatment, step, at)
            })
        })
    }

    /// Where the patient had put it off to before it was cancelled, if that is still to come and the
    /// step is not due later by now.
    pub(super) fn snoozed_before(&self, candidate: &Candidate) -> Option<Timestamp> {
        self.put_off.get(&candidate.key).copied().filter(|until| {
            self.now < *until && candidate.nominal_at <= *until && *until < candidate.use_by
        })
    }

    /// Whether the moment lies in the quiet hours that the patient put it off into.
    pub(super) fn put_off_into_quiet(&self, candidate: &Candidate, at: Timestamp) -> bool {
        put_off_into(self.quiet_hours_of(candidate), self.zone(), candidate.due_at, at)
    }
}
