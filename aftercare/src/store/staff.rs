//! The people at a clinic's desk: how they sign in, and while.

use std::fmt;

use diesel::prelude::*;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use super::schema::{staff, staff_sessions};
use super::sql::{At, MaybeAt};
use super::{StoreError, Tx, with_conn};
use crate::ids::{ClinicId, StaffId, StaffSessionId};
use crate::seal::{Digest, MasterKey};

/// A sign-in ends when nothing was done with it for so long, in elapsed time.
const IDLE: SignedDuration = SignedDuration::from_hours(1);
/// A sign-in ends after so long whatever was done with it, in elapsed time: a working day.
const LONGEST: SignedDuration = SignedDuration::from_hours(12);
/// Uses less than so long after the last that was noted are not noted, in elapsed time.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Somebody who works at a clinic's desk.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = staff, treat_none_as_default_value = false)]
pub struct Staff {
    /// Their id.
    pub id: StaffId,
    /// Where they work.
    pub clinic_id: ClinicId,
    /// What they are called, and sign in with. Never logged.
    pub name: String,
    sign_in: String,
    /// The hash of their password; none until their invitation was used.
    pub password_hash: Option<String>,
    invitation_hash: Option<Digest>,
    /// From when on their invitation cannot be used; none once it was.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub invitation_ends_at: Option<Timestamp>,
    /// When they were added.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub created_at: Timestamp,
}

impl fmt::Debug for Staff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staff").field("id", &self.id).finish_non_exhaustive()
    }
}

/// One sign-in at the desk.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = staff_sessions, treat_none_as_default_value = false)]
pub struct StaffSession {
    /// Its id.
    pub id: StaffSessionId,
    /// Whose it is.
    pub staff_id: StaffId,
    token_hash: Digest,
    /// When it was opened.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub created_at: Timestamp,
    /// When it was used last, to the minute.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub used_at: Timestamp,
}

impl fmt::Debug for StaffSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaffSession").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Names that differ in case alone are one.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

fn hash(master: &MasterKey, what: &'static str, secret: &SecretString) -> Digest {
    master.index(what, &[secret.expose_secret().as_bytes()])
}

