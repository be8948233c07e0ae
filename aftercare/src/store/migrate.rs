//! The schema: both engines' migrations, and whether a database is this binary's.

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::StoreError;
use super::conn::Conn;

const POSTGRES: EmbeddedMigrations = embed_migrations!("../migrations/postgres");
const SQLITE: EmbeddedMigrations = embed_migrations!("../migrations/sqlite");

/// Servers that start together wait for the first, however long its migrations take.
const ALONE: &str = "SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = 0;
    SELECT pg_advisory_xact_lock(7104612838)";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The versions this binary knows, oldest first.
fn known(conn: &Conn) -> Result<Vec<String>, StoreError> {
    match conn {
        Conn::Pg(_) => versions::<Pg>(&POSTGRES),
        Conn::Sqlite(_) => versions::<Sqlite>(&SQLITE),
    }
}

fn versions<DB: diesel::backend::Backend>(
    source: &EmbeddedMigrations,
) -> Result<Vec<String>, StoreError> {
    let migrations: Vec<Box<dyn Migration<DB>>> =
        MigrationSource::<DB>::migrations(source).map_err(failed)?;
    let mut versions: Vec<String> =
        migrations.iter().map(|migration| migration.name().version().to_string()).collect();
    versions.sort();
    Ok(versions)
}

#[derive(QueryableByName)]
struct Exists {
    #[diesel(sql_type = Bool)]
    present: bool,
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The versions this database has, oldest first. Writes nothing.
fn applied(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    const ALL: &str = "SELECT version FROM __diesel_schema_migrations ORDER BY version";
    let present: Exists = match conn {
        Conn::Pg(c) => sql_query("SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS present")
            .get_result(&mut **c),
        Conn::Sqlite(c) => sql_query(
            "SELECT count(*) > 0 AS present FROM sqlite_master WHERE name = '__diesel_schema_migrations'",
        )
        .get_result(&mut **c),
    }?;
    if !present.present {
        return Ok(Vec::new());
    }
    let rows: Vec<Applied> = match conn {
        Conn::Pg(c) => sql_query(ALL).load(&mut **c),
        Conn::Sqlite(c) => sql_query(ALL).load(&mut **c),
    }?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// The versions yet to run, oldest first.
///
/// # Errors
/// [`StoreError::SchemaTooNew`] when the database has one that this binary does not know.
pub(super) fn pending(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    let known = known(conn)?;
    let applied = applied(conn)?;
    if let Some(newest) = applied.iter().rfind(|version| !known.contains(version)) {
        return Err(StoreError::SchemaTooNew {
            newest: newest.clone(),
            known: known.last().cloned().unwrap_or_default(),
        });
    }
    Ok(known.into_iter().filter(|version| !applied.contains(version)).collect())
}

/// Runs what is pending, all or nothing, and gives the versions that ran.
pub(super) fn run(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    pending(conn)?;
    match conn {
        Conn::Pg(c) => c.transaction(|c| {
            c.batch_execute(ALONE)?;
            names(c.run_pending_migrations(POSTGRES))
        }),
        Conn::Sqlite(c) => c.immediate_transaction(|c| names(c.run_pending_migrations(SQLITE))),
    }
}

/// Runs every migration backwards: the database is empty afterwards.
pub(super) fn revert_all(conn: &mut Conn) -> Result<Vec<String>, StoreError> {
    match conn {
        Conn::Pg(c) => c.transaction(|c| {
            c.batch_execute(ALONE)?;
            names(c.revert_all_migrations(POSTGRES))
        }),
        Conn::Sqlite(c) => c.immediate_transaction(|c| names(c.revert_all_migrations(SQLITE))),
    }
}

fn names(
    ran: Result<Vec<diesel::migration::MigrationVersion<'_>>, Failure>,
) -> Result<Vec<String>, StoreError> {
    Ok(ran.map_err(failed)?.iter().map(ToString::to_string).collect())
}

fn failed(error: Failure) -> StoreError {
    match error.downcast::<diesel::result::Error>() {
        Ok(cause) => (*cause).into(),
        // The harness hides the cause in a type of its own; its words are the database's.
        Err(other) => StoreError::by_message(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_have_the_same_migrations() {
        let names = |engine: &str| {
            let folder = format!("{}/../migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
            let mut names: Vec<_> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names("sqlite"), names("postgres"));
        assert_eq!(versions::<Pg>(&POSTGRES).unwrap(), versions::<Sqlite>(&SQLITE).unwrap());
        assert_eq!(names("sqlite").len(), versions::<Sqlite>(&SQLITE).unwrap().len());
    }
}
