//! Few interruptions: what is due together is one reminder, and reminders keep their distance.
//!
//! In which order is not written anywhere: first what is near is joined, then full days are thinned out,
//! then gaps are kept, and what came near by that is joined again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::history::{History, Key, Member, Row, State, date};
use crate::plan::{Candidate, Wanted};

/// Steps that are said together, at the moment of the first.
struct Bundle {
    due: Timestamp,
    steps: Vec<Candidate>,
}

impl Bundle {
    fn queued(&self) -> bool {
        self.steps.iter().any(|one| one.queued.is_some())
    }

    fn movable(&self) -> bool {
        self.steps.iter().all(|one| one.queued.is_none() && !one.snoozed && !one.elapsed)
    }

    /// What sets right what was sent is never said in one breath with what holds (ADR 0008).
    fn corrects(&self) -> bool {
        self.steps.iter().any(|one| one.correction.is_some())
    }

    fn put_off_to(&self) -> Option<Timestamp> {
        self.steps.iter().all(|one| one.snoozed).then_some(self.due)
    }
}

impl History {
    pub(crate) fn pace(&self, mut candidates: Vec<Candidate>) -> BTreeMap<Key, Wanted> {
        candidates.sort_by_key(|one| (one.due, self.place(one)));
        let (queued, free): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|one| one.queued.is_some());
        let alone = |one: Candidate| Bundle { due: one.due, steps: vec![one] };
        let mut bundles = self.join_near(free.into_iter().map(alone).collect());
        bundles.extend(together_as_before(queued));
        bundles.sort_by_key(|bundle| bundle.due);
        self.thin_out(&mut bundles);
        self.keep_apart(&mut bundles);
        let bundles = self.join_near(bundles).into_iter();
        let says = |bundle: &Bundle| bundle.steps.iter().any(|one| self.speaks_of(one, bundle.due));
        bundles.filter(says).map(|bundle| self.reminder(bundle)).collect()
    }

    /// A bundle takes the key of its first step by (due, protocol order), and the earliest use-by.
    fn reminder(&self, mut bundle: Bundle) -> (Key, Wanted) {
        bundle.steps.sort_by_key(|one| self.place(one));
        let wanted = Wanted {
            due: bundle.due,
            use_by: bundle.steps.iter().map(|one| one.use_by).min().expect("it has steps"),
            snoozed: bundle.put_off_to().is_some(),
            members: bundle
                .steps
                .iter()
                .map(|one| Member {
                    key: one.key.clone(),
                    nominal: one.nominal,
                    use_by: one.use_by,
                })
                .collect(),
        };
        (wanted.members[0].key.clone(), wanted)
    }

    fn place(&self, one: &Candidate) -> (Timestamp, usize, Timestamp, usize, String) {
        let (i, step) = one.key.clone();
        (one.nominal, one.order, self.sessions[i].completed_at, i, step)
    }

    /// What lies within the window of the first of its kind is said with it, if it has something to say
    /// by then. What waits in the queue stays as it is; what was put off to one moment comes then.
    fn join_near(&self, bundles: Vec<Bundle>) -> Vec<Bundle> {
        let mut joined: Vec<Bundle> = Vec::new();
        for next in bundles {
            let before = joined.iter_mut().rfind(|before| before.corrects() == next.corrects());
            let near = |first: &&mut Bundle| {
                let window = self.sessions[first.steps[0].key.0].protocol.pacing.bundle_window;
                !first.queued()
                    && !next.queued()
                    && first.put_off_to() == next.put_off_to()
                    && next.due.duration_since(first.due) <= window
                    && self.may_come(&next, first.due)
            };
            match before.filter(near) {
                Some(first) => first.steps.extend(next.steps),
                None => joined.push(next),
            }
        }
        joined
    }

    /// While a local day has more than its most, the two nearest become one, where they can.
    fn thin_out(&self, bundles: &mut Vec<Bundle>) {
        let mut days: Vec<Date> =
            bundles.iter().map(|bundle| date(bundle.due, self.zone())).collect();
        days.dedup();
        for day in days {
            let on = |at: Timestamp| date(at, self.zone()) == day;
            let sent = self.phone_rang().filter(|at| on(*at)).count();
            loop {
                let today: Vec<usize> =
                    (0..bundles.len()).filter(|n| on(bundles[*n].due)).collect();
                let Some(first) = today.first() else { break };
                let session = &self.sessions[bundles[*first].steps[0].key.0];
                if sent + today.len() <= session.protocol.pacing.max_per_day as usize {
                    break;
                }
                let joins = |n: &usize| {
                    let (first, next) = (&bundles[*n - 1], &bundles[*n]);
                    let fixed = first.queued() || first.put_off_to().is_some();
                    next.movable()
                        && !fixed
                        && first.corrects() == next.corrects()
                        && self.may_come(next, first.due)
                };
                let later = today.iter().skip(1).copied().filter(joins);
                let apart = |n: &usize| bundles[*n].due.duration_since(bundles[*n - 1].due);
                let Some(later) = later.min_by_key(apart) else { break };
                let next = bundles.remove(later);
                bundles[later - 1].steps.extend(next.steps);
            }
        }
    }

    /// A wall-clock reminder keeps the gap to the one before, where its use-by, quiet hours and what it
    /// says allow it.
    fn keep_apart(&self, bundles: &mut [Bundle]) {
        let mut before: Vec<Timestamp> = self.phone_rang().collect();
        for bundle in bundles.iter_mut() {
            let session = &self.sessions[bundle.steps[0].key.0];
            let gap = session.protocol.pacing.min_gap;
            let near =
                |at: &&Timestamp| **at <= bundle.due && bundle.due.duration_since(**at) < gap;
            if let Some(free) = before.iter().filter(near).max().map(|at| *at + gap)
                && bundle.movable()
                && bundle.steps.iter().all(|one| free < one.use_by)
                && self.may_come(bundle, free)
            {
                bundle.due = free;
            }
            before.push(bundle.due);
        }
        bundles.sort_by_key(|bundle| bundle.due);
    }

    fn phone_rang(&self) -> impl Iterator<Item = Timestamp> {
        let rang = |row: &&Row| match row.state {
            State::Sent => true,
            State::Claimed => self.may_go_out(row),
            _ => false,
        };
        self.rows.values().filter(rang).map(|row| row.due)
    }

    /// Whether it may come at another moment: each step has something to say then, and its own protocol's
    /// quiet hours are not broken for it.
    fn may_come(&self, bundle: &Bundle, at: Timestamp) -> bool {
        bundle.steps.iter().all(|one| {
            let quiet = self.quiet_around(&self.sessions[one.key.0], at).is_some();
            let undisturbed = at == bundle.due || !quiet || self.is_first(one);
            undisturbed && self.speaks_of(one, at)
        })
    }

    fn speaks_of(&self, one: &Candidate, at: Timestamp) -> bool {
        let (i, id) = &one.key;
        match (&one.correction, self.sessions[*i].step(id)) {
            (Some(correction), _) => self.sets_right(correction, at),
            (None, step) => step.is_some_and(|step| self.speaks(*i, step, at)),
        }
    }
}

fn together_as_before(queued: Vec<Candidate>) -> Vec<Bundle> {
    let mut bundles: BTreeMap<Option<Key>, Bundle> = BTreeMap::new();
    for one in queued {
        let bundle = Bundle { due: one.due, steps: Vec::new() };
        bundles.entry(one.queued.clone()).or_insert(bundle).steps.push(one);
    }
    bundles.into_values().collect()
}
