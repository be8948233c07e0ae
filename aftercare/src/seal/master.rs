//! The one key that an operator keeps: its file, and the keys derived from it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use super::{Aead, DataKey, Digest, Place, SealError};
use crate::clock::Env;
use crate::ids::PatientId;

/// The first line of a key file.
const FORMAT: &str = "aftercare-master-key-v1";
/// The only key id there is, until keys rotate.
const FIRST_KEY_ID: u8 = 1;
/// A key file is two short lines; whatever is longer is another file.
const MAX_FILE: u64 = 4096;

/// The server's master key: 32 random bytes, from which every other key is derived (HKDF-SHA256).
///
/// Whoever holds it and the database can read everything; whoever loses it can read nothing. It is
/// cheap to clone and prints as `MasterKey(..)`.
#[derive(Clone)]
pub struct MasterKey(Arc<Keys>);

struct Keys {
    /// The key itself, to be written to a key file.
    master: Zeroizing<[u8; 32]>,
    /// Wraps patients' data keys.
    wrapping: Zeroizing<[u8; 32]>,
    /// Seals the private halves of signing keys.
    signing: Zeroizing<[u8; 32]>,
    /// Makes look-up hashes.
    index: hmac::Key,
    /// Chains the audit trail.
    audit: hmac::Key,
}

