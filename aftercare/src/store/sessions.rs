//! Sign-ins, and the refresh tokens that keep them going.

use std::fmt;

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::conn::Conn;
use super::devices::installation_hash;
use super::schema::{refresh_tokens, sessions, signing_keys};
use super::sql::{At, MaybeAt};
use super::{StoreError, Tx, with_conn};
use crate::ids::{ClientSecretId, ClinicId, PatientId, RefreshTokenId, SessionId};
use crate::seal::{Digest, MasterKey};

/// One sign-in: a clinic's client, or a patient's app.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
pub struct Session {
    /// The `sid` of its tokens.
    pub id: SessionId,
    /// The tenant.
    pub clinic_id: ClinicId,
    /// The patient who signed in; none for the clinic's client.
    pub patient_id: Option<PatientId>,
    /// The digest of the app installation that signed in.
    pub installation_hash: Option<Digest>,
    /// When it began.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub created_at: Timestamp,
    /// When it ends by itself, if ever.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub expires_at: Option<Timestamp>,
    /// When it was ended.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub revoked_at: Option<Timestamp>,
    /// The secret that the clinic's client opened it with.
    pub client_secret_id: Option<ClientSecretId>,
}

impl Session {
    /// Whether it counts at this instant.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// A refresh token; the text itself is nowhere.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = refresh_tokens, treat_none_as_default_value = false)]
pub struct RefreshToken {
    /// Its id.
    pub id: RefreshTokenId,
    /// The sign-in it renews.
    pub session_id: SessionId,
    hash: Digest,
    /// When it was made.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub created_at: Timestamp,
    /// Until when it can be used.
    #[diesel(serialize_as = At, deserialize_as = At)]
    pub expires_at: Timestamp,
    /// When it was used.
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    pub spent_at: Option<Timestamp>,
    /// The token that was given for it.
    pub successor_id: Option<RefreshTokenId>,
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("id", &self.id)
            .field("session_id", &self.session_id)
            .field("spent_at", &self.spent_at)
            .finish_non_exhaustive()
    }
}

fn token_hash(master: &MasterKey, token: &SecretString) -> Digest {
    master.index("refresh_tokens.token", &[token.expose_secret().as_bytes()])
}

