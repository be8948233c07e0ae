//! The master key's file: the format's line, then one line for each key, the newest first.
//!
//! A line is 32 bytes in base64 or hexadecimal, with the key's number before it; without a number it is
//! key 1, which is what a file holds that was never changed. Files are made under a name of their own,
//! synced, and then put in place whole, so that nobody ever reads half of one and no crash leaves it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;

use super::KeyId;
use super::master::{Key, Keys, MasterKey};
use crate::clock::Env;

/// The first line of a key file.
pub(super) const FORMAT: &str = "aftercare-master-key-v1";
/// A key file is a few short lines; whatever is longer is another file.
const MAX_FILE: u64 = 16 * 1024;

impl MasterKey {
    /// Reads the key file at `path`. The key remembers the file: when it meets a value under a number
    /// that it does not know, it looks whether the file knows it by now.
    ///
    /// # Errors
    /// When the file cannot be read, when anyone but its owner could read it, or when it is not a
    /// key file.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        Ok(Self::new(read(path)?, Some(path.to_owned())))
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
        let newest = Arc::new(Key::generate(env, KeyId::FIRST));
        let keys = Keys { newest, older: Vec::new() };
        match write(path, &keys, None, env, |draft| std::fs::hard_link(draft, path)) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                Err(KeyFileError::io(path, cause))
            }
            _ => Self::load(path),
        }
    }
}

/// A key file that nobody else changes as long as this lives.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// Locked. The file itself would not do: each change puts another in its place.
    _folder: File,
}

impl KeyFile {
    /// Takes hold of the key file at `path`.
    ///
    /// # Errors
    /// [`KeyFileError::Held`] when another process changes a key file in this folder; as
    /// [`MasterKey::load`].
    pub fn hold(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |cause| KeyFileError::io(path, cause);
        // A link to the file stays a link.
        let path = path.canonicalize().map_err(failed)?;
        let folder = File::open(folder_of(&path)).map_err(failed)?;
        match folder.try_lock() {
            Ok(()) => Ok(Self { path, _folder: folder }),
            Err(TryLockError::WouldBlock) => Err(KeyFileError::Held { path }),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The numbers of its keys, the newest first.
    ///
    /// # Errors
    /// As [`MasterKey::load`].
    pub fn ids(&self) -> Result<Vec<KeyId>, KeyFileError> {
        Ok(read(&self.path)?.iter().map(|key| key.id).collect())
    }

    /// Puts a fresh key before those in the file and gives its number. Nothing is put under it
    /// before [`Store::replace_master_key`](crate::store::Store::replace_master_key).
    ///
    /// # Errors
    /// As [`MasterKey::load`]; [`KeyFileError::Full`] when every number is taken.
    pub fn add_key(&self, env: &Env) -> Result<KeyId, KeyFileError> {
        let known = read(&self.path)?;
        let is_free = |id: &KeyId| known.iter().all(|key| key.id != *id);
        let after = |id: KeyId| std::iter::successors(id.next(), |id| id.next());
        let mut ids = after(known.newest.id).chain([KeyId::FIRST]).chain(after(KeyId::FIRST));
        let full = || KeyFileError::Full { path: self.path.clone() };
        let id = ids.find(is_free).ok_or_else(full)?;
        let older = known.iter().map(Arc::clone).collect();
        self.replace(&self.path, &Keys { newest: Arc::new(Key::generate(env, id)), older }, env)?;
        Ok(id)
    }

    /// Leaves only the key `keep` in the file, and the file as it was beside it, under the name that is
    /// given back; `None` when it holds no other key, or not this one.
    ///
    /// # Errors
    /// As [`MasterKey::load`], and when a file cannot be written.
    pub fn retire_all_but(&self, keep: KeyId, env: &Env) -> Result<Option<PathBuf>, KeyFileError> {
        let known = read(&self.path)?;
        let kept = known.iter().find(|key| key.id == keep);
        let Some(kept) = kept.filter(|_| !known.older.is_empty()) else { return Ok(None) };
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".until-{keep}"));
        let before = PathBuf::from(name);
        self.replace(&before, &known, env)?;
        let kept = Keys { newest: Arc::clone(kept), older: Vec::new() };
        self.replace(&self.path, &kept, env)?;
        Ok(Some(before))
    }

    /// Puts `keys` in the place of whatever is at `path`, for the owner of the key file.
    fn replace(&self, path: &Path, keys: &Keys, env: &Env) -> Result<(), KeyFileError> {
        write(path, keys, Some(&self.path), env, |draft| std::fs::rename(draft, path))
            .map_err(|cause| KeyFileError::io(path, cause))
    }
}

/// The keys in a file.
pub(super) fn read(path: &Path) -> Result<Keys, KeyFileError> {
    let file = File::open(path).map_err(|cause| KeyFileError::io(path, cause))?;
    check_mode(path, &file)?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|cause| KeyFileError::io(path, cause))?;
    parse(&text).ok_or_else(|| KeyFileError::Format { path: path.to_owned() })
}

/// Writes a draft beside `path`, with mode 0600 and the owner of `like`, and puts it in place.
fn write(
    path: &Path,
    keys: &Keys,
    like: Option<&Path>,
    env: &Env,
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", env.uuid().simple()));
    let draft = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| {
        if let Some(like) = like {
            give_to_owner_of(like, &file)?;
        }
        file.write_all(text(keys).as_bytes())?;
        file.sync_all()?;
        place(&draft)?;
        sync_folder(path)
    });
    // The draft is of no use whatever happened; what was put in place stays.
    match std::fs::remove_file(&draft) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => written.and(Err(cause)),
        _ => written,
    }
}

