//! Patients: their references sealed, their keys wrapped, their plans' mutex.

use std::collections::BTreeSet;

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use jiff::{Timestamp, civil};
use serde::{Deserialize, Serialize};

use super::clinics::PushContent;
use super::conn::Conn;
use super::kept::Keep as _;
use super::schema::{patients, reminders};
use super::sql::{At, Json, MaybeAt};
use super::{BATCH, StoreError, Tx, with_conn};
use crate::clock::Env;
use crate::ids::{ClinicId, PatientId};
use crate::locale::Locale;
use crate::protocol::{QuietHours, RuleId};
use crate::seal::{DataKey, Digest, KeyId, MasterKey, Place};
use crate::zone::Zone;

/// What a patient wished for in the app; what is absent is left to the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// The zone of delivery hours, instead of the phone's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Zone>,
    /// The language, instead of the phone's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    /// When to be left alone, instead of 21:30 to 07:30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
    /// When the patient usually exercises (wall clock): the `before-exercise` step comes then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exercise_hour: Option<civil::Time>,
    /// How much a push may say; counts where it is stricter than the clinic's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_content: Option<PushContent>,
    /// Rules that the patient does not want to be reminded of.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub muted_rules: BTreeSet<RuleId>,
}

/// A patient of one clinic.
#[derive(Clone)]
pub struct Patient {
    /// Its id.
    pub id: PatientId,
    /// Whose patient.
    pub clinic_id: ClinicId,
    /// What the clinic calls the patient. Personal: never logged.
    pub reference: String,
    /// The zone the clinic gave.
    pub time_zone: Option<Zone>,
    /// The language the clinic gave.
    pub locale: Option<Locale>,
    /// As of when it gave the zone, if that is known.
    pub time_zone_as_of: Option<Timestamp>,
    /// As of when it gave the language, if that is known.
    pub locale_as_of: Option<Timestamp>,
    /// The patient's own wishes.
    pub preferences: Preferences,
    /// Grows with each change of the plan.
    pub plan_version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When anything about the patient last changed.
    pub updated_at: Timestamp,
    pub(super) key: DataKey,
}

impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patient")
            .field("id", &self.id)
            .field("clinic_id", &self.clinic_id)
            .field("plan_version", &self.plan_version)
            .finish_non_exhaustive()
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = patients, treat_none_as_default_value = false)]
struct Row {
    id: PatientId,
    clinic_id: ClinicId,
    ref_hash: Digest,
    ref_sealed: Vec<u8>,
    key_wrapped: Vec<u8>,
    time_zone: Option<Zone>,
    locale: Option<Locale>,
    #[diesel(serialize_as = Json<Preferences>, deserialize_as = Json<Preferences>)]
    preferences: Preferences,
    plan_version: i64,
    #[diesel(serialize_as = At, deserialize_as = At)]
    created_at: Timestamp,
    #[diesel(serialize_as = At, deserialize_as = At)]
    updated_at: Timestamp,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    time_zone_as_of: Option<Timestamp>,
    #[diesel(serialize_as = MaybeAt, deserialize_as = MaybeAt)]
    locale_as_of: Option<Timestamp>,
}

impl Row {
    /// Wraps the patient's key under the master key of this number.
    fn seal(
        patient: &Patient,
        master: &MasterKey,
        under: KeyId,
        env: &Env,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            id: patient.id,
            clinic_id: patient.clinic_id,
            ref_hash: ref_hash(master, patient.clinic_id, &patient.reference),
            ref_sealed: patient.key.seal(
                env,
                reference_at(patient.id),
                patient.reference.as_bytes(),
            )?,
            key_wrapped: master.wrap(env, under, patient.id, &patient.key)?,
            time_zone: patient.time_zone.clone(),
            locale: patient.locale.clone(),
            preferences: patient.preferences.clone(),
            plan_version: patient.plan_version,
            created_at: patient.created_at,
            updated_at: patient.updated_at,
            time_zone_as_of: patient.time_zone_as_of,
            locale_as_of: patient.locale_as_of,
        })
    }

    fn open(self, master: &MasterKey) -> Result<Patient, StoreError> {
        let key = master.unwrap(self.id, &self.key_wrapped)?;
        Ok(Patient {
            id: self.id,
            clinic_id: self.clinic_id,
            reference: key.open_text(reference_at(self.id), &self.ref_sealed)?,
            time_zone: self.time_zone,
            locale: self.locale,
            time_zone_as_of: self.time_zone_as_of,
            locale_as_of: self.locale_as_of,
            preferences: self.preferences,
            plan_version: self.plan_version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            key,
        })
    }
}

