//! A push that says nothing but that pushes arrive.
//!
//! It is no reminder: it speaks of no rule and no treatment, never waits for a phone, and no plan, no webhook
//! and no count of reminders knows of it. Consent and pause hold for it as for everything that is pushed;
//! quiet hours do not: somebody asked for it, with the phone in sight.

use jiff::{SignedDuration, Timestamp};

use super::case::cases;
use super::reachability::Unheard;
use crate::ids::{ClinicId, PatientId};
use crate::locale::Locale;
use crate::planner::{Reason, ReminderState};
use crate::store::{StoreError, TestPush, Tx};

/// For how long a test is of use, in elapsed time: whoever asked for it stands beside the phone.
const USEFUL: SignedDuration = SignedDuration::from_mins(10);
/// Who asks again within this time, elapsed, is shown the test that is under way: a button that was
/// pressed twice.
const SAME: SignedDuration = SignedDuration::from_secs(15);
/// How long a phone rests from one test, in elapsed time: that is how often it can be tested for long.
const REST: SignedDuration = SignedDuration::from_mins(6);
/// How much rest may be owed when one more is asked for: five tests in a row, as somebody needs who tries out a
/// phone's settings.
const OWED: SignedDuration = SignedDuration::from_mins(24);

/// What came of asking.
#[derive(Debug)]
pub enum Asked {
    /// A test is on its way.
    New(TestPush),
    /// One was already.
    UnderWay(TestPush),
}

/// Why no test is sent.
#[derive(Debug, thiserror::Error)]
pub enum TestPushError {
    /// No such patient.
    #[error("no such patient")]
    UnknownPatient,
    /// No push would be heard now, for these reasons.
    #[error("no push would be heard now")]
    Unreachable(Vec<Unheard>),
    /// The phone was tested often enough; one more is sent after so long, in elapsed time.
    #[error("tested too often")]
    TooMany(SignedDuration),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TestPush {
    /// Where it stands at `now` as people see it, and why: a claim is the dispatcher's own affair, and
    /// what was not sent by its use-by is not sent any more.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> (ReminderState, Option<Reason>) {
        match self.state {
            ReminderState::Planned | ReminderState::Claimed if now >= self.use_by => {
                (ReminderState::Expired, Some(Reason::PastUseBy))
            }
            ReminderState::Planned | ReminderState::Claimed => {
                (ReminderState::Planned, self.reason)
            }
            state => (state, self.reason),
        }
    }

    fn is_same(&self, now: Timestamp) -> bool {
        match self.standing(now).0 {
            ReminderState::Planned => true,
            ReminderState::Sent => now.duration_since(self.requested_at) < SAME,
            _ => false,
        }
    }
}

/// Sends a test to the patient's phones, in place of the last one; while one is under way, gives that.
///
/// # Errors
/// [`TestPushError`]; then nothing is to be written.
pub fn ask_test_push(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    patient: PatientId,
) -> Result<Asked, TestPushError> {
    let now = tx.now();
    tx.lock_patient(patient)?.ok_or(TestPushError::UnknownPatient)?;
    let last = match tx.test_push(patient)? {
        Some(last) if last.is_same(now) => return Ok(Asked::UnderWay(last)),
        last => last,
    };
    let case = cases(tx, &[patient])?.pop().ok_or(TestPushError::UnknownPatient)?;
    let unheard = case.unheard_at_all(tx.all_paused()?);
    if !unheard.is_empty() {
        return Err(TestPushError::Unreachable(unheard));
    }
    let rested = last.map_or(now, |last| last.rested_at.max(now));
    let wait = rested.duration_since(now) - OWED;
    if wait.is_positive() {
        return Err(TestPushError::TooMany(wait));
    }
    let after = |at: Timestamp, length| at.checked_add(length).unwrap_or(Timestamp::MAX);
    let push = tx.put_test_push(clinic, patient, after(now, USEFUL), after(rested, REST))?;
    tx.note_act(clinic, "test-push.requested", &format!("patient:{patient}"))?;
    Ok(Asked::New(push))
}

/// What a test says, which anybody may read on a locked screen: no clinic, no treatment, nothing to do.
pub(super) fn words(locale: &Locale) -> (String, String) {
    let (title, body) = match locale.language() {
        "es" => ("Mensaje de prueba", "Es solo una prueba. No tienes que hacer nada."),
        "pt" => ("Mensagem de teste", "É apenas um teste. Não tem de fazer nada."),
        "fr" => ("Message de test", "Ceci n’est qu’un test. Il n’y a rien à faire."),
        _ => ("Test message", "This is only a test. There is nothing to do."),
    };
    (title.to_owned(), body.to_owned())
}
