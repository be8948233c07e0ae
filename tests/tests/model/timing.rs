//! When a step is said: what waits in the queue stays, what is late comes now, quiet hours move it.

use aftercare::protocol::{Moment, Step};
use jiff::{SignedDuration, Timestamp};

use crate::history::{History, Key, Member, Row, Session, State, date, wall};
use crate::plan::{Candidate, No, PAST, skipped};

/// What is due before quiet hours may leave this long into them: the time a queue needs.
const GRACE: SignedDuration = SignedDuration::from_mins(5);

impl History {
    /// What was planned and is too late now has expired, unless its use-by is another by now; what was
    /// never planned is skipped.
    pub(crate) fn worthless(&self, key: &Key, use_by: Option<Timestamp>) -> No {
        let Some((_, row)) = self.carrier(key) else { return PAST };
        let member = row.member(key).map(|member| member.use_by);
        if use_by.is_some_and(|use_by| member != Some(use_by)) {
            return PAST;
        }
        let waited = row.reason == Some("no-device");
        No::Because(State::Expired, if waited { "no-device" } else { "past-use-by" })
    }

    /// What waits in the queue stays; what is late comes now; quiet hours move what they forbid.
    pub(crate) fn in_time(&self, mut one: Candidate, now: Timestamp) -> Result<Candidate, No> {
        if one.correction.is_some() && !self.aftercare {
            return Err(skipped("consent"));
        }
        if one.correction.is_some() && self.is_on_its_way(&one.key) {
            return Err(No::Settled);
        }
        if one.use_by <= now {
            return Err(self.worthless(&one.key, Some(one.use_by)));
        }
        if one.use_by <= one.nominal {
            return Err(PAST);
        }
        let snoozed = self.snoozed_in(&one.key, now);
        if let Some((name, row)) = snoozed.or_else(|| self.queued_in(&one, now)) {
            (one.due, one.queued, one.snoozed) = (row.due, Some(name.clone()), snoozed.is_some());
        } else {
            self.first_moment(&mut one, now);
        }
        self.out_of_quiet_hours(one, now)
    }

    /// The moment of what does not wait in the queue.
    fn first_moment(&self, one: &mut Candidate, now: Timestamp) {
        let put_off = self.snoozed_before(one, now);
        (one.due, one.snoozed) = (put_off.unwrap_or(one.nominal.max(now)), put_off.is_some());
    }

    fn out_of_quiet_hours(&self, mut one: Candidate, now: Timestamp) -> Result<Candidate, No> {
        let at = one.due.max(now);
        // What waits in the queue leaves as one: as its first step does.
        let lead = one.queued.as_ref().map_or(&one.key, |name| &self.rows[name].members[0].key);
        let quiet = &self.sessions[lead.0];
        let Some((from, until)) = self.quiet_around(quiet, at) else { return Ok(one) };
        let grace = one.queued.is_some()
            && now.duration_since(one.due) <= GRACE
            && self.quiet_around(quiet, now).is_none_or(|(from, _)| one.due <= from);
        let asked = one.snoozed && self.quiet_around(quiet, one.due) == Some((from, until));
        if self.is_first(&one) || grace || asked {
            return Ok(one);
        }
        let place = if until < one.use_by { until } else { from };
        if place < now {
            return Err(skipped("quiet-hours"));
        }
        if one.queued.take().is_some() && !one.snoozed {
            // It leaves the queue, and comes as if it had never waited there.
            self.first_moment(&mut one, now);
            return self.out_of_quiet_hours(one, now);
        }
        (one.due, one.snoozed) = (place, false);
        Ok(one)
    }

    /// The first instructions after a session that was recorded in time, which quiet hours do not hold back.
    pub(crate) fn is_first(&self, one: &Candidate) -> bool {
        let session = &self.sessions[one.key.0];
        let first = session.protocol.steps[0].id.as_str() == one.key.1 && one.elapsed;
        first && !session.is_late()
    }

