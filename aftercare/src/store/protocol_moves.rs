//! Running treatments, and the way of some of them to another version of their protocol.

use diesel::dsl::exists;
use diesel::prelude::*;
use jiff::Timestamp;

use super::schema::{protocol_moves, protocols, reminders, treatments};
use super::sql::At;
use super::{StoreError, TreatmentState, Tx, with_conn};
use crate::ids::{ClinicId, PatientId, ProtocolId};
use crate::planner::ReminderState;

/// A protocol whose running treatments are on their way to one version of it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = protocol_moves, treat_none_as_default_value = false)]
pub struct ProtocolMove {
    /// Whose treatments.
    pub clinic_id: ClinicId,
    /// The protocol's name.
    pub slug: String,
    /// The version that they move to.
    pub protocol_id: ProtocolId,
    /// The last patient who was looked at; patients come in the order of their ids.
    pub reached: Option<PatientId>,
    /// When it began.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub started_at: Timestamp,
}

/// The open treatments of a clinic under these versions that may have something ahead of them: a reminder, or,
/// as they ended after `$since`, what their protocol says later.
macro_rules! running {
    ($clinic:expr, $versions:expr, $since:expr) => {{
        let planned = reminders::table
            .filter(reminders::treatment_id.eq(treatments::id))
            .filter(reminders::state.eq_any([ReminderState::Planned, ReminderState::Claimed]));
        treatments::table
            .filter(treatments::clinic_id.eq($clinic))
            .filter(treatments::state.eq(TreatmentState::Active))
            .filter(treatments::protocol_id.eq_any($versions))
            .filter(treatments::closed_at.is_null())
            .filter(treatments::completed_at.gt(At($since)).or(exists(planned)))
    }};
}

impl Tx<'_> {
    /// The ids of all versions of a protocol that the clinic's treatments can follow, the oldest first:
    /// the shipped ones, then its own.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn protocol_versions(
        &mut self,
        clinic: ClinicId,
        slug: &str,
    ) -> Result<Vec<ProtocolId>, StoreError> {
        with_conn!(self, |c| protocols::table
            .filter(protocols::slug.eq(slug))
            .filter(protocols::clinic_id.is_null().or(protocols::clinic_id.eq(Some(clinic))))
            .order((protocols::clinic_id.is_not_null(), protocols::version))
            .select(protocols::id)
            .load(c))
    }

    /// Up to `limit` patients of a clinic, by id and beyond `after`, who have a treatment under one of
    /// these versions that ended after `since` or has a reminder ahead.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn running_patients(
        &mut self,
        clinic: ClinicId,
        versions: &[ProtocolId],
        since: Timestamp,
        after: Option<PatientId>,
        limit: i64,
    ) -> Result<Vec<PatientId>, StoreError> {
        let after = after.unwrap_or(PatientId(uuid::Uuid::nil()));
        with_conn!(self, |c| running!(clinic, versions, since)
            .filter(treatments::patient_id.gt(after))
            .select(treatments::patient_id)
            .distinct()
            .order(treatments::patient_id)
            .limit(limit)
            .load(c))
    }

    /// How many patients [`Tx::running_patients`] finds.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_running_patients(
        &mut self,
        clinic: ClinicId,
        versions: &[ProtocolId],
        since: Timestamp,
    ) -> Result<i64, StoreError> {
        with_conn!(self, |c| running!(clinic, versions, since)
            .select(diesel::dsl::count(treatments::patient_id).aggregate_distinct())
            .first(c))
    }

    /// Sends a protocol's running treatments on their way to a version, from the first patient on.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn start_protocol_move(
        &mut self,
        clinic: ClinicId,
        slug: &str,
        to: ProtocolId,
    ) -> Result<(), StoreError> {
        let row = ProtocolMove {
            clinic_id: clinic,
            slug: slug.to_owned(),
            protocol_id: to,
            reached: None,
            started_at: self.now,
        };
        let now = At(self.now);
        with_conn!(self, |c| diesel::insert_into(protocol_moves::table)
            .values(row.clone())
            .on_conflict((protocol_moves::clinic_id, protocol_moves::slug))
            .do_update()
            .set((
                protocol_moves::protocol_id.eq(to),
                protocol_moves::reached.eq(None::<PatientId>),
                protocol_moves::started_at.eq(now),
            ))
            .execute(c))?;
        Ok(())
    }

    /// Every protocol whose treatments are on their way, the longest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn protocol_moves(&mut self) -> Result<Vec<ProtocolMove>, StoreError> {
        with_conn!(self, |c| protocol_moves::table
            .order((protocol_moves::started_at, protocol_moves::clinic_id, protocol_moves::slug))
            .select(ProtocolMove::as_select())
            .load(c))
    }

    /// Notes how far a move came. One that began anew meanwhile stays where it is.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn advance_protocol_move(
        &mut self,
        of: &ProtocolMove,
        reached: PatientId,
    ) -> Result<(), StoreError> {
        let started = At(of.started_at);
        with_conn!(self, |c| diesel::update(protocol_moves::table)
            .filter(protocol_moves::clinic_id.eq(of.clinic_id))
            .filter(protocol_moves::slug.eq(&of.slug))
            .filter(protocol_moves::protocol_id.eq(of.protocol_id))
            .filter(protocol_moves::started_at.eq(started))
            .set(protocol_moves::reached.eq(Some(reached)))
            .execute(c))?;
        Ok(())
    }

    /// Forgets a move that reached its last patient; false when it began anew meanwhile, or another
    /// server was first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn finish_protocol_move(&mut self, of: &ProtocolMove) -> Result<bool, StoreError> {
        let started = At(of.started_at);
        let finished = with_conn!(self, |c| diesel::delete(protocol_moves::table)
            .filter(protocol_moves::clinic_id.eq(of.clinic_id))
            .filter(protocol_moves::slug.eq(&of.slug))
            .filter(protocol_moves::protocol_id.eq(of.protocol_id))
            .filter(protocol_moves::started_at.eq(started))
            .execute(c))?;
        Ok(finished > 0)
    }
}
