//! What signed messages were answered: a repeat gets the same answer.

use diesel::prelude::*;
use jiff::Timestamp;

use super::schema::webhook_answers;
use super::sql::{At, Count};
use super::{StoreError, Tx, with_conn};
use crate::ids::ClinicId;
use crate::seal::{DataKey, Digest, Place};

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAnswer {
    /// The HTTP status.
    pub status: u32,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = webhook_answers, treat_none_as_default_value = false)]
struct Row {
    clinic_id: ClinicId,
    message_hash: Digest,
    #[diesel(serialize_as = Count, deserialize_as = Count)]
    status: u32,
    body_sealed: Vec<u8>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    received_at: Timestamp,
}

impl Tx<'_> {
    /// Keeps the first answer to a message; a later one changes nothing.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn keep_webhook_answer(
        &mut self,
        clinic: ClinicId,
        message: &str,
        answer: &WebhookAnswer,
    ) -> Result<(), StoreError> {
        let message_hash = self.message_hash(clinic, message);
        let row = Row {
            clinic_id: clinic,
            message_hash,
            status: answer.status,
            body_sealed: self.answer_key(message_hash).seal(
                self.env,
                body_at(clinic),
                &answer.body,
            )?,
            received_at: self.now,
        };
        with_conn!(self, |c| diesel::insert_into(webhook_answers::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(c))?;
        Ok(())
    }

    /// What a message of that id was answered, if it came before.
    ///
    /// # Errors
    /// When the database refuses, or what is sealed does not open.
    pub fn webhook_answer(
        &mut self,
        clinic: ClinicId,
        message: &str,
    ) -> Result<Option<WebhookAnswer>, StoreError> {
        let hash = self.message_hash(clinic, message);
        let row: Option<Row> = with_conn!(self, |c| webhook_answers::table
            .find((clinic, hash))
            .select(Row::as_select())
            .first(c)
            .optional())?;
        let Some(row) = row else { return Ok(None) };
        let body = self.answer_key(hash).open(body_at(clinic), &row.body_sealed)?;
        Ok(Some(WebhookAnswer { status: row.status, body: body.to_vec() }))
    }

    /// Forgets the answers that were given before that instant.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_webhook_answers(&mut self, before: Timestamp) -> Result<usize, StoreError> {
        with_conn!(self, |c| diesel::delete(webhook_answers::table)
            .filter(webhook_answers::received_at.lt(At(before)))
            .execute(c))
    }

    fn message_hash(&self, clinic: ClinicId, message: &str) -> Digest {
        self.master.index("webhook_answers.message", &[clinic.0.as_bytes(), message.as_bytes()])
    }

    fn answer_key(&self, message: Digest) -> DataKey {
        self.master.index("webhook_answers.body", &[message.as_bytes()]).into()
    }
}

fn body_at(clinic: ClinicId) -> Place {
    Place { column: "webhook_answers.body_sealed", row: clinic.0 }
}