fn folder_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// The file as text. A lone first key has no number, as ever.
fn text(keys: &Keys) -> Zeroizing<String> {
    let mut text = Zeroizing::new(format!("{FORMAT}\n"));
    for key in keys.iter() {
        if key.id != KeyId::FIRST || !keys.older.is_empty() {
            text.push_str(&key.id.to_string());
            text.push(' ');
        }
        text.push_str(&Zeroizing::new(STANDARD.encode(key.bytes.as_slice())));
        text.push('\n');
    }
    text
}

/// The keys in a key file's text.
fn parse(text: &str) -> Option<Keys> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines.next()? != FORMAT {
        return None;
    }
    let mut keys: Vec<Arc<Key>> = Vec::new();
    for line in lines {
        let key = parse_key(line)?;
        if keys.iter().any(|known| known.id == key.id) {
            return None;
        }
        keys.push(Arc::new(key));
    }
    let mut keys = keys.into_iter();
    Some(Keys { newest: keys.next()?, older: keys.collect() })
}

fn parse_key(line: &str) -> Option<Key> {
    let (id, encoded) = match line.split_once(' ') {
        Some((id, encoded)) => (id.parse().ok()?, encoded.trim()),
        None => (KeyId::FIRST, line),
    };
    let decoded = Zeroizing::new(if encoded.len() == 64 {
        hex::decode(encoded).ok()?
    } else {
        STANDARD.decode(encoded).ok()?
    });
    let bytes = Zeroizing::new(<[u8; 32]>::try_from(decoded.as_slice()).ok()?);
    Some(Key::new(id, &bytes))
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

/// An operator may be root, the servers somebody else who must be able to read the file.
#[cfg(unix)]
fn give_to_owner_of(like: &Path, file: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let (wanted, made) = (std::fs::metadata(like)?, file.metadata()?);
    if (wanted.uid(), wanted.gid()) == (made.uid(), made.gid()) {
        return Ok(());
    }
    fchown(file, Some(wanted.uid()), Some(wanted.gid()))
}

#[cfg(not(unix))]
fn give_to_owner_of(_like: &Path, _file: &File) -> io::Result<()> {
    Ok(())
}

/// Makes the name last, not only what is in the file.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
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
         base64 or hexadecimal, or several such lines with a number before each",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The file holds as many keys as there are numbers.
    #[error("the key file {} has no number left for another key", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else is at work on it.
    #[error("the key file {} is being changed by another command; wait for it", path.display())]
    Held {
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

    fn ids(path: &Path) -> Vec<u8> {
        read(path).unwrap().iter().map(|key| key.id.get()).collect()
    }

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aftercare.db.key");
        let env = Env::system();
        let made = MasterKey::load_or_create(&path, &env).unwrap();
        let read = MasterKey::load_or_create(&path, &env).unwrap();
        assert_eq!(made.newest(), read.newest());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays behind");
        assert_ne!(made.newest(), MasterKey::generate(&env).newest());
    }

    #[test]
    fn a_key_is_base64_or_hexadecimal() {
        let key = [7; 32];
        let expected = MasterKey::from_bytes(&key).newest();
        for encoded in [STANDARD.encode(key), hex::encode(key)] {
            for text in [format!("{FORMAT}\n{encoded}\n"), format!("{FORMAT}\n1 {encoded}\n")] {
                assert_eq!(MasterKey::new(parse(&text).unwrap(), None).newest(), expected);
            }
        }
        let (short, whole) = (STANDARD.encode([7; 31]), STANDARD.encode(key));
        for text in [
            "",
            FORMAT,
            "key\nabc",
            &format!("{FORMAT}\n{short}\n"),
            &format!("{FORMAT}\n0 {whole}\n"),
            &format!("{FORMAT}\n256 {whole}\n"),
            &format!("{FORMAT}\n2 {whole}\n2 {whole}\n"),
            &format!("{FORMAT}\n2 {whole}\n{whole} 1\n"),
        ] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn keys_are_added_in_front_and_retired_with_a_copy_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let env = Env::system();
        let first = MasterKey::load_or_create(&path, &env).unwrap().newest();
        let file = KeyFile::hold(&path).unwrap();
        let second = file.add_key(&env).unwrap();
        assert_eq!(ids(&path), [2, 1]);
        assert_eq!(MasterKey::load(&path).unwrap().check(KeyId::FIRST).unwrap(), first.1);

        let before = file.retire_all_but(second, &env).unwrap().unwrap();
        assert_eq!((ids(&path), ids(&before)), (vec![2], vec![2, 1]));
        assert_eq!(file.retire_all_but(second, &env).unwrap(), None);
        assert_eq!(file.retire_all_but(KeyId::FIRST, &env).unwrap(), None, "never the last");
        assert_eq!(file.add_key(&env).unwrap().get(), 3);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn one_command_at_a_time_changes_a_key_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        MasterKey::load_or_create(&path, &Env::system()).unwrap();
        let held = KeyFile::hold(&path).unwrap();
        let refused = KeyFile::hold(&path).unwrap_err();
        assert!(matches!(refused, KeyFileError::Held { .. }), "{refused}");
        drop(held);
        KeyFile::hold(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_stays_its_owners_and_a_link_a_link() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("k"), folder.path().join("link"));
        let env = Env::system();
        MasterKey::load_or_create(&path, &env).unwrap();
        symlink(&path, &link).unwrap();
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        KeyFile::hold(&link).unwrap().add_key(&env).unwrap();
        assert_eq!((ids(&path), mode()), (vec![2, 1], 0o600));
        assert!(link.is_symlink());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = MasterKey::load_or_create(&path, &env).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
}
