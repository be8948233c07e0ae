//! The secrets that sign a clinic's events: two at once, so that one can take the place of the other.

use secrecy::SecretSlice;

use crate::ids::{ClinicId, SigningSecretId};
use crate::store::{SigningSecret, StoreError, Tx};

/// Secrets that are valid at once, at most.
const AT_ONCE: usize = 2;

/// Why there is no new secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretRefused {
    /// There are two already.
    #[error("the clinic has two signing secrets already")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps a new secret of a clinic.
///
/// # Errors
/// [`SecretRefused`]; then nothing is to be written.
pub fn add_signing_secret(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    secret: &SecretSlice<u8>,
) -> Result<SigningSecret, SecretRefused> {
    // Of two requests at once, only one may find room for the second secret.
    tx.lock_clinic(clinic)?;
    if tx.signing_secrets(clinic)?.len() >= AT_ONCE {
        return Err(SecretRefused::TooMany);
    }
    let made = tx.insert_signing_secret(clinic, secret)?;
    tx.note_act(clinic, "signing-secret.created", &format!("signing-secret:{}", made.id))?;
    Ok(made)
}

/// Forgets a secret; false when the clinic has no such secret.
///
/// # Errors
/// When the database refuses.
pub fn delete_signing_secret(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    id: SigningSecretId,
) -> Result<bool, StoreError> {
    let deleted = tx.delete_signing_secret(clinic, id)?;
    if deleted {
        tx.note_act(clinic, "signing-secret.deleted", &format!("signing-secret:{id}"))?;
    }
    Ok(deleted)
}
