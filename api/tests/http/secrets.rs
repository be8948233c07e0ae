//! A clinic changes its client secret without a gap, and a revoked one is out at once.

use aftercare_api::{
    NewClinic, SecretError, add_client_secret, client_secrets, revoke_client_secret,
};

use crate::support::{Answer, Api, api, credentials};

async fn sign_in(api: &Api, clinic: &NewClinic) -> Answer {
    api.post("/v1/oauth/token").form(&credentials(clinic)).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_secrets_count_at_once_and_a_third_is_refused() {
    let api = api().await;
    let clinic = api.clinic.clinic_id;
    let added = add_client_secret(&api.store, clinic).await.unwrap();
    let second = NewClinic { client_secret: added.client_secret, ..api.clinic.clone() };
    sign_in(&api, &api.clinic).await.expect(200);
    sign_in(&api, &second).await.expect(200);

    let refused = add_client_secret(&api.store, clinic).await.unwrap_err();
    assert!(matches!(refused, SecretError::TooMany));
    assert!(refused.to_string().contains("revoke the one"), "{refused}");
    let listed = client_secrets(&api.store, clinic).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|(_, used)| used.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_secret_ends_what_it_opened_at_once() {
    let api = api().await;
    let clinic = api.clinic.clinic_id;
    let added = add_client_secret(&api.store, clinic).await.unwrap();
    let second = NewClinic { client_secret: added.client_secret, ..api.clinic.clone() };
    let (old, new) = (api.clinic_token().await, api.token_of(&second).await);
    let listed = client_secrets(&api.store, clinic).await.unwrap();
    let first = listed.iter().map(|(secret, _)| secret.id).find(|id| *id != added.id).unwrap();
    assert_eq!(revoke_client_secret(&api.store, clinic, first, false).await.unwrap(), 1);
    api.get("/v1/protocols").bearer(&old).send().await.problem(401, "invalid-token");
    api.get("/v1/protocols").bearer(&new).send().await.expect(200);
    assert_eq!(sign_in(&api, &api.clinic).await.expect(401)["error"], "invalid_client");
    sign_in(&api, &second).await.expect(200);

    let again = revoke_client_secret(&api.store, clinic, first, false).await.unwrap_err();
    assert!(matches!(again, SecretError::Unknown(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_secret_goes_by_force_alone_and_nobody_elses_goes() {
    let api = api().await;
    let clinic = api.clinic.clinic_id;
    let other = crate::support::clinic(&api.store, "Clínica Boreal").await;
    let [(secret, _)] = client_secrets(&api.store, clinic).await.unwrap().try_into().unwrap();
    let revoke = |clinic, force| revoke_client_secret(&api.store, clinic, secret.id, force);
    assert!(matches!(revoke(other.clinic_id, true).await, Err(SecretError::Unknown(_))));
    assert!(matches!(revoke(clinic, false).await, Err(SecretError::Last)));
    sign_in(&api, &api.clinic).await.expect(200);
    revoke(clinic, true).await.unwrap();
    sign_in(&api, &api.clinic).await.expect(401);
    let nobody = api.store.env().id();
    let refused = add_client_secret(&api.store, nobody).await.unwrap_err();
    assert!(matches!(refused, SecretError::NoClinic(_)));
    add_client_secret(&api.store, clinic).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_secrets_added_at_once_one_is_made() {
    let api = api().await;
    let add = || add_client_secret(&api.store, api.clinic.clinic_id);
    let made = futures_util::future::join_all((0..4).map(|_| add())).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
}
