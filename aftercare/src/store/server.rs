//! Which master key this database belongs to, the keys that it keeps wrapped under it, whether it
//! takes writes, and whether anything is sent.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

use super::conn::Conn;
use super::schema::server;
use super::sql::At;
use super::{StoreError, Tx, with_conn};
use crate::seal::KeyId;

impl Tx<'_> {
    /// Takes up the keys that this database keeps, if it keeps any yet. A database without a master key
    /// takes any.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] and [`StoreError::MissingKey`] when the master key is not this database's.
    pub(super) fn take_up_keys(&mut self) -> Result<(), StoreError> {
        type Row = (i32, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);
        let row: Option<Row> = with_conn!(self, |c| server::table
            .select((
                server::master_key,
                server::key_check,
                server::index_key_wrapped,
                server::audit_key_wrapped,
            ))
            .first(c)
            .optional())?;
        let Some((id, check, index, audit)) = row else { return Ok(()) };
        self.recognise(id, &check)?;
        if let (Some(index), Some(audit)) = (index, audit) {
            self.master.take_up(&index, &audit)?;
        }
        Ok(())
    }

    /// Notes the master key of a new database, with keys of its own for what must outlive it; refuses
    /// another one for an old database.
    ///
    /// # Errors
    /// As [`Tx::take_up_keys`].
    pub(super) fn remember_master_key(&mut self) -> Result<(), StoreError> {
        let (newest, check) = self.master.newest();
        let [index, audit] = self.master.wrap_fresh(self.env, newest)?;
        let row = (
            server::id.eq(1),
            server::key_check.eq(check),
            server::created_at.eq(At(self.now)),
            server::master_key.eq(i32::from(newest.get())),
            server::index_key_wrapped.eq(Some(index)),
            server::audit_key_wrapped.eq(Some(audit)),
        );
        with_conn!(self, |c| diesel::insert_into(server::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(c))?;
        self.keep_what_was_implied()?;
        self.take_up_keys()
    }

    /// Databases from before they kept keys hash with what their master key implied, and go on so.
    pub(super) fn keep_what_was_implied(&mut self) -> Result<(), StoreError> {
        let without = server::table.filter(server::index_key_wrapped.is_null());
        let row: Option<(i32, Vec<u8>)> = with_conn!(self, |c| without
            .select((server::master_key, server::key_check))
            .first(c)
            .optional())?;
        let Some((id, check)) = row else { return Ok(()) };
        let under = self.recognise(id, &check)?;
        let [index, audit] = self.master.wrap_implied(self.env, under)?;
        with_conn!(self, |c| diesel::update(without)
            .set((
                server::index_key_wrapped.eq(Some(index)),
                server::audit_key_wrapped.eq(Some(audit)),
            ))
            .execute(c))?;
        Ok(())
    }

    /// The number of the master key that everything new goes under. It stays that one until this transaction
    /// ends: whoever replaces the key waits.
    ///
    /// # Errors
    /// As [`Tx::take_up_keys`].
    pub(super) fn master_key_in_use(&mut self) -> Result<KeyId, StoreError> {
        let query = server::table.select((server::master_key, server::key_check));
        let row: Result<(i32, Vec<u8>), _> = match &mut *self.conn {
            Conn::Pg(c) => query.for_key_share().first(&mut **c),
            Conn::Sqlite(c) => query.first(&mut **c),
        };
        let (id, check) = row.map_err(|error| self.refused(error))?;
        self.recognise(id, &check)
    }

    /// The master key of this number, if it is the one that the `server` table means.
    fn recognise(&self, id: i32, check: &[u8]) -> Result<KeyId, StoreError> {
        let id = KeyId::try_from(id).map_err(|_| StoreError::WrongKey)?;
        let known = self.master.check(id)?;
        if known.as_bytes() == check { Ok(id) } else { Err(StoreError::WrongKey) }
    }

    /// Pauses or resumes all sending, also of clinics that are made later. Clinics that are paused one by one
    /// stay so.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_all_paused(&mut self, paused: bool) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::update(server::table)
            .set(server::sending_paused.eq(paused))
            .execute(c))?;
        Ok(())
    }

    /// Whether all sending is paused.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn all_paused(&mut self) -> Result<bool, StoreError> {
        let paused: Option<bool> =
            with_conn!(self, |c| server::table.select(server::sending_paused).first(c).optional())?;
        Ok(paused.unwrap_or(false))
    }

    /// Writes something that nobody reads. SQLite leaves alone what would not change, so there it is
    /// a number in the file's head that differs each time.
    pub(super) fn leave_a_mark(&mut self) -> Result<(), StoreError> {
        let mark = u32::from_ne_bytes(self.env.random()) >> 1;
        let written = match &mut *self.conn {
            Conn::Pg(c) => c.batch_execute("UPDATE server SET key_check = key_check"),
            Conn::Sqlite(c) => c.batch_execute(&format!("PRAGMA user_version = {mark}")),
        };
        written.map_err(|error| self.refused(error))
    }
}
