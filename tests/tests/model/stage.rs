//! The real thing beside the model: the store, and the units of work that the API's handlers and the
//! dispatcher call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aftercare::care::{self, SessionDone};
use aftercare::clock::{Clock, ManualClock};
use aftercare::ids::{ClinicId, LeaseId, PatientId, ReminderId, TreatmentId};
use aftercare::planner::{Said, in_force};
use aftercare::protocol::{Protocol, shipped};
use aftercare::store::{Clinic, PushContent, Reminder, Store, StoreError, Tx};
use jiff::{SignedDuration, Timestamp};

use crate::ground::Ground;
use crate::history::{History, Key, Member, Row, State, Told};
use crate::said;
use crate::story::{Mood, Story};

pub(crate) type Checked<T = ()> = Result<T, String>;

/// What the clinic calls its only patient.
pub(crate) const REFERENCE: &str = "P-1";

pub(crate) struct Stage<'g> {
    ground: &'g Ground,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) clinic: ClinicId,
    pub(crate) patient: PatientId,
    pub(crate) model: History,
    pub(crate) treatments: Vec<TreatmentId>,
    pub(crate) events: Vec<SessionDone>,
    /// What overtook the session that it is about, by that session's place.
    pub(crate) waiting: BTreeMap<usize, Vec<said::Said>>,
    /// How many events amended or voided sessions.
    pub(crate) words: usize,
    /// When something happened to a phone last.
    pub(crate) phones_changed_at: Timestamp,
    /// When each reminder was sent first.
    pub(crate) first_sent: BTreeMap<Key, Timestamp>,
    /// The newest versions; microneedling comes first.
    pub(crate) protocols: Vec<Arc<Protocol>>,
    pub(crate) mood: Mood,
    /// Of what was claimed last: whether the model had it due, too.
    pub(crate) due: BTreeMap<Key, Checked>,
    /// The reminders that there are.
    pub(crate) keys: BTreeMap<ReminderId, Key>,
}

impl<'g> Stage<'g> {
    pub(crate) fn set(story: &Story, ground: &'g mut Ground) -> Self {
        ground.prepare(story);
        let (clinic_zone, told) = (
            story.clinic_zone.parse().unwrap(),
            story.patient_zone.map(|zone| zone.parse().unwrap()),
        );
        let model = History::new(clinic_zone, told);
        let (founded, told) = (clinic(&model, &ground.store), model.told_zone.clone());
        let clinic = founded.id;
        let patient = ground.wait(ground.store.write(move |tx| {
            tx.insert_clinic(&founded)?;
            Ok::<_, StoreError>(care::upsert_patient(tx, clinic, REFERENCE, told, None)?.0.id)
        }));
        Self {
            ground,
            clock: Arc::clone(&ground.clock),
            clinic,
            patient: patient.unwrap(),
            model,
            treatments: Vec::new(),
            events: Vec::new(),
            waiting: BTreeMap::new(),
            words: 0,
            phones_changed_at: ground.clock.now(),
            first_sent: BTreeMap::new(),
            protocols: shipped().iter().map(|one| Arc::clone(&one.protocol)).collect(),
            mood: Mood::Well,
            due: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn lease(&self) -> LeaseId {
        self.ground.store.env().id()
    }

    pub(crate) fn write<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.ground.wait(self.ground.store.write(work))
    }

    pub(crate) fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.ground.wait(self.ground.store.read(work)).unwrap()
    }

    pub(crate) fn key(&self, row: &Reminder) -> Key {
        (self.number(row.treatment_id), row.step_id.to_string())
    }

    pub(crate) fn number(&self, id: TreatmentId) -> usize {
        self.treatments.iter().position(|known| *known == id).expect("a known treatment")
    }

    /// The stored reminders in the model's terms, with their ids.
    pub(crate) fn stored(&self) -> BTreeMap<Key, (ReminderId, Row)> {
        let patient = self.patient;
        let rows = self.read(move |tx| tx.reminders(patient)).into_iter();
        rows.map(|row| (self.key(&row), (row.id, self.shown(&row)))).collect()
    }

    fn shown(&self, row: &Reminder) -> Row {
        let state = match row.state.as_str() {
            "planned" => State::Planned,
            "claimed" => State::Claimed,
            "sent" => State::Sent,
            "expired" => State::Expired,
            "failed" => State::Failed,
            other => State::Out(other),
        };
        Row {
            state,
            reason: row.reason.map(|reason| reason.as_str()),
            due: row.due_at,
            use_by: row.use_by,
            members: row
                .members
                .iter()
                .map(|member| Member {
                    key: (self.number(member.key.treatment), member.key.step.to_string()),
                    nominal: member.nominal_at,
                    use_by: member.use_by,
                })
                .collect(),
            sent: row.sent_at.zip(row.said.as_ref().map(|said| self.told(said))),
            snoozed: row.snoozed_until,
        }
    }

    /// What was said, in the model's terms.
    pub(crate) fn told(&self, said: &Said) -> Told {
        Told {
            until: said.until.iter().map(|(rule, end)| (rule.to_string(), *end)).collect(),
            next: said.appointments.iter().map(|(of, at)| (self.number(*of), *at)).collect(),
        }
    }

    /// The store's plan and the model's, and the restrictions, must be the same.
    pub(crate) fn compare(&mut self) -> Checked {
        let stored = self.stored();
        self.keys = stored.iter().map(|(key, (id, _))| (*id, key.clone())).collect();
        let mut differences = Vec::new();
        let keys: BTreeSet<&Key> = stored.keys().chain(self.model.rows.keys()).collect();
        for key in keys {
            let (stored, model) = (stored.get(key).map(|(_, row)| row), self.model.rows.get(key));
            if stored != model {
                differences.push(format!("{key:?}\n  store {stored:?}\n  model {model:?}"));
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    }

    pub(crate) fn compare_restrictions(&self) -> Checked {
        let patient = self.patient;
        let shown = self.read(move |tx| {
            let cases = care::cases(tx, &[patient])?;
            Ok(cases.first().map(|case| in_force(&case.facts, tx.now())).unwrap_or_default())
        });
        let shown: BTreeMap<_, _> = shown
            .into_iter()
            .map(|held| {
                let mut behind: Vec<_> =
                    held.treatment_ids.iter().map(|id| self.number(*id)).collect();
                behind.sort_unstable();
                (held.rule.to_string(), (held.until, behind))
            })
            .collect();
        let held = self.model.restrictions(self.now());
        if shown == held {
            Ok(())
        } else {
            Err(format!("restrictions\n  store {shown:?}\n  model {held:?}"))
        }
    }
}

fn clinic(model: &History, store: &Store) -> Clinic {
    Clinic {
        id: store.env().id(),
        client_id: "clinic".to_owned(),
        display_name: "Pele Nova".to_owned(),
        time_zone: model.clinic_zone.clone(),
        locale: "en".parse().unwrap(),
        contact_phone: None,
        slots: BTreeMap::new(),
        push_content: PushContent::Text,
        paused: false,
        created_at: store.env().now(),
    }
}

pub(crate) const SECOND: SignedDuration = SignedDuration::from_secs(1);
