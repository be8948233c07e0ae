//! What people were told is so: clinics, patients, their phones and sessions, as acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use aftercare::ids::{ClinicId, PatientId, TreatmentId};
use aftercare::store::Platform;
use aftercare::zone::Zone;
use jiff::Timestamp;
use jiff::civil::Time;

use crate::history::History;

/// From and until.
pub(crate) type Quiet = (Time, Time);

#[derive(Debug)]
pub(crate) struct Clinic {
    pub(crate) id: ClinicId,
    pub(crate) zone: Zone,
    pub(crate) paused: History<bool>,
}

#[derive(Debug, Clone)]
pub(crate) struct Phone {
    /// The clock's when it registered last.
    pub(crate) synced: Timestamp,
    pub(crate) order: u64,
    pub(crate) zone: Zone,
    pub(crate) platform: Platform,
    /// `None`: it is another patient's by now.
    pub(crate) address: Option<String>,
    pub(crate) notifies: bool,
}

#[derive(Debug)]
pub(crate) struct Patient {
    pub(crate) id: PatientId,
    pub(crate) clinic: usize,
    pub(crate) reference: String,
    pub(crate) told: Option<Zone>,
    pub(crate) wished: Option<Zone>,
    pub(crate) zone: History<Zone>,
    /// `None`: the protocol's.
    pub(crate) quiet: History<Option<Quiet>>,
    pub(crate) exercises: bool,
    pub(crate) aftercare: History<bool>,
    pub(crate) recall: History<bool>,
    pub(crate) erased: History<bool>,
    pub(crate) phones: BTreeMap<u64, Phone>,
    /// Whether a phone of theirs can be reached.
    pub(crate) reachable: History<bool>,
    pub(crate) treatments: Vec<TreatmentId>,
    /// When anything that plans them anew was last acknowledged.
    pub(crate) planned: Duration,
}

/// A session, as it is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) completed_at: Timestamp,
    pub(crate) zone: Zone,
    pub(crate) booked: Option<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) patient: usize,
    pub(crate) slug: String,
    /// By the clock.
    pub(crate) recorded_at: Timestamp,
    pub(crate) facts: History<Facts>,
    pub(crate) voided: History<bool>,
}

/// Who holds an address, and what FCM said of it.
#[derive(Debug)]
pub(crate) struct Address {
    /// `None`: nobody any more.
    pub(crate) owner: History<Option<(usize, u64)>>,
    /// FCM said that it is gone or refused it; since when that must be known.
    pub(crate) refused: Option<Duration>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) clinics: Vec<Clinic>,
    pub(crate) patients: Vec<Patient>,
    pub(crate) sessions: BTreeMap<TreatmentId, Session>,
    pub(crate) addresses: BTreeMap<String, Address>,
    pub(crate) all_paused: Option<History<bool>>,
}

impl Patient {
    /// Where they are: what they say, else the phone that registered last, else what the clinic says.
    fn current_zone(&self, clinic: &Clinic) -> Zone {
        let phones = self.phones.values().filter(|phone| phone.address.is_some());
        let phone = phones.max_by_key(|phone| (phone.synced, phone.order));
        let told = self.wished.as_ref().or(phone.map(|phone| &phone.zone)).or(self.told.as_ref());
        told.unwrap_or(&clinic.zone).clone()
    }
}

impl Ledger {
    /// Something about the patient changed.
    pub(crate) fn changed(&mut self, n: usize, now: Duration) {
        let patient = &mut self.patients[n];
        let zone = patient.current_zone(&self.clinics[patient.clinic]);
        patient.zone.set(now, zone);
        patient.planned = now;
        self.reach(n, now);
    }

    /// Looks whether anybody can be reached at the patient's.
    pub(crate) fn reach(&mut self, n: usize, now: Duration) {
        let Self { patients, addresses, .. } = self;
        let open = |phone: &Phone| {
            let address = phone.address.as_ref().and_then(|address| addresses.get(address));
            phone.notifies && address.is_some_and(|address| address.refused.is_none())
        };
        let reachable = patients[n].phones.values().any(open);
        patients[n].reachable.set(now, reachable);
    }

    /// Whether sending was paused for the patient at any moment between the two.
    pub(crate) fn paused(&self, patient: &Patient, from: Duration, until: Duration) -> bool {
        let clinic = &self.clinics[patient.clinic].paused;
        let all = self.all_paused.as_ref();
        clinic.between(from, until).any(|paused| *paused)
            || all.is_some_and(|all| all.between(from, until).any(|paused| *paused))
    }

    /// Whether it was paused all the time since then.
    pub(crate) fn silenced(&self, patient: &Patient, then: Duration) -> bool {
        let clinic = self.clinics[patient.clinic].paused.since(then).all(|paused| *paused);
        clinic || self.all_paused.as_ref().is_some_and(|all| all.since(then).all(|paused| *paused))
    }

    pub(crate) fn by_id(&self, id: PatientId) -> Option<usize> {
        self.patients.iter().position(|patient| patient.id == id)
    }
}
