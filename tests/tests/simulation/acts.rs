//! What people do: each a unit of work that the API calls, and the ledger's note of what it acknowledged.

use aftercare::care::{
    self, ConsentWord, ErasedBy, Namespace, PatientRef, PreferencesPatch, Recorded, SessionDone,
    SessionPatch, TreatmentView,
};
use aftercare::clock::Clock as _;
use aftercare::ids::TreatmentId;
use aftercare::patch::Patch;
use aftercare::protocol::QuietHours;
use aftercare::store::{Booking, ConsentKind, StoreError, TreatmentState, Tx};
use aftercare::zone::Zone;
use futures_util::FutureExt as _;
use jiff::SignedDuration;
use jiff::civil::Time;

use crate::history::History;
use crate::ledger::{Facts, Session};
use crate::world::World;
use crate::zones;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Record,
    Repeat,
    Amend,
    Void,
    Book,
    Travel,
    Register,
    Remove,
    Uninstall,
    HandOver,
    Aftercare,
    Recall,
    Quiet,
    Exercise,
    Snooze,
    Erase,
    Told,
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

impl World {
    /// One unit of work, done before anything else happens.
    pub(crate) fn write<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.api.write(work).now_or_never().expect("the API's store waits for nothing")
    }

    /// Does it, for the patient of that number, and about that treatment where it is about one; says what
    /// came of it.
    pub(crate) fn act(&mut self, act: Act, n: usize, of: Option<TreatmentId>) {
        if *self.ledger.patients[n].erased.now() {
            return;
        }
        let said = match act {
            Act::Record => self.record(n),
            Act::Repeat => self.repeat(),
            Act::Amend | Act::Void | Act::Book => self.correct(act, n, of),
            Act::Travel => self.travel(n),
            Act::Register => self.register(n),
            Act::Remove => self.remove(n),
            Act::Uninstall => self.uninstall(n),
            Act::HandOver => self.hand_over(n),
            Act::Aftercare | Act::Recall => self.consent(act, n),
            Act::Quiet | Act::Exercise => self.wish(act, n),
            Act::Snooze => self.snooze(n),
            Act::Erase => self.erase(n),
            Act::Told => self.told(n),
        };
        let now = self.clock.elapsed();
        self.ledger.changed(n, now);
        self.tell(&format!("patient {n}"), &said);
    }

    fn record(&mut self, n: usize) -> String {
        let slugs = self.rules.slugs();
        let slug =
            slugs[if self.dice.chance(600) { 2 } else { self.dice.index(slugs.len()) }].clone();
        let patient = &self.ledger.patients[n];
        let clinic = self.ledger.clinics[patient.clinic].id;
        let ago = match self.dice.below(100) {
            0..70 => self.dice.range(0, 29),
            70..92 => self.dice.range(29, 700),
            _ => self.dice.range(700, 5_000),
        };
        let completed_at = self.clock.now() - minutes(ago);
        let zone = self.dice.chance(150).then(|| zones::any(&mut self.dice));
        let booked = self.dice.chance(250).then(|| {
            completed_at + minutes(self.dice.range(1, 40) * 1_440 + self.dice.range(0, 600))
        });
        let event = SessionDone {
            namespace: Namespace::Event,
            event_id: format!("visit-{}", self.events.len()),
            patient: PatientRef::Known(patient.reference.clone()),
            protocol: slug.clone().into(),
            completed_at,
            time_zone: zone,
            areas: None,
            next_session_at: booked,
            metadata: None,
        };
        self.events.push((clinic, event.clone()));
        match self.write(move |tx| care::record_treatment(tx, clinic, event)) {
            Ok(Recorded::New(view)) => {
                let now = self.clock.elapsed();
                let (id, facts) = (view.card.treatment.id, facts(&view));
                let session = Session {
                    patient: n,
                    slug: slug.clone(),
                    recorded_at: self.clock.now(),
                    facts: History::new(now, facts.clone()),
                    voided: History::new(now, false),
                };
                self.ledger.sessions.insert(id, session);
                self.ledger.patients[n].treatments.push(id);
                format!(
                    "had {slug} at {completed_at} ({}), booked {:?}, recorded as {id}",
                    facts.zone.name(),
                    facts.booked
                )
            }
            other => format!("could not have {slug} recorded: {:?}", other.err()),
        }
    }

    fn repeat(&mut self) -> String {
        let Some((clinic, event)) = self.events.last().cloned() else {
            return "nothing".to_owned();
        };
        let said = format!("{} came again", event.event_id);
        match self.write(move |tx| care::record_treatment(tx, clinic, event)) {
            Ok(Recorded::New(_)) => {
                self.wrong("a repeated event was recorded as a new one".to_owned());
                said
            }
            Ok(Recorded::Repeat(_)) => said,
            Err(error) => format!("{said}, refused: {error}"),
        }
    }

    fn correct(&mut self, act: Act, n: usize, of: Option<TreatmentId>) -> String {
        let patient = &self.ledger.patients[n];
        let Some(id) = of.or(patient.treatments.last().copied()) else {
            return "has no session to correct".to_owned();
        };
        let clinic = self.ledger.clinics[patient.clinic].id;
        let ends = self.ledger.sessions[&id].facts.now().completed_at;
        let now = self.clock.now();
        let patch = if act == Act::Amend {
            SessionPatch {
                completed_at: Some((ends + minutes(self.dice.range(-240, 240))).min(now)),
                time_zone: self.dice.chance(250).then(|| zones::any(&mut self.dice)),
                ..SessionPatch::default()
            }
        } else {
            let after = minutes(self.dice.range(2, 45) * 1_440 + self.dice.range(0, 700));
            let booking = if self.dice.chance(700) {
                Booking::At((ends + after).max(now + minutes(60)))
            } else {
                Booking::None
            };
            SessionPatch { next_session: Some(booking), ..SessionPatch::default() }
        };
        let asked = format!("{:?} {:?}", patch.completed_at, patch.next_session);
        let answer = if act == Act::Void {
            self.write(move |tx| care::void_treatment(tx, clinic, id)).map_err(|e| e.to_string())
        } else {
            let amended = self.write(move |tx| care::amend_treatment(tx, clinic, id, patch));
            amended.map_err(|error| error.to_string())
        };
        match answer {
            Ok(Some(view)) => {
                let elapsed = self.clock.elapsed();
                let session = self.ledger.sessions.get_mut(&id).unwrap();
                session.facts.set(elapsed, facts(&view));
                session.voided.set(elapsed, view.card.treatment.state == TreatmentState::Voided);
                format!("{act:?} of {id}: {asked}")
            }
            Ok(None) => format!("{act:?} of {id}: unknown"),
            Err(error) => format!("{act:?} of {id} refused: {error}"),
        }
    }

    fn travel(&mut self, n: usize) -> String {
        if self.dice.chance(500) {
            let zone = zones::any(&mut self.dice);
            return self.sync(n, None, zone);
        }
        let zone = self.dice.chance(700).then(|| zones::any(&mut self.dice));
        let patch =
            PreferencesPatch { time_zone: zone.clone().into(), ..PreferencesPatch::default() };
        self.prefer(n, patch);
        let said = format!("wants to be woken by {:?}", zone.as_ref().map(Zone::name));
        self.ledger.patients[n].wished = zone;
        said
    }

    fn consent(&mut self, act: Act, n: usize) -> String {
        let kind = if act == Act::Recall { ConsentKind::Recall } else { ConsentKind::Aftercare };
        let (id, elapsed) = (self.ledger.patients[n].id, self.clock.elapsed());
        let patient = &mut self.ledger.patients[n];
        let known = if act == Act::Recall { &mut patient.recall } else { &mut patient.aftercare };
        let granted = !*known.now();
        let word = ConsentWord { granted, notice_version: Some("1".to_owned()), at: None };
        let told = self.api.write(move |tx| care::tell_consent(tx, id, kind, word)).now_or_never();
        match told.expect("the API's store waits for nothing") {
            Ok((view, _)) => {
                known.set(elapsed, view.granted);
                format!("consents to {kind:?}: {granted}, so it is {}", view.granted)
            }
            Err(error) => format!("could not say {granted} of {kind:?}: {error}"),
        }
    }

    fn prefer(&mut self, n: usize, patch: PreferencesPatch) {
        let id = self.ledger.patients[n].id;
        let changed = self.write(move |tx| care::change_preferences(tx, id, patch));
        changed.expect("wishes are taken");
    }

    fn wish(&mut self, act: Act, n: usize) -> String {
        let time = |hour: i8| Time::constant(hour, 0, 0, 0);
        if act == Act::Exercise {
            let hour = self.dice.chance(800).then(|| time(self.dice.pick(&[6, 12, 18, 20, 22])));
            let patch =
                PreferencesPatch { exercise_hour: hour.into(), ..PreferencesPatch::default() };
            self.prefer(n, patch);
            self.ledger.patients[n].exercises = true;
            return format!("exercises at {hour:?}");
        }
        let hours = [(22, 7), (20, 9), (9, 17), (13, 14), (18, 6)];
        let quiet = self.dice.chance(800).then(|| self.dice.pick(&hours));
        let quiet = quiet.map(|(from, until)| (time(from), time(until)));
        let wanted = quiet.map(|(from, until)| QuietHours { from, until });
        self.prefer(
            n,
            PreferencesPatch { quiet_hours: Patch::from(wanted), ..PreferencesPatch::default() },
        );
        let now = self.clock.elapsed();
        self.ledger.patients[n].quiet.set(now, quiet);
        format!("wants quiet hours {quiet:?}")
    }

    fn snooze(&mut self, n: usize) -> String {
        let id = self.ledger.patients[n].id;
        let sent: Vec<_> =
            self.rows.values().filter(|row| row.patient == id && row.state == "sent").collect();
        let Some(row) = sent.last() else { return "has nothing to put off".to_owned() };
        let (reminder, after) = (row.id, minutes(self.dice.pick(&[5, 30, 60, 120, 400])));
        let now = self.clock.now();
        match self.write(move |tx| care::snooze(tx, id, reminder, after).map(drop)) {
            Ok(()) => {
                self.again(reminder);
                self.snoozed.insert(reminder, now + after);
                format!("puts {reminder} off until {}", now + after)
            }
            Err(error) => format!("could not put {reminder} off: {error}"),
        }
    }

    fn erase(&mut self, n: usize) -> String {
        let patient = &self.ledger.patients[n];
        let (id, clinic) = (patient.id, self.ledger.clinics[patient.clinic].id);
        let erased = self.write(move |tx| care::erase_patient(tx, id, ErasedBy::Clinic(clinic)));
        erased.expect("a patient is erased").expect("the patient was there");
        let finished = self.api.finish_erasures().now_or_never();
        finished.expect("the API's store waits for nothing").expect("an erasure is finished");
        let now = self.clock.elapsed();
        self.ledger.patients[n].erased.set(now, true);
        "is erased".to_owned()
    }

    fn told(&mut self, n: usize) -> String {
        let zone = zones::any(&mut self.dice);
        let patient = &self.ledger.patients[n];
        let (clinic, reference) =
            (self.ledger.clinics[patient.clinic].id, patient.reference.clone());
        let said = Some(zone.clone());
        let told = self.write(move |tx| care::upsert_patient(tx, clinic, &reference, said, None));
        told.expect("the clinic may say where somebody is");
        let said = format!("lives in {}, says the clinic", zone.name());
        self.ledger.patients[n].told = Some(zone);
        said
    }
}

fn facts(view: &TreatmentView) -> Facts {
    let treatment = &view.card.treatment;
    Facts {
        completed_at: treatment.completed_at,
        zone: treatment.time_zone.clone(),
        booked: treatment.next_session_at,
    }
}
