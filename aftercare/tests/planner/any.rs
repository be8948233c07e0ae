//! Facts of any kind, for properties.

use std::sync::Arc;

use aftercare::planner::Facts;
use aftercare::protocol::{QuietHours, shipped};
use aftercare::zone::Zone;
use jiff::civil::{Time, time};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::support::{facts, treatment, zone};

/// How hard a property of every plan is tried.
pub(crate) fn every_plan() -> ProptestConfig {
    ProptestConfig { cases: 512, ..ProptestConfig::default() }
}

const ZONES: &[&str] = &[
    "Europe/Lisbon",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Pacific/Chatham",
    "America/St_Johns",
    "America/Havana",
    "Asia/Tehran",
    "Antarctica/Troll",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
    "UTC",
];

pub(crate) fn any_zone() -> impl Strategy<Value = Zone> {
    prop::sample::select(ZONES).prop_map(zone)
}

pub(crate) fn any_time() -> impl Strategy<Value = Time> {
    (0..24_i8, 0..60_i8).prop_map(|(hour, minute)| time(hour, minute, 0, 0))
}

/// How long after the one before, how late it was recorded, of which protocol, where, and whether it
/// was taken back.
fn any_session() -> impl Strategy<Value = (i64, i64, usize, u16, bool)> {
    (0..40 * 24 * 3600_i64, 0..60 * 3600_i64, 0..shipped().len(), any::<u16>(), any::<bool>())
}

prop_compose! {
    pub(crate) fn any_facts()(
        start in 1_704_067_200_i64..2_145_916_800,
        zones in (any_zone(), any_zone()),
        gaps in prop::collection::vec(any_session(), 1..4),
        quiet in prop::option::of((any_time(), any_time())),
        exercise in prop::option::of(6..22_i8),
        recall in any::<bool>(),
    ) -> (Facts, Timestamp) {
        let mut completed = Timestamp::from_second(start).unwrap();
        let mut treatments = Vec::new();
        for (id, (gap, late, which, areas, voided)) in (1..).zip(gaps) {
            completed += SignedDuration::from_secs(gap);
            let mut treatment = treatment(id, completed, zones.0.name());
            treatment.recorded_at = completed + SignedDuration::from_secs(late);
            treatment.voided = voided && id > 1;
            let protocol = &shipped()[which].protocol;
            let chosen = protocol.areas.iter().enumerate().filter(|(i, _)| areas & (1 << i) != 0);
            treatment.areas = chosen.map(|(_, area)| area.clone()).collect();
            if treatment.areas.is_empty() {
                treatment.areas.clone_from(&protocol.default_areas);
            }
            treatment.protocol = Arc::clone(protocol);
            treatments.push(treatment);
        }
        let now = treatments.iter().map(|treatment| treatment.recorded_at).max().unwrap();
        let mut facts = facts(treatments, zones.1.name());
        facts.person.quiet_hours = quiet.map(|(from, until)| QuietHours { from, until });
        facts.person.exercise_hour = exercise.map(|hour| time(hour, 0, 0, 0));
        facts.person.recall = recall;
        (facts, now)
    }
}
