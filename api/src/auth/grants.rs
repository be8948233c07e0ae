//! Sessions and how they are opened, carried on and ended: units of work over one transaction.
//!
//! A patient's app holds a chain of refresh tokens, each good once. A phone whose answer got lost asks
//! again with the token it has: for 60 seconds, and while the successor is unused, it gets the *same*
//! successor again. That is why a successor is derived, by a keyed hash, from the token that is
//! spent: nothing that could open the chain is stored, and two answers that cross never fork it. Any
//! other use of a spent token means that two parties hold the chain, and ends the session. That holds
//! for a month: tokens spent before then are forgotten, and whoever comes with one has to enrol again,
//! which ends the session of the same installation too.

use aftercare::care::{self, ACCESS_LIFETIME};
use aftercare::ids::{ClientSecretId, ClinicId, PatientId, RefreshTokenId, SessionId};
use aftercare::store::{
    AuditEntry, Consent, ConsentKind, Enrolment, RefreshToken, Session, StoreError, Tx,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use uuid::Uuid;

use super::secrets;
use super::token::Role;

/// How long an enrolment code is good for, in elapsed time.
const ENROLMENT_LIFETIME: SignedDuration = SignedDuration::from_hours(72);
/// How long an unused refresh token is good for, in elapsed time: as long as a push address that nobody
/// was heard of from is kept.
const REFRESH_LIFETIME: SignedDuration = SignedDuration::from_hours(270 * 24);
/// How long a spent refresh token works again while its successor is unused, in elapsed time.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// A session that was opened or carried on, and what its tokens are to say.
pub(crate) struct Grant {
    pub(crate) session: SessionId,
    pub(crate) role: Role,
    /// The clinic's or the patient's id.
    pub(crate) subject: Uuid,
    pub(crate) refresh_token: Option<SecretString>,
}

/// What came of a refresh token.
pub(crate) enum Refresh {
    Granted(Grant),
    /// Unknown, expired, or of a session that has ended.
    Refused,
    /// Spent, and used again too late or after its successor: the session has been revoked.
    Reused,
}

/// An invitation that was just made.
pub(crate) struct NewEnrolment {
    pub(crate) code: SecretString,
    pub(crate) expires_at: Timestamp,
}

/// Opens a session of a clinic's client, for as long as one access token lives. `None` when the secret
/// it showed was revoked meanwhile.
///
/// # Errors
/// When the database refuses.
pub(crate) fn open_clinic_session(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    secret: ClientSecretId,
) -> Result<Option<SessionId>, StoreError> {
    if !tx.lock_client_secret(secret)? {
        return Ok(None);
    }
    let expires_at = tx.now() + ACCESS_LIFETIME;
    Ok(Some(tx.insert_clinic_session(clinic, secret, expires_at)?.id))
}

/// Makes an enrolment code for a patient.
///
/// # Errors
/// When the database refuses.
pub(crate) fn enrol(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    patient: PatientId,
) -> Result<NewEnrolment, StoreError> {
    let code = secrets::random(tx.env(), "ace_");
    let expires_at = tx.now() + ENROLMENT_LIFETIME;
    tx.insert_enrolment(clinic, patient, &code, expires_at)?;
    let actor = tx.actor_of(clinic);
    audit(tx, clinic, &actor, "enrolment.created", patient)?;
    Ok(NewEnrolment { code, expires_at })
}

/// Spends an enrolment code: consents to aftercare for the patient, ends an earlier session of the same
/// installation, and opens a new one. `None` for a code that is not good.
///
/// # Errors
/// When the database refuses.
pub(crate) fn redeem(
    tx: &mut Tx<'_>,
    code: &SecretString,
    installation: &str,
) -> Result<Option<Grant>, StoreError> {
    let Some(enrolment) = lock_and_spend(tx, code)? else {
        return Ok(None);
    };
    let (clinic, patient) = (enrolment.clinic_id, enrolment.patient_id);
    tx.revoke_installation_sessions(patient, installation)?;
    let session = tx.insert_patient_session(clinic, patient, installation, None)?.id;
    let token = secrets::random(tx.env(), "acr_");
    keep(tx, session, &token)?;
    let at = tx.now();
    tx.set_consent(&Consent {
        patient_id: patient,
        kind: ConsentKind::Aftercare,
        granted: true,
        notice_version: None,
        at,
    })?;
    care::replan(tx, patient)?;
    audit(tx, clinic, &format!("patient:{patient}"), "enrolment.redeemed", patient)?;
    Ok(Some(patient_grant(session, patient, token)))
}

/// Spends a code under the lock of its patient: whoever erases the patient takes the same two in the same
/// order.
fn lock_and_spend(tx: &mut Tx<'_>, code: &SecretString) -> Result<Option<Enrolment>, StoreError> {
    let Some(patient) = tx.patient_of_enrolment(code)? else { return Ok(None) };
    tx.lock_patient(patient)?;
    tx.redeem_enrolment(code)
}

/// Spends a refresh token for the next one.
///
/// # Errors
/// When the database refuses. A refusal is no error, because what it revokes must be committed.
pub(crate) fn refresh(tx: &mut Tx<'_>, token: &SecretString) -> Result<Refresh, StoreError> {
    let now = tx.now();
    let Some((presented, session)) = lock_refresh_token(tx, token)? else {
        return Ok(Refresh::Refused);
    };
    let Some(patient) = session.patient_id.filter(|_| session.is_live(now)) else {
        return Ok(Refresh::Refused);
    };
    let successor = successor(tx, token);
    match presented.spent_at {
        None if presented.expires_at <= now => return Ok(Refresh::Refused),
        None => {
            let next = keep(tx, session.id, &successor)?;
            tx.spend_refresh_token(presented.id, next)?;
        }
        Some(spent_at) if now < spent_at + GRACE && is_unused(tx, &presented)? => {}
        Some(_) => {
            revoke_session(tx, session.id)?;
            audit(tx, session.clinic_id, "system", "session.reused", patient)?;
            return Ok(Refresh::Reused);
        }
    }
    Ok(Refresh::Granted(patient_grant(session.id, patient, successor)))
}

/// Locks a refresh token and its session, and before them their patient: the order that everybody
/// keeps to who ends sessions.
fn lock_refresh_token(
    tx: &mut Tx<'_>,
    token: &SecretString,
) -> Result<Option<(RefreshToken, Session)>, StoreError> {
    let Some(session) = tx.session_of_refresh_token(token)? else { return Ok(None) };
    if let Some(patient) = session.patient_id {
        tx.lock_patient(patient)?;
    }
    tx.lock_refresh_token(token)
}

fn is_unused(tx: &mut Tx<'_>, spent: &RefreshToken) -> Result<bool, StoreError> {
    let Some(successor) = spent.successor_id else { return Ok(false) };
    Ok(tx.refresh_token(successor)?.is_some_and(|token| token.spent_at.is_none()))
}

/// The token that follows: whoever has neither this one nor the master key cannot know it.
fn successor(tx: &Tx<'_>, token: &SecretString) -> SecretString {
    let digest = tx.refresh_successor(token);
    format!("acr_{}", URL_SAFE_NO_PAD.encode(digest.as_bytes())).into()
}

fn keep(
    tx: &mut Tx<'_>,
    session: SessionId,
    token: &SecretString,
) -> Result<RefreshTokenId, StoreError> {
    let expires_at = tx.now() + REFRESH_LIFETIME;
    Ok(tx.insert_refresh_token(session, token, expires_at)?.id)
}

const fn patient_grant(session: SessionId, patient: PatientId, token: SecretString) -> Grant {
    Grant { session, role: Role::Patient, subject: patient.0, refresh_token: Some(token) }
}

/// Ends a session: none of its tokens counts any more, and nothing is pushed to the installation it was
/// opened for. With a patient's last one ends the calendar feed: nobody is left who could end it. False
/// when it had ended already.
///
/// # Errors
/// When the database refuses.
pub(crate) fn revoke_session(tx: &mut Tx<'_>, id: SessionId) -> Result<bool, StoreError> {
    let Some(session) = tx.session(id)? else { return Ok(false) };
    if let Some(patient) = session.patient_id {
        tx.lock_patient(patient)?;
    }
    if !tx.revoke_session(id)? {
        return Ok(false);
    }
    if let Some(patient) = session.patient_id {
        for device in tx.devices(patient)? {
            if device.session_id == Some(id) {
                care::remove_device(tx, patient, &device.installation_id)?;
            }
        }
        audit(tx, session.clinic_id, &format!("patient:{patient}"), "session.revoked", patient)?;
        let now = tx.now();
        if !tx.sessions(patient)?.iter().any(|session| session.is_live(now)) {
            care::close_calendar(tx, patient)?;
        }
    }
    Ok(true)
}

fn audit(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    actor: &str,
    action: &str,
    patient: PatientId,
) -> Result<(), StoreError> {
    let subject = format!("patient:{patient}");
    tx.append_audit(&AuditEntry {
        clinic_id: Some(clinic),
        actor,
        action,
        subject: Some(&subject),
    })?;
    Ok(())
}
