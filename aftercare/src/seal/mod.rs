//! Personal text at rest: sealed under a key of the patient's own, found again through keyed hashes.
//!
//! The [`MasterKey`] wraps one random data key for each patient; the data key seals that
//! patient's fields. Destroying the wrapped key forgets the patient, in every backup too. Look-ups
//! go through HMAC-SHA256 under an index key of its own, so that whoever reads the tables can
//! neither open a value nor try out guesses.
//!
//! # The envelope
//! `version (1 byte) ‖ key id (1 byte) ‖ nonce (12 bytes) ‖ AES-256-GCM ciphertext and tag`. The key
//! id names the master key that wrapped or sealed the value, so that a master key can be replaced
//! row by row; it is 0 under a patient's data key. The associated data bind the version, the key
//! id, the table, the column and the row's id: a value copied to another row or column does not open.
//! What is under the master key itself is listed in [`UnderMaster`].

mod key_file;
mod master;
mod under;

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use crate::clock::Env;

pub use key_file::{KeyFile, KeyFileError};
pub use master::MasterKey;
pub use under::{KeyId, UnderMaster};

const VERSION: u8 = 1;
const HEADER: usize = 2;
/// The key id of values under a patient's data key.
const DATA_KEY_ID: u8 = 0;

/// A keyed hash: equal text gives equal digests under one master key, and nothing else is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub(crate) [u8; 32]);

impl Digest {
    /// The bytes, as the tables keep them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes in lower-case hexadecimal, for the digests that are meant to be seen.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| NotADigest)?;
        Ok(Self(bytes))
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct NotADigest;

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// A value that could not be sealed or opened. It never says which text it was about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Under a master key that is not at hand.
    #[error("the key file lacks master key {0}")]
    NoKey(KeyId),
    /// Altered, copied from another row, or sealed under another key with the same id.
    #[error("{place}: the sealed value is damaged or belongs elsewhere")]
    Damaged {
        /// Table and column.
        place: &'static str,
    },
}

/// Where a sealed value lives: bound into it, so that it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// `table.column`.
    pub(crate) column: &'static str,
    /// The row's id.
    pub(crate) row: Uuid,
}

/// A key that seals one patient's fields.
#[derive(Clone)]
pub(crate) struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// A fresh random key.
    pub(crate) fn generate(env: &Env) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        env.rng.fill(key.as_mut_slice());
        Self(key)
    }

    /// Seals `plain` for one column of one row.
    pub(crate) fn seal(&self, env: &Env, place: Place, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        Aead::new(&self.0, DATA_KEY_ID, place)?.seal(env, plain)
    }

    /// Opens what [`DataKey::seal`] made for the same place.
    pub(crate) fn open(
        &self,
        place: Place,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        Aead::new(&self.0, DATA_KEY_ID, place)?.open(sealed)
    }

    /// Opens a sealed text.
    pub(crate) fn open_text(&self, place: Place, sealed: &[u8]) -> Result<String, SealError> {
        std::str::from_utf8(&self.open(place, sealed)?)
            .map(str::to_owned)
            .map_err(|_| SealError::Damaged { place: place.column })
    }
}

/// A keyed hash is as good as random bytes to whoever lacks the key it was made with.
impl From<Digest> for DataKey {
    fn from(Digest(key): Digest) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// One key, ready to seal or open at one place.
struct Aead {
    key: LessSafeKey,
    key_id: u8,
    place: Place,
}

impl Aead {
    fn new(key: &[u8; 32], key_id: u8, place: Place) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, key)
            .map_err(|_| SealError::Damaged { place: place.column })?;
        Ok(Self { key: LessSafeKey::new(key), key_id, place })
    }

    fn aad(&self) -> Aad<Vec<u8>> {
        let mut aad = vec![VERSION, self.key_id];
        aad.extend_from_slice(self.place.row.as_bytes());
        aad.extend_from_slice(self.place.column.as_bytes());
        Aad::from(aad)
    }

    fn damaged(&self) -> SealError {
        SealError::Damaged { place: self.place.column }
    }

    fn seal(&self, env: &Env, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_LEN] = env.random();
        let mut body = Vec::with_capacity(plain.len() + AES_256_GCM.tag_len());
        body.extend_from_slice(plain);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.aad(), &mut body)
            .map_err(|_| self.damaged())?;
        let mut envelope = Vec::with_capacity(HEADER + NONCE_LEN + body.len());
        envelope.extend_from_slice(&[VERSION, self.key_id]);
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(&body);
        Ok(envelope)
    }

    fn open(&self, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (&header, rest) =
            envelope.split_first_chunk::<HEADER>().ok_or_else(|| self.damaged())?;
        let (&nonce, body) = rest.split_first_chunk().ok_or_else(|| self.damaged())?;
        if header != [VERSION, self.key_id] {
            return Err(self.damaged());
        }
        let mut body = Zeroizing::new(body.to_vec());
        let length = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(nonce), self.aad(), &mut body)
            .map_err(|_| self.damaged())?
            .len();
        body.truncate(length);
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(row: u128) -> Place {
        Place { column: "treatments.event_sealed", row: Uuid::from_u128(row) }
    }

    #[test]
    fn a_value_opens_where_it_was_sealed_and_nowhere_else() {
        let env = Env::system();
        let key = DataKey::generate(&env);
        let sealed = key.seal(&env, place(1), b"visit-17").unwrap();
        assert_eq!(key.open_text(place(1), &sealed).unwrap(), "visit-17");

        let elsewhere = Place { column: "treatments.metadata_sealed", ..place(1) };
        for refused in [
            key.open(place(2), &sealed),
            key.open(elsewhere, &sealed),
            DataKey::generate(&env).open(place(1), &sealed),
            key.open(place(1), &[]),
            key.open(place(1), &[VERSION, DATA_KEY_ID, 0, 0]),
        ] {
            assert!(matches!(refused, Err(SealError::Damaged { .. })));
        }
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let env = Env::system();
        let key = DataKey::generate(&env);
        let sealed = key.seal(&env, place(1), b"visit-17").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(key.open(place(1), &altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn the_same_text_never_seals_to_the_same_bytes() {
        let env = Env::system();
        let key = DataKey::generate(&env);
        assert_ne!(
            key.seal(&env, place(1), b"same").unwrap(),
            key.seal(&env, place(1), b"same").unwrap()
        );
    }

    #[test]
    fn nothing_secret_is_printed() {
        let env = Env::system();
        assert_eq!(format!("{:?}", DataKey::generate(&env)), "DataKey(..)");
        assert_eq!(format!("{:?}", MasterKey::generate(&env)), "MasterKey(..)");
    }
}
