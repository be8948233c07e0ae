//! One type for each kind of id, so that a patient's id can never stand where a clinic's belongs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )+};
}

ids! {
    /// A clinic: the tenant.
    ClinicId,
    /// One secret of a clinic's API client; two may be valid at once.
    ClientSecretId,
    /// A patient of one clinic.
    PatientId,
    /// One app installation.
    DeviceId,
    /// One stored version of a protocol.
    ProtocolId,
    /// One completed session.
    TreatmentId,
    /// One planned notification; stable across re-plans.
    ReminderId,
    /// One attempt to push one reminder to one device.
    DeliveryId,
    /// One time that a reminder was put off.
    SnoozeId,
    /// One sign-in, of a clinic's client or of a patient's app: the `sid` of its tokens.
    SessionId,
    /// One refresh token of a session.
    RefreshTokenId,
    /// One invitation to a patient's app.
    EnrolmentId,
    /// One claim on due work: whoever holds it may complete that work, nobody else.
    LeaseId,
    /// One row of the audit trail.
    AuditId,
    /// One thing said of a session after it was recorded.
    AmendmentId,
    /// One secret that signs a clinic's events.
    SigningSecretId,
    /// One person who works at a clinic's desk.
    StaffId,
    /// One sign-in at the desk.
    StaffSessionId,
    /// One test push.
    TestPushId,
    /// One address at which a clinic hears of what happens.
    WebhookId,
    /// One thing told to one webhook, however often it is sent: its `webhook-id`.
    WebhookEventId,
}
