use aftercare::store::{AddressKind, DeviceState, Platform, StoreError};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use futures_util::future::join_all;
use secrecy::{ExposeSecret, SecretString};

use crate::fixtures::{HOUR, clinic_and_patient, make_patient, registration};

fn address(of: &aftercare::store::Device) -> Option<&str> {
    of.address.as_ref().map(ExposeSecret::expose_secret)
}

async fn registering_again_renews_the_same_device(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    let (id, first) = (patient.id, patient.clone());
    let made =
        bed.store.write(move |tx| tx.upsert_device(&first, &registration("i-1", "t-1"))).await;
    let made = made.unwrap();
    bed.clock.advance(HOUR);
    let now = bed.now();
    bed.store
        .write(move |tx| {
            let mut renewed = registration("i-1", "t-2");
            renewed.platform = Platform::Ios;
            renewed.notifications_enabled = false;
            let renewed = tx.upsert_device(&patient, &renewed)?;
            assert_eq!((renewed.id, renewed.created_at), (made.id, made.created_at));
            assert_eq!(renewed.last_seen_at, now);
            let found = tx.device_by_installation(id, "i-1")?.unwrap();
            assert_eq!((address(&found), found.platform), (Some("t-2"), Platform::Ios));
            assert_eq!(found.installation_id, "i-1");
            assert!(!found.notifications_enabled);
            assert_eq!(tx.devices(id)?.len(), 1);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn an_address_belongs_to_whoever_registered_it_last(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let neighbour = make_patient(tx, clinic.id, "P-2")?;
            tx.upsert_device(&patient, &registration("i-1", "t-1"))?;
            tx.upsert_device(&neighbour, &registration("i-1", "t-1"))?;
            let [lost] = tx.devices(patient.id)?.try_into().unwrap();
            assert_eq!((lost.state, address(&lost)), (DeviceState::Moved, None));
            assert_eq!(lost.state_reason.as_deref(), Some("address-moved"));
            let [has] = tx.devices(neighbour.id)?.try_into().unwrap();
            assert_eq!((has.state, address(&has)), (DeviceState::Active, Some("t-1")));

            // A token and an installation id that are spelled alike are two addresses.
            let mut fid = registration("i-2", "t-1");
            fid.address_kind = AddressKind::Fid;
            tx.upsert_device(&patient, &fid)?;
            let both = tx.devices_of(&[patient, neighbour])?;
            let active = both.iter().filter(|device| device.state == DeviceState::Active).count();
            assert_eq!((both.len(), active), (3, 2));
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn one_address_has_one_device_however_many_register_it(bed: Bed) {
    let clinic = bed.store.write(crate::fixtures::make_clinic).await.unwrap();
    let other = bed.again().await;
    let registrations = (0..12).map(|n| {
        let store = if n % 2 == 0 { &bed.store } else { &other };
        store.write(move |tx| {
            let patient = make_patient(tx, clinic.id, &format!("P-{n}"))?;
            tx.upsert_device(&patient, &registration("i", "shared"))?;
            Ok::<_, StoreError>(patient)
        })
    });
    let patients: Vec<_> = join_all(registrations).await.into_iter().map(Result::unwrap).collect();
    let devices = bed.store.read(move |tx| tx.devices_of(&patients)).await.unwrap();
    assert_eq!(devices.len(), 12);
    assert_eq!(devices.iter().filter(|device| address(device) == Some("shared")).count(), 1);
}

async fn a_late_answer_about_an_old_address_retires_nothing(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            let old = SecretString::from("t-1");
            let device = tx.upsert_device(&patient, &registration("i-1", "t-1"))?;
            tx.upsert_device(&patient, &registration("i-1", "t-2"))?;
            let mut retire = |address: &SecretString| {
                let (kind, gone) = (AddressKind::Token, DeviceState::Gone);
                tx.retire_device(device.id, kind, address, gone, "unregistered")
            };
            assert!(!retire(&old)?);
            assert!(retire(&SecretString::from("t-2"))?);
            let [gone] = tx.devices(patient.id)?.try_into().unwrap();
            assert_eq!((gone.state, address(&gone)), (DeviceState::Gone, None));
            // Registering brings it back.
            let back = tx.upsert_device(&patient, &registration("i-1", "t-3"))?;
            assert_eq!((back.state, back.state_reason), (DeviceState::Active, None));
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn a_removed_device_is_forgotten(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    bed.store
        .write(move |tx| {
            tx.upsert_device(&patient, &registration("i-1", "t-1"))?;
            assert!(tx.remove_device(patient.id, "i-1")?);
            assert!(!tx.remove_device(patient.id, "i-1")?);
            assert!(tx.device_by_installation(patient.id, "i-1")?.is_none());
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

async fn devices_fall_silent_unless_their_sign_in_is_renewed(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let (id, start) = (patient.id, bed.now());
    let session = bed.store.write(move |tx| {
        let session = tx.insert_patient_session(clinic.id, patient.id, "i-2", None)?;
        tx.upsert_device(&patient, &registration("i-1", "t-1"))?;
        let mut signed_in = registration("i-2", "t-2");
        signed_in.session_id = Some(session.id);
        tx.upsert_device(&patient, &signed_in)?;
        Ok::<_, StoreError>(session.id)
    });
    let session = session.await.unwrap();
    bed.clock.advance(HOUR);
    bed.store
        .write(move |tx| {
            assert_eq!(tx.patients_with_silent_devices(start, None, 10)?, []);
            let now = tx.now();
            tx.insert_refresh_token(session, &"refresh".into(), now + HOUR)?;
            assert_eq!(tx.patients_with_silent_devices(now, None, 10)?, [id]);
            assert_eq!(tx.retire_silent_devices(id, now)?, 1);
            assert_eq!(tx.patients_with_silent_devices(now, None, 10)?, []);
            let devices = tx.devices(id)?;
            let silent = devices.iter().find(|device| device.installation_id == "i-1").unwrap();
            assert_eq!((silent.state, address(silent)), (DeviceState::Gone, None));
            assert_eq!(silent.state_reason.as_deref(), Some("silent"));
            let later = now + HOUR;
            assert_eq!(tx.retire_silent_devices(id, later)?, 1, "not renewed since then");
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

on_both_engines!(
    devices_fall_silent_unless_their_sign_in_is_renewed,
    registering_again_renews_the_same_device,
    an_address_belongs_to_whoever_registered_it_last,
    one_address_has_one_device_however_many_register_it,
    a_late_answer_about_an_old_address_retires_nothing,
    a_removed_device_is_forgotten,
);