impl Tx<'_> {
    /// Adds somebody who is to set a password with `invitation` until it ends; `None` when the name is
    /// taken on this server.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_staff(
        &mut self,
        clinic: ClinicId,
        name: &str,
        invitation: &SecretString,
        ends_at: Timestamp,
    ) -> Result<Option<Staff>, StoreError> {
        let row = Staff {
            id: self.env.id(),
            clinic_id: clinic,
            name: name.to_owned(),
            sign_in: folded(name),
            password_hash: None,
            invitation_hash: Some(hash(self.master, "staff.invitation", invitation)),
            invitation_ends_at: Some(ends_at),
            created_at: self.now,
        };
        let made = with_conn!(self, |c| diesel::insert_into(staff::table)
            .values(row.clone())
            .on_conflict(staff::sign_in)
            .do_nothing()
            .execute(c))?;
        Ok((made > 0).then_some(row))
    }

    /// Everybody at a clinic's desk, by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn staff(&mut self, clinic: ClinicId) -> Result<Vec<Staff>, StoreError> {
        with_conn!(self, |c| staff::table
            .filter(staff::clinic_id.eq(clinic))
            .order((staff::sign_in, staff::id))
            .select(Staff::as_select())
            .load(c))
    }

    /// Who signs in with this name, however it is capitalised.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn staff_by_name(&mut self, name: &str) -> Result<Option<Staff>, StoreError> {
        let name = folded(name);
        with_conn!(self, |c| staff::table
            .filter(staff::sign_in.eq(&name))
            .select(Staff::as_select())
            .first(c)
            .optional())
    }

    /// Whose invitation this is, while it can be used.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn staff_by_invitation(
        &mut self,
        invitation: &SecretString,
    ) -> Result<Option<Staff>, StoreError> {
        let (hash, now) = (hash(self.master, "staff.invitation", invitation), At(self.now));
        with_conn!(self, |c| staff::table
            .filter(staff::invitation_hash.eq(hash))
            .filter(staff::invitation_ends_at.gt(now))
            .select(Staff::as_select())
            .first(c)
            .optional())
    }

    /// Spends an invitation on a password; `None` when it cannot be used, or was used meanwhile.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn spend_staff_invitation(
        &mut self,
        invitation: &SecretString,
        password_hash: &str,
    ) -> Result<Option<Staff>, StoreError> {
        let (hash, now) = (hash(self.master, "staff.invitation", invitation), At(self.now));
        with_conn!(self, |c| diesel::update(staff::table)
            .filter(staff::invitation_hash.eq(hash))
            .filter(staff::invitation_ends_at.gt(now))
            .set((
                staff::password_hash.eq(Some(password_hash)),
                staff::invitation_hash.eq(None::<Digest>),
                staff::invitation_ends_at.eq(None::<At>),
            ))
            .returning(Staff::as_returning())
            .get_result(c)
            .optional())
    }

    /// Forgets somebody and ends their sign-ins; whether the clinic had them.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn remove_staff(&mut self, clinic: ClinicId, id: StaffId) -> Result<bool, StoreError> {
        let removed = with_conn!(self, |c| diesel::delete(staff::table)
            .filter(staff::clinic_id.eq(clinic))
            .filter(staff::id.eq(id))
            .execute(c))?;
        Ok(removed > 0)
    }

    /// Opens a sign-in, and forgets those of everybody that have ended.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_staff_session(
        &mut self,
        staff: StaffId,
        token: &SecretString,
    ) -> Result<StaffSession, StoreError> {
        let (unused, oldest) = self.ends();
        with_conn!(self, |c| diesel::delete(staff_sessions::table)
            .filter(staff_sessions::used_at.le(unused).or(staff_sessions::created_at.le(oldest)),)
            .execute(c))?;
        let row = StaffSession {
            id: self.env.id(),
            staff_id: staff,
            token_hash: hash(self.master, "staff_sessions.token", token),
            created_at: self.now,
            used_at: self.now,
        };
        with_conn!(self, |c| diesel::insert_into(staff_sessions::table)
            .values(row.clone())
            .execute(c))?;
        Ok(row)
    }

    /// The sign-in that this token opens, and whose it is; `None` once it has ended: an hour after its
    /// last use, twelve hours after it began, or with its owner.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn staff_session(
        &mut self,
        token: &SecretString,
    ) -> Result<Option<(StaffSession, Staff)>, StoreError> {
        let hash = hash(self.master, "staff_sessions.token", token);
        let (unused, oldest) = self.ends();
        with_conn!(self, |c| staff_sessions::table
            .inner_join(staff::table)
            .filter(staff_sessions::token_hash.eq(hash))
            .filter(staff_sessions::used_at.gt(unused))
            .filter(staff_sessions::created_at.gt(oldest))
            .select((StaffSession::as_select(), Staff::as_select()))
            .first(c)
            .optional())
    }

    /// Sign-ins that were not used since the first, or were opened by the second, have ended.
    fn ends(&self) -> (At, At) {
        let before = |ago| At(self.now.checked_sub(ago).unwrap_or(Timestamp::MIN));
        (before(IDLE), before(LONGEST))
    }

    /// Notes that a sign-in is used now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn use_staff_session(&mut self, id: StaffSessionId) -> Result<(), StoreError> {
        let now = At(self.now);
        with_conn!(self, |c| diesel::update(staff_sessions::table.find(id))
            .set(staff_sessions::used_at.eq(now))
            .execute(c))?;
        Ok(())
    }

    /// Ends a sign-in.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn end_staff_session(&mut self, id: StaffSessionId) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::delete(staff_sessions::table.find(id)).execute(c))?;
        Ok(())
    }
}

impl StaffSession {
    /// Whether its last use is long enough ago for this one to be noted.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now.duration_since(self.used_at) >= NOTED_EVERY
    }
}
