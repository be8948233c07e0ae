//! All that is stored about a patient, and the facts that planning sees in it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::protocols;
use super::reachability::Unheard;
use crate::ids::{PatientId, ProtocolId};
use crate::locale::Locale;
use crate::planner::{Chart, CourseState, Facts, Key, Person, Standing, TreatmentFacts, courses};
use crate::protocol::Protocol;
use crate::store::{
    Clinic, Consent, ConsentKind, Device, DeviceState, Patient, PushContent, Reminder, SILENT,
    StoreError, Treatment, TreatmentState, Tx,
};
use crate::words::words;
use crate::zone::Zone;

words! {
    /// Who says where a patient is, or what they speak; the first of these that says so counts.
    Source {
        /// The patient's own wish.
        Preferences = "preferences",
        /// The phone that registered last.
        Device = "device",
        /// What the clinic said of the patient.
        Patient = "patient",
        /// The clinic's own.
        Clinic = "clinic",
    }
}

/// One patient's records.
#[derive(Debug)]
pub struct Case {
    /// The patient.
    pub patient: Patient,
    /// Their clinic.
    pub clinic: Clinic,
    /// Their devices.
    pub devices: Vec<Device>,
    /// Their treatments, voided ones too.
    pub treatments: Vec<Treatment>,
    /// Their reminders, whatever their state.
    pub reminders: Vec<Reminder>,
    /// What planning sees in all this.
    pub facts: Facts,
    /// Where the zone in it is from.
    pub zone_source: Source,
    /// Where the language in it is from.
    pub locale_source: Source,
    /// Where each treatment stands in its course.
    pub courses: BTreeMap<crate::ids::TreatmentId, CourseState>,
}

/// The records of one patient, locked: nobody else plans for them, or claims a reminder of theirs,
/// until the transaction ends. `None` when there is no such patient.
///
/// # Errors
/// When the database refuses.
pub fn locked_case(tx: &mut Tx<'_>, patient: PatientId) -> Result<Option<Case>, StoreError> {
    let patient = tx.lock_patient(patient)?;
    patient.map(|patient| case_of_locked(tx, patient)).transpose()
}

/// [`locked_case`] of a patient that this transaction has locked already, and as given.
pub(super) fn case_of_locked(tx: &mut Tx<'_>, patient: Patient) -> Result<Case, StoreError> {
    let id = patient.id;
    let reminders = tx.lock_reminders(id)?;
    let case = gather(tx, vec![patient], reminders)?.pop();
    case.ok_or_else(|| StoreError::Corrupt(format!("{id:?} has no records")))
}

/// The records of a patient that this transaction made: nobody can have added anything yet.
pub(super) fn case_of_new(tx: &mut Tx<'_>, patient: Patient) -> Result<Case, StoreError> {
    let clinic = tx.clinics_by_id(&[patient.clinic_id])?.pop();
    let clinic = clinic.ok_or_else(|| without_clinic(patient.id))?;
    Records {
        clinic,
        devices: Vec::new(),
        consents: Vec::new(),
        treatments: Vec::new(),
        reminders: Vec::new(),
        patient,
    }
    .case(&HashMap::new())
}

fn without_clinic(patient: PatientId) -> StoreError {
    StoreError::Corrupt(format!("{patient:?} has no clinic"))
}

/// The records of many patients, as they are now; those there are none of are left out.
///
/// # Errors
/// When the database refuses.
pub fn cases(tx: &mut Tx<'_>, patients: &[PatientId]) -> Result<Vec<Case>, StoreError> {
    cases_with(tx, patients, Tx::reminders_of)
}

/// [`cases`] without the reminders that only wait: enough to say what is held.
///
/// # Errors
/// When the database refuses.
pub(super) fn cases_to_tell(
    tx: &mut Tx<'_>,
    patients: &[PatientId],
) -> Result<Vec<Case>, StoreError> {
    cases_with(tx, patients, Tx::reminders_told_or_held)
}

fn cases_with<'t>(
    tx: &mut Tx<'t>,
    patients: &[PatientId],
    reminders_of: impl Fn(&mut Tx<'t>, &[PatientId]) -> Result<Vec<Reminder>, StoreError>,
) -> Result<Vec<Case>, StoreError> {
    let patients = tx.patients_by_id(patients)?;
    let ids: Vec<_> = patients.iter().map(|patient| patient.id).collect();
    let reminders = reminders_of(tx, &ids)?;
    gather(tx, patients, reminders)
}

