//! Which master key this database belongs to, and whether it takes writes.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

use super::conn::Conn;
use super::schema::server;
use super::sql::At;
use super::{StoreError, Tx, with_conn};

impl Tx<'_> {
    /// Refuses a master key that is not this database's. A database without a key yet takes any.
    pub(super) fn check_master_key(&mut self) -> Result<(), StoreError> {
        let kept: Option<Vec<u8>> =
            with_conn!(self, |c| server::table.select(server::key_check).first(c).optional())?;
        match kept {
            Some(kept) if kept != self.master.check().as_bytes() => Err(StoreError::WrongKey),
            _ => Ok(()),
        }
    }

    /// Notes the master key of a new database, and refuses another one for an old database.
    pub(super) fn remember_master_key(&mut self) -> Result<(), StoreError> {
        let check = self.master.check();
        let row =
            (server::id.eq(1), server::key_check.eq(check), server::created_at.eq(At(self.now)));
        with_conn!(self, |c| diesel::insert_into(server::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(c))?;
        self.check_master_key()
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
