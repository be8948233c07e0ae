//! A clinic's own protocols: drafts, published versions, the clinic's codes, and trials.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::moving::running_of;
use super::protocols::protocol_of;
use super::treatments::Refusal;
use crate::ids::ClinicId;
use crate::locale::Locale;
use crate::planner::{Preview, Trial, preview};
use crate::protocol::{Area, Fault, Protocol};
use crate::store::{Clinic, ProtocolRecord, StoreError, Tx};
use crate::zone::Zone;

/// How far a version may be ahead of the last one, so that a slip does not use all numbers up.
const VERSIONS_AHEAD: u64 = 1_000;

/// Why a document is not taken, or not tried out.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Something is wrong with the document: every fault there is.
    #[error("the document has {} faults", .0.len())]
    Faults(Vec<Fault>),
    /// The protocol is not applied there.
    #[error(transparent)]
    Refused(Refusal),
    /// The clinic has no protocol of that name.
    #[error("there is no such protocol")]
    Unknown,
    /// Another protocol is called so, or has the code: where in the list, and its name.
    #[error("other protocols have some of the codes")]
    Taken(Vec<(usize, String)>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A document that a clinic may publish.
#[derive(Debug)]
pub struct Draft {
    /// The document, with its name and version.
    pub document: Value,
    /// The document, checked.
    pub protocol: Arc<Protocol>,
    /// The version that says the same, if that is the one in use.
    pub same: Option<ProtocolRecord>,
}

/// What becomes of the treatments that are under way when a version is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Running {
    /// They stay under the version that they were recorded under.
    #[default]
    Stay,
    /// Those under an older version move to it, patient by patient, where it can be applied.
    Move,
}

/// What was published.
#[derive(Debug)]
pub struct Published {
    /// The version in use.
    pub protocol: Arc<Protocol>,
    /// Whether it is new.
    pub new: bool,
    /// How many patients are looked at for what can move to it.
    pub moving: i64,
}

/// Checks a document that the clinic may publish under this name. It may leave out its name, and its
/// version, which is then one more than that of the version in use; one that is given must be greater.
///
/// # Errors
/// [`PublishError::Faults`], all of them at once.
pub fn draft(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    slug: &str,
    mut document: Map<String, Value>,
) -> Result<Draft, PublishError> {
    let newest = tx.latest_protocol(clinic, slug)?;
    let last = newest.as_ref().map_or(0, |record| record.version);
    let absent = |name: &str| document.get(name).is_none_or(Value::is_null);
    let (no_slug, no_version) = (absent("slug"), absent("version"));
    if no_slug {
        document.insert("slug".to_owned(), slug.into());
    }
    if no_version {
        document.insert("version".to_owned(), last.into());
    }
    let mut document = Value::Object(document);
    if let Some(same) = newest.filter(|newest| newest.document == document) {
        return Ok(Draft { document, protocol: protocol_of(&same)?, same: Some(same) });
    }
    if let Some(version) = document.get_mut("version").filter(|_| no_version) {
        *version = last.saturating_add(1).into();
    }
    let mut faults = Vec::new();
    let mut fault = |pointer: &str, detail: String| {
        faults.push(Fault { pointer: pointer.to_owned(), detail });
    };
    if document.get("slug").and_then(Value::as_str).is_some_and(|given| given != slug) {
        fault("/slug", "must be the name in the address, or be left out".to_owned());
    }
    let version = document.get("version").and_then(Value::as_u64);
    let most = u64::from(last) + VERSIONS_AHEAD;
    if version.is_some_and(|version| version <= u64::from(last)) {
        fault("/version", format!("must be greater than {last}, or be left out"));
    } else if version.is_some_and(|version| version > most) {
        fault("/version", format!("must be at most {most}, or be left out"));
    }
    match Protocol::parse(&document.to_string()) {
        Ok(protocol) if faults.is_empty() => {
            Ok(Draft { document, protocol: Arc::new(protocol), same: None })
        }
        Ok(_) => Err(PublishError::Faults(faults)),
        Err(found) => {
            faults.extend(found);
            Err(PublishError::Faults(faults))
        }
    }
}

