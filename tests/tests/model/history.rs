//! All that the model knows of one patient: what was said and done, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aftercare::protocol::{Area, Protocol, QuietHours, Rule, Step};
use aftercare::zone::Zone;
use jiff::Timestamp;
use jiff::civil::{Date, Time};

use crate::said::{Change, Said};

/// A step of a session, by the session's place in the order of recording. It names a reminder, too:
/// a bundle goes by the key of its first step.
pub(crate) type Key = (usize, String);

/// What was said by a reminder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// When each rule ends; `None` = open-ended.
    pub(crate) until: BTreeMap<String, Option<Timestamp>>,
    /// When the session after each of these is; `None` = that it is cancelled.
    pub(crate) next: BTreeMap<usize, Option<Timestamp>>,
}

/// One completed session, as it is known by now.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) protocol: Arc<Protocol>,
    pub(crate) completed_at: Timestamp,
    pub(crate) recorded_at: Timestamp,
    pub(crate) zone: Zone,
    pub(crate) areas: BTreeSet<Area>,
    pub(crate) booked: Option<Timestamp>,
    pub(crate) voided: bool,
    /// As what it was recorded, and what was said of it since.
    pub(crate) recorded: Change,
    pub(crate) said: Vec<Said>,
}

impl Session {
    pub(crate) fn day_0(&self) -> Date {
        date(self.completed_at, &self.zone)
    }

    pub(crate) fn step(&self, id: &str) -> Option<&Step> {
        self.protocol.steps.iter().find(|step| step.id.as_str() == id)
    }

    /// The rule, if it concerns what was treated.
    pub(crate) fn rule(&self, id: &str) -> Option<&Rule> {
        let rule = self.protocol.rules.iter().find(|rule| rule.id.as_str() == id)?;
        (!rule.areas.is_disjoint(&self.areas)).then_some(rule)
    }

    pub(crate) fn is_late(&self) -> bool {
        let delay = self.recorded_at.duration_since(self.completed_at);
        delay > self.protocol.pacing.late_after
    }
}

/// One app installation.
#[derive(Debug, Clone)]
pub(crate) struct Phone {
    pub(crate) zone: Zone,
    pub(crate) synced_at: Timestamp,
    pub(crate) notifies: bool,
    /// FCM takes its address.
    pub(crate) active: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Planned,
    /// A dispatcher holds it.
    Claimed,
    Sent,
    Expired,
    Failed,
    /// Cancelled, superseded or skipped: wanted again when a plan wants it.
    Out(&'static str),
}

impl State {
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Planned | Self::Claimed)
    }

    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Sent | Self::Expired | Self::Failed)
    }
}

/// A step within a reminder, as it was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) key: Key,
    /// When its protocol has it due.
    pub(crate) nominal: Timestamp,
    pub(crate) use_by: Timestamp,
}

/// What became of a reminder so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) reason: Option<&'static str>,
    pub(crate) due: Timestamp,
    pub(crate) use_by: Timestamp,
    pub(crate) members: Vec<Member>,
    /// When a phone took it last, and what it said then.
    pub(crate) sent: Option<(Timestamp, Told)>,
    /// Where its last snooze put it.
    pub(crate) snoozed: Option<Timestamp>,
}

impl Row {
    pub(crate) fn member(&self, key: &Key) -> Option<&Member> {
        self.members.iter().find(|member| member.key == *key)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) clinic_zone: Zone,
    pub(crate) told_zone: Option<Zone>,
    pub(crate) wished_zone: Option<Zone>,
    pub(crate) quiet: Option<QuietHours>,
    pub(crate) exercise: Option<Time>,
    pub(crate) muted: BTreeSet<String>,
    pub(crate) aftercare: bool,
    pub(crate) recall: bool,
    pub(crate) phones: BTreeMap<usize, Phone>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) rows: BTreeMap<Key, Row>,
}

impl History {
    pub(crate) fn new(clinic_zone: Zone, told_zone: Option<Zone>) -> Self {
        Self {
            clinic_zone,
            told_zone,
            wished_zone: None,
            quiet: None,
            exercise: None,
            muted: BTreeSet::new(),
            aftercare: true,
            recall: true,
            phones: BTreeMap::new(),
            sessions: Vec::new(),
            rows: BTreeMap::new(),
        }
    }

    /// The patient's current zone: preferences, else the device that synced last, else what the clinic
    /// said of the patient, else the clinic's.
    pub(crate) fn zone(&self) -> &Zone {
        let phone = self.phones.values().max_by_key(|phone| phone.synced_at);
        let phone = phone.map(|phone| &phone.zone);
        let told = self.wished_zone.as_ref().or(phone).or(self.told_zone.as_ref());
        told.unwrap_or(&self.clinic_zone)
    }

    pub(crate) fn reachable(&self) -> bool {
        self.phones.values().any(|phone| phone.active && phone.notifies)
    }

    /// The reminder that says, or said, the step: one that still waits before one that is over, and
    /// of several the last.
    pub(crate) fn carrier(&self, key: &Key) -> Option<(&Key, &Row)> {
        let counts = |(_, row): &(&Key, &Row)| {
            !matches!(row.state, State::Out(_)) && row.member(key).is_some()
        };
        let rows = self.rows.iter().filter(counts);
        rows.max_by_key(|(_, row)| (row.state.is_open(), row.due))
    }

    /// Sessions of a protocol that count, in the order in which they took place.
    pub(crate) fn course(&self, slug: &str) -> Vec<usize> {
        let counts = |i: &usize| {
            let session = &self.sessions[*i];
            !session.voided && session.protocol.slug == slug
        };
        let mut course: Vec<usize> = (0..self.sessions.len()).filter(counts).collect();
        course.sort_by_key(|i| (self.sessions[*i].completed_at, *i));
        course
    }
}

pub(crate) fn date(at: Timestamp, zone: &Zone) -> Date {
    at.to_zoned(zone.tz().clone()).date()
}

/// A gap resolves to the later, a fold to the first.
pub(crate) fn wall(date: Date, time: Time, zone: &Zone) -> Timestamp {
    let zoned = date.to_datetime(time).to_zoned(zone.tz().clone());
    zoned.expect("dates of these years").timestamp()
}
