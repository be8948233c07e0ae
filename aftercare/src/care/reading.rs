//! The note that a clinic, or a patient, read what is held about patients.

use crate::ids::{ClinicId, PatientId, TreatmentId};
use crate::store::{AuditEntry, StoreError, Tx};

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// A patient's timeline.
    Timeline(PatientId),
    /// Everything held about a patient.
    Export(PatientId),
    /// One treatment.
    Treatment(TreatmentId),
    /// One treatment, on paper.
    Handout(TreatmentId),
    /// A patient's treatments.
    TreatmentsOf(PatientId),
    /// What became of a patient's test push.
    TestPush(PatientId),
    /// So many treatments of whichever patients.
    Treatments(usize),
    /// So many reminders that nobody is going to hear, of whichever patients.
    Unheard(usize),
}

/// Notes what a clinic read, in the unit of work that reads it.
///
/// # Errors
/// When the database refuses.
pub fn note_reading(tx: &mut Tx<'_>, clinic: ClinicId, reading: Reading) -> Result<(), StoreError> {
    let (action, subject) = match reading {
        Reading::Timeline(patient) => ("timeline.read", format!("patient:{patient}")),
        Reading::Export(patient) => ("patient.exported", format!("patient:{patient}")),
        Reading::Treatment(treatment) => ("treatment.read", format!("treatment:{treatment}")),
        Reading::Handout(treatment) => ("handout.read", format!("treatment:{treatment}")),
        Reading::TreatmentsOf(patient) => ("treatments.read", format!("patient:{patient}")),
        Reading::TestPush(patient) => ("test-push.read", format!("patient:{patient}")),
        Reading::Treatments(count) => ("treatments.read", format!("treatments:{count}")),
        Reading::Unheard(count) => ("reachability.read", format!("reminders:{count}")),
    };
    tx.note_act(clinic, action, &subject)
}

/// Notes that a patient took out everything held about them.
///
/// # Errors
/// When the database refuses.
pub fn note_own_export(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    patient: PatientId,
) -> Result<(), StoreError> {
    let own = format!("patient:{patient}");
    tx.append_audit(&AuditEntry {
        clinic_id: Some(clinic),
        actor: &own,
        action: "patient.exported",
        subject: Some(&own),
    })?;
    Ok(())
}
