//! What a protocol says, once it has been checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Span};
use serde::{Deserialize, Serialize};

use crate::locale::Locale;
use crate::words::words;

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as the protocol writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: Into<String>> From<T> for $name {
            fn from(name: T) -> Self {
                Self(name.into())
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Ok(Self(name.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

names! {
    /// A rule's id, unique in its protocol. Timelines, preferences and apps keep it: to rename a
    /// rule is to drop it and add another.
    RuleId,
    /// A step's id, unique in its protocol. Reminders are stored under it: to rename a step is to
    /// cancel its reminders and plan new ones.
    StepId,
}

impl StepId {
    /// Steps of these names are no protocol's: they set right what was sent.
    pub(crate) const CORRECTIONS: &'static str = "correction-";

    /// The name of a treatment's `n`th correction.
    pub(crate) fn correction(n: usize) -> Self {
        Self(format!("{}{n}", Self::CORRECTIONS))
    }

    /// The name of the correction that takes a voided treatment's instructions back.
    pub(crate) fn disregard() -> Self {
        Self(format!("{}disregard", Self::CORRECTIONS))
    }

    /// Whether it sets right what was sent.
    #[must_use]
    pub fn is_correction(&self) -> bool {
        self.0.starts_with(Self::CORRECTIONS)
    }
}

/// A part of the body that was treated, such as `face` or `underarms`: a word of the protocols that
/// are applied there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Area(String);

impl Area {
    /// The word that protocols use.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Area {
    type Err = NotAName;

    fn from_str(word: &str) -> Result<Self, NotAName> {
        if is_name(word) { Ok(Self(word.to_owned())) } else { Err(NotAName) }
    }
}

impl TryFrom<String> for Area {
    type Error = NotAName;

    fn try_from(word: String) -> Result<Self, NotAName> {
        word.parse()
    }
}

impl From<Area> for String {
    fn from(area: Area) -> Self {
        area.0
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A word that cannot name anything in a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name is at most 64 lower-case letters, digits and inner hyphens")]
pub struct NotAName;

/// Whether protocols can call something so: `[a-z0-9]` and inner hyphens, at most 64 characters.
pub(super) fn is_name(word: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&word.len())
        && word.bytes().all(fine)
        && !word.starts_with('-')
        && !word.ends_with('-')
}

words! {
    /// What a rule asks for.
    RuleKind {
        /// Something not to do while the rule holds.
        Avoid = "avoid",
        /// Something to do while the rule holds.
        Do = "do",
        /// Something that will be felt or seen and is no cause for alarm.
        Expect = "expect",
        /// The next session of the course.
        NextSession = "next-session",
    }

    /// When a step is planned at all.
    Condition {
        /// Only while the next session has a date.
        Booked = "booked",
        /// Only while the next session has none.
        Unbooked = "unbooked",
    }
}

/// A text in every locale of its protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    pub(super) by_locale: BTreeMap<Locale, String>,
    pub(super) default: Locale,
}

impl Texts {
    /// A text that all protocols share; English serves whoever speaks none of its languages.
    pub(crate) fn shared(texts: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        let texts = texts.into_iter();
        Self {
            by_locale: texts.map(|(tag, text)| (Locale::known(tag), text.to_owned())).collect(),
            default: Locale::known("en"),
        }
    }

    /// The locale that serves `wanted` best: itself, else the longest prefix of it that the
    /// protocol has (BCP 47 look-up), else the protocol's first locale.
    #[must_use]
    pub fn locale_for(&self, wanted: &Locale) -> &Locale {
        wanted
            .fallbacks()
            .find_map(|tag| self.by_locale.keys().find(|locale| locale.as_str() == tag))
            .unwrap_or(&self.default)
    }

    /// The text for `wanted`, by the same look-up.
    #[must_use]
    pub fn get(&self, wanted: &Locale) -> &str {
        self.by_locale.get(self.locale_for(wanted)).map_or("", String::as_str)
    }
}

/// An instant relative to the treatment. `T` is its completion, day 0 the day of `T` in the
/// treatment's zone. Hours of the day are wall clock in the patient's current zone; the end of a
/// day is midnight in the treatment's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// `T` plus an elapsed time: exactly that many hours, whatever the clocks on the wall do.
    Elapsed(SignedDuration),
    /// A time of day, `day` days after day 0.
    Wall {
        /// Days after day 0.
        day: i32,
        /// The hour on the wall.
        at: Time,
    },
    /// Midnight at the end of that day, in the treatment's zone.
    EndOfDay {
        /// Days after day 0.
        day: i32,
    },
    /// A time of day, `days` after (before, when negative) the day the next session is due.
    Interval {
        /// Days after that day.
        days: i32,
        /// The hour on the wall.
        at: Time,
    },
    /// A time of day, `days` after (before, when negative) the day of the booked next session.
    Booking {
        /// Days after that day.
        days: i32,
        /// The hour on the wall.
        at: Time,
    },
    /// As many days after the step's own due moment, at the same hour on the wall.
    AfterDue {
        /// Days after the due day.
        days: i32,
    },
}

/// Something the patient should know, from the treatment until it ends.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// What it asks for.
    pub kind: RuleKind,
    /// What not to do; empty but for [`RuleKind::Avoid`].
    pub activities: Vec<String>,
    /// Where it applies; a treatment elsewhere is not concerned.
    pub areas: BTreeSet<Area>,
    /// When it ends; `None` = open-ended.
    pub until: Option<Moment>,
    /// What the clinic's own page says, word for word.
    pub quote: Option<String>,
    /// The rule without its hours, for timelines.
    pub text: Texts,
    /// The rule with its hours (`{until}`), for notifications.
    pub push: Texts,
}

/// One sentence of a step.
#[derive(Debug, Clone)]
pub struct Clause {
    /// When it is said.
    pub when: When,
    /// The slot without which it is not said.
    pub needs: Option<String>,
    /// Its own words; `None` = the rule's `push` text.
    pub text: Option<Texts>,
}

/// When a clause is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// While the rule holds.
    During(RuleId),
    /// Once the rule, which applied to this treatment, has ended.
    After(RuleId),
    /// Always.
    Always,
}

impl When {
    /// The rule it hangs on.
    #[must_use]
    pub const fn rule(&self) -> Option<&RuleId> {
        match self {
            Self::During(rule) | Self::After(rule) => Some(rule),
            Self::Always => None,
        }
    }
}

/// A planned moment of a protocol.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// When it is due.
    pub due: Moment,
    /// From when on it is worthless; `None` = the latest end of its rules.
    pub use_by: Option<Moment>,
    /// What it says.
    pub clauses: Vec<Clause>,
    /// The heading of its notification.
    pub title: Texts,
    /// When it is planned at all; `None` = always.
    pub condition: Option<Condition>,
    /// The step that has said it all when the treatment ended late in the day.
    pub covered: Option<Covered>,
    /// Follows the patient's hour of exercise.
    pub before_exercise: bool,
    /// Due moments are spread over this elapsed time, to spare FCM a peak.
    pub spread: SignedDuration,
}

