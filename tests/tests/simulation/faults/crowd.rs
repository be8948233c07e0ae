//! Many patients whose first instructions come due within ten minutes.

use std::collections::BTreeMap;
use std::sync::Arc;

use aftercare::care::{self, Namespace, PatientRef, SessionDone};
use aftercare::clock::{Clock, ManualClock};
use aftercare::store::{Clinic, DeviceRegistration, Platform, PushContent, Store, StoreError};
use aftercare_tests::phone::android;
use jiff::{SignedDuration, Timestamp};

use crate::dice::{Bytes, Dice};
use crate::ground::{Database, Ground};

/// When the first session is done: an afternoon in Lisbon, far from any quiet hours.
const BEGINS: &str = "2026-11-22T13:40:00Z";
/// Within which the others follow.
const WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// From a session's end to the moment in which its first instructions are due, and to their use-by.
const DUE: SignedDuration = SignedDuration::from_mins(15);
const USE_BY: SignedDuration = SignedDuration::from_hours(3);

pub(crate) struct Crowd {
    pub(crate) ground: Ground,
    pub(crate) size: usize,
    database: Database,
}

/// When the scheduler is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// When everything is due.
    Burst,
    /// When the first is due; the others follow within ten minutes.
    Stream,
    /// After it was down for so long that the first use-by is five minutes ahead, and the last 15.
    Late,
}

impl Start {
    pub(crate) fn at(self) -> Timestamp {
        let begins: Timestamp = BEGINS.parse().unwrap();
        match self {
            Self::Burst => begins + WITHIN + DUE + SignedDuration::from_secs(1),
            Self::Stream => begins + DUE,
            Self::Late => begins + USE_BY - SignedDuration::from_mins(5),
        }
    }
}

/// When the last use-by of the first instructions has passed.
pub(crate) fn over() -> Timestamp {
    BEGINS.parse::<Timestamp>().unwrap() + WITHIN + USE_BY
}

impl Crowd {
    /// Everybody's session is recorded as it ends. One in five has a second phone.
    pub(crate) fn gather(size: usize) -> Self {
        let ground = Ground::new();
        let database = ground.database(0, 0);
        let begins: Timestamp = BEGINS.parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let clock = Arc::new(ManualClock::new(begins));
            let rng = Bytes::new(Dice::of(0, 1), 0);
            let store = database.open(Arc::clone(&clock) as Arc<dyn Clock>, rng, None).await;
            let clinic = open_clinic(&store).await;
            let step = WITHIN / i32::try_from(size).unwrap();
            for n in 0..size {
                clock.set(begins + step * i32::try_from(n).unwrap());
                store.write(move |tx| treat(tx, clinic, n)).await.unwrap();
            }
        });
        Self { ground, size, database }
    }

    /// The crowd, for one cell.
    pub(crate) fn again(&self) -> Database {
        self.ground.copy(&self.database)
    }
}

async fn open_clinic(store: &Store) -> aftercare::ids::ClinicId {
    let clinic = Clinic {
        id: store.env().id(),
        client_id: "clinic".to_owned(),
        display_name: "Clinic".to_owned(),
        time_zone: "Europe/Lisbon".parse().unwrap(),
        locale: "en".parse().unwrap(),
        contact_phone: None,
        slots: BTreeMap::new(),
        push_content: PushContent::Text,
        paused: false,
        created_at: store.env().now(),
    };
    let id = clinic.id;
    store.write(move |tx| tx.insert_clinic(&clinic)).await.unwrap();
    id
}

fn treat(
    tx: &mut aftercare::store::Tx<'_>,
    clinic: aftercare::ids::ClinicId,
    n: usize,
) -> Result<(), StoreError> {
    let reference = format!("P-{n}");
    let patient = care::upsert_patient(tx, clinic, &reference, None, None)?.0;
    let phones = if n.is_multiple_of(5) { 2 } else { 1 };
    for phone in 0..phones {
        care::register_device(tx, patient.id, &registration(n, phone))?;
    }
    let event = SessionDone {
        namespace: Namespace::Event,
        event_id: format!("visit-{n}"),
        patient: PatientRef::Known(reference),
        protocol: "microneedling".to_owned().into(),
        completed_at: tx.now(),
        time_zone: None,
        areas: None,
        next_session_at: None,
        metadata: None,
    };
    care::record_treatment(tx, clinic, event).expect("a session is recorded");
    Ok(())
}

fn registration(n: usize, phone: usize) -> DeviceRegistration {
    let platforms = [Platform::Android, Platform::Ios, Platform::Web];
    DeviceRegistration {
        platform: platforms[n % platforms.len()],
        ..android(&format!("installation-{n}-{phone}"), &address(n, phone))
    }
}

fn address(n: usize, phone: usize) -> String {
    format!("address-{n}-{phone}")
}

/// Whose phone it is, and which of theirs.
pub(crate) fn owner(address: &str) -> (usize, usize) {
    let mut parts = address.split('-').skip(1).map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}
