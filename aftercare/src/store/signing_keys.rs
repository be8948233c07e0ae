//! The keys that sign access tokens; their private halves are sealed under the master key.

use std::fmt;

use diesel::prelude::*;
use jiff::Timestamp;
use secrecy::SecretSlice;

use super::conn::Conn;
use super::schema::{server, signing_keys};
use super::sql::{At, MaybeAt};
use super::{StoreError, Tx, with_conn};
use crate::seal::UnderMaster;

/// A signing key.
#[derive(Clone)]
pub struct SigningKey {
    /// The `kid` of the tokens it signs.
    pub kid: String,
    /// The private half, in whatever form it was given; none once it was destroyed.
    pub private: Option<SecretSlice<u8>>,
    /// The public half, in whatever form it was given.
    pub public: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From this instant on it signs, until a key whose turn comes later does.
    pub signs_from: Timestamp,
    /// The instant at which another key's turn begins, if there is one; it may lie ahead.
    pub retired_at: Option<Timestamp>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys, treat_none_as_default_value = false)]
struct Row {
    id: String,
    private_sealed: Option<Vec<u8>>,
    public_key: Vec<u8>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    created_at: Timestamp,
    #[diesel(serialize_as = At, deserialize_as = At)]
    signs_from: Timestamp,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    retired_at: Option<Timestamp>,
}

impl Tx<'_> {
    /// Makes whoever changes the set of signing keys wait until this transaction ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lock_signing_keys(&mut self) -> Result<(), StoreError> {
        if let Conn::Pg(c) = &mut *self.conn {
            let locked = server::table.select(server::id).for_update().load::<i32>(&mut **c);
            locked.map_err(|error| self.refused(error))?;
        }
        Ok(())
    }

    /// Keeps a new signing key, made now, whose turn begins at `signs_from`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the `kid` is taken.
    pub fn insert_signing_key(
        &mut self,
        kid: &str,
        private: &[u8],
        public: &[u8],
        signs_from: Timestamp,
    ) -> Result<(), StoreError> {
        let (under, row) = (self.master_key_in_use()?, self.master.signing_key_row(kid));
        let sealed = self.master.seal(self.env, under, UnderMaster::SigningKey, row, private)?;
        let row = Row {
            id: kid.to_owned(),
            private_sealed: Some(sealed),
            public_key: public.to_vec(),
            created_at: self.now,
            signs_from,
            retired_at: None,
        };
        with_conn!(self, |c| diesel::insert_into(signing_keys::table).values(row).execute(c))?;
        Ok(())
    }

    /// Every signing key, the one whose turn comes last first.
    ///
    /// # Errors
    /// [`StoreError::MissingKey`] when they were sealed under another master key.
    pub fn signing_keys(&mut self) -> Result<Vec<SigningKey>, StoreError> {
        let rows: Vec<Row> = with_conn!(self, |c| signing_keys::table
            .order((signing_keys::signs_from.desc(), signing_keys::id.desc()))
            .select(Row::as_select())
            .load(c))?;
        let open = |row: Row| {
            let named = self.master.signing_key_row(&row.id);
            let open = |sealed: Vec<u8>| self.master.open(UnderMaster::SigningKey, named, &sealed);
            let private = row.private_sealed.map(open).transpose()?;
            Ok(SigningKey {
                private: private.map(|private| SecretSlice::from(private.to_vec())),
                kid: row.id,
                public: row.public_key,
                created_at: row.created_at,
                signs_from: row.signs_from,
                retired_at: row.retired_at,
            })
        };
        rows.into_iter().map(open).collect()
    }

    /// Ends at `at` the turn of every key whose turn has no end yet, but for the key `successor`; gives
    /// how many.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn retire_signing_keys(
        &mut self,
        at: Timestamp,
        successor: &str,
    ) -> Result<usize, StoreError> {
        with_conn!(self, |c| diesel::update(signing_keys::table)
            .filter(signing_keys::id.ne(successor))
            .filter(signing_keys::retired_at.is_null())
            .set(signing_keys::retired_at.eq(At(at)))
            .execute(c))
    }

    /// Destroys the private halves of the keys that retired at `before` or earlier; gives how many.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn destroy_private_halves(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        with_conn!(self, |c| diesel::update(signing_keys::table)
            .filter(signing_keys::retired_at.le(At(before)))
            .filter(signing_keys::private_sealed.is_not_null())
            .set(signing_keys::private_sealed.eq(None::<Vec<u8>>))
            .execute(c))
    }

    /// Forgets the keys that retired at `before` or earlier; gives how many. Their tokens are refused
    /// at once.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_signing_keys(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        with_conn!(self, |c| diesel::delete(signing_keys::table)
            .filter(signing_keys::retired_at.le(At(before)))
            .execute(c))
    }

    /// Destroys a key whole; its tokens are refused at once. False when there is none of this name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn delete_signing_key(&mut self, kid: &str) -> Result<bool, StoreError> {
        let deleted =
            with_conn!(self, |c| diesel::delete(signing_keys::table.find(kid)).execute(c))?;
        Ok(deleted > 0)
    }
}
