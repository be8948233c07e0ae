//! The planner: a pure function from what is known of a patient to what will be said, and when.
//!
//! It reads no clock, no table and no network: the same [`Facts`] at the same instant always give
//! the same [`Plan`]. To amend, void, travel or opt out is to change the facts and plan again;
//! the difference between two plans is found by [`Key`], which never changes.

mod bundle;
mod chart;
mod correction;
mod course;
mod diff;
mod ends;
mod explain;
mod message;
mod moment;
mod preview;
mod quiet;
mod restriction;
mod sheet;
mod speech;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use chart::Chart;
pub use correction::Said;
pub use course::{CourseState, complete, courses};
pub use diff::{Change, diff};
pub use explain::{explain, explain_shift};
pub use message::Message;
pub(crate) use moment::Anchor;
pub use preview::{
    Preview, PreviewReminder, PreviewRestriction, PreviewSkip, PreviewTreatment, Trial, local,
    preview,
};
pub use restriction::{Restriction, in_force, of_treatment, rule_text};
pub use sheet::{Headings, Sheet, sheet};

use crate::ids::{PatientId, TreatmentId};
use crate::locale::Locale;
use crate::protocol::{Area, Protocol, QuietHours, RuleId, StepId};
use crate::words::words;
use crate::zone::Zone;

/// What names a reminder for ever: the treatment and the step of its protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The treatment.
    pub treatment: TreatmentId,
    /// The step of the treatment's protocol.
    pub step: StepId,
}

words! {
    /// Where a reminder stands.
    ReminderState {
        /// Waits for its due moment, or for its next attempt.
        Planned = "planned",
        /// A dispatcher holds it under a lease.
        Claimed = "claimed",
        /// At least one device's push was accepted. Final.
        Sent = "sent",
        /// Its use-by passed before anything was accepted. Final.
        Expired = "expired",
        /// It could not be sent and no retry would help. Final.
        Failed = "failed",
        /// No longer wanted; may return to `planned`.
        Cancelled = "cancelled",
        /// Said by another reminder instead; may return to `planned`.
        Superseded = "superseded",
        /// Left out for a reason; may return to `planned`.
        Skipped = "skipped",
    }

    /// Why a reminder is where it is.
    Reason {
        /// No clause of it holds at its due moment.
        NothingToSay = "nothing-to-say",
        /// It would come too late to help.
        PastUseBy = "past-use-by",
        /// It falls into quiet hours that it cannot leave.
        QuietHours = "quiet-hours",
        /// The patient has no device that can be reached.
        NoDevice = "no-device",
        /// The patient withdrew consent.
        Consent = "consent",
        /// The patient muted every rule of it.
        Muted = "muted",
        /// Another step of the same evening has said it.
        Covered = "covered",
        /// The treatment was voided.
        Voided = "voided",
        /// The treatment was corrected and has no such step now.
        Amended = "amended",
        /// The next session has a date.
        Booked = "booked",
        /// The next session has no date.
        NotBooked = "not-booked",
        /// A newer session speaks for the course.
        NewerSession = "newer-session",
        /// The course has all its sessions.
        CourseComplete = "course-complete",
        /// Another reminder carries it.
        Bundled = "bundled",
        /// FCM accepted it for a device.
        Accepted = "accepted",
        /// FCM refused it as it is.
        Rejected = "rejected",
        /// An attempt failed; another follows.
        Retrying = "retrying",
        /// The patient put it off.
        Snoozed = "snoozed",
    }

    /// What moved a step from the moment its protocol names.
    ShiftCause {
        /// It was already due when it was planned.
        Late = "late",
        /// Quiet hours.
        QuietHours = "quiet-hours",
        /// The protocol's spread.
        Spread = "spread",
        /// The reminder before it was too near.
        MinGap = "min-gap",
        /// It joined an earlier step.
        Bundled = "bundled",
        /// The day had reminders enough.
        MaxPerDay = "max-per-day",
        /// The patient put it off.
        Snoozed = "snoozed",
    }
}

impl ReminderState {
    /// Whether it is still to be sent: it waits, or is on its way.
    #[must_use]
    pub const fn is_to_come(self) -> bool {
        matches!(self, Self::Planned | Self::Claimed)
    }
}

/// One move of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// What moved it.
    pub cause: ShiftCause,
    /// Where to.
    pub to: Timestamp,
}

/// One step in a reminder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    #[serde(flatten)]
    pub key: Key,
    /// When its protocol has it due.
    pub nominal_at: Timestamp,
    /// From when on it is worthless.
    pub use_by: Timestamp,
    /// How it got from `nominal_at` to the reminder's due moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shifts: Vec<Shift>,
}

/// A treatment, as far as planning is concerned.
#[derive(Debug, Clone)]
pub struct TreatmentFacts {
    /// Its id.
    pub id: TreatmentId,
    /// The protocol version it was recorded under.
    pub protocol: Arc<Protocol>,
    /// `T`: when the session ended.
    pub completed_at: Timestamp,
    /// When we learned of it.
    pub recorded_at: Timestamp,
    /// The treatment's zone: fixes day 0, midnights and months.
    pub zone: Zone,
    /// Where it was applied.
    pub areas: BTreeSet<Area>,
    /// Recorded by mistake: counts for nothing.
    pub voided: bool,
    /// When the next session is booked for.
    pub next_session_at: Option<Timestamp>,
    /// Its reminders are long over and no longer kept: it counts in its course, and none of its steps is planned.
    pub closed: bool,
}

