//! What apps report of reminders: facts, apart from the reminders' states.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::upsert::excluded;
use jiff::Timestamp;

use super::schema::{receipts, reminders};
use super::sql::At;
use super::{BATCH, StoreError, Tx, with_conn};
use crate::ids::{PatientId, ReminderId};
use crate::words::words;

words! {
    /// What an app says of a reminder.
    ReceiptKind {
        /// It was shown.
        Displayed = "displayed",
        /// The patient reacted to it.
        Acknowledged = "acknowledged",
    }
}

/// One fact about one reminder: of each kind the earliest that any of the patient's phones reported.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = receipts, treat_none_as_default_value = false)]
pub struct Receipt {
    /// The reminder.
    pub reminder_id: ReminderId,
    /// Whose it is.
    pub patient_id: PatientId,
    /// What happened.
    pub kind: ReceiptKind,
    /// When it happened, by the phone's clock.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub at: Timestamp,
    /// When it was reported.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub reported_at: Timestamp,
}

impl Tx<'_> {
    /// Keeps receipts; of two of one kind for one reminder, the earlier, in whatever order they come. Gives
    /// what nobody had reported before.
    ///
    /// The patient must be locked ([`Tx::lock_patient`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn keep_receipts(
        &mut self,
        rows: &[Receipt],
    ) -> Result<BTreeSet<(ReminderId, ReceiptKind)>, StoreError> {
        let ids: Vec<ReminderId> = rows.iter().map(|row| row.reminder_id).collect();
        let mut known = BTreeMap::new();
        let mut new = BTreeSet::new();
        for row in self.receipts_of(&ids)? {
            known.insert((row.reminder_id, row.kind), row.at);
        }
        let mut earlier: BTreeMap<(ReminderId, ReceiptKind), Receipt> = BTreeMap::new();
        for row in rows {
            let key = (row.reminder_id, row.kind);
            if !known.contains_key(&key) {
                new.insert(key);
            }
            if known.get(&key).is_none_or(|at| row.at < *at) {
                known.insert(key, row.at);
                earlier.insert(key, row.clone());
            }
        }
        let rows: Vec<Receipt> = earlier.into_values().collect();
        for rows in rows.chunks(BATCH) {
            with_conn!(self, |c| diesel::insert_into(receipts::table)
                .values(rows.to_vec())
                .on_conflict((receipts::reminder_id, receipts::kind))
                .do_update()
                .set((
                    receipts::at.eq(excluded(receipts::at)),
                    receipts::reported_at.eq(excluded(receipts::reported_at)),
                ))
                .execute(c))?;
        }
        Ok(new)
    }

    /// The receipts of many reminders, each one's earliest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn receipts_of(&mut self, of: &[ReminderId]) -> Result<Vec<Receipt>, StoreError> {
        let mut found = Vec::new();
        for of in of.chunks(BATCH) {
            found.append(&mut with_conn!(self, |c| receipts::table
                .filter(receipts::reminder_id.eq_any(of))
                .order((receipts::reminder_id, receipts::at, receipts::kind))
                .select(Receipt::as_select())
                .load(c))?);
        }
        Ok(found)
    }

    /// Those of these ids that are reminders of this patient.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn known_reminders(
        &mut self,
        patient: PatientId,
        ids: &[ReminderId],
    ) -> Result<Vec<ReminderId>, StoreError> {
        let mut found = Vec::new();
        for ids in ids.chunks(BATCH) {
            found.append(&mut with_conn!(self, |c| reminders::table
                .filter(reminders::id.eq_any(ids))
                .filter(reminders::patient_id.eq(patient))
                .select(reminders::id)
                .load(c))?);
        }
        Ok(found)
    }
}
