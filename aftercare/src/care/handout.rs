//! A treatment for the patient to take home on paper.

use super::case::cases;
use super::timeline::ClinicCard;
use crate::ids::{ClinicId, PatientId, TreatmentId};
use crate::locale::Locale;
use crate::planner::{Sheet, sheet};
use crate::store::{StoreError, TreatmentState, Tx};
use crate::zone::Zone;

/// What a printed page says.
#[derive(Debug)]
pub struct Handout {
    /// Whose treatment it is.
    pub patient: PatientId,
    /// What the clinic calls the patient, so that pages are not mixed up. Personal: never logged.
    pub patient_ref: String,
    /// The treatment's zone: hours are told in it.
    pub zone: Zone,
    /// Whom to call.
    pub clinic: ClinicCard,
    /// The treatment in words.
    pub sheet: Sheet,
    /// Whether a push would be seen now.
    pub reachable: bool,
    /// Whether the treatment was taken back.
    pub voided: bool,
}

/// A treatment's page in the language asked for, else in the patient's; `None` when the clinic has no
/// such treatment.
///
/// # Errors
/// When the database refuses.
pub fn handout(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: TreatmentId,
    wanted: Option<&Locale>,
) -> Result<Option<Handout>, StoreError> {
    let Some(treatment) = tx.treatment(clinic, id)? else { return Ok(None) };
    let Some(case) = cases(tx, &[treatment.patient_id])?.pop() else { return Ok(None) };
    let mut treatments = case.facts.treatments.iter();
    let Some(facts) = treatments.find(|known| known.id == id) else { return Ok(None) };
    let wanted = wanted.unwrap_or(&case.facts.person.locale);
    Ok(Some(Handout {
        patient: case.patient.id,
        patient_ref: case.patient.reference.clone(),
        zone: facts.zone.clone(),
        clinic: case.clinic_card(),
        sheet: sheet(&case.facts, &case.courses, facts, wanted),
        reachable: case.facts.reachable,
        voided: treatment.state == TreatmentState::Voided,
    }))
}
