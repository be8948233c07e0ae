//! Devices: one row for each app installation of a patient, its push address sealed.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::conn::Conn;
use super::kept::Keep as _;
use super::patients::Patient;
use super::schema::{devices, patients, refresh_tokens};
use super::sql::At;
use super::{BATCH, StoreError, Tx, with_conn};
use crate::ids::{DeviceId, PatientId, SessionId};
use crate::locale::Locale;
use crate::seal::{DataKey, Digest, MasterKey, Place};
use crate::words::words;
use crate::zone::Zone;

words! {
    /// What a push address is.
    AddressKind {
        /// An FCM registration token.
        Token = "token",
        /// A Firebase installation id.
        Fid = "fid",
    }

    /// What the app runs on.
    Platform {
        /// Android.
        Android = "android",
        /// iOS.
        Ios = "ios",
        /// A browser.
        Web = "web",
    }

    /// Who shows the reminders on a device.
    DeliveryMode {
        /// Pushes do.
        Push = "push",
        /// Pushes, and where none came 15 minutes after the due moment, the app itself.
        LocalFallback = "local_fallback",
    }

    /// Whether a device can be reached.
    DeviceState {
        /// It has an address that works as far as we know.
        Active = "active",
        /// FCM says the app is gone from it.
        Gone = "gone",
        /// FCM refuses its address for good.
        Refused = "refused",
        /// Its address became another patient's or another installation's.
        Moved = "moved",
    }
}

/// The reason of a device whose address was dropped because nobody was heard of from it.
pub const SILENT: &str = "silent";

/// A device.
#[derive(Clone)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Whose it is.
    pub patient_id: PatientId,
    /// What the app calls its installation. Personal: never logged.
    pub installation_id: String,
    /// What the address is.
    pub address_kind: AddressKind,
    /// Where pushes go; none once it is not active.
    pub address: Option<SecretString>,
    /// What the app runs on.
    pub platform: Platform,
    /// The phone's zone.
    pub time_zone: Zone,
    /// The phone's language.
    pub locale: Locale,
    /// Whether the phone shows notifications.
    pub notifications_enabled: bool,
    /// Who shows the reminders.
    pub delivery: DeliveryMode,
    /// Whether it can be reached.
    pub state: DeviceState,
    /// Why it cannot, as a code.
    pub state_reason: Option<String>,
    /// The sign-in that registered it.
    pub session_id: Option<SessionId>,
    /// When the app last registered or synced.
    pub last_seen_at: Timestamp,
    /// When it was first registered.
    pub created_at: Timestamp,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("id", &self.id)
            .field("patient_id", &self.patient_id)
            .field("platform", &self.platform)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// What an app says about the device it runs on.
#[derive(Clone)]
pub struct DeviceRegistration {
    /// What the app calls its installation.
    pub installation_id: String,
    /// What the address is.
    pub address_kind: AddressKind,
    /// Where pushes go.
    pub address: SecretString,
    /// What the app runs on.
    pub platform: Platform,
    /// The phone's zone.
    pub time_zone: Zone,
    /// The phone's language.
    pub locale: Locale,
    /// Whether the phone shows notifications.
    pub notifications_enabled: bool,
    /// Who shows the reminders.
    pub delivery: DeliveryMode,
    /// The sign-in that registers it.
    pub session_id: Option<SessionId>,
}

impl fmt::Debug for DeviceRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceRegistration")
            .field("platform", &self.platform)
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = devices, treat_none_as_default_value = false, treat_none_as_null = true)]
struct Row {
    id: DeviceId,
    patient_id: PatientId,
    installation_hash: Digest,
    installation_sealed: Vec<u8>,
    address_kind: AddressKind,
    address_hash: Option<Digest>,
    address_sealed: Option<Vec<u8>>,
    platform: Platform,
    time_zone: Zone,
    locale: Locale,
    notifications_enabled: bool,
    delivery: DeliveryMode,
    state: DeviceState,
    state_reason: Option<String>,
    session_id: Option<SessionId>,
    #[diesel(serialize_as = At, deserialize_as = At)]
    last_seen_at: Timestamp,
    #[diesel(serialize_as = At, deserialize_as = At)]
    created_at: Timestamp,
}

impl Row {
    fn open(&self, key: &DataKey) -> Result<Device, StoreError> {
        let address = match &self.address_sealed {
            Some(sealed) => Some(key.open_text(address_at(self.id), sealed)?.into()),
            None => None,
        };
        Ok(Device {
            id: self.id,
            patient_id: self.patient_id,
            installation_id: key.open_text(installation_at(self.id), &self.installation_sealed)?,
            address_kind: self.address_kind,
            address,
            platform: self.platform,
            time_zone: self.time_zone.clone(),
            locale: self.locale.clone(),
            notifications_enabled: self.notifications_enabled,
            delivery: self.delivery,
            state: self.state,
            state_reason: self.state_reason.clone(),
            session_id: self.session_id,
            last_seen_at: self.last_seen_at,
            created_at: self.created_at,
        })
    }
}

