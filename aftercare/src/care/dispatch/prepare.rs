//! Looking again at what was claimed, with everything that is known at this moment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Attempt, Claim, Decision, Job, Outgoing, Target, Trial, Verdict};
use crate::care::case::{Case, cases_to_tell, key_of, reachable};
use crate::care::test_push;
use crate::ids::{DeviceId, PatientId, ReminderId};
use crate::locale::Locale;
use crate::planner::{Chart, Key, Reason, ReminderState, Said};
use crate::protocol::{WORDS_MAX, bytes_in_json};
use crate::store::{
    Delivery, DeliveryState, Device, PushContent, Reminder, StoreError, TestPush, Tx,
};

/// Decides for each claimed thing whether it goes out, in what words and to which devices. Loads
/// what it needs for the whole claim at once.
///
/// # Errors
/// The store's. One row that cannot be read fails the whole claim: see [`Claim::singles`].
pub fn prepare(tx: &mut Tx<'_>, claim: &Claim) -> Result<Vec<Job>, StoreError> {
    let of_reminders = claim.reminders.iter().map(|reminder| reminder.patient_id);
    let of_retries = claim.retries.iter().map(|retry| retry.patient_id);
    let of_tests = claim.tests.iter().map(|test| test.patient_id);
    let patients: BTreeSet<PatientId> = of_reminders.chain(of_retries).chain(of_tests).collect();
    let patients: Vec<PatientId> = patients.into_iter().collect();
    let cases = cases_to_tell(tx, &patients)?;
    let known = Known {
        patients: cases.iter().map(|case| (case.patient.id, Person::of(case))).collect(),
        refused: refused(tx, &claim.reminders)?,
    };
    let now = tx.now();
    let reminders = claim.reminders.iter().map(|reminder| Job {
        item: claim.item(reminder),
        decision: known.decide(claim, reminder, now),
    });
    let retries = claim.retries.iter().map(|retry| {
        let use_by = known.retried(retry).map_or(now, |reminder| reminder.use_by);
        let decision = known.decide_retry(retry, now);
        let decision = decision.unwrap_or(Decision::Not(Verdict::Dropped));
        Job { item: claim.retry_item(retry, use_by), decision }
    });
    let tests = claim
        .tests
        .iter()
        .map(|test| Job { item: claim.test_item(test), decision: known.decide_test(test, now) });
    Ok(reminders.chain(retries).chain(tests).collect())
}

/// All that is known about the patients of one claim.
struct Known<'c> {
    patients: BTreeMap<PatientId, Person<'c>>,
    /// When a device's message was last refused for good since the reminder was last sent.
    refused: BTreeMap<(ReminderId, DeviceId), Timestamp>,
}

/// One of them.
struct Person<'c> {
    case: &'c Case,
    chart: Chart<'c>,
    reminders: BTreeMap<ReminderId, &'c Reminder>,
}

impl<'c> Person<'c> {
    fn of(case: &'c Case) -> Self {
        let reminders = case.reminders.iter().map(|reminder| (reminder.id, reminder)).collect();
        Self { case, chart: case.chart(), reminders }
    }

    /// What a device hears that is still to get what another has. A correction that was heard is not needed
    /// any more; for this device it is.
    fn words_again(&self, reminder: &Reminder, now: Timestamp) -> Option<Said> {
        if !reminder.members.iter().any(|member| member.key.step.is_correction()) {
            return words(&self.chart, reminder, now).ok();
        }
        let (mut facts, key) = (self.case.facts.clone(), key_of(reminder));
        let unheard = facts.standing.iter_mut().find(|row| row.key == key)?;
        (unheard.state, unheard.said) = (ReminderState::Claimed, None);
        words(&Chart::of(&facts), reminder, now).ok()
    }

    /// When the quiet hours end that it would fall into.
    fn quiet_until(&self, reminder: &Reminder, now: Timestamp) -> Option<Timestamp> {
        let due = (reminder.due_at, put_off(reminder));
        self.chart.quiet_until(&reminder.members, due, now)
    }

    /// What the patient put off comes then, wherever they are.
    fn comes_later(&self, reminder: &Reminder, now: Timestamp) -> bool {
        !put_off(reminder) && self.chart.comes_later(&reminder.members, now)
    }

