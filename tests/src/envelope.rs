//! What is sealed, opened and made as its documentation says, with no code of the server's: HKDF-SHA256
//! and AES-256-GCM.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a harness that cannot go on must stop"
)]

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// 32 bytes, as every key is.
pub type Key = [u8; 32];

/// Version and key id.
pub const HEADER: usize = 2;
/// What follows the header; then the ciphertext, and a tag of 16 bytes.
pub const NONCE: usize = 12;

const FORMAT: &str = "aftercare-master-key-v1";

/// The master keys in a file, each with its number, the newest first.
#[must_use]
pub fn master_keys(file: &Path) -> Vec<(u8, Key)> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(FORMAT));
    let read = |line: &str| {
        let (id, key) = line.split_once(' ').unwrap_or(("1", line));
        (id.parse().unwrap(), STANDARD.decode(key).unwrap().try_into().unwrap())
    };
    lines.map(read).collect()
}

/// The key that a master key gives for one purpose.
#[must_use]
pub fn derive(master: &Key, purpose: &str) -> Key {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, FORMAT.as_bytes());
    let mut key = [0; 32];
    let purpose = [purpose.as_bytes()];
    salt.extract(master).expand(&purpose, hkdf::HKDF_SHA256).unwrap().fill(&mut key).unwrap();
    key
}

/// What is in an envelope of that row and column, if this is its key.
#[must_use]
pub fn open(key: &Key, row: &[u8], column: &str, envelope: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = envelope.split_at_checked(HEADER)?;
    let (nonce, body) = rest.split_at_checked(NONCE)?;
    let aad = Aad::from([header, row, column.as_bytes()].concat());
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    let (key, mut body) = (UnboundKey::new(&AES_256_GCM, key).unwrap(), body.to_vec());
    let opened = LessSafeKey::new(key).open_in_place(nonce, aad, &mut body);
    opened.ok().map(|plain| plain.to_vec())
}

/// An envelope for that row and column, under the key of this number; always with the same nonce.
#[must_use]
pub fn seal(key: &Key, id: u8, row: &[u8], column: &str, plain: &[u8]) -> Vec<u8> {
    let (header, nonce) = ([1, id], [7; NONCE]);
    let aad = Aad::from([&header, row, column.as_bytes()].concat());
    let (key, mut body) = (UnboundKey::new(&AES_256_GCM, key).unwrap(), plain.to_vec());
    let nonced = Nonce::assume_unique_for_key(nonce);
    LessSafeKey::new(key).seal_in_place_append_tag(nonced, aad, &mut body).unwrap();
    [header.as_slice(), &nonce, &body].concat()
}
