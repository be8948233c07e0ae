//! A clinic, its patients and their phones: a real store, the real scheduler and an emulated FCM,
//! all on one clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use aftercare::care::{self, Namespace, PatientRef, Recorded, SessionDone};
use aftercare::clock::ManualClock;
use aftercare::ids::{ClinicId, PatientId, ReminderId, TreatmentId};
use aftercare::store::{
    Clinic, Delivery, DeliveryMode, Device, DeviceRegistration, Platform, PushContent, Reminder,
    Store, StoreError,
};
use aftercare_scheduler::push::ServiceAccount;
use aftercare_scheduler::{RunSummary, Scheduler, SchedulerConfig, SchedulerHandle};
use aftercare_tests::bed::Bed;
use aftercare_tests::phone::android;
use fcm_emulator::{Emulator, EmulatorConfig, EmulatorHandle, Fault, FaultKind};
use jiff::{SignedDuration, Timestamp};

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Store,
    pub(crate) fcm: EmulatorHandle,
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) clinic: ClinicId,
    pub(crate) bed: Bed,
}

/// A patient with one treatment at `T`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Treated {
    pub(crate) patient: PatientId,
    pub(crate) treatment: TreatmentId,
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

impl World {
    /// On SQLite.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// On SQLite, with other settings.
    pub(crate) async fn with(adjust: impl FnOnce(&mut SchedulerConfig)) -> Self {
        Self::on(Bed::sqlite().await, adjust).await
    }

    /// On either engine.
    pub(crate) async fn on(bed: Bed, adjust: impl FnOnce(&mut SchedulerConfig)) -> Self {
        let (clock, store) = (Arc::clone(&bed.clock), bed.store.clone());
        let clinic = store.write(founded).await.unwrap();
        let config = EmulatorConfig {
            clock: Arc::<ManualClock>::clone(&clock),
            ..EmulatorConfig::default()
        };
        let fcm = Emulator::start(config).await.unwrap();
        let scheduler = Scheduler::start(store.clone(), config_for(&fcm, adjust)).unwrap();
        Self { clock, store, fcm, scheduler, clinic, bed }
    }

    /// Another scheduler, as another process would have it, on the same database and FCM.
    pub(crate) async fn second_scheduler(
        &self,
        adjust: impl FnOnce(&mut SchedulerConfig),
    ) -> SchedulerHandle {
        Scheduler::start(self.bed.again().await, config_for(&self.fcm, adjust)).unwrap()
    }

    /// A patient, an Android phone at the address `name`, and a treatment that ends now.
    pub(crate) async fn treated(&self, name: &str) -> Treated {
        let treated = self.treated_without_phone(name).await;
        self.phone(treated.patient, name).await;
        treated
    }

    pub(crate) async fn treated_without_phone(&self, name: &str) -> Treated {
        self.treatment(name, &format!("event-{name}")).await
    }

    /// A treatment that ends now, of a patient who may be known already.
    pub(crate) async fn treatment(&self, name: &str, event: &str) -> Treated {
        let (clinic, now) = (self.clinic, self.store.env().now());
        let (name, event_id) = (name.to_owned(), event.to_owned());
        let recorded = self.store.write(move |tx| {
            let reference = format!("ref-{name}");
            let event = SessionDone {
                namespace: Namespace::Event,
                event_id,
                patient: PatientRef::Inline {
                    reference: reference.clone(),
                    time_zone: None,
                    locale: None,
                },
                protocol: "microneedling".to_owned().into(),
                completed_at: now,
                time_zone: None,
                areas: None,
                next_session_at: None,
                metadata: None,
            };
            let recorded = care::record_treatment(tx, clinic, event)?;
            let Recorded::New(view) = recorded else { panic!("recorded before: {name}") };
            let patient = tx.patient_by_ref(clinic, &reference)?.unwrap();
            let treatment = view.card.treatment.id;
            Ok::<_, care::RecordError>(Treated { patient: patient.id, treatment })
        });
        recorded.await.unwrap()
    }

    pub(crate) async fn phone(&self, patient: PatientId, address: &str) -> Device {
        self.phone_of(patient, address, Platform::Android, DeliveryMode::Push).await
    }

    pub(crate) async fn phone_of(
        &self,
        patient: PatientId,
        address: &str,
        platform: Platform,
        delivery: DeliveryMode,
    ) -> Device {
        let registration = DeviceRegistration {
            platform,
            delivery,
            ..android(&format!("installation-{address}"), address)
        };
        let registered =
            self.store.write(move |tx| care::register_device(tx, patient, &registration));
        registered.await.unwrap().unwrap()
    }

    /// Moves the clock to an instant and sends everything that is due then.
    pub(crate) async fn run_at(&self, instant: &str) -> RunSummary {
        self.clock.set(at(instant));
        self.run().await
    }

    pub(crate) async fn run_after(&self, elapsed: SignedDuration) -> RunSummary {
        self.clock.advance(elapsed);
        self.run().await
    }

    pub(crate) async fn run(&self) -> RunSummary {
        self.scheduler.run_once().await.unwrap()
    }

    pub(crate) async fn reminders(&self, of: Treated) -> Vec<Reminder> {
        self.store.read(move |tx| tx.reminders(of.patient)).await.unwrap()
    }

    pub(crate) async fn reminder(&self, of: Treated, step: &str) -> Reminder {
        let reminders = self.reminders(of).await;
        reminders.into_iter().find(|reminder| reminder.step_id.as_str() == step).unwrap()
    }

    /// The first one: due at 15:55, of use until 18:40.
    pub(crate) async fn start_of(&self, of: Treated) -> Reminder {
        self.reminder(of, "start").await
    }

    pub(crate) async fn deliveries(&self, of: ReminderId) -> Vec<Delivery> {
        self.store.read(move |tx| tx.deliveries(of)).await.unwrap()
    }

    pub(crate) async fn devices(&self, of: Treated) -> Vec<Device> {
        self.store.read(move |tx| tx.devices(of.patient)).await.unwrap()
    }

    pub(crate) fn fault(&self, kind: FaultKind) {
        self.fcm.set_fault(Fault::new(kind));
    }

    /// How many messages FCM accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.fcm.accepted().len()
    }
}

fn config_for(fcm: &EmulatorHandle, adjust: impl FnOnce(&mut SchedulerConfig)) -> SchedulerConfig {
    let credentials = ServiceAccount::from_json(&fcm.credentials_json()).unwrap();
    let mut config = SchedulerConfig::new(credentials);
    config.base_url = Some(fcm.base_url().parse().unwrap());
    config.rate = None;
    config.heartbeat = false;
    config.lease = Duration::from_mins(1);
    adjust(&mut config);
    config
}

fn founded(tx: &mut aftercare::store::Tx<'_>) -> Result<ClinicId, StoreError> {
    care::seed_protocols(tx)?;
    let clinic = Clinic {
        id: tx.env().id(),
        client_id: "clinic".into(),
        display_name: "Clinic".into(),
        time_zone: "Europe/Lisbon".parse().unwrap(),
        locale: "en".parse().unwrap(),
        contact_phone: None,
        slots: std::collections::BTreeMap::new(),
        push_content: PushContent::Text,
        paused: false,
        created_at: tx.now(),
    };
    tx.insert_clinic(&clinic)?;
    Ok(clinic.id)
}
