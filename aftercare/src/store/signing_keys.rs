//! The keys that sign access tokens; their private halves are sealed under the master key.

use std::fmt;

use diesel::prelude::*;
use jiff::Timestamp;
use secrecy::SecretSlice;

use super::schema::signing_keys;
use super::sql::{At, MaybeAt};
use super::{StoreError, Tx, with_conn};

/// A signing key.
#[derive(Clone)]
pub struct SigningKey {
    /// The `kid` of the tokens it signs.
    pub kid: String,
    /// The private half, in whatever form the API gave.
    pub private: SecretSlice<u8>,
    /// The public half, in whatever form the API gave.
    pub public: Vec<u8>,
    /// When it was made; the youngest key that is not retired signs.
    pub created_at: Timestamp,
    /// Since when its signatures count no more.
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
    private_sealed: Vec<u8>,
    public_key: Vec<u8>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    created_at: Timestamp,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    retired_at: Option<Timestamp>,
}

impl Tx<'_> {
    /// Keeps a new signing key, made now.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the `kid` is taken.
    pub fn insert_signing_key(
        &mut self,
        kid: &str,
        private: &[u8],
        public: &[u8],
    ) -> Result<(), StoreError> {
        let row = Row {
            id: kid.to_owned(),
            private_sealed: self.master.seal_signing_key(self.env, kid, private)?,
            public_key: public.to_vec(),
            created_at: self.now,
            retired_at: None,
        };
        with_conn!(self, |c| diesel::insert_into(signing_keys::table).values(row).execute(c))?;
        Ok(())
    }

    /// Every signing key, the youngest first.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] when they were sealed under another master key.
    pub fn signing_keys(&mut self) -> Result<Vec<SigningKey>, StoreError> {
        let rows: Vec<Row> = with_conn!(self, |c| signing_keys::table
            .order((signing_keys::created_at.desc(), signing_keys::id.desc()))
            .select(Row::as_select())
            .load(c))?;
        rows.into_iter()
            .map(|row| {
                let private = self.master.open_signing_key(&row.id, &row.private_sealed)?;
                Ok(SigningKey {
                    private: SecretSlice::from(private.to_vec()),
                    kid: row.id,
                    public: row.public_key,
                    created_at: row.created_at,
                    retired_at: row.retired_at,
                })
            })
            .collect()
    }

    /// Retires a signing key now; false when there is none with this `kid` or it is retired already.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn retire_signing_key(&mut self, kid: &str) -> Result<bool, StoreError> {
        let now = At(self.now);
        let retired = with_conn!(self, |c| diesel::update(signing_keys::table)
            .filter(signing_keys::id.eq(kid))
            .filter(signing_keys::retired_at.is_null())
            .set(signing_keys::retired_at.eq(now))
            .execute(c))?;
        Ok(retired > 0)
    }
}
