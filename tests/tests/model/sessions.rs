//! What a clinic's software says of sessions, in whatever order it arrives.

use std::sync::Arc;

use aftercare::care::{
    self, AmendError, Namespace, PatientRef, Received, RecordError, Says, SessionDone,
    SessionEvent, SessionPatch,
};
use aftercare::store::Booking;
use jiff::{SignedDuration, Timestamp};

use crate::history::Session;
use crate::perform::{areas, minutes, nth, told, zone};
use crate::said::{Change, Said};
use crate::stage::{Checked, REFERENCE, SECOND, Stage};
use crate::story::Step;

/// Who says it all.
const SOURCE: &str = "/clinic";

impl Stage<'_> {
    pub(crate) fn record(&mut self, step: &Step) -> Checked {
        let Step::Record { protocol, ago, zone: at, areas: bits, booked_in_days } = step else {
            return Err(format!("{step:?} records nothing"));
        };
        let n = nth(*protocol, self.protocols.len()).unwrap_or_default();
        let protocol = Arc::clone(&self.protocols[n]);
        let completed_at = self.now() - minutes(*ago);
        // On the minute, so that what lies just within a window or a gap comes up.
        let on_the_minute = SignedDuration::from_secs(completed_at.as_second() % 60);
        let completed_at = if ago % 2 == 0 { completed_at } else { completed_at - on_the_minute };
        let named = bits.map(|bits| areas(bits, &protocol));
        let event = SessionDone {
            namespace: Namespace::CloudEvents { source: SOURCE.to_owned() },
            event_id: visit(self.events.len()),
            patient: PatientRef::Known(REFERENCE.to_owned()),
            protocol: protocol.slug.clone().into(),
            completed_at,
            time_zone: at.map(zone),
            areas: named.clone().map(Into::into),
            next_session_at: booked_in_days.map(|days| completed_at + minutes(days * 1440 + 100)),
            metadata: None,
        };
        let (clinic, told_event) = (self.clinic, completed(event.clone()));
        let recorded = self.write(move |tx| match care::receive_event(tx, clinic, told_event)? {
            Received::Recorded(id) => Ok(care::treatment(tx, clinic, id)?),
            _ => Ok::<_, RecordError>(None),
        });
        let view = recorded.map_err(told)?.ok_or("a new event is taken for a repeat")?;
        let zone = event.time_zone.clone().unwrap_or_else(|| self.model.zone().clone());
        let areas = named.unwrap_or_else(|| protocol.default_areas.clone());
        let recorded = Change {
            completed_at: Some(completed_at),
            zone: Some(zone.clone()),
            areas: Some(areas.clone()),
            booked: Some(event.next_session_at.into()),
        };
        let session = Session {
            protocol,
            completed_at,
            recorded_at: self.now(),
            zone,
            areas,
            booked: event.next_session_at,
            voided: false,
            recorded,
            said: Vec::new(),
        };
        self.treatments.push(view.card.treatment.id);
        self.events.push(event);
        self.has_come(session, view.card.session)
    }

    /// The model learns of the session, and of what has waited for it.
    fn has_come(&mut self, session: Session, number: u32) -> Checked {
        let i = self.model.sessions.len();
        self.model.sessions.push(session);
        self.replan();
        if let Some(said) = self.waiting.remove(&i) {
            self.model.sessions[i].said = said;
            let now = self.now();
            self.model.settle(i, now);
        }
        let voided = self.model.sessions[i].voided;
        let expected = if voided { 0 } else { self.model.session_number(i) };
        if number == expected {
            Ok(())
        } else {
            Err(format!("session {number} for the store, {expected} for the model"))
        }
    }

    pub(crate) fn repeat(&mut self, same: bool) -> Checked {
        let Some(mut event) = self.events.last().cloned() else { return Ok(()) };
        if !same {
            event.completed_at -= SECOND;
        }
        let clinic = self.clinic;
        match self.write(move |tx| care::receive_event(tx, clinic, completed(event))) {
            Ok(Received::Known(Some(_))) if same => Ok(()),
            Err(RecordError::ConflictingEvent) if !same => Ok(()),
            other => Err(format!("a repeat is {other:?}")),
        }
    }

    /// An event about a session that was recorded, or overtook the next one.
    pub(crate) fn event(&mut self, step: &Step) -> Checked {
        let Step::Event { which, ago, moved, zone: at, areas: bits, booked_in_days, voids } = step
        else {
            return Err(format!("{step:?} is no event about a session"));
        };
        let now = self.now();
        let i = nth(*which, self.treatments.len() + 1).unwrap_or_default();
        let known = self.model.sessions.get(i).cloned();
        let ended = known.as_ref().map_or(now, |known| known.completed_at);
        let time = if *voids { now } else { now - minutes(*ago) };
        let patch = SessionPatch {
            completed_at: moved.map(|by| (ended + minutes(by)).min(now)),
            time_zone: at.map(zone),
            // Of a session that is not known, nobody knows where it may be.
            areas: known.as_ref().and_then(|known| Some(areas((*bits)?, &known.protocol))),
            next_session: booked_in_days.map(|days| match days {
                0 => Booking::None,
                days => Booking::At(now + minutes(days * 1440)),
            }),
            ..SessionPatch::default()
        };
        let change = if *voids { Change::default() } else { Change::of(&patch) };
        let id = format!("word-{}", self.words);
        self.words += 1;
        let supersedes = visit(i);
        let says = if *voids {
            Says::Voided { supersedes }
        } else {
            Says::Amended { supersedes, time, patch }
        };
        let said = Said { at: time, id: id.clone(), change, voids: *voids };
        let event = SessionEvent { source: SOURCE.to_owned(), id, says };
        let clinic = self.clinic;
        let answer = self.write(move |tx| care::receive_event(tx, clinic, event));
        match (answer.map_err(told)?, known) {
            (Received::Waiting, None) => self.waiting.entry(i).or_default().push(said),
            (Received::Amended(_), Some(_)) if !*voids => self.hear(i, said, now),
            (Received::Voided(_), Some(_)) if *voids => self.hear(i, said, now),
            other => return Err(format!("an event about a session is {other:?}")),
        }
        Ok(())
    }

    fn hear(&mut self, i: usize, said: Said, now: Timestamp) {
        self.model.sessions[i].said.push(said);
        self.model.settle(i, now);
    }

    pub(crate) fn amend(
        &mut self,
        which: u64,
        moved: Option<i64>,
        at: Option<&str>,
        bits: Option<u64>,
    ) -> Checked {
        let Some(i) = nth(which, self.treatments.len()) else { return Ok(()) };
        let (clinic, id, now) = (self.clinic, self.treatments[i], self.now());
        let known = self.model.sessions[i].clone();
        let patch = SessionPatch {
            completed_at: moved.map(|by| (known.completed_at + minutes(by)).min(now)),
            time_zone: at.map(zone),
            areas: bits.map(|bits| areas(bits, &known.protocol)),
            ..SessionPatch::default()
        };
        let change = Change::of(&patch);
        let ends = change.completed_at;
        let impossible = known.booked.zip(ends).is_some_and(|(booked, ends)| booked <= ends);
        match self.write(move |tx| care::amend_treatment(tx, clinic, id, patch)) {
            Ok(Some(_)) if !known.voided && !impossible => self.model.correct(i, change, now),
            Err(AmendError::Voided) if known.voided => {}
            Err(AmendError::Refused(_)) if impossible => {}
            other => return Err(format!("an amendment is {other:?}")),
        }
        Ok(())
    }

    pub(crate) fn void(&mut self, which: u64) -> Checked {
        let Some(i) = nth(which, self.treatments.len()) else { return Ok(()) };
        let (clinic, id) = (self.clinic, self.treatments[i]);
        self.write(move |tx| care::void_treatment(tx, clinic, id)).map_err(told)?;
        if !std::mem::replace(&mut self.model.sessions[i].voided, true) {
            self.replan();
        }
        Ok(())
    }
}

/// The id of the event that records a session, by the session's place.
fn visit(i: usize) -> String {
    format!("visit-{i}")
}

fn completed(session: SessionDone) -> SessionEvent {
    let id = session.event_id.clone();
    SessionEvent { source: SOURCE.to_owned(), id, says: Says::Completed(session) }
}
