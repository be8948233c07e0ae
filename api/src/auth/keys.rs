//! The keys that access tokens are signed with.
//!
//! They live sealed in the database, so that every server on it accepts every other's tokens, and take
//! turns as [`aftercare::care::rotate_signing_keys`] says. Servers read the table again every minute,
//! and at once when a token names a key they do not know: a rotation needs no restart.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aftercare::care;
use aftercare::clock::Env;
use aftercare::ids::SessionId;
use aftercare::store::{SigningKey, Store, StoreError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::token::{self, Claims, Role, TokenError};
use crate::dto::{Jwk, JwkSet};
use crate::problem::Problem;

/// How old what was read may be before it is read again, to check tokens with …
const FRESH: Duration = Duration::from_mins(1);
/// … and to sign them with: a key that was destroyed must not sign on.
const FRESH_TO_SIGN: Duration = Duration::from_secs(1);
/// How often tokens with unknown keys may make us read the table.
const PAUSE: Duration = Duration::from_secs(1);

/// The signing keys as last read.
pub(crate) struct KeyRing {
    store: Store,
    ring: RwLock<Arc<Ring>>,
    /// When a token with an unknown key last made us read the table.
    forced: Mutex<Option<Instant>>,
}

/// The key whose turn it is, at hand: signing with it needs no database.
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
        let key = care::signing_key(&self.ring.keys, self.env.now());
        let Some((key, private)) = key.and_then(|key| Some((key, key.private.as_ref()?))) else {
            return Err(no_key().into());
        };
        let private = EncodingKey::from_ed_der(private.expose_secret());
        token::mint(&self.env, issuer, (&key.kid, &private), who).map_err(|e| Problem::internal(&e))
    }
}

struct Ring {
    keys: Vec<SigningKey>,
    verifying: HashMap<String, DecodingKey>,
    public: JwkSet,
    read_at: (Instant, Timestamp),
}

impl Ring {
    /// Whether it was read less than `age` ago, by the clock that the keys' turns go by too: the other
    /// stands still while a machine sleeps.
    fn is_young(&self, age: Duration, now: Timestamp) -> bool {
        let (read_at, clock_then) = self.read_at;
        read_at.elapsed() < age && now.duration_since(clock_then).unsigned_abs() < age
    }
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
        Ok(Signer { env: self.store.env().clone(), ring: self.fresh(FRESH_TO_SIGN).await? })
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
        Ok(token::verify(token, (&kid, key), issuer, self.store.env().now()))
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
        if known.is_young(age, self.store.env().now()) {
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
    let read_at = (Instant::now(), store.env().now());
    let keys = cared_for(store).await?;
    Ok(Ring {
        verifying: keys
            .iter()
            .map(|key| (key.kid.clone(), DecodingKey::from_ed_der(&key.public)))
            .collect(),
        public: JwkSet { keys: keys.iter().map(jwk).collect() },
        keys,
        read_at,
    })
}

/// The keys, after whatever they needed was done: a first one made, those that are over destroyed. A
/// database that takes no writes now keeps no token from being checked.
async fn cared_for(store: &Store) -> Result<Vec<SigningKey>, StoreError> {
    let keys = store.read(|tx| tx.signing_keys()).await?;
    let now = store.env().now();
    if !care::needs_care(&keys, now) {
        return Ok(keys);
    }
    match store.write(care::ensure_signing_key).await {
        Err(error) if care::signing_key(&keys, now).is_some() => {
            tracing::warn!(%error, "signing keys that are over could not be destroyed yet");
            Ok(keys)
        }
        cared_for => cared_for,
    }
}

fn no_key() -> StoreError {
    StoreError::Corrupt("no signing key".to_owned())
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
