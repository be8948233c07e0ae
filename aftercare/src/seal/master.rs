//! The keys that an operator keeps, and those derived from them.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use aws_lc_rs::{hkdf, hmac};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use super::key_file::{self, FORMAT};
use super::{Aead, DataKey, Digest, KeyId, Place, SealError, UnderMaster};
use crate::clock::Env;
use crate::ids::PatientId;

/// The server's master key: 32 random bytes, from which the keys that wrap and seal are derived
/// (HKDF-SHA256). While it is being replaced it is two; the number in each envelope says which.
///
/// Whoever holds it and the database can read everything; whoever loses it can read nothing. It is
/// cheap to clone and prints as `MasterKey(..)`.
///
/// Two keys must outlive it, because what they hashed cannot be hashed again: the one behind look-ups
/// and the one behind the audit trail. Each database keeps its own, wrapped.
#[derive(Clone)]
pub struct MasterKey(Arc<Inner>);

struct Inner {
    /// Where a key that is not known may be found by now.
    file: Option<PathBuf>,
    known: RwLock<Keys>,
    kept: RwLock<Arc<Kept>>,
}

/// The keys of a key file.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) newest: Arc<Key>,
    pub(super) older: Vec<Arc<Key>>,
}

/// One key of a key file.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) bytes: Zeroizing<[u8; 32]>,
    /// Wraps patients' data keys.
    wrapping: Zeroizing<[u8; 32]>,
    /// Seals the private halves of signing keys, clinics' signing secrets, and where webhooks lead.
    signing: Zeroizing<[u8; 32]>,
    /// Wraps the keys that the database keeps.
    keeping: Zeroizing<[u8; 32]>,
    check: Digest,
}

/// The keys that a database keeps.
struct Kept {
    index: hmac::Key,
    audit: hmac::Key,
}

/// A key that a database keeps, before it is wrapped.
type KeptKey = Zeroizing<[u8; 32]>;

impl Keys {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Key>> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    fn find(&self, id: KeyId) -> Option<Arc<Key>> {
        self.iter().find(|key| key.id == id).map(Arc::clone)
    }

    /// What a database that keeps no keys of its own has used so far: what its first master key implies.
    fn implied(&self) -> Kept {
        let first = self.older.last().unwrap_or(&self.newest);
        let [index, audit] = first.implied();
        Kept { index: mac_key(&index), audit: mac_key(&audit) }
    }
}

impl Key {
    pub(super) fn new(id: KeyId, bytes: &[u8; 32]) -> Self {
        let key = |purpose| derive(bytes, purpose);
        Self {
            id,
            bytes: Zeroizing::new(*bytes),
            wrapping: key("wrap patients' keys"),
            signing: key("seal signing keys"),
            keeping: key("wrap the database's keys"),
            check: mac(&mac_key(&key("index")), "server.key_check", &[]),
        }
    }

    pub(super) fn generate(env: &Env, id: KeyId) -> Self {
        Self::new(id, &fresh(env))
    }

    fn implied(&self) -> [KeptKey; 2] {
        ["index", "chain the audit trail"].map(|purpose| derive(&self.bytes, purpose))
    }

    fn aead(&self, what: UnderMaster, place: Place) -> Result<Aead, SealError> {
        let key = match what {
            UnderMaster::PatientKey => &self.wrapping,
            UnderMaster::SigningKey | UnderMaster::SigningSecret | UnderMaster::WebhookTarget => {
                &self.signing
            }
            UnderMaster::IndexKey | UnderMaster::AuditKey => &self.keeping,
        };
        Aead::new(key, self.id.get(), place)
    }
}

