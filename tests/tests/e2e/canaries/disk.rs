//! Where each engine keeps its files, and how to ask it for what is sealed.

use std::path::{Path, PathBuf};

use aftercare_tests::postgres;
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::prelude::RunQueryDsl as _;
use diesel::sqlite::SqliteConnection;

use super::ERASURES;
use super::envelope::{self, Sealed};

/// Gives the first column of what a query finds.
type Query = Box<dyn Fn(&str) -> Vec<String>>;

/// Where one engine keeps its files, and how to make it write them.
pub(super) struct Disk {
    pub(super) settings: Vec<(&'static str, String)>,
    files: Vec<PathBuf>,
    pub(super) run_sql: Box<dyn Fn(&str)>,
    pub(super) query: Query,
    /// The query for every column of sealed bytes, as `table.column`.
    pub(super) columns: &'static str,
    /// The expression that gives a row's id, or bytes, in hexadecimal.
    hex: fn(&str) -> [String; 2],
    flush: &'static str,
    /// What overwrites the deleted, where that does not happen by itself; the write-ahead log keeps it.
    pub(super) overwrite: Option<&'static str>,
}

impl Disk {
    /// Every value that is sealed for a patient.
    pub(super) fn sealed(&self) -> Vec<Sealed> {
        let read = |(table, row, column): (&str, &str, &str)| {
            let ([row, _], [_, bytes]) = ((self.hex)(row), (self.hex)(column));
            let sql =
                format!("SELECT {row} || ' ' || {bytes} FROM {table} WHERE {column} IS NOT NULL");
            let lines = (self.query)(&sql).into_iter();
            lines.map(|line| Sealed::read(table, column, &line)).collect::<Vec<_>>()
        };
        envelope::COLUMNS.into_iter().flat_map(read).collect()
    }

    /// The keys that the database keeps.
    pub(super) fn kept(&self) -> Vec<Sealed> {
        let read = |column: &str| {
            let [_, bytes] = (self.hex)(column);
            let sql = format!("SELECT '{}' || ' ' || {bytes} FROM server", "00".repeat(16));
            Sealed::read("server", column, &(self.query)(&sql)[0])
        };
        envelope::KEPT.into_iter().map(read).collect()
    }

    /// Everything that is on the disk now.
    pub(super) fn read(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        (self.run_sql)(self.flush);
        self.files.iter().for_each(|path| contents(path, &mut files));
        files
    }
}

pub(super) fn sqlite(folder: &Path) -> Disk {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        first: String,
    }
    let file = folder.join("aftercare.db");
    let name = file.to_str().unwrap().to_owned();
    let connect = move || SqliteConnection::establish(&name).unwrap();
    let again = connect.clone();
    Disk {
        settings: Vec::new(),
        files: vec![file.clone(), file.with_extension("db-wal"), folder.join(ERASURES)],
        run_sql: Box::new(move |sql| connect().batch_execute(sql).unwrap()),
        query: Box::new(move |sql| {
            let sql = format!("WITH rows (first) AS ({sql}) SELECT first FROM rows");
            let rows: Vec<Row> = diesel::sql_query(sql).load(&mut again()).unwrap();
            rows.into_iter().map(|row| row.first).collect()
        }),
        columns: "SELECT t.name || '.' || c.name FROM sqlite_master t, pragma_table_info(t.name) c
                  WHERE t.type = 'table' AND (c.name LIKE '%sealed' OR c.name LIKE '%wrapped')",
        hex: |column| [format!("hex({column})"), format!("hex({column})")],
        flush: "SELECT 1",
        overwrite: None,
    }
}

pub(super) fn postgres(folder: &Path) -> Option<Disk> {
    let database: &'static _ = Box::leak(Box::new(postgres::on_its_own_server()?));
    Some(Disk {
        settings: vec![("DATABASE_URL", database.url())],
        files: vec![database.files(), folder.join(ERASURES)],
        run_sql: Box::new(|sql| database.execute(sql)),
        query: Box::new(|sql| database.query(sql)),
        columns: "SELECT table_name || '.' || column_name FROM information_schema.columns
                  WHERE table_schema = 'public'
                  AND (column_name LIKE '%sealed' OR column_name LIKE '%wrapped')",
        hex: |column| {
            [format!("replace({column}::text, '-', '')"), format!("encode({column}, 'hex')")]
        },
        flush: "CHECKPOINT",
        overwrite: Some("VACUUM FULL"),
    })
}

/// Every file below a path, whole.
fn contents(path: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            contents(&entry.unwrap().path(), into);
        }
    } else if path.is_file()
        && let Ok(bytes) = std::fs::read(path)
    {
        into.push((path.to_owned(), bytes));
    }
}
