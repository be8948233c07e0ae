//! Turns to send: one line for each Firebase project, from which all its schedulers take theirs.
//!
//! A line is a stretch of time on which turns stand one behind the other, at the distance that the rate asks
//! for. Whoever has messages takes the next few turns off its head and lets each message leave in its turn. So
//! the rate is that of all together, however many they are, and nobody has to know of the others. Turns that
//! nobody took in time are gone.
//!
//! # Clocks
//! The line goes by the clocks of those who take turns; where they differ by up to [`SKEW`], by the one that is
//! ahead. With clocks that differ by `d`, no more than `rate × (w + d)` turns lie in any `w` seconds. A clock
//! that is set back holds nobody up for longer than [`SKEW`]; one that is set forward by a minute or more looks
//! like idling. Schedulers whose clocks differ by more than [`SKEW`] take little notice of each other.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::store::{FcmLine, StoreError, Tx};

/// Google asks to go from nothing to the full rate over at least a minute.
const RAMP: Duration = Duration::from_mins(1);
/// The share of the full rate that a ramp starts with.
const RAMP_START: f64 = 0.1;
/// After this long without a turn that was taken, the next one starts a ramp.
pub const IDLE: SignedDuration = SignedDuration::from_mins(1);
/// The longest stretch that is taken at once, unless a single turn is longer: others wait behind it.
const STRETCH: Duration = Duration::from_millis(250);
/// The longest distance between two turns.
const GAP_MAX: Duration = Duration::from_hours(1);
/// By how much the clocks of schedulers may differ.
pub const SKEW: SignedDuration = SignedDuration::from_secs(2);

/// How many messages may leave in a second, once a ramp is over. Above zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// `None` for what limits nothing, or lets nothing through: what is not above zero, or not finite.
    #[must_use]
    pub fn new(per_second: f64) -> Option<Self> {
        (per_second.is_finite() && per_second > 0.0).then_some(Self(per_second))
    }

    /// Messages per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.0
    }

    /// Messages per second as a ramp begins.
    #[must_use]
    pub fn per_second_at_first(self) -> f64 {
        self.0 * RAMP_START
    }
}

/// Turns that were taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// The first turn, by the line's clock.
    pub first: Timestamp,
    /// How far ahead it was when the turns were taken, elapsed; not below zero.
    pub wait: Duration,
    /// From one turn to the next.
    pub gap: Duration,
    /// How many turns; at least one.
    pub count: u32,
}

impl Slice {
    /// Messages per second for somebody who always wants more, elapsed: the fewer, the longer others stand in the
    /// line before them.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        let stretch = STRETCH.max(self.gap).as_secs_f64();
        stretch / (self.wait.as_secs_f64() + stretch) / self.gap.as_secs_f64()
    }
}

/// Takes the next turns of a project, at least one and at most as many as are wanted.
///
/// The unit of work is to do nothing else: others wait behind it for the line.
///
/// # Errors
/// The database's. Turns that were taken and not heard of are lost.
pub fn take_turns(
    tx: &mut Tx<'_>,
    project: &str,
    rate: Rate,
    wanted: u32,
) -> Result<Slice, StoreError> {
    let line = tx.fcm_line(project)?;
    // Not when the transaction began: it may have waited for the line.
    let (line, slice) = line.take(tx.env().now(), rate, wanted);
    tx.keep_fcm_line(project, line)?;
    Ok(slice)
}

impl FcmLine {
    /// See [`take_turns`]; `clock` is what the clock of who takes them says.
    fn take(self, clock: Timestamp, rate: Rate, wanted: u32) -> (Self, Slice) {
        let mut line = self.as_of(clock);
        if line.seen_at.duration_since(line.next_at) >= IDLE {
            line.ramp_began_at = line.seen_at;
        }
        let first = line.next_at.max(line.seen_at);
        let warm = first.duration_since(line.ramp_began_at).as_secs_f64().max(0.0);
        let share = (RAMP_START + (1.0 - RAMP_START) * warm / RAMP.as_secs_f64()).min(1.0);
        let gap = Duration::try_from_secs_f64(1.0 / (rate.0 * share)).unwrap_or(GAP_MAX);
        let gap = gap.min(GAP_MAX);
        let fitting = STRETCH.as_nanos().checked_div(gap.as_nanos()).unwrap_or(u128::MAX);
        let count = u32::try_from(fitting).unwrap_or(u32::MAX).min(wanted).max(1);
        line.next_at = later(first, gap.saturating_mul(count));
        let wait = Duration::try_from(first.duration_since(line.seen_at)).unwrap_or_default();
        (line, Slice { first, wait, gap, count })
    }

