//! The file of erasures: one line for each, outside the database, so that a restored backup can be made
//! to forget whom it had forgotten.
//!
//! `<patient id> <clinic id> <instant>`, opaque ids only, only ever appended to. Several processes may
//! share it.

use std::collections::HashSet;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::Erasure;
use crate::ids::{ClinicId, PatientId};

/// How far ahead of ours the clock of whoever wrote a line may have been.
const SKEW: SignedDuration = SignedDuration::from_hours(24);

/// The mode bits of those who must not write: whoever can, can have any patient erased.
const OTHERS_WRITE: u32 = 0o022;

/// A file of erasures; made when there is something to be written to it.
#[derive(Debug, Clone)]
pub struct ErasureFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    known: Mutex<Known>,
}

/// What was read of the file so far.
#[derive(Debug, Default)]
struct Known {
    length: u64,
    /// With their clinics: a line that names another clinic does not stand for the erasure.
    patients: HashSet<(PatientId, ClinicId)>,
}

/// A file of erasures that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ErasureFileError {
    /// It cannot be read or written.
    #[error("the file of erasures {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        cause: io::Error,
    },
    /// A line of it is no erasure.
    #[error(
        "the file of erasures {}: line {line} is damaged; it must be a patient's id, a clinic's id and an \
         instant that has come. Restore the file from its backup; whom it names must not come back",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// Others than its owner may write it.
    #[error(
        "the file of erasures {0} may be written by group or others, and whoever writes it has patients \
         erased: look through it, then chmod go-w {0}",
        path.display()
    )]
    Writable {
        /// The file.
        path: PathBuf,
    },
}

impl ErasureFile {
    /// The file at this path, which need not exist yet.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self(Arc::new(Inner { path: path.to_owned(), known: Mutex::default() }))
    }

    /// Every erasure in the file, in the order in which they were written; none when there is no file.
    ///
    /// # Errors
    /// When it cannot be read, when others than its owner may write it, and when a line of it is damaged
    /// or names an instant more than a day after `now`. A last line without an end is what a crash
    /// leaves behind and no error: the database still has what it would have said.
    pub fn read(&self, now: Timestamp) -> Result<Vec<Erasure>, ErasureFileError> {
        let path = &self.0.path;
        let mut text = String::new();
        match File::open(path) {
            Ok(mut file) => {
                let about = file.metadata().map_err(|cause| self.io(cause))?;
                if about.permissions().mode() & OTHERS_WRITE != 0 {
                    return Err(ErasureFileError::Writable { path: path.clone() });
                }
                file.read_to_string(&mut text).map_err(|cause| self.io(cause))?
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(self.io(cause)),
        };
        let mut erasures = Vec::new();
        for (line, text) in text.split_inclusive('\n').enumerate() {
            let whole = text.ends_with('\n');
            match parse(text).filter(|erasure| erasure.at.duration_since(now) <= SKEW) {
                Some(erasure) => erasures.push(erasure),
                None if text.trim().is_empty() || !whole => {}
                None => {
                    return Err(ErasureFileError::Damaged { path: path.clone(), line: line + 1 });
                }
            }
        }
        Ok(erasures)
    }

    /// Writes down those of these erasures that the file does not have yet, and gives how many. They
    /// are on the disk when it returns.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub(super) fn append_missing(&self, rows: &[Erasure]) -> Result<usize, ErasureFileError> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let all_known = rows.iter().all(|row| known.patients.contains(&row.named()));
        let length = self.0.path.metadata().map_or(0, |about| about.len());
        if all_known && length == known.length {
            return Ok(0);
        }
        self.append(&mut known, rows).map_err(|cause| self.io(cause))
    }

    fn append(&self, known: &mut Known, rows: &[Erasure]) -> io::Result<usize> {
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).append(true).create(true).mode(0o600).open(&self.0.path)?;
        // Whoever else appends takes turns; the lock ends with the file.
        file.lock()?;
        if file.metadata()?.len() < known.length {
            *known = Known::default();
        }
        let mut rest = String::new();
        file.seek(SeekFrom::Start(known.length))?;
        file.read_to_string(&mut rest)?;
        // What a crash left half written goes: the database still has what it would have said.
        let whole = rest.rfind('\n').map_or(0, |end| end + 1);
        if whole < rest.len() {
            rest.truncate(whole);
            file.set_len(known.length + whole as u64)?;
        }
        known.patients.extend(rest.lines().filter_map(parse).map(|erasure| erasure.named()));
        let missing = rows.iter().filter(|row| !known.patients.contains(&row.named()));
        let lines: Vec<String> = missing.map(|row| format!("{row}\n")).collect();
        file.write_all(lines.concat().as_bytes())?;
        file.sync_all()?;
        known.patients.extend(rows.iter().map(Erasure::named));
        known.length = file.metadata()?.len();
        Ok(lines.len())
    }

    fn io(&self, cause: io::Error) -> ErasureFileError {
        ErasureFileError::Io { path: self.0.path.clone(), cause }
    }
}