fn gather(
    tx: &mut Tx<'_>,
    patients: Vec<Patient>,
    reminders: Vec<Reminder>,
) -> Result<Vec<Case>, StoreError> {
    let ids: Vec<_> = patients.iter().map(|patient| patient.id).collect();
    let mut clinic_ids: Vec<_> = patients.iter().map(|patient| patient.clinic_id).collect();
    clinic_ids.sort_unstable();
    clinic_ids.dedup();
    let clinics: HashMap<_, _> =
        tx.clinics_by_id(&clinic_ids)?.into_iter().map(|clinic| (clinic.id, clinic)).collect();
    let treatments = tx.treatments_of(&patients)?;
    let protocol_ids: Vec<_> = treatments.iter().map(|treatment| treatment.protocol_id).collect();
    let protocols = protocols::by_id(tx, &protocol_ids)?;
    let mut treatments = group(treatments, |treatment| treatment.patient_id);
    let mut devices = group(tx.devices_of(&patients)?, |device| device.patient_id);
    let mut consents = group(tx.consents_of(&ids)?, |consent| consent.patient_id);
    let mut reminders = group(reminders, |reminder| reminder.patient_id);
    let case = |patient: Patient| {
        let id = patient.id;
        let clinic = clinics.get(&patient.clinic_id).cloned();
        let clinic = clinic.ok_or_else(|| without_clinic(id))?;
        Records {
            clinic,
            devices: devices.remove(&id).unwrap_or_default(),
            consents: consents.remove(&id).unwrap_or_default(),
            treatments: treatments.remove(&id).unwrap_or_default(),
            reminders: reminders.remove(&id).unwrap_or_default(),
            patient,
        }
        .case(&protocols)
    };
    patients.into_iter().map(case).collect()
}

fn group<T>(rows: Vec<T>, of: impl Fn(&T) -> PatientId) -> HashMap<PatientId, Vec<T>> {
    let mut groups: HashMap<PatientId, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(of(&row)).or_default().push(row);
    }
    groups
}

impl Case {
    /// Counts a treatment of the patient in that was not there when the records were read.
    pub(super) fn add(&mut self, treatment: Treatment, protocol: Arc<Protocol>) {
        let place = |one: &Treatment| (one.completed_at, one.id);
        let at = self.treatments.partition_point(|one| place(one) < place(&treatment));
        self.facts.treatments.insert(at, facts_of(&treatment, protocol));
        self.treatments.insert(at, treatment);
        self.courses = courses(&self.facts.treatments);
    }

    /// Puts reminders that were written since in the place of what was read.
    pub(super) fn put(&mut self, rows: Vec<Reminder>) {
        let written: HashSet<_> = rows.iter().map(|row| row.id).collect();
        self.reminders.retain(|row| !written.contains(&row.id));
        self.reminders.extend(rows);
        self.reminders.sort_unstable_by_key(|row| (row.due_at, row.id));
        self.facts.standing = self.reminders.iter().map(standing).collect();
    }

    /// What is looked up again and again; one chart serves all that is asked of the case.
    pub(super) fn chart(&self) -> Chart<'_> {
        Chart::of(&self.facts)
    }

    /// How much a push says: the stricter of what clinic and patient want.
    pub(super) fn push_content(&self) -> PushContent {
        let of_patient = self.patient.preferences.push_content;
        of_patient.map_or(self.clinic.push_content, |wish| wish.max(self.clinic.push_content))
    }
}

struct Records {
    patient: Patient,
    clinic: Clinic,
    devices: Vec<Device>,
    consents: Vec<Consent>,
    treatments: Vec<Treatment>,
    reminders: Vec<Reminder>,
}

impl Records {
    fn case(self, protocols: &HashMap<ProtocolId, Arc<Protocol>>) -> Result<Case, StoreError> {
        let treatments: Result<Vec<_>, _> =
            self.treatments.iter().map(|treatment| treatment_facts(treatment, protocols)).collect();
        let (zone, locale) = (self.zone(), self.locale());
        let (zone_source, locale_source) = (zone.1, locale.1);
        let facts = Facts {
            person: self.person(zone.0, locale.0),
            treatments: treatments?,
            standing: self.reminders.iter().map(standing).collect(),
            reachable: self.devices.iter().any(reachable),
        };
        Ok(Case {
            courses: courses(&facts.treatments),
            facts,
            zone_source,
            locale_source,
            patient: self.patient,
            clinic: self.clinic,
            devices: self.devices,
            treatments: self.treatments,
            reminders: self.reminders,
        })
    }

