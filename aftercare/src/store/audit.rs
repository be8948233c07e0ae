//! The audit trail: who did what to which object, written in the same transaction as the deed.
//!
//! Rows hold opaque ids and keyed hashes only. They are chained later, in batches (`audit_chain`), so that
//! intake never waits for the chain.

use diesel::prelude::*;
use jiff::Timestamp;

use super::schema::audit;
use super::sql::At;
use super::{BATCH, StoreError, Tx, with_conn};
use crate::ids::{AuditId, ClinicId};

/// One deed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry<'a> {
    /// The tenant it happened in; none for the operator's own deeds.
    pub clinic_id: Option<ClinicId>,
    /// Who: `clinic:<clinic id>`, `staff:<staff id>`, `patient:<patient id>`, `operator`, `system`.
    pub actor: &'a str,
    /// What: a stable code such as `treatment.recorded`.
    pub action: &'a str,
    /// On what: `<kind>:<id>`, opaque ids only.
    pub subject: Option<&'a str>,
}

/// One deed as it was written down.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = audit)]
pub struct AuditRow {
    /// Its id.
    pub id: AuditId,
    /// When it was.
    #[diesel(deserialize_as = At)]
    pub at: Timestamp,
    /// The tenant it happened in.
    pub clinic_id: Option<ClinicId>,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: Option<String>,
}

impl Tx<'_> {
    /// Writes one deed down, at the instant of this transaction.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn append_audit(&mut self, entry: &AuditEntry<'_>) -> Result<AuditId, StoreError> {
        let id: AuditId = self.env.id();
        let row = (
            audit::id.eq(id),
            audit::at.eq(At(self.now)),
            audit::clinic_id.eq(entry.clinic_id),
            audit::actor.eq(entry.actor),
            audit::action.eq(entry.action),
            audit::subject.eq(entry.subject),
        );
        with_conn!(self, |c| diesel::insert_into(audit::table).values(row).execute(c))?;
        Ok(id)
    }

    /// Writes down what was done in a clinic's name, and by whom ([`Tx::actor_of`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn note_act(
        &mut self,
        clinic: ClinicId,
        action: &str,
        subject: &str,
    ) -> Result<(), StoreError> {
        let (actor, subject) = (self.actor_of(clinic), Some(subject));
        let entry = AuditEntry { clinic_id: Some(clinic), actor: &actor, action, subject };
        self.append_audit(&entry).map(|_| ())
    }

    /// What was done to these subjects, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn audit_of(&mut self, subjects: &[String]) -> Result<Vec<AuditRow>, StoreError> {
        let mut found: Vec<AuditRow> = Vec::new();
        for subjects in subjects.chunks(BATCH) {
            found.append(&mut with_conn!(self, |c| audit::table
                .filter(audit::subject.eq_any(subjects))
                .order(audit::id)
                .select(AuditRow::as_select())
                .load(c))?);
        }
        found.sort_by_key(|row| row.id);
        Ok(found)
    }
}
