//! Patients, as their clinic knows them.

use super::plan::replan;
use crate::ids::ClinicId;
use crate::locale::Locale;
use crate::store::{Patient, StoreError, Tx};
use crate::zone::Zone;

/// Makes the patient, or brings what the clinic says of them up to date: what it does not say
/// stays. Whether the patient is new.
///
/// # Errors
/// When the database refuses.
pub fn upsert_patient(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    reference: &str,
    time_zone: Option<Zone>,
    locale: Option<Locale>,
) -> Result<(Patient, bool), StoreError> {
    let made = tx.insert_patient(clinic, reference, time_zone.clone(), locale.clone())?;
    if let Some(patient) = made {
        return Ok((patient, true));
    }
    let known = tx.patient_by_ref(clinic, reference)?;
    let locked = known.map(|known| tx.lock_patient(known.id)).transpose()?.flatten();
    // Erased between the two statements.
    let mut patient =
        locked.ok_or_else(|| StoreError::Busy("the patient is being erased".into()))?;
    let before = (patient.time_zone.clone(), patient.locale.clone());
    patient.time_zone = time_zone.or(patient.time_zone);
    patient.locale = locale.or(patient.locale);
    if before != (patient.time_zone.clone(), patient.locale.clone()) {
        tx.update_patient(&patient)?;
        patient.updated_at = tx.now();
        replan(tx, patient.id)?;
    }
    Ok((patient, false))
}
