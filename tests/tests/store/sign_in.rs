use aftercare::store::Tx;
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};

use crate::fixtures::{HOUR, MINUTE, Stored, clinic_and_patient};

/// What each of so many units of work comes to, all of them at once from two processes.
async fn at_once<T, F>(bed: &Bed, times: usize, work: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_>) -> Stored<T> + Send + 'static,
{
    let other = bed.again().await;
    let stores = [&bed.store, &other].into_iter().cycle();
    let units = (0..times).zip(stores).map(|(n, store)| store.write(work(n)));
    join_all(units).await.into_iter().map(Result::unwrap).collect()
}

async fn a_session_lives_until_it_ends(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let now = bed.now();
    bed.write(move |tx| {
        let secret = tx.insert_client_secret(clinic.id, "hash")?;
        let client = tx.insert_clinic_session(clinic.id, secret, now + HOUR)?;
        let app = tx.insert_patient_session(clinic.id, patient.id, "i-1", None)?;
        assert_eq!(tx.session(client.id)?, Some(client.clone()));
        assert!(client.is_live(now) && !client.is_live(now + HOUR));
        assert!(app.is_live(now + 9999 * HOUR));

        assert!(tx.revoke_session(client.id)?);
        assert!(!tx.revoke_session(client.id)?);
        assert!(!tx.session(client.id)?.unwrap().is_live(now));
        assert_eq!(tx.revoke_installation_sessions(patient.id, "i-2")?, 0);
        assert_eq!(tx.revoke_installation_sessions(patient.id, "i-1")?, 1);
        assert!(!tx.session(app.id)?.unwrap().is_live(now));

        Ok(())
    })
    .await;
}

async fn what_is_over_is_forgotten(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let now = bed.now();
    bed.write(move |tx| {
        let secret = tx.insert_client_secret(clinic.id, "hash")?;
        let client = tx.insert_clinic_session(clinic.id, secret, now + HOUR)?;
        let left = tx.insert_patient_session(clinic.id, patient.id, "i-1", None)?;
        tx.insert_refresh_token(left.id, &"left".into(), now + 9 * HOUR)?;
        let open = tx.insert_patient_session(clinic.id, patient.id, "i-2", None)?;
        let spent = tx.insert_refresh_token(open.id, &"spent".into(), now + 9 * HOUR)?;
        let next = tx.insert_refresh_token(open.id, &"next".into(), now + 9 * HOUR)?;
        tx.revoke_session(left.id)?;
        tx.spend_refresh_token(spent.id, next.id)?;

        assert_eq!(tx.forget_sessions(now)?, 0);
        assert!(tx.session_of_refresh_token(&"left".into())?.is_some());
        assert_eq!(tx.refresh_token(spent.id)?.unwrap().successor_id, Some(next.id));

        assert_eq!(tx.forget_sessions(now + MINUTE)?, 1);
        assert_eq!(tx.session(left.id)?, None);
        assert_eq!(tx.session_of_refresh_token(&"left".into())?, None);
        assert_eq!(tx.session_of_refresh_token(&"spent".into())?, None);
        assert_eq!(tx.session_of_refresh_token(&"next".into())?, Some(open));

        assert_eq!(tx.forget_sessions(now + HOUR)?, 0);
        assert_eq!(tx.forget_sessions(now + HOUR + MINUTE)?, 1);
        assert_eq!(tx.session(client.id)?, None);
        Ok(())
    })
    .await;
}

async fn a_refresh_token_is_spent_once(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let now = bed.now();
    let text = SecretString::from("refresh-1");
    let session = bed
        .write(move |tx| {
            let session = tx.insert_patient_session(clinic.id, patient.id, "i-1", None)?;
            tx.insert_refresh_token(session.id, &"refresh-1".into(), now + HOUR)?;
            Ok(session.id)
        })
        .await;
    let fresh = at_once(&bed, 8, |n| {
        let text = text.clone();
        move |tx: &mut Tx<'_>| {
            let (token, of) = tx.lock_refresh_token(&text)?.unwrap();
            assert_eq!(of.id, session);
            if token.spent_at.is_some() {
                return Ok(false);
            }
            let next = SecretString::from(format!("refresh-2-{n}"));
            let successor = tx.insert_refresh_token(session, &next, now + HOUR)?;
            tx.spend_refresh_token(token.id, successor.id)?;
            Ok(true)
        }
    })
    .await;
    assert_eq!(fresh.iter().filter(|fresh| **fresh).count(), 1);

    bed.clock.advance(MINUTE);
    bed.write(move |tx| {
        let (spent, _) = tx.lock_refresh_token(&text)?.unwrap();
        assert_eq!(spent.spent_at, Some(now));
        let successor = tx.refresh_token(spent.successor_id.unwrap())?.unwrap();
        assert_eq!(successor.spent_at, None);
        // A second successor, for a phone that lost the first answer.
        let again = tx.insert_refresh_token(session, &"refresh-3".into(), now + HOUR)?;
        tx.spend_refresh_token(spent.id, again.id)?;
        let (spent, _) = tx.lock_refresh_token(&text)?.unwrap();
        assert_eq!((spent.spent_at, spent.successor_id), (Some(now), Some(again.id)));
        assert!(tx.lock_refresh_token(&"unknown".into())?.is_none());
        Ok(())
    })
    .await;
}