    /// The line as somebody sees it whose clock says this.
    fn as_of(self, clock: Timestamp) -> Self {
        let behind = self.seen_at.duration_since(clock);
        if behind <= SKEW {
            return Self { seen_at: self.seen_at.max(clock), ..self };
        }
        // The clock was set back, and the line goes back with it.
        let back = |at: Timestamp| at.checked_sub(behind).unwrap_or(Timestamp::MIN);
        Self {
            seen_at: clock,
            next_at: back(self.next_at),
            ramp_began_at: back(self.ramp_began_at),
        }
    }
}

/// Rounded up to the microsecond, which is what the line is kept in.
fn later(at: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX);
    at.checked_add(SignedDuration::from_micros(micros)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start() -> Timestamp {
        "2026-11-22T15:40:00Z".parse().unwrap()
    }

    fn millis(millis: i64) -> SignedDuration {
        SignedDuration::from_millis(millis)
    }

    /// One in a millisecond.
    fn rate() -> Rate {
        Rate::new(1_000.0).unwrap()
    }

    /// A line on which nothing has happened for an hour.
    fn idle() -> FcmLine {
        let then = start() - SignedDuration::from_hours(1);
        FcmLine { seen_at: then, next_at: then, ramp_began_at: then }
    }

    /// One at the full rate.
    fn warm() -> FcmLine {
        FcmLine { seen_at: start(), next_at: start(), ..idle() }
    }

    /// Whoever takes turns, their clock, and how long they take to come back for more.
    #[derive(Debug, Clone, Copy)]
    struct Taker {
        wrong_by: SignedDuration,
        wanted: u32,
        rests: SignedDuration,
    }

    fn takers(skew: i64) -> impl Strategy<Value = Vec<Taker>> {
        let taker = (0..=skew, 1..2_000_u32, 0..400_i64).prop_map(|(wrong_by, wanted, rests)| {
            Taker { wrong_by: millis(wrong_by), wanted, rests: millis(rests) }
        });
        prop::collection::vec(taker, 1..5)
    }

    /// When messages leave in the first `seconds`, in true time. Each taker comes for more when its last turn
    /// is over and it has rested.
    fn leaving(mut line: FcmLine, takers: &[Taker], seconds: i64) -> Vec<Timestamp> {
        let end = start() + SignedDuration::from_secs(seconds);
        let mut due: Vec<_> = takers.iter().map(|taker| (start(), *taker)).collect();
        let mut turns = Vec::new();
        loop {
            due.sort_by_key(|(at, _)| *at);
            let (at, taker) = due[0];
            if at >= end {
                turns.sort();
                return turns;
            }
            let (next, slice) = line.take(at + taker.wrong_by, rate(), taker.wanted);
            line = next;
            let first = at + SignedDuration::try_from(slice.wait).unwrap();
            let gap = SignedDuration::try_from(slice.gap).unwrap();
            turns.extend((0..slice.count).map(|n| first + gap * i32::try_from(n).unwrap()));
            due[0].0 = first + gap * i32::try_from(slice.count).unwrap() + taker.rests;
        }
    }

    /// The most turns in any stretch of this length.
    fn most_within(turns: &[Timestamp], length: SignedDuration) -> usize {
        let within = |from: usize| {
            let end = turns[from] + length;
            turns[from..].partition_point(|turn| *turn < end)
        };
        (0..turns.len()).map(within).max().unwrap_or(0)
    }

    #[test]
    fn who_waits_behind_others_leaves_more_slowly() {
        let behind = |wait, count| {
            let (wait, gap) = (Duration::from_millis(wait), Duration::from_millis(5));
            Slice { first: start(), wait, gap, count }.per_second()
        };
        assert!((behind(0, 50) - 200.0).abs() < 1e-9);
        assert!((behind(750, 50) - 50.0).abs() < 1e-9, "three others");
        assert!((behind(750, 1) - 50.0).abs() < 1e-9, "however many are wanted");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn together_they_never_exceed_the_rate(takers in takers(2_000), window in 1..5_000_i64) {
            let turns = leaving(warm(), &takers, 8);
            let wrong_by = || takers.iter().map(|taker| taker.wrong_by.as_millis());
            let skew = wrong_by().max().unwrap() - wrong_by().min().unwrap();
            let most = usize::try_from(i128::from(window) + skew).unwrap() + 1;
            let found = most_within(&turns, millis(window));
            prop_assert!(found <= most, "{found} in {window} ms, and {most} at most");
        }

        #[test]
        fn those_who_always_want_more_use_all_of_it(mut takers in takers(2_000)) {
            for taker in &mut takers {
                (taker.rests, taker.wanted) = (SignedDuration::ZERO, taker.wanted.max(250));
            }
            let turns = leaving(warm(), &takers, 8).len();
            // What differs between the clocks may be lost once.
            prop_assert!(turns >= 5_900, "{turns}");
        }

        #[test]
        fn a_clock_that_is_set_wrong_holds_nobody_up(step in -10_000_000..10_000_000_i64) {
            let mut line = warm();
            let (mut clock, mut waited) = (start(), SignedDuration::ZERO);
            for n in 0..100 {
                if n == 20 {
                    clock += millis(step);
                }
                let (next, slice) = line.take(clock, rate(), 250);
                let wait = SignedDuration::try_from(slice.wait).unwrap();
                prop_assert!(wait <= SKEW, "{wait:?}");
                waited += wait;
                clock += wait + SignedDuration::try_from(slice.gap * slice.count).unwrap();
                line = next;
            }
            prop_assert!(waited <= SKEW + millis(1), "{waited:?}");
        }
    }

    #[test]
    fn a_line_warms_up_from_a_tenth_to_the_full_rate_in_a_minute() {
        let greedy =
            Taker { wrong_by: SignedDuration::ZERO, wanted: 2_000, rests: SignedDuration::ZERO };
        let turns = leaving(idle(), &[greedy, greedy], 63);
        let second = |n: i64| {
            let begins = start() + SignedDuration::from_secs(n);
            let ends = begins + SignedDuration::from_secs(1);
            turns.iter().filter(|turn| (begins..ends).contains(turn)).count()
        };
        assert!((95..=130).contains(&second(0)), "{}", second(0));
        assert!((540..=580).contains(&second(30)), "{}", second(30));
        assert!((990..=1_010).contains(&second(61)), "{}", second(61));
        assert_eq!(turns[0], start(), "the first leaves at once");
    }

    #[test]
    fn a_minute_of_idling_starts_the_ramp_again_for_everybody() {
        let after = |seconds| {
            let (line, _) = warm().take(start(), rate(), 1);
            line.take(start() + SignedDuration::from_secs(seconds), rate(), 1_000).1
        };
        assert_eq!((after(59).count, after(59).wait), (250, Duration::ZERO));
        assert_eq!((after(61).count, after(61).wait), (25, Duration::ZERO));
    }

    #[test]
    fn nobody_takes_more_than_they_want_or_than_others_can_wait_for() {
        let take = |per_second, wanted| {
            let rate = Rate::new(per_second).unwrap();
            warm().take(start(), rate, wanted).1.count
        };
        assert_eq!([take(1_000.0, 0), take(1_000.0, 7), take(1_000.0, 9_999)], [1, 7, 250]);
        assert_eq!([take(1.0, 9), take(1e-9, 9), take(1e300, 9)], [1, 1, 9]);
    }

    #[test]
    fn what_limits_nothing_is_no_rate() {
        for none in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Rate::new(none), None, "{none}");
        }
    }
}
