//! What is under the master key itself, and the numbers of master keys.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use uuid::Uuid;

use super::Place;

/// The columns whose values are under the master key itself. What else is sealed is under a key that
/// one of these holds, and stays as it is when the master key is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderMaster {
    /// A patient's data key.
    PatientKey,
    /// The private half of a key that signs access tokens.
    SigningKey,
    /// A secret that signs a clinic's events.
    SigningSecret,
    /// Where a clinic's webhook leads, and the secret that signs what it is told.
    WebhookTarget,
    /// The key behind look-ups and the successors of refresh tokens.
    IndexKey,
    /// The key behind the chain of the audit trail.
    AuditKey,
}

impl UnderMaster {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PatientKey,
        Self::SigningKey,
        Self::SigningSecret,
        Self::WebhookTarget,
        Self::IndexKey,
        Self::AuditKey,
    ];

    /// The column, as `table.column`.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Self::PatientKey => "patients.key_wrapped",
            Self::SigningKey => "signing_keys.private_sealed",
            Self::SigningSecret => "signing_secrets.secret_sealed",
            Self::WebhookTarget => "webhooks.target_sealed",
            Self::IndexKey => "server.index_key_wrapped",
            Self::AuditKey => "server.audit_key_wrapped",
        }
    }

    pub(crate) fn table_and_column(self) -> (&'static str, &'static str) {
        self.column().split_once('.').unwrap_or_default()
    }

    /// The column of the row that is named so.
    pub(super) fn at(self, row: Uuid) -> Place {
        Place { column: self.column(), row }
    }
}

/// The number of a master key, 1 to 255, which stands in whatever is under that key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(NonZeroU8);

impl KeyId {
    /// The key of a file in which no number is written.
    pub const FIRST: Self = Self(NonZeroU8::MIN);

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// The number after this one, if there is one.
    pub(super) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// Whether an envelope is under this key.
    pub(crate) fn is_of(self, envelope: &[u8]) -> bool {
        Self::of(envelope) == Some(self)
    }

    /// Which master key an envelope is under.
    pub(super) fn of(envelope: &[u8]) -> Option<Self> {
        NonZeroU8::new(*envelope.get(1)?).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for KeyId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl TryFrom<i32> for KeyId {
    type Error = std::num::TryFromIntError;

    fn try_from(number: i32) -> Result<Self, Self::Error> {
        NonZeroU8::try_from(u8::try_from(number)?).map(Self)
    }
}
