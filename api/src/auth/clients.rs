//! Clinics, as API clients, and the secrets they show.
//!
//! A clinic has two secrets at most, so that its software can change from one to the other without a
//! gap: add the new one, put it to use everywhere, revoke the old one. Revoking a secret ends the
//! sessions that it opened: whoever stole it is out at once, and so is software that still uses it.

use aftercare::care::clinic_name;
use aftercare::clock::Env;
use aftercare::ids::{ClientSecretId, ClinicId};
use aftercare::locale::Locale;
use aftercare::store::{AuditEntry, ClientSecret, Clinic, PushContent, Store, StoreError, Tx};
use aftercare::zone::Zone;
use jiff::Timestamp;
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
    let name = clinic_name(name).map_err(|_| NewClinicError::Name)?;
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
    let insert = move |tx: &mut Tx<'_>| -> Result<(), StoreError> {
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

/// Secrets of one clinic that count at the same time.
const SECRETS_MAX: usize = 2;

/// A secret that was just made, with the one look at it.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// Its id, to revoke it by.
    pub id: ClientSecretId,
    /// What the clinic's software calls itself.
    pub client_id: String,
    /// The secret; only its hash is kept.
    pub client_secret: SecretString,
}

/// Why the secrets of a clinic are as they were.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no such clinic.
    #[error("there is no clinic {0}")]
    NoClinic(ClinicId),
    /// It has as many as it may have.
    #[error(
        "the clinic has {SECRETS_MAX} secrets already; revoke the one that is not used any more \
         (`clinic secret list` says when each was used last)"
    )]
    TooMany,
    /// The clinic has no such secret, or it is revoked already.
    #[error("the clinic has no secret {0} that counts; `clinic secret list` shows those that do")]
    Unknown(ClientSecretId),
    /// Without it the clinic's software could not sign in any more.
    #[error(
        "this is the clinic's only secret: without it its software is shut out; add another first, \
         or say --force"
    )]
    Last,
    /// The secret could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes another secret for a clinic's client, beside the one it has.
///
/// # Errors
/// See [`SecretError`].
pub async fn add_client_secret(store: &Store, clinic: ClinicId) -> Result<NewSecret, SecretError> {
    let (client_secret, hash) = new_secret(store.env()).await?;
    let add = move |tx: &mut Tx<'_>| -> Result<_, SecretError> {
        let known = locked(tx, clinic)?;
        if tx.client_secrets(clinic)?.len() >= SECRETS_MAX {
            return Err(SecretError::TooMany);
        }
        let id = tx.insert_client_secret(clinic, &hash)?;
        audit(tx, clinic, "client-secret.added", id)?;
        Ok((id, known.client_id))
    };
    let (id, client_id) = store.write(add).await?;
    Ok(NewSecret { id, client_id, client_secret })
}

/// The secrets of a clinic that count, the oldest first, and when each opened a session last (of the
/// last month).
///
/// # Errors
/// See [`SecretError`].
pub async fn client_secrets(
    store: &Store,
    clinic: ClinicId,
) -> Result<Vec<(ClientSecret, Option<Timestamp>)>, SecretError> {
    let list = move |tx: &mut Tx<'_>| {
        tx.clinic(clinic)?.ok_or(SecretError::NoClinic(clinic))?;
        let mut secrets = Vec::new();
        for secret in tx.client_secrets(clinic)? {
            let used_at = tx.secret_used_at(secret.id)?;
            secrets.push((secret, used_at));
        }
        Ok(secrets)
    };
    store.read(list).await
}

/// Revokes a secret and ends the sessions that it opened, now; gives how many those were. The only
/// one a clinic has goes only by `force`.
///
/// # Errors
/// See [`SecretError`].
pub async fn revoke_client_secret(
    store: &Store,
    clinic: ClinicId,
    id: ClientSecretId,
    force: bool,
) -> Result<usize, SecretError> {
    let revoke = move |tx: &mut Tx<'_>| {
        locked(tx, clinic)?;
        let secrets = tx.client_secrets(clinic)?;
        if secrets.iter().all(|secret| secret.id != id) {
            return Err(SecretError::Unknown(id));
        }
        if secrets.len() == 1 && !force {
            return Err(SecretError::Last);
        }
        tx.revoke_client_secret(id)?;
        let ended = tx.revoke_secret_sessions(id)?;
        audit(tx, clinic, "client-secret.revoked", id)?;
        Ok(ended)
    };
    store.write(revoke).await
}

/// The clinic; whoever else works on its secrets waits.
fn locked(tx: &mut Tx<'_>, clinic: ClinicId) -> Result<Clinic, SecretError> {
    tx.lock_clinic(clinic)?;
    tx.clinic(clinic)?.ok_or(SecretError::NoClinic(clinic))
}

fn audit(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    action: &str,
    id: ClientSecretId,
) -> Result<(), StoreError> {
    tx.append_audit(&AuditEntry {
        clinic_id: Some(clinic),
        actor: "operator",
        action,
        subject: Some(&format!("client-secret:{id}")),
    })?;
    Ok(())
}

/// A fresh client secret and its hash.
async fn new_secret(env: &Env) -> Result<(SecretString, String), HashError> {
    let secret = secrets::random(env, "acs_");
    let (env, copy) = (env.clone(), secret.clone());
    let hash = tokio::task::spawn_blocking(move || secrets::hash(&env, &copy));
    Ok((secret, hash.await.map_err(|_| HashError)??))
}