impl MasterKey {
    /// A fresh random key that is in no file yet.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        let mut master = Zeroizing::new([0; 32]);
        env.rng.fill(master.as_mut_slice());
        Self::from_bytes(&master)
    }

    /// The key made of these bytes.
    #[must_use]
    pub fn from_bytes(master: &[u8; 32]) -> Self {
        Self(Arc::new(Keys {
            master: Zeroizing::new(*master),
            wrapping: derive(master, "wrap patients' keys"),
            signing: derive(master, "seal signing keys"),
            index: mac_key(&derive(master, "index")),
            audit: mac_key(&derive(master, "chain the audit trail")),
        }))
    }

    /// Reads the key file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read, when anyone but its owner could read it, or when it is not a
    /// key file.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let file = File::open(path).map_err(|cause| KeyFileError::io(path, cause))?;
        check_mode(path, &file)?;
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_FILE)
            .read_to_string(&mut text)
            .map_err(|cause| KeyFileError::io(path, cause))?;
        parse(&text).ok_or_else(|| KeyFileError::Format { path: path.to_owned() })
    }

    /// Reads the key file at `path`, or makes it (mode 0600) with a fresh key when there is none.
    ///
    /// Two processes that start at once agree on one key: the file is created under a name of its
    /// own and then linked into place, which only one of them can do.
    ///
    /// # Errors
    /// As [`MasterKey::load`], and when the file cannot be written.
    pub fn load_or_create(path: &Path, env: &Env) -> Result<Self, KeyFileError> {
        match Self::load(path) {
            Err(KeyFileError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let key = Self::generate(env);
        match key.write_new(path, env) {
            Ok(()) => Ok(key),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(cause) => Err(KeyFileError::io(path, cause)),
        }
    }

    fn write_new(&self, path: &Path, env: &Env) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", env.uuid().simple()));
        let draft = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&draft).and_then(|mut file| {
            file.write_all(self.file_text().as_bytes())?;
            file.sync_all()?;
            std::fs::hard_link(&draft, path)
        });
        // The draft is of no use whatever happened; the link, if made, stays.
        let removed = std::fs::remove_file(&draft);
        written.and(removed)
    }

    fn file_text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(STANDARD.encode(self.0.master.as_slice()));
        Zeroizing::new(format!("{FORMAT}\n{}\n", key.as_str()))
    }

    /// Wraps a patient's data key for the `patients.key_wrapped` column.
    pub(crate) fn wrap(
        &self,
        env: &Env,
        patient: PatientId,
        key: &DataKey,
    ) -> Result<Vec<u8>, SealError> {
        Aead::new(&self.0.wrapping, FIRST_KEY_ID, wrapped_at(patient))?.seal(env, key.0.as_slice())
    }

    /// Opens what [`MasterKey::wrap`] made for the same patient.
    pub(crate) fn unwrap(&self, patient: PatientId, wrapped: &[u8]) -> Result<DataKey, SealError> {
        let place = wrapped_at(patient);
        let key = Aead::new(&self.0.wrapping, FIRST_KEY_ID, place)?.open(wrapped)?;
        <[u8; 32]>::try_from(key.as_slice())
            .map(|key| DataKey(Zeroizing::new(key)))
            .map_err(|_| SealError::Damaged { place: place.column })
    }

    /// Seals the private half of the signing key `kid`.
    pub(crate) fn seal_signing_key(
        &self,
        env: &Env,
        kid: &str,
        private: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        Aead::new(&self.0.signing, FIRST_KEY_ID, self.signing_at(kid))?.seal(env, private)
    }

    /// Opens what [`MasterKey::seal_signing_key`] made for the same `kid`.
    pub(crate) fn open_signing_key(
        &self,
        kid: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        Aead::new(&self.0.signing, FIRST_KEY_ID, self.signing_at(kid))?.open(sealed)
    }

    /// A key id is text; its digest stands for the row.
    fn signing_at(&self, kid: &str) -> Place {
        let Digest(digest) = self.index("signing_keys.id", &[kid.as_bytes()]);
        let (row, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Place { column: "signing_keys.private_sealed", row: Uuid::from_bytes(*row) }
    }

    /// The look-up hash of `parts` in one index. Parts are kept apart by their lengths, indexes by
    /// their names.
    pub(crate) fn index(&self, index: &str, parts: &[&[u8]]) -> Digest {
        mac(&self.0.index, index, parts)
    }

    /// The link of the audit trail made of `parts`.
    pub(crate) fn audit(&self, parts: &[&[u8]]) -> Digest {
        mac(&self.0.audit, "audit.link", parts)
    }

    /// What the `server` table keeps to recognise this key by.
    pub(crate) fn check(&self) -> Digest {
        self.index("server.key_check", &[])
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

fn wrapped_at(patient: PatientId) -> Place {
    Place { column: "patients.key_wrapped", row: patient.0 }
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

/// The key in a key file's text: the format's line, then the key in base64 or hexadecimal.
fn parse(text: &str) -> Option<MasterKey> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines.next()? != FORMAT {
        return None;
    }
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    let mut key = Zeroizing::new([0; 32]);
    let decoded = Zeroizing::new(if line.len() == 2 * key.len() {
        hex::decode(line).ok()?
    } else {
        STANDARD.decode(line).ok()?
    });
    *key = <[u8; 32]>::try_from(decoded.as_slice()).ok()?;
    Some(MasterKey::from_bytes(&key))
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(|cause| KeyFileError::io(path, cause))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path, _file: &File) -> Result<(), KeyFileError> {
    Ok(())
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("the key file {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        cause: io::Error,
    },
    /// Others than its owner may read the file.
    #[error(
        "the key file {path} is open to others (mode {mode:03o}); run: chmod 600 {path}",
        path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else.
    #[error(
        "{} is not a key file: it must hold the line `aftercare-master-key-v1` and then 32 bytes in \
         base64 or hexadecimal",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
}

impl KeyFileError {
    fn io(path: &Path, cause: io::Error) -> Self {
        Self::Io { path: path.to_owned(), cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aftercare.db.key");
        let env = Env::system();
        let made = MasterKey::load_or_create(&path, &env).unwrap();
        let read = MasterKey::load_or_create(&path, &env).unwrap();
        assert_eq!(made.check(), read.check());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays behind");
        assert_ne!(made.check(), MasterKey::generate(&env).check());
    }

    #[test]
    fn a_key_is_base64_or_hexadecimal() {
        let key = [7; 32];
        let expected = MasterKey::from_bytes(&key).check();
        for encoded in [STANDARD.encode(key), hex::encode(key)] {
            assert_eq!(parse(&format!("{FORMAT}\n{encoded}\n")).unwrap().check(), expected);
        }
        let short = STANDARD.encode([7; 31]);
        for text in ["", FORMAT, "key\nabc", &format!("{FORMAT}\n{short}\n")] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_exposed_key_file_is_refused_with_the_remedy() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let env = Env::system();
        MasterKey::load_or_create(&path, &env).unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = MasterKey::load_or_create(&path, &env).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn a_wrapped_key_opens_for_its_patient_and_master_only() {
        let env = Env::system();
        let (master, other) = (MasterKey::generate(&env), MasterKey::generate(&env));
        let (patient, neighbour): (PatientId, PatientId) = (env.id(), env.id());
        let key = DataKey::generate(&env);
        let wrapped = master.wrap(&env, patient, &key).unwrap();
        assert_eq!(master.unwrap(patient, &wrapped).unwrap().0, key.0);
        assert!(master.unwrap(neighbour, &wrapped).is_err());
        assert!(other.unwrap(patient, &wrapped).is_err());
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
