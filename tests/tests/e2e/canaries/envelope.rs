//! What is sealed for a patient, read out of the tables and opened with no code of the server's, under every
//! key that the key file and the tables still give.

use std::path::Path;

use aftercare_tests::envelope::{HEADER, NONCE, derive, master_keys, open};

pub(super) use aftercare_tests::envelope::Key;

/// A data key in its envelope.
const WRAPPED: usize = HEADER + NONCE + 32 + 16;

/// Where a patient's text is: table, the column that names the row, the sealed column.
pub(super) const COLUMNS: [(&str, &str, &str); 8] = [
    ("amendments", "id", "content_sealed"),
    ("calendars", "patient_id", "token_sealed"),
    ("devices", "id", "address_sealed"),
    ("devices", "id", "installation_sealed"),
    ("patients", "id", KEY),
    ("patients", "id", "ref_sealed"),
    ("treatments", "id", "event_sealed"),
    ("treatments", "id", "metadata_sealed"),
];
/// The keys that the database keeps; their row has no id of its own.
pub(super) const KEPT: [&str; 2] = ["audit_key_wrapped", "index_key_wrapped"];
/// The clinic's and the server's own.
pub(super) const NOT_PATIENTS: [&str; 6] = [
    "server.audit_key_wrapped",
    "server.index_key_wrapped",
    "signing_keys.private_sealed",
    "signing_secrets.secret_sealed",
    "webhook_answers.body_sealed",
    "webhooks.target_sealed",
];
/// The column of the patients' own keys.
const KEY: &str = "key_wrapped";

/// A sealed value, and where it belongs.
#[derive(PartialEq)]
pub(super) struct Sealed {
    pub(super) column: String,
    row: Vec<u8>,
    bytes: Vec<u8>,
}

impl Sealed {
    /// Of `row value`, both in hexadecimal.
    pub(super) fn read(table: &str, column: &str, line: &str) -> Self {
        let (row, bytes) = line.split_once(' ').unwrap();
        let column = format!("{table}.{column}");
        Self { column, row: hex::decode(row).unwrap(), bytes: hex::decode(bytes).unwrap() }
    }

    pub(super) fn is_key(&self) -> bool {
        self.column.ends_with(KEY)
    }

    /// What is in it, if this is its key.
    pub(super) fn open(&self, key: &Key) -> Option<Vec<u8>> {
        self.open_bytes(key, &self.bytes)
    }

    fn open_bytes(&self, key: &Key, bytes: &[u8]) -> Option<Vec<u8>> {
        open(key, &self.row, &self.column, bytes)
    }

    /// How often this wrapped key stands among other bytes, even wrapped anew.
    pub(super) fn copies(&self, wrapping: &Key, among: &[u8]) -> usize {
        let begins = |window: &&[u8]| window.starts_with(&self.bytes[..HEADER]);
        let opens = |window: &&[u8]| self.open_bytes(wrapping, window).is_some();
        among.windows(WRAPPED).filter(begins).filter(opens).count()
    }
}

/// The keys that come of a key file: the one that wraps patients', the one that wraps the database's, then
/// all others.
pub(super) fn keys_of(file: &Path) -> Vec<Key> {
    let purposes =
        ["wrap patients' keys", "wrap the database's keys", "seal signing keys", "index"];
    let (_, master) = master_keys(file).remove(0);
    let mut keys = purposes.map(|purpose| derive(&master, purpose)).to_vec();
    keys.push(master);
    keys
}
