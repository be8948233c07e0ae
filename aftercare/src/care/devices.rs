//! Devices: where pushes go, and the clock on the wall they go by.

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
