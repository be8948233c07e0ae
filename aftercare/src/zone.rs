//! Time zones, by their IANA name and from the data compiled into this binary.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// A time zone of the IANA database, in its canonical spelling.
///
/// The data is the one bundled at build time, never the machine's: two servers with different
/// system packages plan the same hours. Names match without regard to case and keep the
/// database's spelling (`europe/lisbon` becomes `Europe/Lisbon`); links such as `Asia/Calcutta`
/// are names of their own and stay as given. Serialised as the name.
///
/// ```
/// use aftercare::zone::Zone;
///
/// let zone: Zone = "europe/lisbon".parse()?;
/// assert_eq!(zone.name(), "Europe/Lisbon");
/// assert!("Factory".parse::<Zone>().is_err());
/// assert!("WET0WEST,M3.5.0/1,M10.5.0".parse::<Zone>().is_err());
/// # Ok::<(), aftercare::zone::ZoneError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Zone {
    name: Arc<str>,
    tz: TimeZone,
}

impl Zone {
    /// The name, spelled as the database spells it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The zone's rules.
    #[must_use]
    pub fn tz(&self) -> &TimeZone {
        &self.tz
    }
}

/// Names that the database holds but that say where nobody is.
const NOWHERE: [&str; 2] = ["Etc/Unknown", "Factory"];

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        static BUNDLED: OnceLock<TimeZoneDatabase> = OnceLock::new();
        let refuse = || ZoneError { given: text.chars().take(64).collect() };
        if NOWHERE.iter().any(|nowhere| nowhere.eq_ignore_ascii_case(text)) {
            return Err(refuse());
        }
        let database = BUNDLED.get_or_init(TimeZoneDatabase::bundled);
        let tz = database.get(text).map_err(|_| refuse())?;
        let name = tz.iana_name().ok_or_else(refuse)?.into();
        Ok(Self { name, tz })
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(text: String) -> Result<Self, ZoneError> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name.as_ref().to_owned()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }
}

impl std::hash::Hash for Zone {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Text that names no time zone we can plan in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a time zone; give a name from the IANA database, such as `Europe/Lisbon` or \
     `America/New_York`"
)]
pub struct ZoneError {
    given: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_the_database_spelling() {
        for (given, name) in [
            ("Europe/Lisbon", "Europe/Lisbon"),
            ("AMERICA/new_york", "America/New_York"),
            ("utc", "UTC"),
            ("etc/gmt+5", "Etc/GMT+5"),
            ("Asia/Calcutta", "Asia/Calcutta"),
        ] {
            assert_eq!(given.parse::<Zone>().unwrap().name(), name);
        }
    }

    #[test]
    fn what_is_not_a_place_is_refused() {
        for given in [
            "",
            " ",
            "Etc/Unknown",
            "etc/unknown",
            "Factory",
            "Mars/Olympus",
            "+02:00",
            "UTC+2",
            "CET-1CEST,M3.5.0,M10.5.0/3",
            "Europe/Lisbon ",
            "../etc/passwd",
            "Europe/Lisbon\0",
        ] {
            let refused = given.parse::<Zone>().expect_err(given);
            assert!(refused.to_string().contains("Europe/Lisbon"), "{refused}");
        }
    }

    #[test]
    fn json_is_the_name() {
        let zone: Zone = serde_json::from_str("\"africa/cairo\"").unwrap();
        assert_eq!(serde_json::to_string(&zone).unwrap(), "\"Africa/Cairo\"");
        assert!(serde_json::from_str::<Zone>("\"Factory\"").is_err());
    }
}