fn installation_at(id: DeviceId) -> Place {
    Place { column: "devices.installation_sealed", row: id.0 }
}

fn address_at(id: DeviceId) -> Place {
    Place { column: "devices.address_sealed", row: id.0 }
}

pub(super) fn installation_hash(
    master: &MasterKey,
    patient: PatientId,
    installation_id: &str,
) -> Digest {
    master.index("devices.installation", &[patient.0.as_bytes(), installation_id.as_bytes()])
}

fn address_hash(master: &MasterKey, kind: AddressKind, address: &SecretString) -> Digest {
    let parts = [kind.as_str().as_bytes(), address.expose_secret().as_bytes()];
    master.index("devices.address", &parts)
}

/// That the sign-in of a device was renewed since.
macro_rules! heard_of {
    ($since:expr) => {
        refresh_tokens::table
            .filter(refresh_tokens::session_id.nullable().eq(devices::session_id))
            .filter(refresh_tokens::created_at.ge($since))
    };
}

impl Tx<'_> {
    /// Registers a device now, or renews the registration of the same installation: it is active
    /// again. An address that another device had, of whatever patient, is taken away from it.
    ///
    /// The patient must be locked ([`Tx::lock_patient`]).
    ///
    /// # Errors
    /// When the database refuses.
    pub fn upsert_device(
        &mut self,
        patient: &Patient,
        registration: &DeviceRegistration,
    ) -> Result<Device, StoreError> {
        let installation =
            installation_hash(self.master, patient.id, &registration.installation_id);
        let address = address_hash(self.master, registration.address_kind, &registration.address);
        self.lock_address(address)?;
        let known: Option<(DeviceId, At)> = with_conn!(self, |c| devices::table
            .filter(devices::patient_id.eq(patient.id))
            .filter(devices::installation_hash.eq(installation))
            .select((devices::id, devices::created_at))
            .first(c)
            .optional())?;
        let (id, created_at) = known.unwrap_or_else(|| (self.env.id(), At(self.now)));
        self.take_address(address, id)?;

        let plain_installation = registration.installation_id.as_bytes();
        let plain_address = registration.address.expose_secret().as_bytes();
        let row = Row {
            id,
            patient_id: patient.id,
            installation_hash: installation,
            installation_sealed: patient.key.seal(
                self.env,
                installation_at(id),
                plain_installation,
            )?,
            address_kind: registration.address_kind,
            address_hash: Some(address),
            address_sealed: Some(patient.key.seal(self.env, address_at(id), plain_address)?),
            platform: registration.platform,
            time_zone: registration.time_zone.clone(),
            locale: registration.locale.clone(),
            notifications_enabled: registration.notifications_enabled,
            delivery: registration.delivery,
            state: DeviceState::Active,
            state_reason: None,
            session_id: registration.session_id,
            last_seen_at: self.now,
            created_at: created_at.into(),
        };
        let device = row.open(&patient.key)?;
        if known.is_some() {
            with_conn!(self, |c| diesel::update(devices::table.find(id)).set(row).execute(c))?;
        } else {
            with_conn!(self, |c| diesel::insert_into(devices::table).values(row).execute(c))?;
        }
        Ok(device)
    }

    /// Whose device has the address of this registration.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn patient_of_address(
        &mut self,
        registration: &DeviceRegistration,
    ) -> Result<Option<PatientId>, StoreError> {
        let address = address_hash(self.master, registration.address_kind, &registration.address);
        with_conn!(self, |c| devices::table
            .filter(devices::address_hash.eq(address))
            .select(devices::patient_id)
            .first(c)
            .optional())
    }

    /// Two patients who register one address at once take turns.
    fn lock_address(&mut self, address: Digest) -> Result<(), StoreError> {
        if let Conn::Pg(c) = &mut *self.conn {
            let (key, _) = address.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
            let locked = diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
                .bind::<diesel::sql_types::BigInt, _>(i64::from_be_bytes(*key))
                .execute(&mut **c);
            locked.map_err(|error| self.refused(error))?;
        }
        Ok(())
    }

    fn take_address(&mut self, address: Digest, unless: DeviceId) -> Result<(), StoreError> {
        with_conn!(self, |c| diesel::update(devices::table)
            .filter(devices::address_hash.eq(address))
            .filter(devices::id.ne(unless))
            .set((
                devices::address_hash.eq(None::<Digest>),
                devices::address_sealed.eq(None::<Vec<u8>>),
                devices::state.eq(DeviceState::Moved),
                devices::state_reason.eq(Some("address-moved")),
            ))
            .execute(c))?;
        Ok(())
    }

    /// Every device of a patient, the last seen first.
    ///
    /// # Errors
    /// When the database refuses, or what is sealed does not open.
    pub fn devices(&mut self, patient: PatientId) -> Result<Vec<Device>, StoreError> {
        let patient = self.patients_by_id(&[patient])?;
        self.devices_of(&patient)
    }

    /// Every device of many patients, ordered by patient, each patient's last seen first.
    ///
    /// # Errors
    /// As [`Tx::devices`].
    pub fn devices_of(&mut self, of: &[Patient]) -> Result<Vec<Device>, StoreError> {
        let keys: HashMap<PatientId, &DataKey> = of.iter().map(|one| (one.id, &one.key)).collect();
        let ids: Vec<PatientId> = of.iter().map(|patient| patient.id).collect();
        let mut found = Vec::new();
        for ids in ids.chunks(BATCH) {
            let rows: Vec<Row> = with_conn!(self, |c| devices::table
                .filter(devices::patient_id.eq_any(ids))
                .select(Row::as_select())
                .kept_for(ids)
                .load(c))?;
            for row in rows {
                if let Some(key) = keys.get(&row.patient_id) {
                    found.push(row.open(key)?);
                }
            }
        }
        found.sort_unstable_by_key(|one| (one.patient_id, Reverse((one.last_seen_at, one.id))));
        Ok(found)
    }

    /// The device of this installation.
    ///
    /// # Errors
    /// As [`Tx::devices`].
    pub fn device_by_installation(
        &mut self,
        patient: PatientId,
        installation_id: &str,
    ) -> Result<Option<Device>, StoreError> {
        let hash = installation_hash(self.master, patient, installation_id);
        let found: Option<(Row, Vec<u8>)> = with_conn!(self, |c| devices::table
            .inner_join(patients::table)
            .filter(devices::patient_id.eq(patient))
            .filter(devices::installation_hash.eq(hash))
            .select((Row::as_select(), patients::key_wrapped))
            .first(c)
            .optional())?;
        found.map(|(row, wrapped)| self.open_device(&row, &wrapped)).transpose()
    }

    fn open_device(&self, row: &Row, wrapped: &[u8]) -> Result<Device, StoreError> {
        let key = self.master.unwrap(row.patient_id, wrapped)?;
        row.open(&key)
    }

    /// Forgets the device of this installation; false when there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn remove_device(
        &mut self,
        patient: PatientId,
        installation_id: &str,
    ) -> Result<bool, StoreError> {
        let hash = installation_hash(self.master, patient, installation_id);
        let removed = with_conn!(self, |c| diesel::delete(devices::table)
            .filter(devices::patient_id.eq(patient))
            .filter(devices::installation_hash.eq(hash))
            .execute(c))?;
        Ok(removed > 0)
    }

    /// Up to `limit` patients, by id and beyond `after`, with a device that nobody was heard of from since
    /// `before`: not registered again, and its sign-in not renewed.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn patients_with_silent_devices(
        &mut self,
        before: Timestamp,
        after: Option<PatientId>,
        limit: i64,
    ) -> Result<Vec<PatientId>, StoreError> {
        let before = At(before);
        let after = after.unwrap_or(PatientId(uuid::Uuid::nil()));
        with_conn!(self, |c| devices::table
            .filter(devices::state.eq(DeviceState::Active))
            .filter(devices::last_seen_at.lt(before))
            .filter(not(exists(heard_of!(before))))
            .filter(devices::patient_id.gt(after))
            .order(devices::patient_id)
            .limit(limit)
            .select(devices::patient_id)
            .distinct()
            .load(c))
    }

    /// Drops the addresses of a patient's devices that nobody was heard of from since `before`, as
    /// [`Tx::patients_with_silent_devices`] counts; gives how many.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn retire_silent_devices(
        &mut self,
        patient: PatientId,
        before: Timestamp,
    ) -> Result<usize, StoreError> {
        let before = At(before);
        with_conn!(self, |c| diesel::update(devices::table)
            .filter(devices::patient_id.eq(patient))
            .filter(devices::state.eq(DeviceState::Active))
            .filter(devices::last_seen_at.lt(before))
            .filter(not(exists(heard_of!(before))))
            .set((
                devices::address_hash.eq(None::<Digest>),
                devices::address_sealed.eq(None::<Vec<u8>>),
                devices::state.eq(DeviceState::Gone),
                devices::state_reason.eq(Some(SILENT)),
            ))
            .execute(c))
    }

    /// Notes that pushes to this address of a device reach nobody any more, and drops the address.
    /// False when the device has another address by now: then what a push to the old one found
    /// out says nothing about it.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn retire_device(
        &mut self,
        id: DeviceId,
        kind: AddressKind,
        address: &SecretString,
        state: DeviceState,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let hash = address_hash(self.master, kind, address);
        let retired = with_conn!(self, |c| diesel::update(devices::table.find(id))
            .filter(devices::address_hash.eq(hash))
            .set((
                devices::address_hash.eq(None::<Digest>),
                devices::address_sealed.eq(None::<Vec<u8>>),
                devices::state.eq(state),
                devices::state_reason.eq(Some(reason)),
            ))
            .execute(c))?;
        Ok(retired > 0)
    }
}