/// Publishes a version of a clinic's own protocol: sessions that are recorded from now on follow it. The
/// same document again is no new version.
///
/// # Errors
/// As [`draft`].
pub fn publish_protocol(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    slug: &str,
    document: Map<String, Value>,
    running: Running,
) -> Result<Published, PublishError> {
    // Two that publish at once come one after the other.
    tx.lock_clinic(clinic)?;
    let draft = draft(tx, clinic, slug, document)?;
    let new = draft.same.is_none();
    let record = if let Some(same) = draft.same {
        same
    } else {
        let version = draft.protocol.version;
        let record = tx.insert_protocol(clinic, slug, version, &draft.document)?;
        tx.note_act(clinic, "protocol.published", &format!("protocol:{}", record.id))?;
        record
    };
    let mut moving = 0;
    if running == Running::Move {
        let running = running_of(tx, clinic, Arc::clone(&draft.protocol), Some(record.id))?;
        moving = tx.count_running_patients(clinic, &running.versions, running.since)?;
    }
    if moving > 0 {
        tx.start_protocol_move(clinic, slug, record.id)?;
        tx.note_act(clinic, "protocol.move-started", &format!("protocol:{}", record.id))?;
    }
    Ok(Published { protocol: draft.protocol, new, moving })
}

/// Gives a protocol the codes by which the clinic's software may call it, and no others.
///
/// # Errors
/// [`PublishError::Unknown`], [`PublishError::Taken`]; where a code comes twice, [`PublishError::Faults`] with
/// what is taken among them.
pub fn name_protocol(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    slug: &str,
    codes: &[String],
) -> Result<(), PublishError> {
    tx.lock_clinic(clinic)?;
    if tx.latest_protocol(clinic, slug)?.is_none() {
        return Err(PublishError::Unknown);
    }
    let known = tx.aliases(clinic)?;
    let (mut taken, mut twice) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (index, code) in codes.iter().enumerate() {
        if !seen.insert(code) {
            twice.push((index, "comes twice".to_owned()));
            continue;
        }
        let other = known.get(code).filter(|other| *other != slug).cloned();
        let named = tx.latest_protocol(clinic, code)?.map(|record| record.slug);
        taken.extend(other.or(named).map(|other| (index, other)));
    }
    if !twice.is_empty() {
        let taken =
            taken.into_iter().map(|(index, other)| (index, format!("{other} is called so")));
        let mut faults: Vec<_> = twice.into_iter().chain(taken).collect();
        faults.sort();
        let fault = |(index, detail): (usize, String)| Fault {
            pointer: format!("/aliases/{index}"),
            detail,
        };
        return Err(PublishError::Faults(faults.into_iter().map(fault).collect()));
    }
    if !taken.is_empty() {
        return Err(PublishError::Taken(taken));
    }
    let before: BTreeSet<_> = known.iter().filter(|(_, of)| *of == slug).map(|(c, _)| c).collect();
    let after: BTreeSet<_> = codes.iter().collect();
    if before != after {
        tx.replace_aliases(clinic, slug, codes)?;
        tx.note_act(clinic, "protocol.named", &format!("protocol:{slug}"))?;
    }
    Ok(())
}

/// A treatment that a clinic tries a protocol out with.
#[derive(Debug, Clone)]
pub struct TryOut {
    /// `T`; recorded at that moment.
    pub completed_at: Timestamp,
    /// The treatment's and the patient's zone; `None` = the clinic's.
    pub time_zone: Option<Zone>,
    /// Where; `None` = the protocol's default.
    pub areas: Option<BTreeSet<Area>>,
    /// The language of the texts; `None` = the clinic's.
    pub locale: Option<Locale>,
    /// The document; `None` = the version in use.
    pub document: Option<Map<String, Value>>,
}

/// What would be planned for a treatment, at this clinic.
///
/// # Errors
/// [`PublishError::Unknown`] when there is neither such a protocol nor a document, else as [`draft`];
/// [`PublishError::Refused`] for areas that the protocol does not know.
pub fn try_protocol(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    slug: &str,
    trial: TryOut,
) -> Result<Preview, PublishError> {
    let protocol = match trial.document {
        Some(document) => draft(tx, clinic, slug, document)?.protocol,
        None => match tx.latest_protocol(clinic, slug)? {
            Some(record) => protocol_of(&record)?,
            None => return Err(PublishError::Unknown),
        },
    };
    let refusal = trial.areas.as_ref().and_then(|areas| Refusal::of_areas(&protocol, areas));
    if let Some(refusal) = refusal {
        return Err(PublishError::Refused(refusal));
    }
    let clinic: Clinic = tx.clinic(clinic)?.ok_or(PublishError::Unknown)?;
    Ok(preview(Trial {
        protocol,
        completed_at: trial.completed_at,
        recorded_at: trial.completed_at,
        slots: super::case::slots_of(&clinic),
        zone: trial.time_zone.unwrap_or(clinic.time_zone),
        areas: trial.areas,
        locale: trial.locale.unwrap_or(clinic.locale),
    }))
}
