//! What apps report of reminders that they showed.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::webhooks::{Happening, tell};
use crate::ids::{PatientId, ReminderId};
use crate::store::{Receipt, ReceiptKind, StoreError, TestPush, Tx};

/// One report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// The reminder, or the test push.
    pub reminder: ReminderId,
    /// What happened.
    pub kind: ReceiptKind,
    /// When, by the phone's clock.
    pub at: Timestamp,
}

/// What became of reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipts {
    /// How many are known now, by this report or an earlier one.
    pub recorded: usize,
    /// The ids that are neither a reminder of this patient's nor their last test push, each once, in order.
    pub unknown: Vec<ReminderId>,
}

/// Why reports are not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptsError {
    /// No such patient.
    #[error("no such patient")]
    UnknownPatient,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps what phones report. Doing it again changes nothing, and of two reports of one thing the
/// earlier moment counts, in whatever order they come. One that lies in the future happened now at the
/// latest: the phone's clock is fast.
///
/// # Errors
/// [`ReceiptsError`]; then nothing is to be written.
pub fn record_receipts(
    tx: &mut Tx<'_>,
    patient: PatientId,
    reports: &[Reported],
) -> Result<Receipts, ReceiptsError> {
    let now = tx.now();
    // Whoever erases the patient waits, or has won.
    tx.lock_patient(patient)?.ok_or(ReceiptsError::UnknownPatient)?;
    let ids: BTreeSet<ReminderId> = reports.iter().map(|report| report.reminder).collect();
    let asked: Vec<ReminderId> = ids.iter().copied().collect();
    let known: BTreeSet<ReminderId> = tx.known_reminders(patient, &asked)?.into_iter().collect();
    let ours = reports.iter().filter(|report| known.contains(&report.reminder));
    let rows: Vec<Receipt> = ours
        .map(|report| Receipt {
            reminder_id: report.reminder,
            patient_id: patient,
            kind: report.kind,
            at: report.at.min(now),
            reported_at: now,
        })
        .collect();
    let kept = tx.keep_receipts(&rows)?;
    let test = tx.test_push(patient)?.filter(|test| ids.contains(&ReminderId(test.id.0)));
    let tests = test.as_ref().map_or(Ok(0), |test| note_test(tx, test, reports))?;
    let reactions: Vec<Happening> = kept
        .into_iter()
        .filter(|(_, kind)| *kind == ReceiptKind::Acknowledged)
        .map(|(id, _)| Happening::acknowledged(patient, id))
        .collect();
    tell(tx, &reactions)?;
    let test = test.map(|test| ReminderId(test.id.0));
    let unknown = ids.difference(&known).copied().filter(|id| Some(*id) != test).collect();
    Ok(Receipts { recorded: rows.len() + tests, unknown })
}

/// Keeps what is reported of a test push, of each kind the earliest; gives how many reports.
fn note_test(tx: &mut Tx<'_>, test: &TestPush, reports: &[Reported]) -> Result<usize, StoreError> {
    let now = tx.now();
    let ours: Vec<&Reported> =
        reports.iter().filter(|report| report.reminder.0 == test.id.0).collect();
    for kind in ReceiptKind::ALL {
        let of_kind = ours.iter().filter(|report| report.kind == *kind);
        if let Some(at) = of_kind.map(|report| report.at.min(now)).min() {
            tx.note_test_receipt(test, *kind, at)?;
        }
    }
    Ok(ours.len())
}
