use aftercare::store::{StoreError, Tx};
use aftercare_tests::bed::Bed;
use aftercare_tests::on_both_engines;
use secrecy::{ExposeSecret as _, SecretString};

use crate::fixtures::{Stored, clinic_and_patient, make_patient};

fn secret(text: &str) -> SecretString {
    text.to_owned().into()
}

async fn a_feed_is_found_by_its_token_and_shown_to_its_patient(bed: Bed) {
    let (clinic, patient) = clinic_and_patient(&bed.store).await;
    let id = patient.id;
    let work = move |tx: &mut Tx<'_>| -> Stored<()> {
        let other = make_patient(tx, clinic.id, "P-2")?;
        assert!(tx.calendar(&patient)?.is_none());
        tx.insert_calendar(&patient, &secret("cal_one"))?;
        tx.insert_calendar(&patient, &secret("cal_late"))?;
        let calendar = tx.calendar(&patient)?.unwrap();
        assert_eq!(calendar.token.expose_secret(), "cal_one", "the first one stays");
        assert_eq!((calendar.patient_id, calendar.created_at), (patient.id, tx.now()));
        assert_eq!(tx.patient_of_calendar(&secret("cal_one"))?, Some(patient.id));
        assert_eq!(tx.patient_of_calendar(&secret("cal_late"))?, None);
        assert!(tx.calendar(&other)?.is_none());
        Ok(())
    };
    bed.store.write(work).await.unwrap();

    let ended = move |tx: &mut Tx<'_>| {
        Ok::<_, StoreError>((tx.delete_calendar(id)?, tx.delete_calendar(id)?))
    };
    assert_eq!(bed.store.write(ended).await.unwrap(), (true, false));
    let found = bed.store.read(|tx| tx.patient_of_calendar(&secret("cal_one"))).await.unwrap();
    assert_eq!(found, None);
}

async fn a_feed_goes_with_its_patient(bed: Bed) {
    let (_, patient) = clinic_and_patient(&bed.store).await;
    let keep = move |tx: &mut Tx<'_>| tx.insert_calendar(&patient, &secret("cal_one"));
    bed.store.write(keep).await.unwrap();
    bed.execute("DELETE FROM patients");
    let found = bed.store.read(|tx| tx.patient_of_calendar(&secret("cal_one"))).await.unwrap();
    assert_eq!(found, None);
}

on_both_engines!(
    a_feed_is_found_by_its_token_and_shown_to_its_patient,
    a_feed_goes_with_its_patient,
);
