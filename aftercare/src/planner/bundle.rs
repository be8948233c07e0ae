//! From candidates to reminders: what is due together is said together, and phones are left alone
//! between.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::chart::Chart;
use super::quiet::{around, exempt, quiet_hours};
use super::step::Candidate;
use super::{Key, Member, Planned, ReminderState, ShiftCause, Standing};
use crate::ids::TreatmentId;
use crate::protocol::Pacing;

/// Steps that will be said together; never empty.
#[derive(Debug)]
struct Bundle<'f> {
    due_at: Timestamp,
    steps: Vec<Candidate<'f>>,
    /// Whether it sets right what was sent: that is never said in one breath with what holds.
    corrects: bool,
    /// Whether it waits in the queue.
    queued: bool,
}

/// The reminders that say all candidates, by due moment.
pub(super) fn reminders(chart: &Chart<'_>, mut candidates: Vec<Candidate>) -> Vec<Planned> {
    let pacer = Pacer { chart };
    // What leads a reminder is the same, whether it is planned or waits in the queue.
    candidates.sort_by(|a, b| (a.due_at, order(a)).cmp(&(b.due_at, order(b))));
    let (queued, free): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.queued.is_some());
    let mut bundles = pacer.join_near(free.into_iter().map(Bundle::of).collect());
    bundles.extend(requeue(queued));
    bundles.sort_by_key(|bundle| bundle.due_at);
    // Before the gaps: what a full day joins needs none, and once it is due nobody would know of it.
    let mut bundles = pacer.limit_days(bundles);
    pacer.keep_gaps(&mut bundles);
    let bundles = pacer.join_near(bundles).into_iter();
    let mut planned: Vec<_> = bundles.filter_map(|bundle| bundle.planned(chart)).collect();
    planned.sort_by(|a, b| (a.due_at, &a.key).cmp(&(b.due_at, &b.key)));
    planned
}

/// What waits in the queue stays together as it is.
fn requeue(queued: Vec<Candidate>) -> Vec<Bundle> {
    let mut groups: BTreeMap<&Key, Bundle> = BTreeMap::new();
    for candidate in queued {
        let Some(key) = candidate.queued else { continue };
        match groups.entry(key) {
            Entry::Vacant(group) => drop(group.insert(Bundle::of(candidate))),
            Entry::Occupied(mut group) => group.get_mut().add(candidate),
        }
    }
    groups.into_values().collect()
}

impl<'f> Bundle<'f> {
    fn of(step: Candidate<'f>) -> Self {
        let due_at = step.due_at;
        let mut bundle = Self { due_at, steps: Vec::new(), corrects: false, queued: false };
        bundle.add(step);
        bundle
    }

    fn add(&mut self, step: Candidate<'f>) {
        self.corrects |= step.key.step.is_correction();
        self.queued |= step.queued.is_some();
        self.steps.push(step);
    }

    fn pacing(&self) -> Option<&Pacing> {
        self.steps.first().map(|step| &step.treatment.protocol.pacing)
    }

    fn use_by(&self) -> Option<Timestamp> {
        self.steps.iter().map(|step| step.use_by).min()
    }

    fn movable(&self) -> bool {
        self.steps.iter().all(Candidate::movable)
    }

    /// Where the patient put all of it off to.
    fn snoozed_until(&self) -> Option<Timestamp> {
        self.steps.iter().all(|step| step.snoozed).then_some(self.due_at)
    }

    fn join(&mut self, other: Self, cause: ShiftCause) {
        for mut step in other.steps {
            step.shift(cause, self.due_at);
            self.add(step);
        }
    }

    /// A bundle takes the name of its first step by (due, protocol order).
    fn planned(mut self, chart: &Chart<'_>) -> Option<Planned> {
        self.steps.sort_by(|a, b| order(a).cmp(&order(b)));
        let snoozed = self.snoozed_until().is_some();
        let use_by = self.use_by()?;
        let keys: Vec<_> = self.steps.iter().map(|step| step.key.clone()).collect();
        let said = chart.message(&keys, self.due_at)?;
        let members = self.steps.into_iter().map(|step| Member {
            key: step.key,
            nominal_at: step.nominal_at,
            use_by: step.use_by,
            shifts: step.shifts,
        });
        Some(Planned {
            key: keys.into_iter().next()?,
            members: members.collect(),
            rule_ids: said.rule_ids,
            due_at: self.due_at,
            use_by,
            snoozed,
        })
    }
}

fn order<'a>(step: &'a Candidate) -> (Timestamp, usize, Timestamp, TreatmentId, &'a str) {
    let treatment = step.treatment;
    (step.nominal_at, step.order, treatment.completed_at, treatment.id, step.step.id.as_str())
}

struct Pacer<'c> {
    chart: &'c Chart<'c>,
}

