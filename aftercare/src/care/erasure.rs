//! Forgetting a patient.

use super::webhooks::tell_erased;
use crate::ids::{ClinicId, PatientId};
use crate::store::{AuditEntry, Erasure, StoreError, Tx};

/// On whose word a patient is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasedBy {
    /// The patient's own.
    Patient,
    /// The clinic's.
    Clinic(ClinicId),
    /// The operator's rule of how long patients are kept.
    Retention,
}

/// Destroys the patient's key and all that is held of them: sessions end, codes are void, nothing that
/// was planned is sent. `None` when there is no such patient. After the commit,
/// [`Store::finish_erasures`](crate::store::Store::finish_erasures) must follow.
///
/// # Errors
/// When the database refuses.
pub fn erase_patient(
    tx: &mut Tx<'_>,
    patient: PatientId,
    by: ErasedBy,
) -> Result<Option<Erasure>, StoreError> {
    tx.lock_everything_of(patient)?;
    let on_its_way = tx.webhook_lease_of(patient)?;
    let Some(erasure) = tx.erase_patient(patient)? else { return Ok(None) };
    let actor = match by {
        ErasedBy::Patient => format!("patient:{patient}"),
        ErasedBy::Clinic(clinic) => format!("clinic:{clinic}"),
        ErasedBy::Retention => "system".to_owned(),
    };
    tx.append_audit(&AuditEntry {
        clinic_id: Some(erasure.clinic_id),
        actor: &actor,
        action: "patient.erased",
        subject: Some(&format!("patient:{patient}")),
    })?;
    tell_erased(tx, erasure.clinic_id, patient, on_its_way.unwrap_or(erasure.at))?;
    Ok(Some(erasure))
}
