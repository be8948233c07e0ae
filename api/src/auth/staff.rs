//! The people at a clinic's desk: invited by the operator, signed in by name and password.
//!
//! No client secret ever reaches a browser: somebody at the desk has a cookie of their own, which the
//! API takes nowhere.

use aftercare::ids::{ClinicId, StaffId};
use aftercare::store::{AuditEntry, Staff, Store, StoreError, Tx};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use super::secrets;

/// How long an invitation to the desk is good for, in elapsed time.
const INVITATION_LIFETIME: SignedDuration = SignedDuration::from_hours(72);

/// Somebody who was just added, with the one look at their invitation.
#[derive(Debug, Clone)]
pub struct NewStaff {
    /// Their id.
    pub id: StaffId,
    /// What opens the page on which they set a password, once.
    pub invitation: SecretString,
    /// From when on it does not.
    pub ends_at: Timestamp,
}

/// Why the people at a desk are as they were.
#[derive(Debug, thiserror::Error)]
pub enum StaffError {
    /// There is no such clinic.
    #[error("there is no clinic {0}")]
    NoClinic(ClinicId),
    /// The name is empty, too long or not printable.
    #[error("a name has 1 to 80 printable characters, with no space at either end")]
    Name,
    /// Somebody signs in with it.
    #[error("somebody on this server signs in with that name already; choose another")]
    Taken,
    /// The clinic has nobody of that id.
    #[error("the clinic has nobody {0} at its desk; `staff list` shows who is")]
    Unknown(StaffId),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Adds somebody to a clinic's desk; they set a password themselves, within 72 hours.
///
/// # Errors
/// See [`StaffError`].
pub async fn add_staff(
    store: &Store,
    clinic: ClinicId,
    name: &str,
) -> Result<NewStaff, StaffError> {
    let printable = (1..=80).contains(&name.chars().count()) && !name.contains(char::is_control);
    if !printable || name.trim() != name {
        return Err(StaffError::Name);
    }
    let name = name.to_owned();
    let invitation = secrets::random(store.env(), "acj_");
    let add = move |tx: &mut Tx<'_>| {
        tx.clinic(clinic)?.ok_or(StaffError::NoClinic(clinic))?;
        let ends_at = tx.now() + INVITATION_LIFETIME;
        let added = tx.insert_staff(clinic, &name, &invitation, ends_at)?;
        let id = added.ok_or(StaffError::Taken)?.id;
        audit(tx, clinic, "operator", "staff.added", id)?;
        Ok(NewStaff { id, invitation, ends_at })
    };
    store.write(add).await
}

/// Everybody at a clinic's desk, by name.
///
/// # Errors
/// See [`StaffError`].
pub async fn staff(store: &Store, clinic: ClinicId) -> Result<Vec<Staff>, StaffError> {
    let list = move |tx: &mut Tx<'_>| {
        tx.clinic(clinic)?.ok_or(StaffError::NoClinic(clinic))?;
        Ok(tx.staff(clinic)?)
    };
    store.read(list).await
}

/// Takes somebody from a clinic's desk: their name is forgotten, and every sign-in of theirs ends at
/// once.
///
/// # Errors
/// See [`StaffError`].
pub async fn remove_staff(store: &Store, clinic: ClinicId, id: StaffId) -> Result<(), StaffError> {
    let remove = move |tx: &mut Tx<'_>| {
        if !tx.remove_staff(clinic, id)? {
            return Err(StaffError::Unknown(id));
        }
        audit(tx, clinic, "operator", "staff.removed", id)?;
        Ok(())
    };
    store.write(remove).await
}

/// Opens a sign-in at the desk; gives what its cookie holds.
///
/// # Errors
/// When the database refuses.
pub(crate) fn sign_in_staff(tx: &mut Tx<'_>, staff: &Staff) -> Result<SecretString, StoreError> {
    let token = secrets::random(tx.env(), "acd_");
    tx.insert_staff_session(staff.id, &token)?;
    audit(tx, staff.clinic_id, &format!("staff:{}", staff.id), "staff.signed-in", staff.id)?;
    Ok(token)
}

fn audit(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    actor: &str,
    action: &str,
    staff: StaffId,
) -> Result<(), StoreError> {
    tx.append_audit(&AuditEntry {
        clinic_id: Some(clinic),
        actor,
        action,
        subject: Some(&format!("staff:{staff}")),
    })?;
    Ok(())
}