impl Tx<'_> {
    /// Begins now a session of the clinic's client that showed this secret; it ends by itself at
    /// `expires_at`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_clinic_session(
        &mut self,
        clinic_id: ClinicId,
        secret: ClientSecretId,
        expires_at: Timestamp,
    ) -> Result<Session, StoreError> {
        self.insert_session(Session {
            id: self.env.id(),
            clinic_id,
            patient_id: None,
            installation_hash: None,
            created_at: self.now,
            expires_at: Some(expires_at),
            revoked_at: None,
            client_secret_id: Some(secret),
        })
    }

    /// Begins a session of a patient's app now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_patient_session(
        &mut self,
        clinic: ClinicId,
        patient: PatientId,
        installation_id: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<Session, StoreError> {
        let installation = installation_hash(self.master, patient, installation_id);
        self.insert_session(Session {
            id: self.env.id(),
            clinic_id: clinic,
            patient_id: Some(patient),
            installation_hash: Some(installation),
            created_at: self.now,
            expires_at,
            revoked_at: None,
            client_secret_id: None,
        })
    }

    fn insert_session(&mut self, session: Session) -> Result<Session, StoreError> {
        with_conn!(self, |c| diesel::insert_into(sessions::table)
            .values(session.clone())
            .execute(c))?;
        Ok(session)
    }

    /// The session with this id, live or not.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn session(&mut self, id: SessionId) -> Result<Option<Session>, StoreError> {
        with_conn!(self, |c| sessions::table
            .find(id)
            .select(Session::as_select())
            .first(c)
            .optional())
    }

    /// The session with this id, live or not, as far as a token signed by the key `kid` speaks for it:
    /// `None` also when that key is not among the signing keys any more.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn session_under_key(
        &mut self,
        id: SessionId,
        kid: &str,
    ) -> Result<Option<Session>, StoreError> {
        with_conn!(self, |c| sessions::table
            .find(id)
            .filter(diesel::dsl::exists(signing_keys::table.find(kid)))
            .select(Session::as_select())
            .first(c)
            .optional())
    }

    /// Every session of a patient, live or not, the oldest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sessions(&mut self, patient: PatientId) -> Result<Vec<Session>, StoreError> {
        with_conn!(self, |c| sessions::table
            .filter(sessions::patient_id.eq(Some(patient)))
            .order(sessions::id)
            .select(Session::as_select())
            .load(c))
    }

    /// Ends a session now, and with it every token of it; false when it was over already.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn revoke_session(&mut self, id: SessionId) -> Result<bool, StoreError> {
        let now = At(self.now);
        let revoked = with_conn!(self, |c| diesel::update(sessions::table.find(id))
            .filter(sessions::revoked_at.is_null())
            .set(sessions::revoked_at.eq(now))
            .execute(c))?;
        Ok(revoked > 0)
    }

    /// Ends every session that was opened with this secret now; gives how many there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn revoke_secret_sessions(&mut self, secret: ClientSecretId) -> Result<usize, StoreError> {
        let now = At(self.now);
        with_conn!(self, |c| diesel::update(sessions::table)
            .filter(sessions::client_secret_id.eq(Some(secret)))
            .filter(sessions::revoked_at.is_null())
            .set(sessions::revoked_at.eq(now))
            .execute(c))
    }

    /// When a session was last opened with this secret, of those that are not forgotten.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn secret_used_at(
        &mut self,
        secret: ClientSecretId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let at: Option<At> = with_conn!(self, |c| sessions::table
            .filter(sessions::client_secret_id.eq(Some(secret)))
            .order(sessions::created_at.desc())
            .select(sessions::created_at)
            .first(c)
            .optional())?;
        Ok(at.map(Timestamp::from))
    }

    /// Ends every session of one app installation of a patient now; gives how many there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn revoke_installation_sessions(
        &mut self,
        patient: PatientId,
        installation_id: &str,
    ) -> Result<usize, StoreError> {
        let hash = installation_hash(self.master, patient, installation_id);
        let now = At(self.now);
        with_conn!(self, |c| diesel::update(sessions::table)
            .filter(sessions::patient_id.eq(Some(patient)))
            .filter(sessions::installation_hash.eq(Some(hash)))
            .filter(sessions::revoked_at.is_null())
            .set(sessions::revoked_at.eq(now))
            .execute(c))
    }

    /// Forgets the sessions that expired or were revoked before this instant, with their tokens, also
    /// those of apps whose last refresh token expired unused before it; and of the others the refresh
    /// tokens that were spent before it. Gives how many sessions.
    ///
    /// A forgotten token is unknown: it opens nothing, but using it again no longer gives away that two
    /// parties hold its chain. Give an instant well past the time in which a spent token may come again.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_sessions(&mut self, over_before: Timestamp) -> Result<usize, StoreError> {
        let before = At(over_before);
        let forgotten = with_conn!(self, |c| diesel::delete(sessions::table)
            .filter(sessions::expires_at.lt(before))
            .or_filter(sessions::revoked_at.lt(before))
            .execute(c))?;
        let unused = with_conn!(self, |c| diesel::delete(sessions::table)
            .filter(sessions::patient_id.is_not_null())
            .filter(not(exists(
                refresh_tokens::table
                    .filter(refresh_tokens::session_id.eq(sessions::id))
                    .filter(refresh_tokens::spent_at.is_null())
                    .filter(refresh_tokens::expires_at.ge(before))
            )))
            .execute(c))?;
        with_conn!(self, |c| diesel::delete(refresh_tokens::table)
            .filter(refresh_tokens::spent_at.lt(before))
            .execute(c))?;
        Ok(forgotten + unused)
    }

    /// Keeps a new refresh token of a session, made now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_refresh_token(
        &mut self,
        session: SessionId,
        token: &SecretString,
        expires_at: Timestamp,
    ) -> Result<RefreshToken, StoreError> {
        let row = RefreshToken {
            id: self.env.id(),
            session_id: session,
            hash: token_hash(self.master, token),
            created_at: self.now,
            expires_at,
            spent_at: None,
            successor_id: None,
        };
        with_conn!(self, |c| diesel::insert_into(refresh_tokens::table)
            .values(row.clone())
            .execute(c))?;
        Ok(row)
    }

    /// The session of the refresh token with this text; nothing is locked.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn session_of_refresh_token(
        &mut self,
        token: &SecretString,
    ) -> Result<Option<Session>, StoreError> {
        let hash = token_hash(self.master, token);
        with_conn!(self, |c| refresh_tokens::table
            .inner_join(sessions::table)
            .filter(refresh_tokens::hash.eq(hash))
            .select(Session::as_select())
            .first(c)
            .optional())
    }

    /// The refresh token with this text and its session; both are locked until this transaction ends,
    /// so that whoever uses tokens of one session takes turns.
    ///
    /// Whoever goes on to change the patient's plan must hold [`Tx::lock_patient`] before: everybody
    /// takes the patient first and the session second.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn lock_refresh_token(
        &mut self,
        token: &SecretString,
    ) -> Result<Option<(RefreshToken, Session)>, StoreError> {
        let hash = token_hash(self.master, token);
        if let Conn::Pg(c) = &mut *self.conn {
            let locked = refresh_tokens::table
                .inner_join(sessions::table)
                .filter(refresh_tokens::hash.eq(hash))
                .select(sessions::id)
                .for_update()
                .load::<SessionId>(&mut **c);
            locked.map_err(|error| self.refused(error))?;
        }
        with_conn!(self, |c| refresh_tokens::table
            .inner_join(sessions::table)
            .filter(refresh_tokens::hash.eq(hash))
            .select((RefreshToken::as_select(), Session::as_select()))
            .first(c)
            .optional())
    }

    /// Whether a session was opened for this installation.
    #[must_use]
    pub fn is_of_installation(&self, session: &Session, installation_id: &str) -> bool {
        session.patient_id.is_some_and(|patient| {
            let hash = installation_hash(self.master, patient, installation_id);
            session.installation_hash == Some(hash)
        })
    }

    /// What the token after this one is made of: always the same, and known to nobody who does not have
    /// both this token and the master key.
    #[must_use]
    pub fn refresh_successor(&self, token: &SecretString) -> Digest {
        self.master.index("refresh_tokens.successor", &[token.expose_secret().as_bytes()])
    }

    /// The refresh token with this id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn refresh_token(
        &mut self,
        id: RefreshTokenId,
    ) -> Result<Option<RefreshToken>, StoreError> {
        with_conn!(self, |c| refresh_tokens::table
            .find(id)
            .select(RefreshToken::as_select())
            .first(c)
            .optional())
    }

    /// Notes that a token was used now and which one was given for it. A token that was used before
    /// keeps the instant of its first use.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn spend_refresh_token(
        &mut self,
        id: RefreshTokenId,
        successor: RefreshTokenId,
    ) -> Result<(), StoreError> {
        let now = At(self.now);
        with_conn!(self, |c| diesel::update(refresh_tokens::table.find(id))
            .filter(refresh_tokens::spent_at.is_null())
            .set(refresh_tokens::spent_at.eq(now))
            .execute(c))?;
        with_conn!(self, |c| diesel::update(refresh_tokens::table.find(id))
            .set(refresh_tokens::successor_id.eq(Some(successor)))
            .execute(c))?;
        Ok(())
    }
}