impl Pacer<'_> {
    /// Joins what lies within the bundle window of the one of its kind before, at that one's moment; the
    /// bundles come by due moment.
    fn join_near<'c>(&self, bundles: Vec<Bundle<'c>>) -> Vec<Bundle<'c>> {
        let mut joined: Vec<Bundle<'c>> = Vec::with_capacity(bundles.len());
        for next in bundles {
            let before = joined.iter_mut().rfind(|before| before.corrects == next.corrects);
            match before.filter(|before| self.within_window(before, &next)) {
                Some(before) => before.join(next, ShiftCause::Bundled),
                None => joined.push(next),
            }
        }
        joined
    }

    /// What waits in the queue is left as it is, and what was put off to one moment comes then.
    fn within_window(&self, first: &Bundle, next: &Bundle) -> bool {
        let window = first.pacing().map_or(SignedDuration::ZERO, |pacing| pacing.bundle_window);
        !first.queued
            && !next.queued
            && first.snoozed_until() == next.snoozed_until()
            && next.due_at.duration_since(first.due_at) <= window
            && self.may_be_said(next, first.due_at)
    }

    fn may_be_said(&self, bundle: &Bundle, at: Timestamp) -> bool {
        self.speaks_at(bundle, at) && self.audible(bundle, at)
    }

    fn speaks_at(&self, bundle: &Bundle, at: Timestamp) -> bool {
        let Chart { facts, ends, .. } = self.chart;
        let speaks = |step: &Candidate| ends.speaks(facts, step.treatment, step.step, at);
        bundle.steps.iter().all(speaks)
    }

    /// A wall-clock reminder too soon after another waits until the gap has passed; where its
    /// use-by or quiet hours do not allow that, it stays: an instruction in time comes first.
    fn keep_gaps(&self, bundles: &mut [Bundle]) {
        let mut before: BTreeSet<Timestamp> = self.delivered().collect();
        for bundle in bundles.iter_mut() {
            let gap = bundle.pacing().map_or(SignedDuration::ZERO, |pacing| pacing.min_gap);
            let last = before.range(..=bundle.due_at).next_back();
            let near = last.filter(|at| bundle.due_at.duration_since(**at) < gap);
            if let Some(to) = near.and_then(|at| at.checked_add(gap).ok())
                && bundle.movable()
                && bundle.use_by().is_some_and(|use_by| to < use_by)
                && self.may_be_said(bundle, to)
            {
                bundle.due_at = to;
                for step in &mut bundle.steps {
                    step.shift(ShiftCause::MinGap, to);
                }
            }
            before.insert(bundle.due_at);
        }
        bundles.sort_by_key(|bundle| bundle.due_at);
    }

    /// Whether quiet hours leave it there, or let it be moved there: each step keeps to its own protocol's.
    fn audible(&self, bundle: &Bundle, at: Timestamp) -> bool {
        let facts = self.chart.facts;
        let quiet = |step: &Candidate| {
            let hours = quiet_hours(facts, step.treatment);
            !exempt(step.treatment, step.step) && around(hours, &facts.person.zone, at).is_some()
        };
        at == bundle.due_at || !bundle.steps.iter().any(quiet)
    }

    /// While a local day has more reminders than it should, its two nearest neighbours are said
    /// together at the earlier one's moment. Nothing is left out for being one too many.
    fn limit_days<'c>(&self, bundles: Vec<Bundle<'c>>) -> Vec<Bundle<'c>> {
        let mut delivered: BTreeMap<Date, usize> = BTreeMap::new();
        for at in self.delivered() {
            *delivered.entry(self.day(at)).or_default() += 1;
        }
        let mut days: BTreeMap<Date, Vec<Bundle<'c>>> = BTreeMap::new();
        for bundle in bundles {
            days.entry(self.day(bundle.due_at)).or_default().push(bundle);
        }
        for (day, bundles) in &mut days {
            let delivered = delivered.get(day).copied().unwrap_or(0);
            let limit = bundles.first().and_then(Bundle::pacing);
            let limit = limit.map_or(usize::MAX, |pacing| pacing.max_per_day as usize);
            while limit < delivered + bundles.len() {
                let Some(later) = self.nearest(bundles) else { break };
                let joined = bundles.remove(later);
                if let Some(earlier) = bundles.get_mut(later - 1) {
                    earlier.join(joined, ShiftCause::MaxPerDay);
                }
            }
        }
        let mut limited: Vec<_> = days.into_values().flatten().collect();
        limited.sort_by_key(|bundle| bundle.due_at);
        limited
    }

    /// The place of the bundle that is nearest to the one before it, and may join it.
    fn nearest(&self, today: &[Bundle]) -> Option<usize> {
        let pairs = today.windows(2).enumerate().filter_map(|(place, pair)| {
            let [first, next] = pair else { return None };
            let fixed = first.queued || first.snoozed_until().is_some();
            let alike = first.corrects == next.corrects;
            let may = next.movable() && !fixed && alike && self.may_be_said(next, first.due_at);
            may.then(|| (next.due_at.duration_since(first.due_at), place + 1))
        });
        pairs.min().map(|(_, later)| later)
    }

    fn day(&self, at: Timestamp) -> Date {
        at.to_zoned(self.chart.facts.person.zone.tz().clone()).date()
    }

    /// When the phone showed, or is about to show, what can no longer be moved.
    fn delivered(&self) -> impl Iterator<Item = Timestamp> {
        let shown = |standing: &&Standing| match standing.state {
            ReminderState::Sent => true,
            ReminderState::Claimed => self.chart.may_go_out(standing),
            _ => false,
        };
        self.chart.facts.standing.iter().filter(shown).map(|standing| standing.due_at)
    }
}
