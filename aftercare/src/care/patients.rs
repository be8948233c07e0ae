//! Patients, as their clinic knows them.

use jiff::Timestamp;

use super::case::{Case, case_of_locked, case_of_new};
use super::plan::{replan, replan_case};
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
    match upsert(tx, clinic, reference, (time_zone, locale), None)? {
        Upserted::New(patient) => Ok((patient, true)),
        Upserted::Known { patient, changed } => {
            if changed {
                replan(tx, patient.id)?;
            }
            Ok((patient, false))
        }
    }
}

/// The records, locked, of a patient who is made, or brought up to date with the zone and the language that
/// were theirs at an instant.
///
/// # Errors
/// When the database refuses.
pub(super) fn upserted_case(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    reference: &str,
    said: (Option<Zone>, Option<Locale>),
    as_of: Timestamp,
) -> Result<Case, StoreError> {
    match upsert(tx, clinic, reference, said, Some(as_of))? {
        Upserted::New(patient) => case_of_new(tx, patient),
        Upserted::Known { patient, changed } => {
            let mut case = case_of_locked(tx, patient)?;
            if changed {
                replan_case(tx, &mut case)?;
            }
            Ok(case)
        }
    }
}

enum Upserted {
    New(Patient),
    /// Locked. What changed asks for another plan.
    Known {
        patient: Patient,
        changed: bool,
    },
}

/// Of what was a patient's at an instant, what is known as of a later one stays, so that events end alike in
/// whatever order they come. `None`: as it is now, whatever was known.
fn upsert(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    reference: &str,
    (time_zone, locale): (Option<Zone>, Option<Locale>),
    as_of: Option<Timestamp>,
) -> Result<Upserted, StoreError> {
    let now = tx.now();
    let mut known = tx.lock_patient_by_ref(clinic, reference)?;
    if known.is_none() {
        let (zone, locale) = (time_zone.clone(), locale.clone());
        let made = tx.insert_patient(clinic, reference, zone, locale, as_of.unwrap_or(now))?;
        if let Some(patient) = made {
            return Ok(Upserted::New(patient));
        }
        // Another request made the patient since we looked.
        known = tx.lock_patient_by_ref(clinic, reference)?;
    }
    // Erased between the two statements.
    let mut patient =
        known.ok_or_else(|| StoreError::Busy("the patient is being erased".into()))?;
    let before = (patient.time_zone.clone(), patient.locale.clone());
    let place = (&mut patient.time_zone, &mut patient.time_zone_as_of);
    let moved = learn(place, time_zone, (as_of, now), |zone| zone.name().to_owned());
    let place = (&mut patient.locale, &mut patient.locale_as_of);
    let spoken = learn(place, locale, (as_of, now), ToString::to_string);
    if moved || spoken {
        tx.update_patient(&patient)?;
        patient.updated_at = now;
    }
    let changed = before != (patient.time_zone.clone(), patient.locale.clone());
    Ok(Upserted::Known { patient, changed })
}

/// Puts what was so at an instant in the place of what was so before; whether anything is learnt by it. Of two
/// that were so at one instant the greater word counts. What is known as of an instant to come, by a clock that was
/// wrong, counts as of now.
fn learn<T>(
    (known, known_as_of): (&mut Option<T>, &mut Option<Timestamp>),
    said: Option<T>,
    (as_of, now): (Option<Timestamp>, Timestamp),
    word: impl Fn(&T) -> String,
) -> bool {
    let Some(said) = said else { return false };
    let before = known.as_ref().zip(*known_as_of).map(|(known, at)| (at.min(now), word(known)));
    if before.zip(as_of).is_some_and(|(before, as_of)| (as_of, word(&said)) <= before) {
        return false;
    }
    (*known, *known_as_of) = (Some(said), Some(as_of.unwrap_or(now)));
    true
}
