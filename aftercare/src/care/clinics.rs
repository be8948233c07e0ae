//! What a clinic is called, where it is, and how much its pushes say.

use crate::ids::ClinicId;
use crate::locale::Locale;
use crate::patch::Patch;
use crate::store::{AuditEntry, Clinic, PushContent, StoreError, Tx};
use crate::zone::Zone;

/// What changes of a clinic; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClinicPatch {
    /// What patients see: 1 to 120 printable characters.
    pub display_name: Option<String>,
    /// The zone of whoever has none of their own.
    pub time_zone: Option<Zone>,
    /// The language of whoever has none of their own.
    pub locale: Option<Locale>,
    /// The number that patients may call: 1 to 40 printable characters.
    pub contact_phone: Patch<String>,
    /// How much its pushes say at most.
    pub push_content: Option<PushContent>,
}

/// Why a clinic is not changed.
#[derive(Debug, thiserror::Error)]
pub enum ClinicError {
    /// There is none.
    #[error("there is no such clinic")]
    Unknown,
    /// The name is empty, too long or not printable.
    #[error("a clinic's name has 1 to 120 printable characters")]
    Name,
    /// The number is empty, too long or not printable.
    #[error("a clinic's phone number has 1 to 40 printable characters")]
    Phone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A clinic's name as it is kept.
///
/// # Errors
/// [`ClinicError::Name`].
pub fn clinic_name(name: &str) -> Result<String, ClinicError> {
    line(name, 120).ok_or(ClinicError::Name)
}

fn line(text: &str, longest: usize) -> Option<String> {
    let text = text.trim();
    let fits = (1..=longest).contains(&text.chars().count()) && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}

/// Changes a clinic; gives it as it was and as it is. How much pushes say, names and languages count from the
/// next push on; patients for whom its zone counts must be planned anew
/// ([`replan_everybody`](super::replan_everybody)). What changes nothing writes nothing.
///
/// # Errors
/// [`ClinicError`]; then nothing is to be written.
pub fn change_clinic(
    tx: &mut Tx<'_>,
    id: ClinicId,
    patch: ClinicPatch,
) -> Result<(Clinic, Clinic), ClinicError> {
    tx.lock_clinic(id)?;
    let known = tx.clinic(id)?.ok_or(ClinicError::Unknown)?;
    let mut clinic = known.clone();
    if let Some(name) = patch.display_name {
        clinic.display_name = clinic_name(&name)?;
    }
    let phone = match patch.contact_phone {
        Patch::Set(phone) => Patch::Set(line(&phone, 40).ok_or(ClinicError::Phone)?),
        other => other,
    };
    phone.apply(&mut clinic.contact_phone);
    clinic.time_zone = patch.time_zone.unwrap_or(clinic.time_zone);
    clinic.locale = patch.locale.unwrap_or(clinic.locale);
    clinic.push_content = patch.push_content.unwrap_or(clinic.push_content);
    if clinic != known {
        tx.update_clinic(&clinic)?;
        tx.append_audit(&AuditEntry {
            clinic_id: Some(id),
            actor: "operator",
            action: "clinic.changed",
            subject: Some(&format!("clinic:{id}")),
        })?;
    }
    Ok((known, clinic))
}