impl MasterKey {
    /// A fresh random key that is in no file yet.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        Self::from_bytes(&fresh(env))
    }

    /// The key made of these bytes, as the first of its database.
    #[must_use]
    pub fn from_bytes(master: &[u8; 32]) -> Self {
        let newest = Arc::new(Key::new(KeyId::FIRST, master));
        Self::new(Keys { newest, older: Vec::new() }, None)
    }

    pub(super) fn new(keys: Keys, file: Option<PathBuf>) -> Self {
        let kept = RwLock::new(Arc::new(keys.implied()));
        Self(Arc::new(Inner { file, known: RwLock::new(keys), kept }))
    }

    /// The same key for one database, whose own keys are still to be taken up.
    pub(crate) fn of_database(&self) -> Self {
        Self::new(self.known().clone(), self.0.file.clone())
    }

    fn known(&self) -> RwLockReadGuard<'_, Keys> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the newest key, and what the `server` table recognises it by.
    pub(crate) fn newest(&self) -> (KeyId, Digest) {
        let known = self.known();
        (known.newest.id, known.newest.check)
    }

    /// What the `server` table recognises the key of this number by.
    pub(crate) fn check(&self, id: KeyId) -> Result<Digest, SealError> {
        self.key(id).map(|key| key.check)
    }

    /// The key of this number: one of those that are known, or of the file as it is by now.
    fn key(&self, id: KeyId) -> Result<Arc<Key>, SealError> {
        let known = self.known().find(id);
        known.or_else(|| self.look_again(id)).ok_or(SealError::NoKey(id))
    }

    /// Whatever is wrong with the file, and whatever was taken out of it meanwhile, the keys that are
    /// known stay.
    fn look_again(&self, id: KeyId) -> Option<Arc<Key>> {
        let found = key_file::read(self.0.file.as_deref()?).ok()?.find(id)?;
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.older.insert(0, Arc::clone(&found));
        Some(found)
    }

    /// Seals a value for a column that is under the master key itself: under the key of this number.
    pub(crate) fn seal(
        &self,
        env: &Env,
        under: KeyId,
        what: UnderMaster,
        row: Uuid,
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        self.key(under)?.aead(what, what.at(row))?.seal(env, plain)
    }

    /// Opens what [`MasterKey::seal`] made for the same column and row, under whichever key.
    pub(crate) fn open(
        &self,
        what: UnderMaster,
        row: Uuid,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let place = what.at(row);
        let under = KeyId::of(sealed).ok_or(SealError::Damaged { place: place.column })?;
        self.key(under)?.aead(what, place)?.open(sealed)
    }

    /// Wraps a patient's data key.
    pub(crate) fn wrap(
        &self,
        env: &Env,
        under: KeyId,
        patient: PatientId,
        key: &DataKey,
    ) -> Result<Vec<u8>, SealError> {
        self.seal(env, under, UnderMaster::PatientKey, patient.0, key.0.as_slice())
    }

    /// Opens what [`MasterKey::wrap`] made for the same patient.
    pub(crate) fn unwrap(&self, patient: PatientId, wrapped: &[u8]) -> Result<DataKey, SealError> {
        self.open_key(UnderMaster::PatientKey, patient.0, wrapped).map(DataKey)
    }

    fn open_key(
        &self,
        what: UnderMaster,
        row: Uuid,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let damaged = |_| SealError::Damaged { place: what.column() };
        let key = self.open(what, row, wrapped)?;
        <[u8; 32]>::try_from(key.as_slice()).map(Zeroizing::new).map_err(damaged)
    }

    /// The row of the signing key `kid`: a key id is text; its digest stands for the row.
    pub(crate) fn signing_key_row(&self, kid: &str) -> Uuid {
        let Digest(digest) = self.index("signing_keys.id", &[kid.as_bytes()]);
        let (row, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Uuid::from_bytes(*row)
    }

    /// The keys that a new database keeps, index and audit, wrapped under the key of this number.
    pub(crate) fn wrap_fresh(&self, env: &Env, under: KeyId) -> Result<[Vec<u8>; 2], SealError> {
        self.wrap_kept(env, under, &[fresh(env), fresh(env)])
    }

    /// As [`MasterKey::wrap_fresh`], for a database that was made under the key of this number before
    /// databases kept keys: what the key implied.
    pub(crate) fn wrap_implied(&self, env: &Env, under: KeyId) -> Result<[Vec<u8>; 2], SealError> {
        self.wrap_kept(env, under, &self.key(under)?.implied())
    }

    fn wrap_kept(
        &self,
        env: &Env,
        under: KeyId,
        [index, audit]: &[KeptKey; 2],
    ) -> Result<[Vec<u8>; 2], SealError> {
        let wrap = |what, key: &KeptKey| self.seal(env, under, what, Uuid::nil(), key.as_slice());
        Ok([wrap(UnderMaster::IndexKey, index)?, wrap(UnderMaster::AuditKey, audit)?])
    }

    /// Takes up the keys that the database keeps: from now on they hash.
    pub(crate) fn take_up(&self, index: &[u8], audit: &[u8]) -> Result<(), SealError> {
        let open = |what, wrapped| self.open_key(what, Uuid::nil(), wrapped);
        let (index, audit) =
            (open(UnderMaster::IndexKey, index)?, open(UnderMaster::AuditKey, audit)?);
        let (index, audit) = (mac_key(&index), mac_key(&audit));
        let mut kept = self.0.kept.write().unwrap_or_else(PoisonError::into_inner);
        *kept = Arc::new(Kept { index, audit });
        Ok(())
    }

    fn kept(&self) -> Arc<Kept> {
        Arc::clone(&self.0.kept.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The look-up hash of `parts` in one index. Parts are kept apart by their lengths, indexes by
    /// their names.
    pub(crate) fn index(&self, index: &str, parts: &[&[u8]]) -> Digest {
        mac(&self.kept().index, index, parts)
    }

    /// The link of the audit trail made of `parts`.
    pub(crate) fn audit(&self, parts: &[&[u8]]) -> Digest {
        mac(&self.kept().audit, "audit.link", parts)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

fn fresh(env: &Env) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    env.rng.fill(bytes.as_mut_slice());
    bytes
}

fn mac_key(bytes: &[u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn mac(key: &hmac::Key, name: &str, parts: &[&[u8]]) -> Digest {
    let mut mac = hmac::Context::with_key(key);
    for part in std::iter::once(name.as_bytes()).chain(parts.iter().copied()) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    let mut digest = [0; 32];
    for (to, from) in digest.iter_mut().zip(mac.sign().as_ref()) {
        *to = *from;
    }
    Digest(digest)
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

fn derive(master: &[u8; 32], purpose: &str) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let filled = hkdf::Salt::new(hkdf::HKDF_SHA256, FORMAT.as_bytes())
        .extract(master)
        .expand(&[purpose.as_bytes()], Length)
        .and_then(|derived| derived.fill(key.as_mut_slice()));
    // HKDF refuses only outputs longer than 255 blocks; going on with a zero key is unthinkable.
    if filled.is_err() {
        std::process::abort();
    }
    key
}

#[cfg(test)]
mod tests {
    use super::super::KeyFile;
    use super::*;

    #[test]
    fn a_wrapped_key_opens_for_its_patient_and_master_only() {
        let env = Env::system();
        let (master, other) = (MasterKey::generate(&env), MasterKey::generate(&env));
        let (patient, neighbour): (PatientId, PatientId) = (env.id(), env.id());
        let key = DataKey::generate(&env);
        let wrapped = master.wrap(&env, KeyId::FIRST, patient, &key).unwrap();
        assert_eq!(master.unwrap(patient, &wrapped).unwrap().0, key.0);
        assert!(master.unwrap(neighbour, &wrapped).is_err());
        assert!(other.unwrap(patient, &wrapped).is_err());
    }

    #[test]
    fn a_running_server_looks_into_the_file_for_a_number_it_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let env = Env::system();
        let running = MasterKey::load_or_create(&path, &env).unwrap();
        let patient: PatientId = env.id();
        let key = DataKey::generate(&env);
        let second = KeyFile::hold(&path).unwrap().add_key(&env).unwrap();
        let wrapped = MasterKey::load(&path).unwrap().wrap(&env, second, patient, &key).unwrap();
        assert_eq!(running.unwrap(patient, &wrapped).unwrap().0, key.0);
        let refused = running.wrap(&env, "9".parse().unwrap(), patient, &key).unwrap_err();
        assert_eq!(refused.to_string(), "the key file lacks master key 9");
    }

    #[test]
    fn what_the_database_keeps_outlives_the_master_key() {
        let env = Env::system();
        let old = MasterKey::generate(&env);
        let (index, audit) = (old.index("a", &[b"x"]), old.audit(&[b"x"]));
        let kept = old.wrap_implied(&env, KeyId::FIRST).unwrap();

        let second = KeyId::FIRST.next().unwrap();
        let newest = Arc::new(Key::generate(&env, second));
        let both =
            Keys { newest: Arc::clone(&newest), older: old.known().iter().cloned().collect() };
        let both = MasterKey::new(both, None);
        let columns = [UnderMaster::IndexKey, UnderMaster::AuditKey];
        let wrapped = [0, 1].map(|n| {
            let key = both.open(columns[n], Uuid::nil(), &kept[n]).unwrap();
            both.seal(&env, second, columns[n], Uuid::nil(), &key).unwrap()
        });
        let new = MasterKey::new(Keys { newest, older: Vec::new() }, None);
        assert_eq!(new.take_up(&kept[0], &kept[1]), Err(SealError::NoKey(KeyId::FIRST)));
        assert_ne!(new.index("a", &[b"x"]), index);
        new.take_up(&wrapped[0], &wrapped[1]).unwrap();
        assert_eq!((new.index("a", &[b"x"]), new.audit(&[b"x"])), (index, audit));
    }

    /// Databases from before they kept keys of their own must find what they hold.
    #[test]
    fn what_a_key_implies_is_what_it_always_was() {
        let master = MasterKey::from_bytes(&[7; 32]);
        let known = [
            "27d7fd97c71d3e01b341d6e9eb9db6d87338977749f5ea33bd062f2bdae819b3",
            "c51566a44873820091ed732ca23089f9bc201104f19f5f25d051e9a67ac496fa",
            "a4caf5808fee557a88a2499d30537603fb411072a58db5ea19cbeae6e70dc919",
        ];
        let now = [master.index("a", &[b"x"]), master.audit(&[b"x"]), master.newest().1];
        assert_eq!(now.map(Digest::to_hex), known);
    }

    #[test]
    fn parts_and_indexes_are_kept_apart() {
        let master = MasterKey::generate(&Env::system());
        let hash = |index: &str, parts: &[&str]| {
            master.index(index, &parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>())
        };
        assert_eq!(hash("a", &["x", "y"]), hash("a", &["x", "y"]));
        assert_ne!(hash("a", &["xy", ""]), hash("a", &["x", "y"]));
        assert_ne!(hash("a", &["x"]), hash("b", &["x"]));
    }
}
