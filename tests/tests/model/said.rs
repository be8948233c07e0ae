//! What was said of a session, one thing after another: in the end the order in which it was true counts.

use std::collections::BTreeSet;

use aftercare::care::SessionPatch;
use aftercare::protocol::Area;
use aftercare::store::Booking;
use aftercare::zone::Zone;
use jiff::{SignedDuration, Timestamp};

use crate::history::{History, Session, State};

/// What somebody says of a session; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) completed_at: Option<Timestamp>,
    pub(crate) zone: Option<Zone>,
    pub(crate) areas: Option<BTreeSet<Area>>,
    pub(crate) booked: Option<Booking>,
}

impl Change {
    pub(crate) fn of(patch: &SessionPatch) -> Self {
        Self {
            completed_at: patch.completed_at,
            zone: patch.time_zone.clone(),
            areas: patch.areas.clone(),
            booked: patch.next_session,
        }
    }
}

/// Of two things the later wins, then the greater id.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) at: Timestamp,
    pub(crate) id: String,
    pub(crate) change: Change,
    /// It takes the session back, whatever else is said.
    pub(crate) voids: bool,
}

impl Session {
    /// As which it was recorded, without what was said since.
    pub(crate) fn as_recorded(&self) -> Self {
        let mut session = self.clone();
        session.apply(&self.recorded);
        session
    }

    /// All that was said of it, in the order in which it was true. A next session that cannot be where it is
    /// said leaves what was said before; in the end one that lies before this one is none.
    pub(crate) fn fold(&self) -> Self {
        let mut said: Vec<&Said> = self.said.iter().collect();
        said.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        let mut folded = self.as_recorded();
        for said in said {
            let before = folded.booked;
            folded.apply(&said.change);
            if matches!(said.change.booked, Some(Booking::At(at)) if at <= folded.completed_at) {
                folded.booked = before;
            }
            folded.voided |= said.voids;
        }
        folded.booked = folded.booked.filter(|at| *at > folded.completed_at);
        folded
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        self.completed_at = change.completed_at.unwrap_or(self.completed_at);
        self.zone = change.zone.clone().unwrap_or_else(|| self.zone.clone());
        self.areas = change.areas.clone().unwrap_or_else(|| self.areas.clone());
        self.booked = match change.booked {
            None => self.booked,
            Some(Booking::At(at)) => Some(at),
            Some(Booking::None) => None,
        };
    }

    fn happened(&self) -> (Timestamp, &Zone, &BTreeSet<Area>) {
        (self.completed_at, &self.zone, &self.areas)
    }
}

impl History {
    /// The clinic corrects a session. That is true from now on, over all that was said before, also where it is
    /// so already; what it was judged beside, it says too.
    pub(crate) fn correct(&mut self, i: usize, mut change: Change, now: Timestamp) {
        let session = &self.sessions[i];
        let mut amended = session.clone();
        amended.apply(&change);
        if change == Change::default() {
            return;
        }
        if change.completed_at.is_some() {
            change.booked = Some(amended.booked.into());
        }
        let said = session.said.iter().map(|said| said.at);
        let last = said.chain([session.recorded_at]).max().unwrap_or(now);
        let at = now.max(last + SignedDuration::from_micros(1));
        self.sessions[i].said.push(Said { at, id: String::new(), change, voids: false });
        self.settle(i, now);
    }

    /// Makes the session what all that was said of it amounts to, and plans anew as far as that reaches.
    pub(crate) fn settle(&mut self, i: usize, now: Timestamp) {
        let known = self.sessions[i].clone();
        self.sessions[i] = known.fold();
        if self.sessions[i].happened() != known.happened() {
            let before = self.rows.clone();
            self.renew(i);
            self.replan(now);
            // What was settled all the while is as it was.
            for (key, row) in &mut self.rows {
                if row.state == State::Out("cancelled") && row.reason.is_none() {
                    row.clone_from(&before[key]);
                }
            }
        } else if (self.sessions[i].booked, self.sessions[i].voided) != (known.booked, known.voided)
        {
            self.replan(now);
        }
    }
}
