//! Devices: where pushes go, and the clock on the wall they go by.

use jiff::{SignedDuration, Timestamp};

use super::plan::replan;
use crate::ids::PatientId;
use crate::store::{Device, DeviceRegistration, StoreError, Tx};

/// Registers a device, or renews its registration, and plans anew: its zone may be another, and
/// what waited for somebody to reach is due now. A patient who had its address before is planned anew,
/// too. `None` when there is no such patient.
///
/// # Errors
/// When the database refuses.
pub fn register_device(
    tx: &mut Tx<'_>,
    patient: PatientId,
    registration: &DeviceRegistration,
) -> Result<Option<Device>, StoreError> {
    let before = tx.patient_of_address(registration)?.filter(|before| *before != patient);
    let both: Vec<PatientId> = before.into_iter().chain([patient]).collect();
    let locked = tx.lock_patients(&both)?;
    let registering = locked.into_iter().find(|known| known.id == patient);
    let Some(registering) = registering else { return Ok(None) };
    // Reminders before devices, as whoever settles pushes takes them.
    tx.lock_reminders_of(&both)?;
    let device = tx.upsert_device(&registering, registration)?;
    for id in both {
        replan(tx, id)?;
    }
    Ok(Some(device))
}

/// How long the address of a device is kept that nobody is heard of from, in elapsed time: FCM
/// itself holds an Android token for dead after so long.
const SILENCE: SignedDuration = SignedDuration::from_hours(270 * 24);

/// Up to `limit` patients, by id and beyond `after`, with a device whose app has neither registered
/// again nor renewed its sign-in for 270 days.
///
/// # Errors
/// When the database refuses.
pub fn patients_with_silent_devices(
    tx: &mut Tx<'_>,
    after: Option<PatientId>,
    limit: i64,
) -> Result<Vec<PatientId>, StoreError> {
    tx.patients_with_silent_devices(silent_since(tx.now()), after, limit)
}

/// Drops the addresses of a patient's silent devices, and plans anew. How many there were.
///
/// # Errors
/// When the database refuses, or what is sealed does not open.
pub fn drop_silent_devices(tx: &mut Tx<'_>, patient: PatientId) -> Result<usize, StoreError> {
    tx.lock_patient(patient)?;
    tx.lock_reminders(patient)?;
    let dropped = tx.retire_silent_devices(patient, silent_since(tx.now()))?;
    replan(tx, patient)?;
    Ok(dropped)
}

fn silent_since(now: Timestamp) -> Timestamp {
    now.checked_sub(SILENCE).unwrap_or(Timestamp::MIN)
}

/// Forgets a device and plans anew. Whether there was one.
///
/// # Errors
/// When the database refuses.
pub fn remove_device(
    tx: &mut Tx<'_>,
    patient: PatientId,
    installation_id: &str,
) -> Result<bool, StoreError> {
    tx.lock_patient(patient)?;
    tx.lock_reminders(patient)?;
    let removed = tx.remove_device(patient, installation_id)?;
    if removed {
        replan(tx, patient)?;
    }
    Ok(removed)
}