/// A patient, as far as planning is concerned.
#[derive(Debug, Clone)]
pub struct Person {
    /// Spreads due moments; `None` shows nominal times.
    pub id: Option<PatientId>,
    /// The patient's current zone: hours of the day and quiet hours follow it.
    pub zone: Zone,
    /// The language of the texts.
    pub locale: Locale,
    /// Quiet hours of their own; `None` = the protocol's.
    pub quiet_hours: Option<QuietHours>,
    /// When they exercise (wall clock); `None` = as the protocol has it.
    pub exercise_hour: Option<jiff::civil::Time>,
    /// Rules they do not want to hear of.
    pub muted: BTreeSet<RuleId>,
    /// `false` once consent to reminders was withdrawn.
    pub aftercare: bool,
    /// `false` once consent to next-session reminders was withdrawn.
    pub recall: bool,
    /// The clinic's words for the protocols' slots.
    pub slots: BTreeMap<String, String>,
}

/// A stored reminder, as far as planning is concerned.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Its name.
    pub key: Key,
    /// Its steps.
    pub members: Vec<Member>,
    /// Where it stands.
    pub state: ReminderState,
    /// Why.
    pub reason: Option<Reason>,
    /// When it was due.
    pub due_at: Timestamp,
    /// Where its last snooze put it; kept when it was cancelled since.
    pub snoozed_until: Option<Timestamp>,
    /// When it was sent last.
    pub sent_at: Option<Timestamp>,
    /// What it said then, if that is known.
    pub said: Option<Said>,
}

/// All that planning looks at.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The patient.
    pub person: Person,
    /// All treatments of the patient, voided ones too.
    pub treatments: Vec<TreatmentFacts>,
    /// The stored reminders of these treatments.
    pub standing: Vec<Standing>,
    /// Whether a device could be reached now: what waited for one is then due at once.
    pub reachable: bool,
}

/// One notification to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its name: that of its first step.
    pub key: Key,
    /// Its steps, the first one first.
    pub members: Vec<Member>,
    /// The rules it speaks of at its due moment, in protocol order.
    pub rule_ids: Vec<RuleId>,
    /// When it is due.
    pub due_at: Timestamp,
    /// From when on it must not be sent: the earliest of its members' use-bys.
    pub use_by: Timestamp,
    /// Whether it was sent before and is due where the patient put it off to.
    pub snoozed: bool,
}

/// What becomes of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Sent, expired or failed already, or being sent right now.
    Settled,
    /// Said by the reminder of that key.
    In(Key),
    /// Left out.
    Skipped(Reason),
    /// Was planned, and its use-by passed.
    Expired(Reason),
    /// Not wanted.
    Cancelled(Reason),
    /// Said, or to be said, by something else.
    Superseded(Reason),
}

/// One step of a treatment, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What becomes of it.
    pub fate: Fate,
    /// When its protocol has it due; `T` where that leads nowhere (no booking to count from).
    pub nominal_at: Timestamp,
    /// From when on it is worthless; `T` likewise.
    pub use_by: Timestamp,
}

/// The outcome of planning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What will be sent, by due moment.
    pub reminders: Vec<Planned>,
    /// What becomes of every step of every treatment that is not closed.
    pub steps: BTreeMap<Key, Outcome>,
}

/// Plans everything that is still to come for one patient.
#[must_use]
pub fn plan(facts: &Facts, now: Timestamp) -> Plan {
    let chart = Chart::of(facts);
    let corrections = chart.corrections(now);
    let (candidates, mut steps) = step::candidates(&chart, &corrections, now);
    let reminders = bundle::reminders(&chart, candidates);
    for reminder in &reminders {
        for member in &reminder.members {
            let outcome = Outcome {
                fate: Fate::In(reminder.key.clone()),
                nominal_at: member.nominal_at,
                use_by: member.use_by,
            };
            steps.insert(member.key.clone(), outcome);
        }
    }
    Plan { reminders, steps }
}

impl Standing {
    /// Forgets why it stands where it stands, unless it was sent, has expired or failed: what it was
    /// planned for is otherwise now. It is planned as if it were new, under the same name.
    pub fn renew(&mut self) {
        if !matches!(
            self.state,
            ReminderState::Sent | ReminderState::Expired | ReminderState::Failed
        ) {
            (self.state, self.reason) = (ReminderState::Cancelled, None);
        }
    }

    /// Whether its fate is open; what was cancelled for good has a reason.
    const fn is_open(&self) -> bool {
        match self.state {
            ReminderState::Cancelled => self.reason.is_none(),
            state => state.is_to_come(),
        }
    }
}

impl Facts {
    /// Where the patient put each step off to last, whichever reminder carried it then.
    fn put_off(&self) -> BTreeMap<&Key, Timestamp> {
        let mut put_off = BTreeMap::new();
        for row in &self.standing {
            let Some(until) = row.snoozed_until else { continue };
            for member in &row.members {
                let last = put_off.entry(&member.key).or_insert(until);
                *last = until.max(*last);
            }
        }
        put_off
    }
}

impl Standing {
    /// Whether it was sent, and waits to be sent again at the moment that the patient put it off to.
    #[must_use]
    pub fn is_snoozed(&self) -> bool {
        self.state.is_to_come() && self.snoozed_until == Some(self.due_at)
    }
}

impl TreatmentFacts {
    /// What its moments hang on, for a patient in that zone.
    pub(crate) fn anchor<'a>(&'a self, patient_zone: &'a Zone) -> Anchor<'a> {
        Anchor {
            completed_at: self.completed_at,
            treatment_zone: self.zone.tz(),
            patient_zone: patient_zone.tz(),
            interval: self.protocol.course.as_ref().map(|course| course.interval),
            next_session_at: self.next_session_at,
        }
    }

    /// Whether the rule concerns what was treated.
    pub(crate) fn concerns(&self, rule: &crate::protocol::Rule) -> bool {
        !rule.areas.is_disjoint(&self.areas)
    }
}