impl Erasure {
    const fn named(&self) -> (PatientId, ClinicId) {
        (self.patient_id, self.clinic_id)
    }
}

/// One line of the file.
impl fmt::Display for Erasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.patient_id, self.clinic_id, self.at)
    }
}

fn parse(line: &str) -> Option<Erasure> {
    let mut words = line.split_whitespace();
    let erasure = Erasure {
        patient_id: words.next()?.parse().ok()?,
        clinic_id: words.next()?.parse().ok()?,
        at: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(erasure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Env;

    fn erasure(env: &Env) -> Erasure {
        Erasure { patient_id: env.id(), clinic_id: env.id(), at: env.now() }
    }

    #[test]
    fn what_is_appended_comes_back_once_whoever_appends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aftercare.db.erasures");
        let env = Env::system();
        let (one, two) = (ErasureFile::at(&path), ErasureFile::at(&path));
        assert_eq!(one.read(env.now()).unwrap(), []);
        let all = [erasure(&env), erasure(&env), erasure(&env)];
        assert_eq!(one.append_missing(&all[..1]).unwrap(), 1);
        assert_eq!(two.append_missing(&all[..2]).unwrap(), 1);
        assert_eq!(one.append_missing(&all).unwrap(), 1);
        assert_eq!(two.append_missing(&all).unwrap(), 0);
        assert_eq!(two.read(env.now()).unwrap(), all);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(one.append_missing(&all).unwrap(), 3, "a lost file is written anew");
    }

    #[test]
    fn a_torn_last_line_is_mended_and_a_damaged_one_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("erasures");
        let env = Env::system();
        let all = [erasure(&env), erasure(&env)];
        ErasureFile::at(&path).append_missing(&all).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 40]).unwrap();
        assert_eq!(ErasureFile::at(&path).read(env.now()).unwrap(), all[..1]);

        assert_eq!(ErasureFile::at(&path).append_missing(&all).unwrap(), 1);
        assert_eq!(ErasureFile::at(&path).read(env.now()).unwrap(), all);
        std::fs::write(&path, text.replacen(&all[1].clinic_id.to_string(), "x", 1)).unwrap();
        let refused = ErasureFile::at(&path).read(env.now());
        assert!(matches!(refused, Err(ErasureFileError::Damaged { line: 2, .. })), "{refused:?}");
    }

    #[test]
    fn a_file_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("erasures");
        let env = Env::system();
        ErasureFile::at(&path).append_missing(&[erasure(&env)]).unwrap();
        for (mode, fine) in [(0o620, false), (0o602, false), (0o644, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = ErasureFile::at(&path).read(env.now());
            assert_eq!(read.is_ok(), fine, "{mode:o} {read:?}");
            if let Err(refused) = read {
                assert!(refused.to_string().contains("chmod go-w"), "{refused}");
            }
        }
    }

    #[test]
    fn an_instant_that_has_not_come_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("erasures");
        let env = Env::system();
        let file = ErasureFile::at(&path);
        let skewed = Erasure { at: env.now() + SKEW, ..erasure(&env) };
        file.append_missing(&[skewed]).unwrap();
        assert_eq!(file.read(env.now()).unwrap(), [skewed]);
        let far = Erasure { at: env.now() + SKEW * 2, ..erasure(&env) };
        file.append_missing(&[far]).unwrap();
        let refused = file.read(env.now());
        assert!(matches!(refused, Err(ErasureFileError::Damaged { line: 2, .. })), "{refused:?}");
    }
}
