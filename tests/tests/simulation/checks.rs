//! The observer, of what does not come: whatever is due leaves, or ends with a reason that there was.

use std::time::Duration;

use aftercare::clock::Clock as _;
use jiff::{SignedDuration, Timestamp};

use crate::rows::{self, Row};
use crate::world::World;

/// Whatever is due has left that long after all was well again.
const CALM: Duration = Duration::from_mins(15);
/// How long something may be due when all is well.
const DUE: SignedDuration = SignedDuration::from_mins(3);

impl World {
    /// Judges the rows after a step.
    pub(crate) fn check(&mut self) {
        self.refresh();
        let (now, clock) = (self.clock.elapsed(), self.clock.now());
        if self.disturbed(now.saturating_sub(CALM), now) {
            return;
        }
        let late = |at: Option<Timestamp>| at.is_some_and(|at| clock.duration_since(at) > DUE);
        let stuck = |row: &&Row| match row.state.as_str() {
            "planned" => late(row.attempt_at),
            "claimed" => late(row.lease.as_ref().map(|lease| lease.until)),
            _ => false,
        };
        let rows = self.rows.values().filter(stuck);
        let stuck = rows.filter(|row| {
            let patient = self.ledger.by_id(row.patient).map(|n| &self.ledger.patients[n]);
            patient.is_some_and(|patient| {
                !self.ledger.paused(patient, now.saturating_sub(CALM), now)
                    && patient.planned + Duration::from_mins(3) < now
            })
        });
        let stuck: Vec<String> = stuck.map(|row| format!("{row:?} is left lying")).collect();
        for why in stuck {
            self.wrong(why);
        }
    }

    /// When the clock showed that, as it goes now.
    fn elapsed_at(&self, at: Timestamp) -> Duration {
        let ago = Duration::try_from(self.clock.now().duration_since(at));
        match ago {
            Ok(ago) => self.clock.elapsed().saturating_sub(ago),
            Err(_) => self.clock.elapsed(),
        }
    }

    /// What was not sent in time was tried, or there was somebody or something in its way.
    pub(crate) fn judge_expired(&mut self, row: &Row) {
        let Some(n) = self.ledger.by_id(row.patient) else { return };
        let (from, until) = (self.elapsed_at(row.due_at), self.elapsed_at(row.use_by));
        let patient = &self.ledger.patients[n];
        let reason = row.reason.as_deref().unwrap_or_default();
        let unreachable = patient.reachable.between(from, until).any(|reachable| !reachable);
        let excused = match reason {
            "no-device" => unreachable || patient.planned >= from,
            _ => {
                unreachable
                    || self.arrivals_of(row.id).next().is_some()
                    || self.ledger.paused(patient, from, until)
                    || self.disturbed(from.saturating_sub(CALM), until)
                    || patient.planned >= from
            }
        };
        let tried = self.arrivals.iter().any(|one| one.reminder == row.id);
        if !excused && !tried {
            self.wrong(format!("{row:?} expired, and nothing was in its way"));
        }
    }

    /// At the end nothing is left to send, and nothing of whom was erased.
    pub(crate) fn check_end(&mut self) {
        self.refresh();
        let clock = self.clock.now();
        let open: Vec<String> = self
            .rows
            .values()
            .filter(|row| !row.is_over() && row.use_by < clock && row.due_at < clock)
            .map(|row| format!("{row:?} never ended"))
            .collect();
        for why in open {
            self.wrong(why);
        }
        self.check_first_words();
        let erased: Vec<_> =
            self.ledger.patients.iter().filter(|one| *one.erased.now()).map(|one| one.id).collect();
        for id in erased {
            let left = rows::left_of(&mut self.look, id);
            if left > 0 {
                self.wrong(format!("{left} rows are left of {id}, who was erased"));
            }
        }
    }

    /// A session that was recorded in time has its first instructions planned, whatever became of them.
    fn check_first_words(&mut self) {
        let mut said = std::collections::BTreeSet::new();
        for row in self.rows.values() {
            said.extend(
                row.members().into_iter().filter(|(_, step)| step == "start").map(|(id, _)| id),
            );
        }
        let silent = self.ledger.sessions.iter().filter(|(id, session)| {
            let erased = *self.ledger.patients[session.patient].erased.now();
            let late = session.recorded_at.duration_since(session.facts.now().completed_at);
            let in_time = late >= SignedDuration::ZERO && late < SignedDuration::from_mins(30);
            !erased && in_time && !session.voided.now() && !said.contains(*id)
        });
        let silent: Vec<String> =
            silent.map(|(id, _)| format!("no reminder has the first words of {id}")).collect();
        for why in silent {
            self.wrong(why);
        }
    }
}