fn ref_hash(master: &MasterKey, clinic: ClinicId, reference: &str) -> Digest {
    master.index("patients.ref", &[clinic.0.as_bytes(), reference.as_bytes()])
}

fn reference_at(id: PatientId) -> Place {
    Place { column: "patients.ref_sealed", row: id.0 }
}

/// Whose patients, and which of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatientsOf {
    /// Only this clinic's.
    pub clinic: Option<ClinicId>,
    /// Only who has no zone of their own: the clinic's counts for them.
    pub in_clinics_zone: bool,
}

impl Tx<'_> {
    /// Makes a patient now, with a data key of its own and with what was so at `as_of`; `None` when the clinic
    /// has one by this reference already, also one that another transaction made at the same time.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn insert_patient(
        &mut self,
        clinic: ClinicId,
        reference: &str,
        time_zone: Option<Zone>,
        locale: Option<Locale>,
        as_of: Timestamp,
    ) -> Result<Option<Patient>, StoreError> {
        let patient = Patient {
            time_zone_as_of: time_zone.is_some().then_some(as_of),
            locale_as_of: locale.is_some().then_some(as_of),
            id: self.env.id(),
            clinic_id: clinic,
            reference: reference.to_owned(),
            time_zone,
            locale,
            preferences: Preferences::default(),
            plan_version: 0,
            created_at: self.now,
            updated_at: self.now,
            key: DataKey::generate(self.env),
        };
        let under = self.master_key_in_use()?;
        let row = Row::seal(&patient, self.master, under, self.env)?;
        let made = with_conn!(self, |c| diesel::insert_into(patients::table)
            .values(row)
            .on_conflict((patients::clinic_id, patients::ref_hash))
            .do_nothing()
            .execute(c))?;
        Ok((made > 0).then_some(patient))
    }

    /// The patient with this id.
    ///
    /// # Errors
    /// When the database refuses, or what is sealed does not open.
    pub fn patient(&mut self, id: PatientId) -> Result<Option<Patient>, StoreError> {
        let row: Option<Row> = with_conn!(self, |c| patients::table
            .find(id)
            .select(Row::as_select())
            .first(c)
            .optional())?;
        row.map(|row| row.open(self.master)).transpose()
    }

    /// The patients with these ids, ordered by id.
    ///
    /// # Errors
    /// As [`Tx::patient`].
    pub fn patients_by_id(&mut self, ids: &[PatientId]) -> Result<Vec<Patient>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            let rows: Vec<Row> = with_conn!(self, |c| patients::table
                .filter(patients::id.eq_any(ids))
                .select(Row::as_select())
                .kept_for(ids)
                .load(c))?;
            for row in rows {
                found.push(row.open(self.master)?);
            }
        }
        found.sort_unstable_by_key(|patient| patient.id);
        Ok(found)
    }

    /// The patient that a clinic calls so.
    ///
    /// # Errors
    /// As [`Tx::patient`].
    pub fn patient_by_ref(
        &mut self,
        clinic: ClinicId,
        reference: &str,
    ) -> Result<Option<Patient>, StoreError> {
        let hash = ref_hash(self.master, clinic, reference);
        let row: Option<Row> = with_conn!(self, |c| patients::table
            .filter(patients::clinic_id.eq(clinic))
            .filter(patients::ref_hash.eq(hash))
            .select(Row::as_select())
            .first(c)
            .optional())?;
        row.map(|row| row.open(self.master)).transpose()
    }

    /// The id of the patient that a clinic calls so. Nothing has to open for it: the key may be damaged.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn patient_id_by_ref(
        &mut self,
        clinic: ClinicId,
        reference: &str,
    ) -> Result<Option<PatientId>, StoreError> {
        let hash = ref_hash(self.master, clinic, reference);
        with_conn!(self, |c| patients::table
            .filter(patients::clinic_id.eq(clinic))
            .filter(patients::ref_hash.eq(hash))
            .select(patients::id)
            .first(c)
            .optional())
    }

    /// Waits until nobody else changes this patient's plan and keeps others waiting until this
    /// transaction ends. Whoever plans takes it first.
    ///
    /// # Errors
    /// As [`Tx::patient`]; [`StoreError::Busy`] when the wait takes too long.
    pub fn lock_patient(&mut self, id: PatientId) -> Result<Option<Patient>, StoreError> {
        Ok(self.lock_patients(&[id])?.pop())
    }

    /// [`Tx::lock_patient`] for many, in the order of their ids, so that two transactions never wait
    /// for each other.
    ///
    /// # Errors
    /// As [`Tx::lock_patient`].
    pub fn lock_patients(&mut self, ids: &[PatientId]) -> Result<Vec<Patient>, StoreError> {
        let Conn::Pg(c) = &mut *self.conn else { return self.patients_by_id(ids) };
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        // Not FOR UPDATE: that would also stop everyone who writes a row that refers to them.
        let locked = patients::table
            .filter(patients::id.eq_any(&sorted))
            .order(patients::id)
            .select(Row::as_select())
            .for_no_key_update()
            .kept_for(&sorted)
            .load::<Row>(&mut **c);
        let rows = locked.map_err(|error| self.refused(error))?;
        rows.into_iter().map(|row| row.open(self.master)).collect()
    }

    /// [`Tx::lock_patient`] for the one that a clinic calls so.
    ///
    /// # Errors
    /// As [`Tx::lock_patient`].
    pub fn lock_patient_by_ref(
        &mut self,
        clinic: ClinicId,
        reference: &str,
    ) -> Result<Option<Patient>, StoreError> {
        let hash = ref_hash(self.master, clinic, reference);
        let Conn::Pg(c) = &mut *self.conn else { return self.patient_by_ref(clinic, reference) };
        let locked = patients::table
            .filter(patients::clinic_id.eq(clinic))
            .filter(patients::ref_hash.eq(hash))
            .select(Row::as_select())
            .for_no_key_update()
            .load::<Row>(&mut **c);
        let row = locked.map_err(|error| self.refused(error))?.pop();
        row.map(|row| row.open(self.master)).transpose()
    }

    /// Writes a patient's zone, locale and preferences; they count as changed now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn update_patient(&mut self, patient: &Patient) -> Result<(), StoreError> {
        let now = At(self.now);
        with_conn!(self, |c| diesel::update(patients::table.find(patient.id))
            .set((
                patients::time_zone.eq(&patient.time_zone),
                patients::locale.eq(&patient.locale),
                patients::time_zone_as_of.eq(MaybeAt::from(patient.time_zone_as_of)),
                patients::locale_as_of.eq(MaybeAt::from(patient.locale_as_of)),
                patients::preferences.eq(Json(patient.preferences.clone())),
                patients::updated_at.eq(now),
            ))
            .execute(c))?;
        Ok(())
    }

    /// Counts a patient's plan one further and gives the new version; 0 when there is no such patient.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn bump_plan_version(&mut self, id: PatientId) -> Result<i64, StoreError> {
        let now = At(self.now);
        let version: Option<i64> = with_conn!(self, |c| diesel::update(patients::table.find(id))
            .set((
                patients::plan_version.eq(patients::plan_version + 1),
                patients::updated_at.eq(now),
            ))
            .returning(patients::plan_version)
            .get_result(c)
            .optional())?;
        Ok(version.unwrap_or(0))
    }

    /// Up to `limit` of these patients, by id and beyond `after`, who have a reminder that is of use beyond
    /// `since`, sent or not.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn patients_underway(
        &mut self,
        of: PatientsOf,
        since: Timestamp,
        after: Option<PatientId>,
        limit: i64,
    ) -> Result<Vec<PatientId>, StoreError> {
        let (since, after) = (At(since), after.unwrap_or(PatientId(uuid::Uuid::nil())));
        let (anyones, clinic) =
            (of.clinic.is_none(), of.clinic.unwrap_or(ClinicId(uuid::Uuid::nil())));
        let any_zone = !of.in_clinics_zone;
        let underway = || {
            reminders::table
                .filter(reminders::patient_id.eq(patients::id))
                .filter(reminders::use_by.gt(since))
        };
        with_conn!(self, |c| patients::table
            .filter(patients::clinic_id.eq(clinic).or(anyones.into_sql::<Bool>()))
            .filter(patients::time_zone.is_null().or(any_zone.into_sql::<Bool>()))
            .filter(patients::id.gt(after))
            .filter(exists(underway()))
            .order(patients::id)
            .limit(limit)
            .select(patients::id)
            .load(c))
    }
}
