//! Rows to begin with.

use std::collections::{BTreeMap, BTreeSet};

use aftercare::ids::{ClinicId, ProtocolId, ReminderId, TreatmentId};
use aftercare::planner::{Key, Member, ReminderState};
use aftercare::protocol::Area;
use aftercare::store::{
    Clinic, DeviceRegistration, NewTreatment, Patient, PushContent, Reminder, Store, StoreError,
    Treatment, Tx,
};
use aftercare_tests::phone::android;
use jiff::{SignedDuration, Timestamp};

pub(crate) const MINUTE: SignedDuration = SignedDuration::from_mins(1);
pub(crate) const HOUR: SignedDuration = SignedDuration::from_hours(1);

pub(crate) type Stored<T> = Result<T, StoreError>;

pub(crate) fn areas(words: &[&str]) -> BTreeSet<Area> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

pub(crate) fn make_clinic(tx: &mut Tx<'_>) -> Stored<Clinic> {
    let id: ClinicId = tx.env().id();
    let clinic = Clinic {
        id,
        client_id: format!("client-{id}"),
        display_name: "Clínica do Chiado".to_owned(),
        time_zone: "Europe/Lisbon".parse().unwrap(),
        locale: "pt-PT".parse().unwrap(),
        contact_phone: Some("+351 210 000 000".to_owned()),
        slots: BTreeMap::from([("when_to_call".to_owned(), "sempre".to_owned())]),
        push_content: PushContent::Text,
        paused: false,
        created_at: tx.now(),
    };
    tx.insert_clinic(&clinic)?;
    Ok(clinic)
}

pub(crate) fn make_patient(tx: &mut Tx<'_>, clinic: ClinicId, reference: &str) -> Stored<Patient> {
    Ok(tx.insert_patient(clinic, reference, None, None, tx.now())?.expect("a new reference"))
}

pub(crate) fn make_protocol(tx: &mut Tx<'_>, clinic: ClinicId) -> Stored<ProtocolId> {
    if let Some(known) = tx.latest_protocol(clinic, "microneedling")? {
        return Ok(known.id);
    }
    let document = serde_json::json!({"slug": "microneedling", "version": 1});
    tx.seed_protocol("microneedling", 1, &document)?;
    Ok(tx.latest_protocol(clinic, "microneedling")?.expect("just seeded").id)
}

pub(crate) fn new_treatment(tx: &Tx<'_>, protocol: ProtocolId, event: &str) -> NewTreatment {
    NewTreatment {
        namespace: "api".to_owned(),
        event_id: event.to_owned(),
        content_hash: tx.content_hash(event.as_bytes()),
        protocol_id: protocol,
        completed_at: tx.now() - MINUTE,
        time_zone: "Europe/Lisbon".parse().unwrap(),
        areas: areas(&["face", "neck"]),
        next_session_at: None,
        metadata: None,
    }
}

pub(crate) fn make_treatment(tx: &mut Tx<'_>, patient: &Patient, event: &str) -> Stored<Treatment> {
    let protocol = make_protocol(tx, patient.clinic_id)?;
    let new = new_treatment(tx, protocol, event);
    let treatment = tx.draft_treatment(patient, new);
    assert!(tx.insert_treatment(patient, &treatment)?, "a new event");
    Ok(treatment)
}

/// A planned reminder of a treatment, due at `due_at` and worth sending for three hours.
pub(crate) fn reminder(
    tx: &Tx<'_>,
    treatment: &Treatment,
    step: &str,
    due_at: Timestamp,
) -> Reminder {
    let use_by = due_at + 3 * HOUR;
    let key = Key { treatment: treatment.id, step: step.into() };
    Reminder {
        id: tx.env().id::<ReminderId>(),
        clinic_id: treatment.clinic_id,
        patient_id: treatment.patient_id,
        treatment_id: treatment.id,
        step_id: step.into(),
        due_at,
        use_by,
        state: ReminderState::Planned,
        reason: None,
        members: vec![Member { key, nominal_at: due_at, use_by, shifts: Vec::new() }],
        attempt_at: Some(due_at),
        attempts: 0,
        lease_id: None,
        leased_until: None,
        sent_at: None,
        created_at: tx.now(),
        updated_at: tx.now(),
        snoozed_until: None,
        said: None,
    }
}

pub(crate) fn registration(installation: &str, address: &str) -> DeviceRegistration {
    DeviceRegistration { locale: "pt-PT".parse().unwrap(), ..android(installation, address) }
}

/// A clinic with a patient, committed.
pub(crate) async fn clinic_and_patient(store: &Store) -> (Clinic, Patient) {
    store
        .write(|tx| {
            let clinic = make_clinic(tx)?;
            let patient = make_patient(tx, clinic.id, "P-1")?;
            Ok::<_, StoreError>((clinic, patient))
        })
        .await
        .unwrap()
}

/// A clinic with a patient, a treatment and `count` reminders that are due now, committed.
pub(crate) async fn due_reminders(store: &Store, count: usize) -> (Clinic, TreatmentId) {
    store
        .write(move |tx| {
            let clinic = make_clinic(tx)?;
            let patient = make_patient(tx, clinic.id, "P-1")?;
            let treatment = make_treatment(tx, &patient, "visit-1")?;
            let now = tx.now();
            let rows: Vec<_> = (0..count)
                .map(|n| reminder(tx, &treatment, &format!("step-{n}"), now - MINUTE))
                .collect();
            tx.save_reminders(&rows)?;
            Ok::<_, StoreError>((clinic, treatment.id))
        })
        .await
        .unwrap()
}
