//! Every zone of the IANA database that somebody can live in.

use std::sync::LazyLock;

use aftercare::zone::Zone;
use jiff::tz::TimeZoneDatabase;

use crate::dice::Dice;

static ZONES: LazyLock<Vec<Zone>> = LazyLock::new(|| {
    let database = TimeZoneDatabase::bundled();
    let mut names: Vec<String> = database.available().map(|name| name.to_string()).collect();
    names.sort();
    names.iter().filter_map(|name| name.parse().ok()).collect()
});

pub(crate) fn any(dice: &mut Dice) -> Zone {
    ZONES[dice.index(ZONES.len())].clone()
}