    /// A bundle past its use-by may hold steps that are still of use, and a step that would have
    /// covered another leaves that one to be said: then the patient is planned anew.
    fn too_late(&self, reminder: &Reminder) -> Verdict {
        let waited = reminder.reason == Some(Reason::NoDevice);
        let reason = if waited { Reason::NoDevice } else { Reason::PastUseBy };
        if reminder.members.len() > 1
            || reminder.members.iter().any(|one| self.chart.covers(&one.key))
        {
            return Verdict::Replan(reason);
        }
        Verdict::Expired(reason)
    }
}

fn put_off(reminder: &Reminder) -> bool {
    reminder.snoozed_until == Some(reminder.due_at)
}

/// What the reminder says now, or why it must not go out as it is.
fn words(chart: &Chart<'_>, reminder: &Reminder, now: Timestamp) -> Result<Said, Reason> {
    let steps: Vec<Key> = reminder.members.iter().map(|member| member.key.clone()).collect();
    if let Some(reason) = steps.iter().find_map(|key| chart.unwanted(key)) {
        return Err(reason);
    }
    if !chart.corrects_as_planned(&reminder.members, now) {
        return Err(Reason::NothingToSay);
    }
    chart.say(&steps, now).ok_or(Reason::NothingToSay)
}

impl Known<'_> {
    /// The reminder that a single device is still to get.
    fn retried(&self, retry: &Delivery) -> Option<&Reminder> {
        self.patients.get(&retry.patient_id)?.reminders.get(&retry.reminder_id).copied()
    }

    fn decide(&self, claim: &Claim, reminder: &Reminder, now: Timestamp) -> Decision {
        let ours = |person: &&Person| {
            let row = person.reminders.get(&reminder.id);
            row.is_some_and(|row| row.lease_id == Some(claim.lease))
        };
        // Who voided, planned anew or erased it since has settled it, too.
        let Some(person) = self.patients.get(&reminder.patient_id).filter(ours) else {
            return Decision::Not(Verdict::Released);
        };
        if now >= reminder.use_by {
            return Decision::Not(person.too_late(reminder));
        }
        let words = match words(&person.chart, reminder, now) {
            Ok(words) => words,
            Err(reason) => return Decision::Not(Verdict::Replan(reason)),
        };
        if person.comes_later(reminder, now) {
            return Decision::Not(Verdict::Replan(Reason::Amended));
        }
        let case = person.case;
        if !case.devices.iter().any(reachable) {
            return Decision::Not(Verdict::NoDevice);
        }
        if person.quiet_until(reminder, now).is_some() {
            return Decision::Not(Verdict::Replan(Reason::QuietHours));
        }
        // A refusal counts against the registration that it met, not against a later one.
        let refused = |device: &&Device| {
            let at = self.refused.get(&(reminder.id, device.id));
            at.is_some_and(|at| device.last_seen_at <= *at)
        };
        let open = case.devices.iter().filter(|device| !refused(device));
        let targets: Vec<Target> = open.filter_map(target).collect();
        if targets.is_empty() {
            return Decision::Not(Verdict::Failed(Reason::Rejected));
        }
        Decision::Send(Box::new(outgoing(case, reminder, words, targets)))
    }

    /// A device that is still to get what another has: only while all of it still holds.
    fn decide_retry(&self, retry: &Delivery, now: Timestamp) -> Option<Decision> {
        let person = self.patients.get(&retry.patient_id)?;
        let reminder = self.retried(retry)?;
        if reminder.state != ReminderState::Sent || now >= reminder.use_by {
            return None;
        }
        let case = person.case;
        let device = case.devices.iter().find(|device| device.id == retry.device_id);
        let target = device.and_then(target)?;
        // The clock was set back since the other one got it: what it says may not hold yet.
        if now < reminder.due_at {
            return Some(postponed(target, now, Some(reminder.due_at), Reason::Retrying));
        }
        let words = person.words_again(reminder, now)?;
        if let Some(end) = person.quiet_until(reminder, now) {
            let end = Some(end).filter(|end| *end < reminder.use_by);
            return Some(postponed(target, now, end, Reason::QuietHours));
        }
        Some(Decision::Send(Box::new(outgoing(case, reminder, words, vec![target]))))
    }
}

