//! The lines from which schedulers take their turns to send, one for each Firebase project.
//!
//! [`crate::care::turns`] says what is done with them. Nothing is lost with a line: whoever finds none begins
//! another.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use jiff::Timestamp;

use super::kept::Keep as _;
use super::schema::fcm_lines;
use super::sql::{At, Instant};
use super::{StoreError, Tx, with_conn};

/// Until when turns have been given out, by the clocks of those who took them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct FcmLine {
    /// What the clocks of those who took turns said last.
    #[diesel(sql_type = Instant, deserialize_as = At)]
    pub seen_at: Timestamp,
    /// The first turn that nobody has yet.
    #[diesel(sql_type = Instant, deserialize_as = At)]
    pub next_at: Timestamp,
    /// Since when the rate has been rising.
    #[diesel(sql_type = Instant, deserialize_as = At)]
    pub ramp_began_at: Timestamp,
}

impl Tx<'_> {
    /// The project's line, begun now if there is none. It is this transaction's until it ends.
    ///
    /// On PostgreSQL others wait for it, and for no longer than a second if this process stands still
    /// meanwhile: then the server ends the transaction. The commit waits for no disk, since a line that is
    /// lost with the server's memory is begun anew.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn fcm_line(&mut self, project: &str) -> Result<FcmLine, StoreError> {
        let sql = format!(
            "SELECT seen_at, next_at, ramp_began_at {settings} FROM fcm_lines WHERE project = $1 {lock}",
            settings = self.on_postgres(
                ", set_config('idle_in_transaction_session_timeout', '1s', true),
                   set_config('synchronous_commit', 'off', true)"
            ),
            lock = self.on_postgres("FOR UPDATE"),
        );
        loop {
            let line: Option<FcmLine> = with_conn!(self, |c| sql_query(&sql)
                .bind::<Text, _>(project)
                .kept()
                .get_result(c)
                .optional())?;
            match line {
                Some(line) => return Ok(line),
                None => self.begin_fcm_line(project)?,
            }
        }
    }

    fn begin_fcm_line(&mut self, project: &str) -> Result<(), StoreError> {
        let now = At(self.now);
        let row = (
            fcm_lines::project.eq(project),
            fcm_lines::seen_at.eq(now),
            fcm_lines::next_at.eq(now),
            fcm_lines::ramp_began_at.eq(now),
        );
        with_conn!(self, |c| diesel::insert_into(fcm_lines::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(c))?;
        Ok(())
    }

    /// Writes down what has become of a line.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn keep_fcm_line(&mut self, project: &str, line: FcmLine) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::update(fcm_lines::table.find(project))
            .set((
                fcm_lines::seen_at.eq(At(line.seen_at)),
                fcm_lines::next_at.eq(At(line.next_at)),
                fcm_lines::ramp_began_at.eq(At(line.ramp_began_at)),
            ))
            .execute(c))?;
        Ok(())
    }
}
