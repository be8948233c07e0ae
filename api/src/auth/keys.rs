//! The keys that access tokens are signed with.
//!
//! They live sealed in the database, so that every server on it accepts every other's tokens. The
//! newest key that is not retired signs; a retired one is accepted for as long as tokens it signed
//! may live. Servers read the table again every minute, and at once when a token names a key they do
//! not know: a rotation needs no restart.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aftercare::clock::Env;
use aftercare::ids::SessionId;
use aftercare::store::{SigningKey, Store, StoreError, Tx};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::token::{self, ACCESS_LIFETIME, Claims, Role, TokenError};
use crate::dto::{Jwk, JwkSet};
use crate::problem::Problem;

/// How old what was read may be before it is read again.
const FRESH: Duration = Duration::from_mins(1);
/// How often tokens with unknown keys may make us read the table.
const PAUSE: Duration = Duration::from_secs(1);

/// The signing keys as last read.
pub(crate) struct KeyRing {
    store: Store,
    ring: RwLock<Arc<Ring>>,
    /// When a token with an unknown key last made us read the table.
    forced: Mutex<Option<Instant>>,
}

/// The newest key, at hand: signing with it needs no database.
pub(crate) struct Signer {
    env: Env,
    ring: Arc<Ring>,
}

impl Signer {
    /// Signs an access token, issued now.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub(crate) fn sign(
        &self,
        issuer: &str,
        who: (Role, Uuid, SessionId),
    ) -> Result<String, Problem> {
        let (kid, key) = &self.ring.signing;
        token::mint(&self.env, issuer, (kid, key), who).map_err(|e| Problem::internal(&e))
    }
}

struct Ring {
    signing: (String, EncodingKey),
    verifying: HashMap<String, DecodingKey>,
    public: JwkSet,
    read_at: Instant,
}

impl KeyRing {
    /// Reads the keys, and makes the first one in a database that has none.
    ///
    /// # Errors
    /// When the database fails, or a key cannot be opened with this master key.
    pub(crate) async fn open(store: Store) -> Result<Self, StoreError> {
        let ring = read(&store).await?;
        Ok(Self { store, ring: RwLock::new(Arc::new(ring)), forced: Mutex::new(None) })
    }

    /// The public keys, for who checks tokens elsewhere.
    pub(crate) async fn public(&self) -> Result<JwkSet, Problem> {
        Ok(self.fresh(FRESH).await?.public.clone())
    }

    /// What signs access tokens now. It is had before whatever a token is given for is written, so that
    /// a code or a refresh token is not spent when there is nothing to sign with.
    ///
    /// # Errors
    /// When the keys cannot be read.
    pub(crate) async fn signer(&self) -> Result<Signer, Problem> {
        Ok(Signer { env: self.store.env().clone(), ring: self.fresh(FRESH).await? })
    }

    /// Checks an access token, all but its session.
    ///
    /// # Errors
    /// The inner error for a token that is not accepted, the outer one when the keys cannot be read.
    pub(crate) async fn verify(
        &self,
        issuer: &str,
        token: &str,
    ) -> Result<Result<Claims, TokenError>, Problem> {
        let kid = match token::key_id(token) {
            Ok(kid) => kid,
            Err(error) => return Ok(Err(error)),
        };
        let mut ring = self.fresh(FRESH).await?;
        if !ring.verifying.contains_key(&kid) && self.may_force() {
            ring = self.fresh(Duration::ZERO).await?;
        }
        let Some(key) = ring.verifying.get(&kid) else { return Ok(Err(TokenError::UnknownKey)) };
        Ok(token::verify(token, key, issuer, self.store.env().now()))
    }

    /// Whether an unknown key may make us read the table now: not again within [`PAUSE`], because anybody
    /// can make up a key's name.
    fn may_force(&self) -> bool {
        let now = Instant::now();
        let mut forced = self.forced.lock().unwrap_or_else(PoisonError::into_inner);
        let may = forced.is_none_or(|last| now.duration_since(last) >= PAUSE);
        if may {
            *forced = Some(now);
        }
        may
    }

    /// The ring, read again if it is older than `age`.
    async fn fresh(&self, age: Duration) -> Result<Arc<Ring>, StoreError> {
        let known = Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner));
        if known.read_at.elapsed() < age {
            return Ok(known);
        }
        let ring = Arc::new(read(&self.store).await?);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&ring);
        Ok(ring)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing(..)")
    }
}

async fn read(store: &Store) -> Result<Ring, StoreError> {
    let keys = store.read(all).await?;
    let keys = if keys.iter().any(|key| key.retired_at.is_none()) {
        keys
    } else {
        store.write(add_first).await?
    };
    let now = store.env().now();
    let alive = |key: &&SigningKey| key.retired_at.is_none_or(|at| at + ACCESS_LIFETIME > now);
    let keys: Vec<&SigningKey> = keys.iter().filter(alive).collect();
    let newest =
        keys.iter().filter(|key| key.retired_at.is_none()).max_by_key(|key| key.created_at);
    let newest = newest.ok_or_else(|| StoreError::Corrupt("no signing key".to_owned()))?;
    Ok(Ring {
        signing: (newest.kid.clone(), EncodingKey::from_ed_der(newest.private.expose_secret())),
        verifying: keys
            .iter()
            .map(|key| (key.kid.clone(), DecodingKey::from_ed_der(&key.public)))
            .collect(),
        public: JwkSet { keys: keys.iter().map(|key| jwk(key)).collect() },
        read_at: Instant::now(),
    })
}

fn all(tx: &mut Tx<'_>) -> Result<Vec<SigningKey>, StoreError> {
    tx.signing_keys()
}

/// Makes the first key, unless another server was faster.
fn add_first(tx: &mut Tx<'_>) -> Result<Vec<SigningKey>, StoreError> {
    let keys = tx.signing_keys()?;
    if keys.iter().any(|key| key.retired_at.is_none()) {
        return Ok(keys);
    }
    add_signing_key(tx)?;
    tx.signing_keys()
}

/// Makes a key that signs from now on, beside those that are there.
///
/// # Errors
/// When the database fails.
pub fn add_signing_key(tx: &mut Tx<'_>) -> Result<String, StoreError> {
    let failed = |_| StoreError::Internal("an Ed25519 key could not be made".to_owned());
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let private = pair.to_pkcs8v1().map_err(failed)?;
    let kid = tx.env().uuid().simple().to_string();
    tx.insert_signing_key(&kid, private.as_ref(), pair.public_key().as_ref())?;
    Ok(kid)
}

fn jwk(key: &SigningKey) -> Jwk {
    Jwk {
        kty: "OKP",
        crv: "Ed25519",
        usage: "sig",
        alg: "EdDSA",
        kid: key.kid.clone(),
        x: URL_SAFE_NO_PAD.encode(&key.public),
    }
}