    /// Whether a reminder would leave in quiet hours that nothing excuses it from: a queue's time, that the
    /// patient put it there, or that all of it is first instructions.
    pub(crate) fn wakes_somebody(&self, row: &Row, now: Timestamp) -> bool {
        let session = &self.sessions[row.members[0].key.0];
        let Some(quiet) = self.quiet_around(session, now) else { return false };
        let grace = now.duration_since(row.due) <= GRACE && row.due <= quiet.0;
        let asked =
            row.snoozed == Some(row.due) && self.quiet_around(session, row.due) == Some(quiet);
        let first = |member: &Member| {
            let session = &self.sessions[member.key.0];
            session.protocol.steps[0].id.as_str() == member.key.1
                && matches!(session.protocol.steps[0].due, Moment::Elapsed(_))
                && !session.is_late()
        };
        !grace && !asked && !row.members.iter().all(first)
    }

    /// The quiet hours that an instant lies in, from and until.
    pub(crate) fn quiet_around(
        &self,
        session: &Session,
        at: Timestamp,
    ) -> Option<(Timestamp, Timestamp)> {
        let hours = self.quiet.unwrap_or(session.protocol.pacing.quiet_hours);
        let zone = self.zone();
        let today = date(at, zone);
        [today.yesterday().ok()?, today].into_iter().find_map(|day| {
            let last = if hours.until < hours.from { day.tomorrow().ok()? } else { day };
            let (from, until) = (wall(day, hours.from, zone), wall(last, hours.until, zone));
            (from <= at && at < until).then_some((from, until))
        })
    }

    /// A reminder waits in the queue when it is due, with nothing worthless in it, and not for a phone
    /// that is there now. A step whose moment is still to come leaves it by a correction, and when the first one,
    /// with which it came ahead of its moment, is not wanted any more.
    fn queued_in(&self, one: &Candidate, now: Timestamp) -> Option<(&Key, &Row)> {
        let (name, row) = self.waits_in(&one.key, now)?;
        let member = row.member(&one.key)?;
        let postponed = one.nominal > now && member.nominal < one.nominal;
        let (i, first) = &row.members[0].key;
        let before = self.sessions[*i].step(first);
        let led = one.nominal <= now
            || row.members[0].key == one.key
            || before.is_none_or(|step| self.still_wanted(*i, step).is_ok());
        (row.due <= now && !postponed && led).then_some((name, row))
    }

    fn waits_in(&self, key: &Key, now: Timestamp) -> Option<(&Key, &Row)> {
        let (name, row) = self.carrier(key)?;
        let stale = row.members.iter().any(|member| member.use_by <= now);
        let waited = row.reason == Some("no-device") && self.reachable();
        (row.state.is_open() && !stale && !waited).then_some((name, row))
    }

    /// The reminder that was sent with this step and put off.
    pub(crate) fn snoozed_in(&self, key: &Key, now: Timestamp) -> Option<(&Key, &Row)> {
        self.waits_in(key, now).filter(|(_, row)| row.snoozed == Some(row.due))
    }

    /// What is put off keeps the moments that it was sent with, wherever the patient travels.
    pub(crate) fn kept_or_new(
        &self,
        i: usize,
        step: &Step,
        now: Timestamp,
    ) -> Option<(Timestamp, Timestamp)> {
        let key = (i, step.id.to_string());
        let kept = self.snoozed_in(&key, now).and_then(|(_, row)| row.member(&key));
        kept.map(|member| (member.nominal, member.use_by)).or_else(|| self.moments(i, step))
    }

    /// What was put off, was left out since, and is wanted again comes where it was put off to.
    fn snoozed_before(&self, one: &Candidate, now: Timestamp) -> Option<Timestamp> {
        let until = self.put_off_to(&one.key)?;
        (now < until && one.nominal <= until && until < one.use_by).then_some(until)
    }

    pub(crate) fn put_off_to(&self, key: &Key) -> Option<Timestamp> {
        let carries = self.rows.values().filter(|row| row.member(key).is_some());
        carries.filter_map(|row| row.snoozed).max()
    }
}