impl Known<'_> {
    /// A test goes out at once or not at all: nobody is told by a later one that pushes arrive.
    fn decide_test(&self, test: &TestPush, now: Timestamp) -> Decision {
        let Some(Person { case, .. }) = self.patients.get(&test.patient_id) else {
            return Decision::Not(Verdict::Released);
        };
        if now >= test.use_by {
            return Decision::Not(Verdict::Expired(Reason::PastUseBy));
        }
        if !case.facts.person.aftercare {
            return Decision::Not(Verdict::Failed(Reason::Consent));
        }
        let targets: Vec<Target> = case.devices.iter().filter_map(target).collect();
        if targets.is_empty() {
            return Decision::Not(Verdict::Failed(Reason::NoDevice));
        }
        let (title, body) = test_push::words(&case.facts.person.locale);
        Decision::Send(Box::new(Outgoing {
            title,
            body,
            content: PushContent::Text,
            due_at: test.requested_at,
            use_by: test.use_by,
            targets,
            said: None,
        }))
    }
}

/// Nothing left for this device: something else comes first.
fn postponed(target: Target, now: Timestamp, until: Option<Timestamp>, reason: Reason) -> Decision {
    let (trial, code) = (Trial::Again(until), Some(reason.to_string()));
    let attempt = Attempt { target, at: now, trial, status: None, code, detail: None };
    Decision::Not(Verdict::Tried(vec![attempt]))
}

/// What goes out, saying no more than clinic and patient want.
fn outgoing(case: &Case, reminder: &Reminder, said: Said, targets: Vec<Target>) -> Outgoing {
    let wanted = case.push_content();
    // What several steps say at once may be more than a push holds: then the app fetches it.
    let fits = bytes_in_json(&said.title) + bytes_in_json(&said.body) <= WORDS_MAX;
    let too_long = wanted == PushContent::Text && !fits;
    let content = if too_long { PushContent::Reference } else { wanted };
    let (title, body) = match content {
        PushContent::Text => (said.title.clone(), said.body.clone()),
        PushContent::Discreet | PushContent::Reference => neutral(&case.facts.person.locale),
    };
    let (due_at, use_by) = (reminder.due_at, reminder.use_by);
    Outgoing { title, body, content, due_at, use_by, targets, said: Some(said) }
}

fn target(device: &Device) -> Option<Target> {
    let address = device.address.clone().filter(|_| reachable(device))?;
    Some(Target {
        device: device.id,
        kind: device.address_kind,
        address,
        platform: device.platform,
        mode: device.delivery,
    })
}

fn refused(
    tx: &mut Tx<'_>,
    reminders: &[Reminder],
) -> Result<BTreeMap<(ReminderId, DeviceId), Timestamp>, StoreError> {
    let tried: BTreeMap<ReminderId, Option<Timestamp>> = reminders
        .iter()
        .filter(|reminder| reminder.attempts > 1)
        .map(|reminder| (reminder.id, reminder.sent_at))
        .collect();
    if tried.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<ReminderId> = tried.keys().copied().collect();
    let since_sent = |delivery: &Delivery| {
        let sent_at = tried.get(&delivery.reminder_id).copied().flatten();
        delivery.state == DeliveryState::Failed && sent_at.is_none_or(|sent| delivery.at > sent)
    };
    let mut latest = BTreeMap::new();
    for delivery in tx.deliveries_of(&ids)?.into_iter().filter(since_sent) {
        let at = latest.entry((delivery.reminder_id, delivery.device_id)).or_insert(delivery.at);
        *at = delivery.at.max(*at);
    }
    Ok(latest)
}

/// What a locked screen may show of anything: that there is something to read.
fn neutral(locale: &Locale) -> (String, String) {
    let (title, body) = match locale.language() {
        "es" => ("Un mensaje para ti", "Abre la aplicación para leerlo."),
        "pt" => ("Uma mensagem para si", "Abra a aplicação para a ler."),
        "fr" => ("Un message pour vous", "Ouvrez l’application pour le lire."),
        _ => ("A message for you", "Open the app to read it."),
    };
    (title.to_owned(), body.to_owned())
}
