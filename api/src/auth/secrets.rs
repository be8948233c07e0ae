//! Secrets of machines: long random strings that we hand out once and keep only in a form from which
//! they cannot be had back.

use std::sync::Arc;

use aftercare::clock::Env;
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

/// Hashes computed at the same time: each takes 19 MiB and a core for some 20 ms.
const HASHES_AT_ONCE: usize = 4;

/// 256 random bits in URL-safe base64, after a prefix that tells people (and secret scanners) what
/// they are looking at.
#[must_use]
pub(crate) fn random(env: &Env, prefix: &str) -> SecretString {
    let bytes: [u8; 32] = env.random();
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)).into()
}

/// The secret part of a calendar feed's address.
#[must_use]
pub(crate) fn feed_token(env: &Env) -> SecretString {
    random(env, "cal_")
}

/// Hashes and checks client secrets with argon2id, on blocking threads and few at a time.
#[derive(Debug, Clone)]
pub(crate) struct Hasher {
    permits: Arc<Semaphore>,
    /// The hash of a secret nobody has, checked when a client is unknown so that it takes as long.
    decoy: Arc<str>,
}

/// Hashing failed, which it does only for want of memory or a thread.
#[derive(Debug, thiserror::Error)]
#[error("a client secret could not be hashed")]
pub struct HashError;

impl Hasher {
    /// A hasher; computes one hash, which takes some 20 ms.
    ///
    /// # Errors
    /// When hashing does not work at all.
    pub(crate) fn new(env: &Env) -> Result<Self, HashError> {
        let decoy = hash(env, &random(env, ""))?;
        Ok(Self { permits: Arc::new(Semaphore::new(HASHES_AT_ONCE)), decoy: decoy.into() })
    }

    /// Which of `hashes` is that of `secret`, by its place. With none to compare, it takes as long as
    /// with one.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(crate) async fn matches(
        &self,
        secret: SecretString,
        hashes: Vec<String>,
    ) -> Result<Option<usize>, HashError> {
        let _permit = self.permits.acquire().await.map_err(|_| HashError)?;
        let decoy = Arc::clone(&self.decoy);
        let check = move || {
            if hashes.is_empty() {
                verify(&secret, &decoy);
                return None;
            }
            hashes.iter().position(|hash| verify(&secret, hash))
        };
        tokio::task::spawn_blocking(check).await.map_err(|_| HashError)
    }
}

/// The argon2id hash of a secret, as a PHC string. Takes some 20 ms: call it on a blocking thread.
///
/// # Errors
/// When memory cannot be had.
pub(crate) fn hash(env: &Env, secret: &SecretString) -> Result<String, HashError> {
    let salt: [u8; 16] = env.random();
    Argon2::default()
        .hash_password_with_salt(secret.expose_secret().as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|_| HashError)
}

/// Compares in constant time; an unreadable hash matches nothing.
fn verify(secret: &SecretString, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default().verify_password(secret.expose_secret().as_bytes(), &hash).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_matches_its_own_hash_and_no_other() {
        let env = Env::system();
        let checker = Hasher::new(&env).unwrap();
        let (one, two) = (random(&env, "acs_"), random(&env, "acs_"));
        let hashes = vec![hash(&env, &one).unwrap(), hash(&env, &two).unwrap()];
        assert!(hashes[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashes[0]);
        assert_eq!(checker.matches(two.clone(), hashes.clone()).await.unwrap(), Some(1));
        assert_eq!(checker.matches(two, hashes[..1].to_vec()).await.unwrap(), None);
        assert_eq!(checker.matches(one, Vec::new()).await.unwrap(), None);
    }

    #[test]
    fn secrets_carry_256_bits_and_never_repeat() {
        let env = Env::system();
        let (one, two) = (random(&env, "acs_"), random(&env, "acs_"));
        assert_eq!(one.expose_secret().len(), 4 + 43);
        assert_ne!(one.expose_secret(), two.expose_secret());
    }
}
