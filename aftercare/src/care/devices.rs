//! Devices: where pushes go, and the clock on the wall they go by.

use jiff::{SignedDuration, Timestamp};

use super::plan::replan;
use crate::ids::PatientId;
use crate::store::{Device, DeviceRegistration, StoreError, Tx};

/// Registers a device, or renews its registration, and plans anew: its zone may be another, and
/// what waited for somebody to reach is due now. `None` when there is no such patient.
///
/// # Errors
/// When the database refuses.
pub fn register_device(
    tx: &mut Tx<'_>,
    patient: PatientId,
    registration: &DeviceRegistration,
) -> Result<Option<Device>, StoreError> {
    let Some(patient) = tx.lock_patient(patient)? else { return Ok(None) };
    // Reminders before devices, as whoever settles pushes takes them.
    tx.lock_reminders(patient.id)?;
    let device = tx.upsert_device(&patient, registration)?;
    replan(tx, patient.id)?;
    Ok(Some(device))
}

/// How long the address of a device is kept that nobody is heard of from, in elapsed time: FCM
/// itself holds an Android token for dead after so long.
const SILENCE: SignedDuration = SignedDuration::from_hours(270 * 24);

/// Drops the addresses of up to `limit` devices whose app has neither registered again nor renewed its
/// sign-in for 270 days, and plans their patients anew. How many there were.
///
/// # Errors
/// When the database refuses.
pub fn drop_silent_devices(tx: &mut Tx<'_>, limit: i64) -> Result<usize, StoreError> {
    let before = tx.now().checked_sub(SILENCE).unwrap_or(Timestamp::MIN);
    let mut dropped = 0;
    // Ordered by id, as everybody locks patients.
    for patient in tx.patients_with_silent_devices(before, limit)? {
        tx.lock_patient(patient)?;
        tx.lock_reminders(patient)?;
        dropped += tx.retire_silent_devices(patient, before)?;
        replan(tx, patient)?;
    }
    Ok(dropped)
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