    fn person(&self, zone: Zone, locale: Locale) -> Person {
        let wishes = &self.patient.preferences;
        let withdrawn = |kind| self.consents.iter().any(|c| c.kind == kind && !c.granted);
        Person {
            id: Some(self.patient.id),
            zone,
            locale,
            quiet_hours: wishes.quiet_hours,
            exercise_hour: wishes.exercise_hour,
            muted: wishes.muted_rules.clone(),
            aftercare: !withdrawn(ConsentKind::Aftercare),
            recall: !withdrawn(ConsentKind::Recall),
            slots: slots_of(&self.clinic),
        }
    }

    /// The zone of the patient's wall, and who says so.
    fn zone(&self) -> (Zone, Source) {
        let told = [
            (self.patient.preferences.time_zone.as_ref(), Source::Preferences),
            (self.phone().map(|device| &device.time_zone), Source::Device),
            (self.patient.time_zone.as_ref(), Source::Patient),
        ];
        first(told, &self.clinic.time_zone)
    }

    /// The patient's language, and who says so.
    fn locale(&self) -> (Locale, Source) {
        let told = [
            (self.patient.preferences.locale.as_ref(), Source::Preferences),
            (self.phone().map(|device| &device.locale), Source::Device),
            (self.patient.locale.as_ref(), Source::Patient),
        ];
        first(told, &self.clinic.locale)
    }

    /// The phone that registered last, unless it is another's by now. Whether FCM still takes its address
    /// says nothing of where the patient is.
    fn phone(&self) -> Option<&Device> {
        let own = self.devices.iter().filter(|device| device.state != DeviceState::Moved);
        own.max_by_key(|device| (device.last_seen_at, device.id))
    }
}

/// The first that is told, else the clinic's.
fn first<T: Clone>(told: [(Option<&T>, Source); 3], clinic: &T) -> (T, Source) {
    let said = told.into_iter().find_map(|(value, source)| Some((value?, source)));
    let (value, source) = said.unwrap_or((clinic, Source::Clinic));
    (value.clone(), source)
}

/// The clinic's words for the slots of protocols.
pub(super) fn slots_of(clinic: &Clinic) -> BTreeMap<String, String> {
    let mut slots = clinic.slots.clone();
    if let Some(phone) = &clinic.contact_phone {
        slots.insert("contact_phone".to_owned(), phone.clone());
    }
    slots
}

/// Whether a push to the device would be seen.
pub(super) fn reachable(device: &Device) -> bool {
    unheard_on(device).is_none()
}

/// Why a push to the device would not be seen; `None` when it would.
pub(super) fn unheard_on(device: &Device) -> Option<Unheard> {
    match device.state {
        DeviceState::Active if device.address.is_none() => Some(Unheard::AppGone),
        DeviceState::Active if !device.notifications_enabled => Some(Unheard::NotificationsOff),
        DeviceState::Active => None,
        DeviceState::Gone if device.state_reason.as_deref() == Some(SILENT) => {
            Some(Unheard::StaleAddress)
        }
        DeviceState::Gone => Some(Unheard::AppGone),
        DeviceState::Refused => Some(Unheard::RefusedAddress),
        DeviceState::Moved => Some(Unheard::AddressMoved),
    }
}

fn treatment_facts(
    treatment: &Treatment,
    protocols: &HashMap<ProtocolId, Arc<Protocol>>,
) -> Result<TreatmentFacts, StoreError> {
    let id = treatment.id;
    let protocol = protocols.get(&treatment.protocol_id);
    let protocol =
        protocol.ok_or_else(|| StoreError::Corrupt(format!("{id:?} has no protocol")))?;
    Ok(facts_of(treatment, Arc::clone(protocol)))
}

fn facts_of(treatment: &Treatment, protocol: Arc<Protocol>) -> TreatmentFacts {
    TreatmentFacts {
        id: treatment.id,
        protocol,
        completed_at: treatment.completed_at,
        recorded_at: treatment.recorded_at,
        zone: treatment.time_zone.clone(),
        areas: treatment.areas.clone(),
        voided: treatment.state == TreatmentState::Voided,
        next_session_at: treatment.next_session_at,
        closed: treatment.closed_at.is_some(),
    }
}

pub(super) fn key_of(reminder: &Reminder) -> Key {
    Key { treatment: reminder.treatment_id, step: reminder.step_id.clone() }
}

fn standing(reminder: &Reminder) -> Standing {
    Standing {
        key: key_of(reminder),
        members: reminder.members.clone(),
        state: reminder.state,
        reason: reminder.reason,
        due_at: reminder.due_at,
        snoozed_until: reminder.snoozed_until,
        sent_at: reminder.sent_at,
        said: reminder.said.clone(),
    }
}
