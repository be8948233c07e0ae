//! Patients with a phone, and mostly with a session behind them, made by the product itself.

use std::path::Path;
use std::sync::Arc;

use aftercare::care::{
    Namespace, PatientRef, SessionDone, record_treatment, register_device, seed_protocols,
    upsert_patient,
};
use aftercare::clock::{Clock, Env, ManualClock};
use aftercare::ids::ClinicId;
use aftercare::seal::MasterKey;
use aftercare::store::{
    Clinic, DeviceRegistration, PushContent, Store, StoreError, StoreOptions, Tx,
};
use aftercare_tests::phone::android;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

/// How long after a session its first reminder is due.
const FIRST: SignedDuration = SignedDuration::from_mins(15);
/// How long ago a session was of which the first reminder is due.
const BEFORE: SignedDuration = SignedDuration::from_mins(16);
/// Patients in one transaction.
const BATCH: usize = 100;
/// Transactions at once.
const AT_ONCE: usize = 4;

/// A migrated database that is to be filled.
pub(crate) struct Seed<'s> {
    url: &'s str,
    key: &'s Path,
    clinic: Option<ClinicId>,
    /// The number of the first patient.
    first: usize,
    now: Timestamp,
}

impl<'s> Seed<'s> {
    pub(crate) fn new(url: &'s str, key: &'s Path) -> Self {
        Self { url, key, clinic: None, first: 0, now: Timestamp::now() }
    }

    /// The same for patients of a clinic that is there already.
    pub(crate) fn of(self, clinic: ClinicId) -> Self {
        Self { clinic: Some(clinic), ..self }
    }

    /// The same beside so many patients that are there already.
    pub(crate) fn after(self, patients: usize) -> Self {
        Self { first: patients, ..self }
    }

    /// So many patients with a phone and no session yet.
    pub(crate) async fn without_session(&self, count: usize) {
        self.fill(vec![None; count]).await;
    }

    /// So many patients, each with seven reminders, of which the first is due now.
    pub(crate) async fn due_now(&self, count: usize) {
        self.fill(vec![Some(self.now - BEFORE); count]).await;
    }

    /// The same, but the first reminders come due one after the other, so many a second; gives when the
    /// first one is.
    pub(crate) async fn due_by_and_by(&self, count: usize, rate: u32) -> Timestamp {
        let apart = SignedDuration::from_secs(1) / i32::try_from(rate).unwrap();
        let session = |n: usize| Some(self.now + apart * i32::try_from(n).unwrap());
        self.fill((0..count).map(session).collect()).await;
        self.now + FIRST
    }

    /// One patient for each session, if there was one.
    async fn fill(&self, sessions: Vec<Option<Timestamp>>) {
        let now = sessions.first().copied().flatten().unwrap_or(self.now);
        let store = open(self.url, self.key, now).await;
        let clinic = match self.clinic {
            Some(clinic) => clinic,
            None => store.write(new_clinic).await.unwrap(),
        };
        let all: Vec<(usize, Option<Timestamp>)> = (self.first..).zip(sessions).collect();
        let mut making = JoinSet::new();
        for batch in all.chunks(BATCH) {
            let (store, batch) = (store.clone(), batch.to_vec());
            making.spawn(async move {
                let all = move |tx: &mut Tx<'_>| {
                    batch.iter().try_for_each(|(n, session)| patient(tx, clinic, *n, *session))
                };
                store.write(all).await
            });
            if making.len() >= AT_ONCE {
                making.join_next().await.unwrap().unwrap().unwrap();
            }
        }
        for made in making.join_all().await {
            made.unwrap();
        }
        // A server does so each second: nobody begins with all of it before them.
        store.seal_audit().await.unwrap();
    }
}

/// The product's store, migrated, at that moment for good.
pub(crate) async fn open(url: &str, key: &Path, now: Timestamp) -> Store {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(now));
    let env = Env::with_clock(clock);
    let options = StoreOptions::default();
    let store = Store::open(url, MasterKey::load(key).unwrap(), env, options).await.unwrap();
    store.migrate().await.unwrap();
    store.write(seed_protocols).await.unwrap();
    store
}

/// Where it is ten in the morning: nobody's quiet hours.
pub(crate) fn morning() -> String {
    let hour = i64::from(Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour());
    // The names of these zones count backwards.
    match (10 - hour + 24) % 24 {
        0 => "Etc/GMT".to_owned(),
        ahead if ahead <= 12 => format!("Etc/GMT-{ahead}"),
        ahead => format!("Etc/GMT+{}", 24 - ahead),
    }
}

fn new_clinic(tx: &mut Tx<'_>) -> Result<ClinicId, StoreError> {
    let clinic = Clinic {
        id: tx.env().id(),
        client_id: "bench".to_owned(),
        display_name: "Bench".to_owned(),
        time_zone: morning().parse().unwrap(),
        locale: "en".parse().unwrap(),
        contact_phone: None,
        slots: std::collections::BTreeMap::new(),
        push_content: PushContent::Text,
        paused: false,
        created_at: tx.now(),
    };
    tx.insert_clinic(&clinic)?;
    Ok(clinic.id)
}

fn patient(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    n: usize,
    session: Option<Timestamp>,
) -> Result<(), StoreError> {
    let reference = format!("patient-{n}");
    let (patient, _) = upsert_patient(tx, clinic, &reference, None, None)?;
    let of_clinic = tx.clinics_by_id(&[clinic])?.remove(0);
    let registration = DeviceRegistration {
        time_zone: of_clinic.time_zone,
        locale: of_clinic.locale,
        ..android(&format!("installation-{n}"), &address(n))
    };
    register_device(tx, patient.id, &registration)?;
    let Some(completed_at) = session else { return Ok(()) };
    let event = SessionDone {
        namespace: Namespace::Event,
        event_id: format!("session-{n}"),
        patient: PatientRef::Known(reference),
        protocol: "microneedling".to_owned().into(),
        completed_at,
        time_zone: None,
        areas: None,
        next_session_at: None,
        metadata: None,
    };
    record_treatment(tx, clinic, event).expect("a session that can be recorded");
    Ok(())
}

/// An address as long as FCM's are.
pub(crate) fn address(n: usize) -> String {
    format!("{n:010}:{}", "APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx".repeat(4))
}
