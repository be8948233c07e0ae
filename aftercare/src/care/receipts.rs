//! What apps report of reminders that they showed.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::phone_clock::told;
use super::webhooks::{Happening, tell};
use crate::ids::{PatientId, ReminderId};
use crate::store::{Receipt, ReceiptKind, StoreError, Tx};

/// One report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// The reminder.
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
    /// The ids that are no reminder of this patient's, each once, in order.
    pub unknown: Vec<ReminderId>,
}

/// Why reports are not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptsError {
    /// No such patient.
    #[error("no such patient")]
    UnknownPatient,
    /// Some will only happen; where they stand in the list.
    #[error("lies in the future")]
    InFuture(Vec<usize>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps what phones report. Doing it again changes nothing, and of two reports of one thing the
/// earlier moment counts, in whatever order they come.
///
/// # Errors
/// [`ReceiptsError`]; then nothing is to be written.
pub fn record_receipts(
    tx: &mut Tx<'_>,
    patient: PatientId,
    reports: &[Reported],
) -> Result<Receipts, ReceiptsError> {
    let now = tx.now();
    let future = reports.iter().enumerate().filter(|(_, report)| told(report.at, now).is_none());
    let future: Vec<usize> = future.map(|(index, _)| index).collect();
    if !future.is_empty() {
        return Err(ReceiptsError::InFuture(future));
    }
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
    let reactions: Vec<Happening> = tx
        .keep_receipts(&rows)?
        .into_iter()
        .filter(|(_, kind)| *kind == ReceiptKind::Acknowledged)
        .map(|(id, _)| Happening::acknowledged(patient, id))
        .collect();
    tell(tx, &reactions)?;
    let unknown = ids.difference(&known).copied().collect();
    Ok(Receipts { recorded: rows.len(), unknown })
}