/// A step is left out because another said the same a little earlier.
#[derive(Debug, Clone)]
pub struct Covered {
    /// The step that said it.
    pub by: StepId,
    /// Holds when `T`, on the wall of the treatment's zone, is after this hour of day 0.
    pub after: Time,
}

/// A series of sessions.
#[derive(Debug, Clone)]
pub struct Course {
    /// How many sessions it has.
    pub sessions: u32,
    /// From one session to the next.
    pub interval: Calendar,
    /// Without a session for longer than this, the next one starts a new course.
    pub restart_after: Calendar,
}

/// A time counted on the calendar, in the treatment's zone: never a number of hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calendar {
    /// Months; a day that the shorter month lacks is its last one.
    Months(i32),
    /// Days; a week is seven of them.
    Days(i32),
}

impl Calendar {
    /// The day that is so much later; `None` where the calendar ends.
    #[must_use]
    pub fn after(self, day: Date) -> Option<Date> {
        let span = match self {
            Self::Months(months) => Span::new().try_months(months),
            Self::Days(days) => Span::new().try_days(days),
        };
        day.checked_add(span.ok()?).ok()
    }

    /// The most days that it can be.
    #[must_use]
    pub const fn at_most(self) -> i32 {
        match self {
            Self::Months(months) => months.saturating_mul(31),
            Self::Days(days) => days,
        }
    }

