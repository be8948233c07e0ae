//! Secrets of machines: long random strings that we hand out once and keep only in a form from which
//! they cannot be had back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aftercare::clock::Env;
use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::subject;

/// Hashes computed at the same time: each takes 19 MiB and a core for some 20 ms.
const HASHES_AT_ONCE: usize = 4;

/// Of these, for one address: a flood of wrong secrets leaves turns for everybody else.
const HASHES_OF_ONE: usize = 2;

/// How long to wait for a turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Addresses kept before those that nobody waits at are forgotten.
const ADDRESSES_KEPT: usize = 4096;

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
    addresses: Arc<Mutex<HashMap<IpAddr, Arc<Semaphore>>>>,
    /// The hash of a secret nobody has, checked when a client is unknown so that it takes as long.
    decoy: Arc<str>,
}

/// The right to compute one hash; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
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
        let permits = Arc::new(Semaphore::new(HASHES_AT_ONCE));
        Ok(Self { permits, addresses: Arc::default(), decoy: decoy.into() })
    }

    /// Waits for the turn of an address; `None` when it does not come for ten seconds.
    pub(crate) async fn turn(&self, address: IpAddr) -> Option<Turn> {
        let turn = async {
            let own = self.queue(address).acquire_owned().await.ok()?;
            let all = Arc::clone(&self.permits).acquire_owned().await.ok()?;
            Some(Turn { _own: own, _all: all })
        };
        tokio::time::timeout(PATIENCE, turn).await.ok().flatten()
    }

    fn queue(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= ADDRESSES_KEPT {
            addresses.retain(|_, queue| Arc::strong_count(queue) > 1);
        }
        let queue = addresses.entry(subject(address));
        Arc::clone(queue.or_insert_with(|| Arc::new(Semaphore::new(HASHES_OF_ONE))))
    }

    /// Which of `hashes` is that of `secret`, by its place. With none to compare, it takes as long as
    /// with one.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(crate) async fn matches(
        &self,
        turn: Turn,
        secret: SecretString,
        hashes: Vec<String>,
    ) -> Result<Option<usize>, HashError> {
        let decoy = Arc::clone(&self.decoy);
        let check = move || {
            // Held until the hash is done, also when the caller hangs up before.
            let _turn = turn;
            if hashes.is_empty() {
                verify(&secret, &decoy);
                return None;
            }
            hashes.iter().position(|hash| verify(&secret, hash))
        };
        tokio::task::spawn_blocking(check).await.map_err(|_| HashError)
    }

    /// The argon2id hash of a secret.
    ///
    /// # Errors
    /// When no memory or no thread can be had.
    pub(crate) async fn hash(
        &self,
        turn: Turn,
        env: Env,
        secret: SecretString,
    ) -> Result<String, HashError> {
        let compute = move || {
            let _turn = turn;
            hash(&env, &secret)
        };
        tokio::task::spawn_blocking(compute).await.map_err(|_| HashError)?
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
        let turn = async || checker.turn([192, 0, 2, 1].into()).await.unwrap();
        let (one, two) = (random(&env, "acs_"), random(&env, "acs_"));
        let hashes = vec![hash(&env, &one).unwrap(), hash(&env, &two).unwrap()];
        assert!(hashes[0].starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashes[0]);
        assert_eq!(
            checker.matches(turn().await, two.clone(), hashes.clone()).await.unwrap(),
            Some(1)
        );
        assert_eq!(checker.matches(turn().await, two, hashes[..1].to_vec()).await.unwrap(), None);
        assert_eq!(checker.matches(turn().await, one, Vec::new()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn one_address_waits_for_its_own_turns_and_holds_up_no_other() {
        let hasher = Hasher::new(&Env::system()).unwrap();
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let mut held = Vec::new();
        for _ in 0..HASHES_OF_ONE {
            held.push(hasher.turn(one).await.unwrap());
        }
        let next = tokio::select! {
            biased;
            _ = hasher.turn(one) => None,
            turn = hasher.turn(other) => turn,
        };
        assert!(next.is_some(), "the other's, at once");
        held.pop();
        assert!(hasher.turn(one).await.is_some());
    }

    #[test]
    fn secrets_carry_256_bits_and_never_repeat() {
        let env = Env::system();
        let (one, two) = (random(&env, "acs_"), random(&env, "acs_"));
        assert_eq!(one.expose_secret().len(), 4 + 43);
        assert_ne!(one.expose_secret(), two.expose_secret());
    }
}
