//! How the keys of access tokens take turns.
//!
//! A new key is published for [`PUBLISHED_AHEAD`] before it signs, so that whoever checks tokens, here
//! or elsewhere, knows it when its first token comes. When it signs, the key before it has retired:
//! its private half is destroyed, its public half stays until its last token has expired. So nobody
//! ever sees a token whose key they cannot know, and a rotation refuses nothing.
//!
//! All of it is instants in one table, written in one transaction: a rotation that was cut off has
//! either happened or not, and servers on one database agree without talking to each other.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jiff::{SignedDuration, Timestamp};

use crate::store::{AuditEntry, SigningKey, StoreError, Tx};

/// How long an access token is good for, in elapsed time.
pub const ACCESS_LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// How long a new key is published before it signs, in elapsed time: several times what servers (one
/// minute) and well-behaved verifiers elsewhere (`max-age`, one minute more) may take to see it.
pub const PUBLISHED_AHEAD: SignedDuration = SignedDuration::from_mins(15);

/// By how much the clocks of servers on one database may differ, in elapsed time.
const SKEW: SignedDuration = SignedDuration::from_mins(2);

/// Where a key stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Published; it signs from its instant on.
    Next,
    /// It signs.
    Signing,
    /// It signs no more; the tokens it signed last are still good.
    Retired,
}

impl Turn {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Retired => "retired",
        }
    }
}

impl SigningKey {
    /// Where the key stands at `now`.
    #[must_use]
    pub fn turn(&self, now: Timestamp) -> Turn {
        match self.retired_at {
            Some(at) if at <= now => Turn::Retired,
            _ if self.signs_from > now => Turn::Next,
            _ => Turn::Signing,
        }
    }

    /// From this instant on it is in nobody's way: the last token it signed has expired, on every server's
    /// clock. `None` while no other key is to follow it.
    #[must_use]
    pub fn over_at(&self) -> Option<Timestamp> {
        self.retired_at.map(|at| at + ACCESS_LIFETIME + SKEW)
    }
}

/// The key among `keys` that signs at `now`: of those that can, the one whose turn began last, else the
/// one whose turn comes first.
#[must_use]
pub fn signing_key(keys: &[SigningKey], now: Timestamp) -> Option<&SigningKey> {
    let able = || keys.iter().filter(|key| key.private.is_some());
    let begun = able().filter(|key| key.signs_from <= now).max_by_key(|key| key.signs_from);
    begun.or_else(|| able().min_by_key(|key| key.signs_from))
}

/// What came of [`rotate_signing_keys`].
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The key that follows.
    pub next: String,
    /// Whether it was made now; false when an earlier rotation was still under way, which this one
    /// left alone.
    pub made: bool,
    /// Every key as it is now, the one whose turn comes last first.
    pub keys: Vec<SigningKey>,
}

/// Makes the key that follows; it signs after [`PUBLISHED_AHEAD`]. While an earlier rotation is under
/// way, nothing changes: a call that was repeated rotates once.
///
/// # Errors
/// When the database fails.
pub fn rotate_signing_keys(tx: &mut Tx<'_>) -> Result<Rotation, StoreError> {
    tx.lock_signing_keys()?;
    tidy(tx)?;
    let (keys, now) = (tx.signing_keys()?, tx.now());
    if let Some(next) = keys.iter().find(|key| key.turn(now) == Turn::Next) {
        return Ok(Rotation { next: next.kid.clone(), made: false, keys });
    }
    // The first key of all has nobody to wait for.
    let wait = if keys.is_empty() { SignedDuration::ZERO } else { PUBLISHED_AHEAD };
    let next = add(tx, now + wait)?;
    tx.retire_signing_keys(now + wait, &next)?;
    Ok(Rotation { next, made: true, keys: tx.signing_keys()? })
}

/// Makes a key that signs at once and destroys every other: tokens that they signed, or that a thief of
/// theirs made, are refused from the commit on. Whoever holds one has to get another.
///
/// # Errors
/// When the database fails.
pub fn replace_signing_keys(tx: &mut Tx<'_>) -> Result<Rotation, StoreError> {
    tx.lock_signing_keys()?;
    for key in tx.signing_keys()? {
        tx.delete_signing_key(&key.kid)?;
        audit(tx, "signing-key.destroyed", &key.kid)?;
    }
    let now = tx.now();
    let next = add(tx, now)?;
    Ok(Rotation { next, made: true, keys: tx.signing_keys()? })
}

/// The keys, with what is over tidied away, and with a first one where none can sign.
///
/// # Errors
/// When the database fails.
pub fn ensure_signing_key(tx: &mut Tx<'_>) -> Result<Vec<SigningKey>, StoreError> {
    tx.lock_signing_keys()?;
    tidy(tx)?;
    let (keys, now) = (tx.signing_keys()?, tx.now());
    if signing_key(&keys, now).is_some() {
        return Ok(keys);
    }
    add(tx, now)?;
    tx.signing_keys()
}

/// Whether [`ensure_signing_key`] would change anything.
#[must_use]
pub fn needs_care(keys: &[SigningKey], now: Timestamp) -> bool {
    let due = |key: &SigningKey| {
        let destroy = key.private.is_some() && key.retired_at.is_some_and(|at| at + SKEW <= now);
        destroy || key.over_at().is_some_and(|at| at <= now)
    };
    signing_key(keys, now).is_none() || keys.iter().any(due)
}

/// Destroys private halves that sign no more, and forgets the keys whose last token has expired.
fn tidy(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    let now = tx.now();
    let ended = now.checked_sub(SKEW).unwrap_or(Timestamp::MIN);
    tx.destroy_private_halves(ended)?;
    tx.forget_signing_keys(ended.checked_sub(ACCESS_LIFETIME).unwrap_or(Timestamp::MIN))?;
    Ok(())
}

fn add(tx: &mut Tx<'_>, signs_from: Timestamp) -> Result<String, StoreError> {
    let failed = |_| StoreError::Internal("an Ed25519 key could not be made".to_owned());
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let private = pair.to_pkcs8v1().map_err(failed)?;
    let kid = tx.env().uuid().simple().to_string();
    tx.insert_signing_key(&kid, private.as_ref(), pair.public_key().as_ref(), signs_from)?;
    audit(tx, "signing-key.made", &kid)?;
    Ok(kid)
}

fn audit(tx: &mut Tx<'_>, action: &str, kid: &str) -> Result<(), StoreError> {
    let subject = format!("signing-key:{kid}");
    tx.append_audit(&AuditEntry {
        clinic_id: None,
        actor: "operator",
        action,
        subject: Some(&subject),
    })?;
    Ok(())
}