    /// Whether it is longer than the other, whatever months they fall into.
    pub(super) fn always_longer_than(self, other: Self) -> bool {
        match (self, other) {
            (Self::Months(a), Self::Months(b)) | (Self::Days(a), Self::Days(b)) => a > b,
            (Self::Months(a), Self::Days(b)) => a.saturating_mul(28) > b,
            (Self::Days(a), Self::Months(_)) => a > other.at_most(),
        }
    }
}

/// The hours in which a phone stays silent: `[from, until)` on the wall, over midnight when `from`
/// is the later one; none when both are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// The first silent minute.
    pub from: Time,
    /// The first minute that is not silent.
    pub until: Time,
}

/// How few interruptions are wanted.
#[derive(Debug, Clone)]
pub struct Pacing {
    /// Steps due within this elapsed time of the first become one reminder.
    pub bundle_window: SignedDuration,
    /// The elapsed time a wall-clock reminder keeps from the one before, where its use-by allows.
    pub min_gap: SignedDuration,
    /// Reminders on one local day, where joining them can keep it.
    pub max_per_day: u32,
    /// A treatment recorded later than this elapsed time after it ended is late.
    pub late_after: SignedDuration,
    /// Quiet hours of a patient who set none.
    pub quiet_hours: QuietHours,
}

/// A checked protocol. [`Protocol::parse`] is the only way to get one.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// Its name in URLs and events.
    pub slug: String,
    /// Counts up with each published change.
    pub version: u32,
    /// Who of the clinic approved the texts; `None` = a draft that nobody reviewed.
    pub reviewed_by: Option<String>,
    /// When they did.
    pub reviewed_at: Option<Date>,
    /// Its name for people.
    pub title: Texts,
    /// The locales its texts are in; the first serves whoever speaks none of them.
    pub locales: Vec<Locale>,
    /// Where it can be applied.
    pub areas: BTreeSet<Area>,
    /// Where it was applied when the event does not say.
    pub default_areas: BTreeSet<Area>,
    /// The series it belongs to.
    pub course: Option<Course>,
    /// How few interruptions are wanted.
    pub pacing: Pacing,
    /// What each activity is called.
    pub activities: BTreeMap<String, Texts>,
    /// Words that a clinic fills in, with what stands there until it does.
    pub slots: BTreeMap<String, Option<Texts>>,
    /// The rules, in the order in which they are said.
    pub rules: Vec<Rule>,
    /// The steps, in protocol order.
    pub steps: Vec<Step>,
}

impl Protocol {
    /// What is said beside a protocol wherever it is shown, until somebody of a clinic has approved
    /// its texts.
    pub const DRAFT: &'static str = "draft, not reviewed";

    /// [`Self::DRAFT`], if nobody has approved the texts.
    #[must_use]
    pub fn notice(&self) -> Option<&'static str> {
        self.reviewed_by.is_none().then_some(Self::DRAFT)
    }

    /// Those of the areas that it can be applied to.
    #[must_use]
    pub fn known(&self, areas: &BTreeSet<Area>) -> BTreeSet<Area> {
        areas.intersection(&self.areas).cloned().collect()
    }

    /// Where it was applied, of the areas that the protocol knows; the default when it knows none of
    /// them.
    #[must_use]
    pub fn treated(&self, areas: &BTreeSet<Area>) -> BTreeSet<Area> {
        let known = self.known(areas);
        if known.is_empty() { self.default_areas.clone() } else { known }
    }

    /// The rule of that name.
    #[must_use]
    pub fn rule(&self, id: &RuleId) -> Option<&Rule> {
        self.rules.iter().find(|rule| &rule.id == id)
    }

    /// The step of that name.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| &step.id == id)
    }

    /// Whether the step is about the next session, which a patient may decline apart.
    #[must_use]
    pub fn is_recall(&self, step: &Step) -> bool {
        step.clauses
            .iter()
            .filter_map(|clause| clause.when.rule())
            .any(|id| self.rule(id).is_some_and(|rule| rule.kind == RuleKind::NextSession))
    }
}
