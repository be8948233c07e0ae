//! Patients with a phone and a session behind them, made by the product itself: one reminder of each is due.

use std::path::Path;
use std::sync::Arc;

use aftercare::care::{
    Namespace, PatientRef, SessionDone, record_treatment, register_device, seed_protocols,
    upsert_patient,
};
use aftercare::clock::{Clock, Env, ManualClock};
use aftercare::ids::ClinicId;
use aftercare::seal::MasterKey;
use aftercare::store::{Clinic, DeviceRegistration, PushContent, Store, StoreOptions, Tx};
use aftercare_tests::phone::android;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

/// The first reminder is due a quarter of an hour after a session.
const BEFORE: SignedDuration = SignedDuration::from_mins(16);
/// Patients in one transaction.
const BATCH: usize = 100;
/// Transactions at once.
const AT_ONCE: usize = 4;

/// Fills a migrated database with so many patients, each with seven reminders, of which the first is due now.
pub(crate) async fn patients(url: &str, key: &Path, count: usize) {
    let now = Timestamp::now();
    let session = now - BEFORE;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(session));
    let env = Env::with_clock(clock);
    let options = StoreOptions::default();
    let store = Store::open(url, MasterKey::load(key).unwrap(), env, options).await.unwrap();
    store.migrate().await.unwrap();
    store.write(seed_protocols).await.unwrap();
    let clinic = store.write(move |tx| new_clinic(tx, now)).await.unwrap();
    let all: Vec<usize> = (0..count).collect();
    let mut making = JoinSet::new();
    for batch in all.chunks(BATCH) {
        let (store, batch) = (store.clone(), batch.to_vec());
        making.spawn(async move {
            let all = move |tx: &mut Tx<'_>| {
                batch.iter().try_for_each(|n| patient(tx, clinic, *n, session))
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
}

/// A clinic where it is ten in the morning: nobody's quiet hours.
fn new_clinic(tx: &mut Tx<'_>, now: Timestamp) -> Result<ClinicId, aftercare::store::StoreError> {
    let hour = i64::from(now.to_zoned(jiff::tz::TimeZone::UTC).hour());
    // The names of these zones count backwards.
    let zone = match (10 - hour + 24) % 24 {
        0 => "Etc/GMT".to_owned(),
        ahead if ahead <= 12 => format!("Etc/GMT-{ahead}"),
        ahead => format!("Etc/GMT+{}", 24 - ahead),
    };
    let clinic = Clinic {
        id: tx.env().id(),
        client_id: "bench".to_owned(),
        display_name: "Bench".to_owned(),
        time_zone: zone.parse().unwrap(),
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
    session: Timestamp,
) -> Result<(), aftercare::store::StoreError> {
    let reference = format!("patient-{n}");
    let (patient, _) = upsert_patient(tx, clinic, &reference, None, None)?;
    let of_clinic = tx.clinics_by_id(&[clinic])?.remove(0);
    let registration = DeviceRegistration {
        time_zone: of_clinic.time_zone,
        locale: of_clinic.locale,
        ..android(&format!("installation-{n}"), &address(n))
    };
    register_device(tx, patient.id, &registration)?;
    let event = SessionDone {
        namespace: Namespace::Event,
        event_id: format!("session-{n}"),
        patient: PatientRef::Known(reference),
        protocol: "microneedling".to_owned().into(),
        completed_at: session,
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
