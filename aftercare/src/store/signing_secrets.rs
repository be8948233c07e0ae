//! The secrets that sign a clinic's events; they are sealed under the master key, because whoever
//! checks a signature needs the secret itself.

use std::fmt;

use diesel::prelude::*;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretSlice};

use super::schema::signing_secrets;
use super::sql::At;
use super::{StoreError, Tx, with_conn};
use crate::ids::{ClinicId, SigningSecretId};
use crate::seal::UnderMaster;

/// A secret of a clinic.
#[derive(Clone)]
pub struct SigningSecret {
    /// Its id.
    pub id: SigningSecretId,
    /// The secret.
    pub secret: SecretSlice<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_secrets, treat_none_as_default_value = false)]
struct Row {
    id: SigningSecretId,
    clinic_id: ClinicId,
    secret_sealed: Vec<u8>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    created_at: Timestamp,
}

impl Tx<'_> {
    /// Keeps a new secret of a clinic, made now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_signing_secret(
        &mut self,
        clinic: ClinicId,
        secret: &SecretSlice<u8>,
    ) -> Result<SigningSecret, StoreError> {
        let id: SigningSecretId = self.env.id();
        let (under, what) = (self.master_key_in_use()?, UnderMaster::SigningSecret);
        let secret_sealed =
            self.master.seal(self.env, under, what, id.0, secret.expose_secret())?;
        let row = Row { id, clinic_id: clinic, secret_sealed, created_at: self.now };
        with_conn!(self, |c| diesel::insert_into(signing_secrets::table).values(row).execute(c))?;
        Ok(SigningSecret { id, secret: secret.clone(), created_at: self.now })
    }

    /// A clinic's secrets, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::MissingKey`] when they were sealed under another master key.
    pub fn signing_secrets(&mut self, clinic: ClinicId) -> Result<Vec<SigningSecret>, StoreError> {
        let rows: Vec<Row> = with_conn!(self, |c| signing_secrets::table
            .filter(signing_secrets::clinic_id.eq(clinic))
            .order((signing_secrets::created_at, signing_secrets::id))
            .select(Row::as_select())
            .load(c))?;
        let open = |row: Row| {
            let secret =
                self.master.open(UnderMaster::SigningSecret, row.id.0, &row.secret_sealed)?;
            let secret = SecretSlice::from(secret.to_vec());
            Ok(SigningSecret { id: row.id, secret, created_at: row.created_at })
        };
        rows.into_iter().map(open).collect()
    }

    /// Forgets a secret; false when the clinic has no such secret.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn delete_signing_secret(
        &mut self,
        clinic: ClinicId,
        id: SigningSecretId,
    ) -> Result<bool, StoreError> {
        let deleted = with_conn!(self, |c| diesel::delete(signing_secrets::table.find(id))
            .filter(signing_secrets::clinic_id.eq(clinic))
            .execute(c))?;
        Ok(deleted > 0)
    }
}