async fn an_invitation_is_redeemed_once(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let now = bed.now();
    let id = patient.id;
    bed.write(move |tx| {
        tx.insert_enrolment(clinic.id, id, &"code-1".into(), now + HOUR)?;
        tx.insert_enrolment(clinic.id, id, &"code-2".into(), now + HOUR)
    })
    .await;
    let redeem = |_| |tx: &mut Tx<'_>| tx.redeem_enrolment(&"code-1".into());
    let redeemed: Vec<_> = at_once(&bed, 12, redeem).await.into_iter().flatten().collect();
    assert_eq!(redeemed.len(), 1);
    assert_eq!((redeemed[0].patient_id, redeemed[0].redeemed_at), (id, Some(now)));

    bed.clock.advance(HOUR);
    let late = async |code: &str| {
        let code = SecretString::from(code);
        bed.write(move |tx| tx.redeem_enrolment(&code)).await
    };
    let of = async |code: &str| {
        let code = SecretString::from(code);
        bed.store.read(move |tx| tx.patient_of_enrolment(&code)).await.unwrap()
    };
    assert_eq!((of("code-1").await, of("code-2").await), (Some(id), Some(id)));
    assert_eq!(of("code-3").await, None);
    assert_eq!(late("code-2").await, None, "expired");
    assert_eq!(late("code-3").await, None, "unknown");
}

async fn signing_keys_come_back_until_they_are_forgotten(bed: Bed) {
    let now = bed.now();
    bed.write(move |tx| tx.insert_signing_key("k1", b"private-1", b"public-1", now)).await;
    bed.clock.advance(MINUTE);
    bed.write(move |tx| {
        tx.lock_signing_keys()?;
        tx.insert_signing_key("k2", b"private-2", b"public-2", now + HOUR)?;
        assert_eq!(tx.retire_signing_keys(now + HOUR, "k2")?, 1);
        assert_eq!(tx.retire_signing_keys(now + 2 * HOUR, "k2")?, 0, "the first end counts");
        let [next, old] = tx.signing_keys()?.try_into().unwrap();
        assert_eq!((next.kid.as_str(), next.signs_from), ("k2", now + HOUR));
        assert_eq!((next.created_at, next.retired_at), (now + MINUTE, None));
        assert_eq!((old.kid.as_str(), old.retired_at), ("k1", Some(now + HOUR)));
        assert_eq!(old.private.unwrap().expose_secret(), b"private-1");
        assert_eq!(old.public, b"public-1");

        assert_eq!(tx.destroy_private_halves(now + MINUTE)?, 0);
        assert_eq!(tx.destroy_private_halves(now + HOUR)?, 1);
        assert_eq!(tx.destroy_private_halves(now + HOUR)?, 0);
        let [next, old] = tx.signing_keys()?.try_into().unwrap();
        assert!(next.private.is_some() && old.private.is_none());
        assert_eq!(old.public, b"public-1");

        assert_eq!(tx.forget_signing_keys(now + MINUTE)?, 0);
        assert_eq!(tx.forget_signing_keys(now + HOUR)?, 1);
        assert!(tx.delete_signing_key("k2")?);
        assert!(!tx.delete_signing_key("k2")?);
        assert!(tx.signing_keys()?.is_empty());
        Ok(())
    })
    .await;
}

async fn a_session_counts_under_a_key_that_is_there(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let now = bed.now();
    bed.write(move |tx| {
        tx.insert_signing_key("k1", b"private", b"public", now)?;
        let app = tx.insert_patient_session(clinic.id, patient.id, "i-1", None)?;
        assert_eq!(tx.session_under_key(app.id, "k1")?, Some(app.clone()));
        assert_eq!(tx.session_under_key(app.id, "k2")?, None);
        assert_eq!(tx.session_under_key(tx.env().id(), "k1")?, None);
        tx.delete_signing_key("k1")?;
        assert_eq!(tx.session_under_key(app.id, "k1")?, None);
        assert_eq!(tx.session(app.id)?, Some(app));
        Ok(())
    })
    .await;
}

on_both_engines!(
    a_session_lives_until_it_ends,
    what_is_over_is_forgotten,
    a_refresh_token_is_spent_once,
    an_invitation_is_redeemed_once,
    signing_keys_come_back_until_they_are_forgotten,
    a_session_counts_under_a_key_that_is_there,
);
