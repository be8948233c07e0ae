//! Replacing the master key while servers run: whatever is under it is put under the new one, in batches.
//!
//! The `server` row says which key is in use. Whoever puts something under it reads that in the same
//! transaction ([`Tx::master_key_in_use`]), which the beginning of a replacement waits for: once it has
//! begun, nothing more comes under the old key, from whatever process. What is sealed under patients' own
//! keys is not touched, because those keys stay.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary};
use uuid::Uuid;

use super::schema::{server, signing_keys};
use super::sql::{Id, RowId};
use super::{AuditEntry, Store, StoreError, Tx, with_conn};
use crate::seal::{KeyId, UnderMaster};

/// How many values one transaction puts under the new key.
const REWRAP_BATCH: i64 = 200;

/// A replacement of the master key that has begun. Whatever breaks it off, another one that is begun under
/// the same key goes on with what is left.
#[derive(Debug)]
pub struct Replacement {
    store: Store,
    under: KeyId,
    /// Those that it has not been through, and the last row of the first of them.
    columns: &'static [UnderMaster],
    after: Uuid,
}

/// One batch that was put under the new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrapped {
    /// The column, as `table.column`.
    pub column: &'static str,
    /// How many of its values.
    pub values: usize,
}

/// What a batch came to, and after which row the next one begins.
type Batch = (usize, Uuid);

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Id)]
    id: RowId,
    #[diesel(sql_type = Binary)]
    sealed: Vec<u8>,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    found: i64,
}

impl Store {
    /// The number of the master key that is in use.
    ///
    /// # Errors
    /// The store's; [`StoreError::WrongKey`] and [`StoreError::MissingKey`] when it is not in the key file.
    pub async fn master_key_in_use(&self) -> Result<KeyId, StoreError> {
        self.write(|tx| tx.master_key_in_use()).await
    }

    /// Puts the newest key of the key file to use: from now on everything new goes under it, on every server
    /// of this database. What is under another key follows by [`Replacement::step`].
    ///
    /// # Errors
    /// The store's; [`StoreError::WrongKey`] and [`StoreError::MissingKey`] when the key in use is not in
    /// the key file.
    pub async fn replace_master_key(&self) -> Result<Replacement, StoreError> {
        let under = self.write(|tx| tx.begin_replacement()).await?;
        let columns = &UnderMaster::ALL;
        Ok(Replacement { store: self.clone(), under, columns, after: Uuid::nil() })
    }
}

impl Replacement {
    /// The key that is in use now.
    #[must_use]
    pub fn under(&self) -> KeyId {
        self.under
    }

    /// How many values are under another key still.
    ///
    /// # Errors
    /// The store's.
    pub async fn left(&self) -> Result<i64, StoreError> {
        let under = self.under;
        self.store.read(move |tx| tx.values_not_under(under)).await
    }

    /// Puts the next values under the key in use; `None` when it has been through all of them.
    ///
    /// # Errors
    /// The store's; [`StoreError::MissingKey`] when a value is under a key that is not in the key file,
    /// and [`StoreError::Corrupt`] when one does not open.
    pub async fn step(&mut self) -> Result<Option<Rewrapped>, StoreError> {
        while let Some((&what, later)) = self.columns.split_first() {
            let (under, after) = (self.under, self.after);
            if let Some((values, last)) =
                self.store.write(move |tx| tx.rewrap(what, under, after)).await?
            {
                self.after = last;
                return Ok(Some(Rewrapped { column: what.column(), values }));
            }
            (self.columns, self.after) = (later, Uuid::nil());
        }
        Ok(None)
    }
}

