//! Settings: flags first, then variables. `--help` lists both, and never shows a value.

use std::path::{Path, PathBuf};

use aftercare::care::seed_protocols;
use aftercare::clock::Env;
use aftercare::ids::ClinicId;
use aftercare::seal::MasterKey;
use aftercare::store::{ErasureFile, Store, StoreError, StoreOptions, check_url};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Failure;

/// Where the state is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Database {
    /// The database: `sqlite:FILE`, or `postgres://USER@HOST/DATABASE`
    #[arg(
        long = "database-url",
        help = "The database: sqlite:FILE, or postgres://USER@HOST/DATABASE with sslmode and \
                sslrootcert as libpq has them",
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "sqlite:aftercare.db",
        value_name = "URL"
    )]
    url: SecretString,
    /// The master key's file [default: FILE.key beside an SQLite file, required for
    /// PostgreSQL; made on first use]
    #[arg(long, env = "AFTERCARE_KEY_FILE", hide_env_values = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The file that erasures are noted in, so that a restored backup forgets them again [default:
    /// FILE.erasures beside an SQLite file; for PostgreSQL none]
    #[arg(
        long = "erasures-file",
        env = "AFTERCARE_ERASURES",
        hide_env_values = true,
        value_name = "FILE"
    )]
    erasures: Option<PathBuf>,
}

/// Which clinic it is about, and how to answer.
#[derive(Debug, clap::Args)]
pub(super) struct OfClinic {
    /// The clinic
    #[arg(long, value_name = "ID")]
    pub(super) clinic: ClinicId,
    /// Print one JSON document instead of lines
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) database: Database,
}

impl Database {
    /// Whether it is one file on this machine.
    pub(super) fn is_sqlite(&self) -> bool {
        self.sqlite_file().is_some()
    }

    pub(super) fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// Refuses a URL of no kind that we know, before anything else is asked for that would depend on it.
    pub(super) fn check(&self) -> Result<(), Failure> {
        check_url(self.url()).map_err(Failure::work)
    }

    fn sqlite_file(&self) -> Option<&str> {
        let rest = self.url().strip_prefix("sqlite:")?;
        Some(rest.strip_prefix("//").unwrap_or(rest))
    }

    /// Opens the database as it is.
    pub(super) async fn open(&self, env: Env) -> Result<Store, Failure> {
        self.check()?;
        let file = self.key_file()?;
        if !file.exists() {
            self.make_key(&file, &env).await?;
        }
        let key = MasterKey::load(&file).map_err(Failure::work)?;
        self.open_with(key, env).await
    }

    async fn open_with(&self, key: MasterKey, env: Env) -> Result<Store, Failure> {
        let url = self.url();
        let beside = || self.sqlite_file().map(|file| PathBuf::from(format!("{file}.erasures")));
        let erasures = self.erasures.clone().or_else(beside).map(|file| ErasureFile::at(&file));
        if erasures.is_none() {
            tracing::warn!(
                "AFTERCARE_ERASURES is not set: whoever was erased comes back when a backup is restored"
            );
        }
        let options = StoreOptions { erasures, ..StoreOptions::default() };
        Store::open(url, key, env, options).await.map_err(Failure::work)
    }

    /// Makes the master key of a database that has none yet. One that has must get its own key
    /// back: another beside it would only be mistaken for it.
    async fn make_key(&self, file: &Path, env: &Env) -> Result<(), Failure> {
        let url = self.url();
        let trial = MasterKey::generate(env);
        let opened = Store::open(url, trial, env.clone(), StoreOptions::default()).await;
        if let Err(StoreError::WrongKey | StoreError::MissingKey(_)) = opened {
            return Err(Failure::Work(format!(
                "the master key file {} is missing, and this database was made with it; put it back \
                 from your backup, or set AFTERCARE_KEY_FILE",
                file.display()
            )));
        }
        opened.map_err(Failure::work)?;
        MasterKey::load_or_create(file, env).map_err(Failure::work)?;
        tracing::warn!(
            file = %file.display(),
            "made a new master key: back it up, without it nothing personal can be read"
        );
        Ok(())
    }

    /// Opens a database that is there already: who pauses, erases or rotates in the wrong folder must
    /// hear of it.
    pub(super) async fn open_existing(&self, env: Env) -> Result<Store, Failure> {
        match self.sqlite_file() {
            Some(file) if !Path::new(file).exists() => Err(Failure::Work(format!(
                "there is no database {file} here; say where it is with --database-url or DATABASE_URL"
            ))),
            _ => self.open_current(env).await,
        }
    }

    /// Opens the database, or makes it, and makes sure that it has this release's schema: an SQLite file is
    /// migrated, a server is not, because others may be using it.
    pub(super) async fn open_current(&self, env: Env) -> Result<Store, Failure> {
        let store = self.open(env).await?;
        let pending = store.pending().await.map_err(Failure::work)?.len();
        if pending > 0 && !self.is_sqlite() {
            return Err(Failure::work(StoreError::NotMigrated { pending }));
        }
        migrate(&store).await?;
        Ok(store)
    }

    /// Where the master key is.
    pub(super) fn key_file(&self) -> Result<PathBuf, Failure> {
        let beside = || self.sqlite_file().map(|file| PathBuf::from(format!("{file}.key")));
        self.key_file.clone().or_else(beside).ok_or_else(|| {
            Failure::Usage(
                "a PostgreSQL database needs AFTERCARE_KEY_FILE: the master key's file, kept apart \
                 from the database; it is made on first use, so back it up then"
                    .to_owned(),
            )
        })
    }
}

/// The URL that callers use, as their browsers write it: in small letters, without the usual port and
/// without a slash at its end.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let read = Url::parse(text).ok().filter(|url| {
        let plain = url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        ["https", "http"].contains(&url.scheme()) && plain && nobody
    });
    let url = read.ok_or("not a base URL; write https://care.example.com")?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Brings the schema and the shipped protocols up to this release, and erases again whom a restored
/// backup brought back; gives the migrations run.
pub(super) async fn migrate(store: &Store) -> Result<Vec<String>, Failure> {
    let ran = store.migrate().await.map_err(Failure::work)?;
    store.write(seed_protocols).await.map_err(Failure::work)?;
    let patients = store.replay_erasures().await.map_err(Failure::work)?;
    if patients > 0 {
        tracing::warn!(patients, "this database held patients who had been erased; they are again");
    }
    Ok(ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_written_as_browsers_write_it() {
        for (given, written) in [
            ("https://care.example", "https://care.example"),
            ("HTTPS://Care.Example:443/", "https://care.example"),
            ("https://care.example:8443/aftercare/", "https://care.example:8443/aftercare"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://präxis.example", "https://xn--prxis-hra.example"),
        ] {
            assert_eq!(base_url(given).as_deref(), Ok(written), "{given}");
        }
        for given in ["care.example", "ftp://care.example", "https://", "https://a@care.example"] {
            assert!(base_url(given).is_err(), "{given}");
        }
        for given in ["https://care.example/?a=1", "https://care.example/#a", "https://a b"] {
            assert!(base_url(given).is_err(), "{given}");
        }
    }
}
