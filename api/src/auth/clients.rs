//! Clinics, as API clients.

use aftercare::clock::Env;
use aftercare::ids::ClinicId;
use aftercare::locale::Locale;
use aftercare::store::{AuditEntry, Clinic, PushContent, Store, StoreError};
use aftercare::zone::Zone;
use secrecy::SecretString;

use super::secrets::{self, HashError};

/// A clinic that was just made, with the one look at its secret.
#[derive(Debug, Clone)]
pub struct NewClinic {
    /// The clinic.
    pub clinic_id: ClinicId,
    /// What its software calls itself when it asks for a token.
    pub client_id: String,
    /// The secret that goes with it; only its hash is kept.
    pub client_secret: SecretString,
}

/// Why a clinic was not made.
#[derive(Debug, thiserror::Error)]
pub enum NewClinicError {
    /// The name is empty, too long or not printable.
    #[error("a clinic's name has 1 to 120 printable characters")]
    Name,
    /// The secret could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a clinic and its first client secret. The zone is that of every patient who has none of their
/// own; texts are in English until the clinic or the patient says otherwise.
///
/// # Errors
/// See [`NewClinicError`].
pub async fn create_clinic(
    store: &Store,
    name: &str,
    zone: Zone,
    locale: Locale,
) -> Result<NewClinic, NewClinicError> {
    let name = name.trim().to_owned();
    if !(1..=120).contains(&name.chars().count()) || name.contains(char::is_control) {
        return Err(NewClinicError::Name);
    }
    let env = store.env().clone();
    let (client_secret, hash) = new_secret(&env).await?;
    let clinic_id: ClinicId = env.id();
    let client_id = format!("clinic_{}", hex::encode(env.random::<10>()));
    let clinic = Clinic {
        id: clinic_id,
        client_id: client_id.clone(),
        display_name: name,
        time_zone: zone,
        locale,
        contact_phone: None,
        slots: std::collections::BTreeMap::new(),
        push_content: PushContent::Text,
        paused: false,
        created_at: env.now(),
    };
    let insert = move |tx: &mut aftercare::store::Tx<'_>| -> Result<(), StoreError> {
        tx.insert_clinic(&clinic)?;
        tx.insert_client_secret(clinic.id, &hash)?;
        tx.append_audit(&AuditEntry {
            clinic_id: Some(clinic.id),
            actor: "operator",
            action: "clinic.created",
            subject: Some(&format!("clinic:{}", clinic.id)),
        })?;
        Ok(())
    };
    store.write(insert).await?;
    Ok(NewClinic { clinic_id, client_id, client_secret })
}

/// A fresh client secret and its hash.
async fn new_secret(env: &Env) -> Result<(SecretString, String), HashError> {
    let secret = secrets::random(env, "acs_");
    let (env, copy) = (env.clone(), secret.clone());
    let hash = tokio::task::spawn_blocking(move || secrets::hash(&env, &copy));
    Ok((secret, hash.await.map_err(|_| HashError)??))
}
