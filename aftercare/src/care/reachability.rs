//! Who has something due and is not going to hear it.
//!
//! What decides here whether a device shows a push is what decides it when the push is sent.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::case::{Case, cases, key_of, reachable, unheard_on};
use super::paging::cut;
use super::timeline::ReminderView;
use crate::ids::{ClinicId, PatientId, ReminderId};
use crate::planner::{Chart, Facts, Key, Member, Planned, ReminderState, plan};
use crate::store::{Reminder, StoreError, Tx};
use crate::words::words;

words! {
    /// Why a patient is not going to hear a reminder.
    Unheard {
        /// The patient withdrew consent to reminders of its kind.
        ConsentWithdrawn = "consent-withdrawn",
        /// FCM refused the message for good: it is not tried again.
        MessageRefused = "message-refused",
        /// The operator stopped sending.
        SendingPaused = "sending-paused",
        /// No phone is registered.
        NoDevice = "no-device",
        /// The phone shows no notifications of the app.
        NotificationsOff = "notifications-off",
        /// The app was removed from the phone.
        AppGone = "app-gone",
        /// The app has not been in touch for 270 days.
        StaleAddress = "stale-address",
        /// FCM refuses the phone's address: it may be another app's.
        RefusedAddress = "refused-address",
        /// The phone is another patient's now, or the app was installed anew.
        AddressMoved = "address-moved",
    }
}

/// A reminder that nobody is going to hear.
#[derive(Debug)]
pub struct UnheardReminder {
    /// What the clinic calls the patient. Personal: never logged.
    pub patient_ref: String,
    /// The treatment it speaks for first.
    pub treatment_id: crate::ids::TreatmentId,
    /// The reminder.
    pub reminder: ReminderView,
    /// Why it is not heard, the most telling reason first; never empty. Of several phones, the one that
    /// was seen last is told first.
    pub reasons: Vec<Unheard>,
}

/// One page of them.
#[derive(Debug)]
pub struct UnheardPage {
    /// The reminders, by due moment.
    pub items: Vec<UnheardReminder>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<(Timestamp, ReminderId)>,
}

/// One page of a clinic's reminders that are due by `within` (elapsed) from now, still of use, and
/// that no phone is going to show as things stand, from after the cursor.
///
/// # Errors
/// When the database refuses.
pub fn unheard(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    within: SignedDuration,
    after: Option<(Timestamp, ReminderId)>,
    limit: u32,
) -> Result<UnheardPage, StoreError> {
    let now = tx.now();
    let until = now.checked_add(within).unwrap_or(Timestamp::MAX);
    let mut rows = tx.unheard_reminders(clinic, until, after, i64::from(limit) + 1)?;
    let next = cut(&mut rows, limit).map(|last| (last.due_at, last.id));
    let mut patients: Vec<PatientId> = rows.iter().map(|row| row.patient_id).collect();
    patients.sort_unstable();
    patients.dedup();
    let all_paused = tx.all_paused()?;
    let cases = cases(tx, &patients)?;
    let known: BTreeMap<PatientId, Listed> =
        cases.iter().map(|case| (case.patient.id, Listed::of(case, all_paused))).collect();
    let items = rows.iter().filter_map(|row| known.get(&row.patient_id)?.unheard(row, now));
    Ok(UnheardPage { items: items.collect(), next })
}

/// A patient on the page.
struct Listed<'c> {
    case: &'c Case,
    chart: Chart<'c>,
    /// Whether nothing is sent to anybody.
    all_paused: bool,
    /// What would be sent if the patient had withdrawn nothing; planned once it is asked for.
    if_consented: OnceCell<BTreeMap<Key, Planned>>,
}

impl<'c> Listed<'c> {
    fn of(case: &'c Case, all_paused: bool) -> Self {
        Self { case, chart: case.chart(), all_paused, if_consented: OnceCell::new() }
    }

    /// Why a reminder is not going to be heard, if it is wanted at all; `None` when it is heard.
    fn unheard(&self, row: &Reminder, now: Timestamp) -> Option<UnheardReminder> {
        let mut reasons = self.case.deaf(self.all_paused);
        let mut row = row.clone();
        match row.state {
            ReminderState::Skipped => {
                let wanted = self.if_consented.get_or_init(|| self.case.if_consented(now));
                let planned = wanted.get(&key_of(&row))?;
                restore(&mut row, planned);
                reasons.insert(0, Unheard::ConsentWithdrawn);
            }
            ReminderState::Failed => {
                let wanted = |member: &Member| self.chart.unwanted(&member.key).is_none();
                row.members.iter().any(wanted).then_some(())?;
                reasons.insert(0, Unheard::MessageRefused);
            }
            _ => {}
        }
        if reasons.is_empty() {
            return None;
        }
        Some(UnheardReminder {
            patient_ref: self.case.patient.reference.clone(),
            treatment_id: row.treatment_id,
            reminder: self.case.reminder(&row, &self.chart),
            reasons,
        })
    }
}

impl Case {
    /// Why no push at all is heard at present; empty while one would be.
    pub(super) fn deaf(&self, all_paused: bool) -> Vec<Unheard> {
        let mut reasons = Vec::new();
        if self.clinic.paused || all_paused {
            reasons.push(Unheard::SendingPaused);
        }
        if self.devices.is_empty() {
            reasons.push(Unheard::NoDevice);
        }
        if !self.devices.iter().any(reachable) {
            for reason in self.devices.iter().filter_map(unheard_on) {
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
        reasons
    }

    /// What would be sent to a patient who had withdrawn nothing.
    fn if_consented(&self, now: Timestamp) -> BTreeMap<Key, Planned> {
        let mut facts: Facts = self.facts.clone();
        (facts.person.aftercare, facts.person.recall) = (true, true);
        let planned = plan(&facts, now).reminders.into_iter();
        planned.map(|planned| (planned.key.clone(), planned)).collect()
    }
}

/// A reminder as it would be planned.
fn restore(row: &mut Reminder, planned: &Planned) {
    (row.due_at, row.use_by) = (planned.due_at, planned.use_by);
    row.members.clone_from(&planned.members);
}