impl Tx<'_> {
    /// From now on everything new goes under the newest key, and so do the keys that the database keeps.
    fn begin_replacement(&mut self) -> Result<KeyId, StoreError> {
        // The server row's lock: whoever goes by the key in use is waited for.
        self.lock_signing_keys()?;
        self.keep_what_was_implied()?;
        let (newest, check) = self.master.newest();
        if self.master_key_in_use()? == newest {
            return Ok(newest);
        }
        let (index, audit): (Option<Vec<u8>>, Option<Vec<u8>>) =
            with_conn!(self, |c| server::table
                .select((server::index_key_wrapped, server::audit_key_wrapped))
                .first(c))?;
        let rewrap = |what, kept: Option<Vec<u8>>| {
            kept.map(|kept| self.under_another(what, newest, Uuid::nil(), &kept)).transpose()
        };
        let index = rewrap(UnderMaster::IndexKey, index)?;
        let audit = rewrap(UnderMaster::AuditKey, audit)?;
        with_conn!(self, |c| diesel::update(server::table)
            .set((
                server::key_check.eq(check),
                server::master_key.eq(i32::from(newest.get())),
                server::index_key_wrapped.eq(index),
                server::audit_key_wrapped.eq(audit),
            ))
            .execute(c))?;
        self.append_audit(&AuditEntry {
            clinic_id: None,
            actor: "operator",
            action: "master-key.replaced",
            subject: Some(&format!("master-key:{newest}")),
        })?;
        Ok(newest)
    }

    fn values_not_under(&mut self, under: KeyId) -> Result<i64, StoreError> {
        let mut all = 0;
        for what in UnderMaster::ALL {
            let (table, column) = what.table_and_column();
            let sql =
                format!("SELECT count(*) AS found FROM {table} WHERE substr({column}, 2, 1) <> $1");
            let count: Count = with_conn!(self, |c| sql_query(&sql)
                .bind::<Binary, _>(vec![under.get()])
                .get_result(c))?;
            all += count.found;
        }
        Ok(all)
    }

    /// Puts the next values of a column under a key; `None` when it was through.
    fn rewrap(
        &mut self,
        what: UnderMaster,
        under: KeyId,
        after: Uuid,
    ) -> Result<Option<Batch>, StoreError> {
        match what {
            UnderMaster::PatientKey | UnderMaster::SigningSecret | UnderMaster::WebhookTarget => {
                self.rewrap_rows(what, under, after)
            }
            UnderMaster::SigningKey => self.rewrap_signing_keys(under),
            // They went with the beginning.
            UnderMaster::IndexKey | UnderMaster::AuditKey => Ok(None),
        }
    }

    /// Of a table whose rows are named by UUIDs, in their order.
    fn rewrap_rows(
        &mut self,
        what: UnderMaster,
        under: KeyId,
        after: Uuid,
    ) -> Result<Option<Batch>, StoreError> {
        let (table, column) = what.table_and_column();
        let select = format!(
            "SELECT id, {column} AS sealed FROM {table}
             WHERE id > $1 AND substr({column}, 2, 1) <> $2 ORDER BY id LIMIT $3 {lock}",
            lock = self.on_postgres("FOR NO KEY UPDATE"),
        );
        let rows: Vec<Row> = with_conn!(self, |c| sql_query(&select)
            .bind::<Id, _>(RowId(after))
            .bind::<Binary, _>(vec![under.get()])
            .bind::<BigInt, _>(REWRAP_BATCH)
            .load(c))?;
        let update = format!("UPDATE {table} SET {column} = $1 WHERE id = $2");
        for row in &rows {
            let sealed = self.under_another(what, under, row.id.0, &row.sealed)?;
            with_conn!(self, |c| sql_query(&update)
                .bind::<Binary, _>(sealed)
                .bind::<Id, _>(row.id)
                .execute(c))?;
        }
        Ok(rows.last().map(|last| (rows.len(), last.id.0)))
    }

    /// A few, all at once. The private half of a retired key may be gone.
    fn rewrap_signing_keys(&mut self, under: KeyId) -> Result<Option<Batch>, StoreError> {
        self.lock_signing_keys()?;
        let rows: Vec<(String, Option<Vec<u8>>)> = with_conn!(self, |c| signing_keys::table
            .select((signing_keys::id, signing_keys::private_sealed))
            .load(c))?;
        let mut values = 0;
        for (kid, sealed) in rows {
            let Some(sealed) = sealed.filter(|sealed| !under.is_of(sealed)) else { continue };
            let row = self.master.signing_key_row(&kid);
            let sealed = self.under_another(UnderMaster::SigningKey, under, row, &sealed)?;
            with_conn!(self, |c| diesel::update(signing_keys::table.find(kid))
                .set(signing_keys::private_sealed.eq(Some(sealed)))
                .execute(c))?;
            values += 1;
        }
        Ok((values > 0).then_some((values, Uuid::nil())))
    }

    fn under_another(
        &self,
        what: UnderMaster,
        under: KeyId,
        row: Uuid,
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let plain = self.master.open(what, row, sealed)?;
        Ok(self.master.seal(self.env, under, what, row, &plain)?)
    }
}
