//! What is sealed, read out of the tables and opened as its documentation says, with no code of the server's:
//! HKDF-SHA256 and AES-256-GCM, under every key that the key file and the tables still give.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(super) type Key = [u8; 32];

/// Version, key id, nonce; then the ciphertext, and a tag of 16 bytes.
const HEADER: usize = 2;
const NONCE: usize = 12;
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
/// The clinic's and the server's own.
pub(super) const NOT_PATIENTS: [&str; 5] = [
    "server.audit_key_wrapped",
    "server.index_key_wrapped",
    "signing_keys.private_sealed",
    "signing_secrets.secret_sealed",
    "webhook_answers.body_sealed",
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
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let (nonce, body) = rest.split_at_checked(NONCE)?;
        let aad = [header, &self.row, self.column.as_bytes()].concat();
        let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
        let (key, mut body) = (UnboundKey::new(&AES_256_GCM, key).unwrap(), body.to_vec());
        let opened = LessSafeKey::new(key).open_in_place(nonce, Aad::from(aad), &mut body);
        opened.ok().map(|plain| plain.to_vec())
    }

    /// How often this wrapped key stands among other bytes, even wrapped anew.
    pub(super) fn copies(&self, wrapping: &Key, among: &[u8]) -> usize {
        let begins = |window: &&[u8]| window.starts_with(&self.bytes[..HEADER]);
        let opens = |window: &&[u8]| self.open_bytes(wrapping, window).is_some();
        among.windows(WRAPPED).filter(begins).filter(opens).count()
    }
}

/// The keys that come of a key file: the one that wraps, then all others.
pub(super) fn keys_of(file: &Path) -> Vec<Key> {
    let text = std::fs::read_to_string(file).unwrap();
    let (format, master) = text.trim().split_once('\n').unwrap();
    let master: Key = STANDARD.decode(master).unwrap().try_into().unwrap();
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, format.as_bytes()).extract(&master);
    let derive = |purpose: &str| {
        let mut key = [0; 32];
        let purpose = [purpose.as_bytes()];
        salt.expand(&purpose, hkdf::HKDF_SHA256).unwrap().fill(&mut key).unwrap();
        key
    };
    vec![derive("wrap patients' keys"), derive("seal signing keys"), derive("index"), master]
}
