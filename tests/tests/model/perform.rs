//! Each step of a story, done to the store through the units of work that the API calls, and to the model.

use std::collections::BTreeSet;
use std::sync::Arc;

use aftercare::care::{self, ConsentWord, PreferencesPatch, SnoozeError};
use aftercare::patch::Patch;
use aftercare::protocol::{Area, Protocol, QuietHours, RuleId};
use aftercare::store::{Booking, ConsentKind, DeviceRegistration};
use aftercare::zone::Zone;
use aftercare_tests::phone::android;
use jiff::civil::Time;
use jiff::{SignedDuration, Timestamp};

use crate::history::{Key, Phone, State};
use crate::said::Change;
use crate::stage::{Checked, REFERENCE, SECOND, Stage};
use crate::story::{RULES, Step};
use crate::variants::variant;

pub(crate) fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

pub(crate) fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

/// Every word whose bit is set.
fn chosen(bits: u64, words: &[&'static str]) -> Vec<&'static str> {
    words.iter().enumerate().filter(|(n, _)| bits & (1 << n) != 0).map(|(_, word)| *word).collect()
}

/// The protocol's areas whose bits are set; the first, when none is.
pub(crate) fn areas(bits: u64, protocol: &Protocol) -> BTreeSet<Area> {
    let chosen = protocol.areas.iter().enumerate().filter(|(n, _)| bits & (1 << n) != 0);
    let chosen: BTreeSet<Area> = chosen.map(|(_, area)| area.clone()).collect();
    if chosen.is_empty() { protocol.areas.iter().take(1).cloned().collect() } else { chosen }
}

pub(crate) fn nth(which: u64, of: usize) -> Option<usize> {
    (of > 0).then(|| usize::try_from(which % of as u64).unwrap())
}

pub(crate) fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Stage<'_> {
    /// Does the step to both, and holds them against each other.
    pub(crate) fn perform(&mut self, step: &Step) -> Checked {
        self.clock.advance(SECOND);
        self.act(step)?;
        self.compare()?;
        match step {
            Step::Record { .. }
            | Step::Amend { .. }
            | Step::Void { .. }
            | Step::Event { .. }
            | Step::Travel { .. }
            | Step::Meanwhile(_) => self.compare_restrictions(),
            _ => Ok(()),
        }
    }

    pub(crate) fn act(&mut self, step: &Step) -> Checked {
        match step {
            Step::Record { .. } => self.record(step)?,
            Step::Repeat { same } => self.repeat(*same)?,
            Step::Amend { which, moved, zone, areas } => {
                self.amend(*which, *moved, *zone, *areas)?;
            }
            Step::Void { which } => self.void(*which)?,
            Step::Event { .. } => self.event(step)?,
            Step::Book { protocol, after } => self.book(*protocol, *after)?,
            Step::Clinic { zone } => self.clinic_says(zone)?,
            Step::Phone { which, zone, notifies } => self.phone(*which, zone, *notifies)?,
            Step::LosePhone { which } => self.lose_phone(*which)?,
            Step::Travel { .. }
            | Step::Mute { .. }
            | Step::Quiet { .. }
            | Step::Exercise { .. } => {
                self.wish(step)?;
            }
            Step::Consent { recall, granted } => self.consent(*recall, *granted)?,
            Step::Snooze { which, minutes } => self.snooze(*which, *minutes)?,
            Step::Publish { variant } => self.publish(*variant)?,
            Step::Fcm(mood) => self.mood = *mood,
            Step::Pass { minutes: passed } => self.pass(self.now() + minutes(*passed))?,
            Step::Outage { minutes: passed } => {
                self.clock.advance(minutes(*passed));
                self.run()?;
            }
            Step::Meanwhile(step) => self.meanwhile(step)?,
            Step::Crash => self.crash()?,
        }
        Ok(())
    }

    pub(crate) fn replan(&mut self) {
        let now = self.now();
        self.model.replan(now);
    }

    fn book(&mut self, protocol: u64, after: Option<(i64, i64)>) -> Checked {
        let n = nth(protocol, self.protocols.len()).unwrap_or_default();
        let slug = self.protocols[n].slug.clone();
        let (clinic, now) = (self.clinic, self.now());
        let latest = self.model.course(&slug).last().copied();
        let at = latest.and(after).map(|(days, hours)| now + minutes(days * 1440 + hours * 60));
        let booking = Booking::from(at);
        let booked =
            self.write(move |tx| care::book_next_session(tx, clinic, REFERENCE, &slug, booking));
        match (booked.map_err(told)?, latest) {
            (None, None) => Ok(()),
            (Some(_), Some(i)) => {
                let change = Change { booked: Some(booking), ..Change::default() };
                self.model.correct(i, change, now);
                Ok(())
            }
            (view, _) => Err(format!("booked for {view:?}, but the model for {latest:?}")),
        }
    }

    fn clinic_says(&mut self, at: &str) -> Checked {
        let (clinic, at) = (self.clinic, zone(at));
        let said = Some(at.clone());
        self.write(move |tx| care::upsert_patient(tx, clinic, REFERENCE, said, None))
            .map_err(told)?;
        if self.model.told_zone.as_ref() != Some(&at) {
            self.model.told_zone = Some(at);
            self.replan();
        }
        Ok(())
    }

    fn phone(&mut self, which: u64, at: &str, notifies: bool) -> Checked {
        let (patient, number) = (self.patient, usize::try_from(which % 2).unwrap());
        let name = format!("phone-{number}");
        let registration = DeviceRegistration {
            time_zone: zone(at),
            notifications_enabled: notifies,
            ..android(&name, &name)
        };
        self.write(move |tx| care::register_device(tx, patient, &registration)).map_err(told)?;
        let phone = Phone { zone: zone(at), synced_at: self.now(), notifies, active: true };
        self.model.phones.insert(number, phone);
        self.phones_changed_at = self.now();
        self.replan();
        Ok(())
    }

    fn lose_phone(&mut self, which: u64) -> Checked {
        let (patient, number) = (self.patient, usize::try_from(which % 2).unwrap());
        let name = format!("phone-{number}");
        self.write(move |tx| care::remove_device(tx, patient, &name)).map_err(told)?;
        if self.model.phones.remove(&number).is_some() {
            self.phones_changed_at = self.now();
            self.replan();
        }
        Ok(())
    }

    fn wish(&mut self, step: &Step) -> Checked {
        let mut patch = PreferencesPatch::default();
        let before = format!("{:?}", self.wishes());
        match step {
            Step::Travel { zone: to } => {
                patch.time_zone = to.map(zone).into();
                self.model.wished_zone = to.map(zone);
            }
            Step::Mute { rules } => {
                let rules = chosen(*rules, &RULES);
                patch.muted_rules =
                    Patch::Set(rules.iter().map(|rule| RuleId::from(*rule)).collect());
                self.model.muted = rules.into_iter().map(str::to_owned).collect();
            }
            Step::Quiet { hours } => {
                let time = |hour| Time::constant(hour, 0, 0, 0);
                let hours =
                    hours.map(|(from, until)| QuietHours { from: time(from), until: time(until) });
                patch.quiet_hours = hours.into();
                self.model.quiet = hours;
            }
            Step::Exercise { hour } => {
                let hour = hour.map(|hour| Time::constant(hour, 0, 0, 0));
                patch.exercise_hour = hour.into();
                self.model.exercise = hour;
            }
            other => return Err(format!("{other:?} is no wish")),
        }
        let patient = self.patient;
        self.write(move |tx| care::change_preferences(tx, patient, patch)).map_err(told)?;
        if format!("{:?}", self.wishes()) != before {
            self.replan();
        }
        Ok(())
    }

    fn wishes(&self) -> impl std::fmt::Debug + '_ {
        let model = &self.model;
        (&model.wished_zone, &model.muted, &model.quiet, &model.exercise)
    }

    fn consent(&mut self, recall: bool, granted: bool) -> Checked {
        let patient = self.patient;
        let kind = if recall { ConsentKind::Recall } else { ConsentKind::Aftercare };
        let word = ConsentWord { granted, notice_version: Some("1".to_owned()), at: None };
        self.write(move |tx| care::tell_consent(tx, patient, kind, word)).map_err(told)?;
        let known = if recall { &mut self.model.recall } else { &mut self.model.aftercare };
        *known = granted;
        self.replan();
        Ok(())
    }

    fn snooze(&mut self, which: u64, after: i64) -> Checked {
        let stored = self.stored();
        let sent: Vec<&Key> = stored
            .iter()
            .filter(|(_, (_, row))| row.state == State::Sent)
            .map(|(key, _)| key)
            .collect();
        let Some(n) = nth(which, sent.len()) else { return Ok(()) };
        let key = sent[n].clone();
        let (patient, id, after) = (self.patient, stored[&key].0, minutes(after));
        let answer = self.write(move |tx| care::snooze(tx, patient, id, after).map(drop));
        let until = self.now() + after;
        let expected = self.put_off(&key, until);
        match (answer, expected) {
            (Ok(()), "planned")
            | (Err(SnoozeError::Correction), "correction")
            | (Err(SnoozeError::PastUseBy(_)), "past-use-by")
            | (Err(SnoozeError::Unwanted(_)), "unwanted") => Ok(()),
            (answer, expected) => Err(format!("put off: {answer:?}, and the model: {expected}")),
        }
    }

    /// Puts it off in the model, and says what should come of it.
    fn put_off(&mut self, key: &Key, until: Timestamp) -> &'static str {
        let before = self.model.clone();
        let Some(row) = self.model.rows.get_mut(key) else { return "unknown" };
        if row.members.iter().any(|member| member.key.1.starts_with("correction-")) {
            return "correction";
        }
        if until >= row.use_by {
            return "past-use-by";
        }
        (row.state, row.reason) = (State::Planned, Some("snoozed"));
        (row.due, row.snoozed) = (until, Some(until));
        self.replan();
        if self.model.rows.get(key).is_some_and(|row| row.state == State::Planned) {
            return "planned";
        }
        self.model = before;
        "unwanted"
    }

    fn publish(&mut self, n: u64) -> Checked {
        let clinic = self.clinic;
        let version = self.protocols[0].version + 1;
        let document = variant(n, version);
        let parsed =
            Protocol::parse(&document.to_string()).map_err(|faults| format!("{faults:?}"))?;
        self.protocols[0] = Arc::new(parsed);
        self.write(move |tx| tx.insert_protocol(clinic, "microneedling", version, &document))
            .map_err(told)?;
        Ok(())
    }
}
