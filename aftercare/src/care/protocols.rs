//! Protocols as treatments use them: the version a treatment was recorded under stays its version.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use crate::ids::{ClinicId, ProtocolId};
use crate::protocol::{Protocol, shipped};
use crate::store::{ProtocolRecord, StoreError, Tx};

/// Stored versions never change, so each is read once. They are few: a clinic publishes some in a
/// year.
static CHECKED: LazyLock<RwLock<HashMap<ProtocolId, Arc<Protocol>>>> =
    LazyLock::new(RwLock::default);

/// Stores the shipped protocols that this database does not have yet.
///
/// # Errors
/// When the database refuses.
pub fn seed_protocols(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    for shipped in shipped() {
        let document = serde_json::from_str(shipped.json)
            .map_err(|error| StoreError::Internal(error.to_string()))?;
        tx.seed_protocol(&shipped.protocol.slug, shipped.protocol.version, &document)?;
    }
    Ok(())
}

/// The checked form of a stored document.
///
/// # Errors
/// [`StoreError::Corrupt`] when this release finds fault with it.
pub fn protocol_of(record: &ProtocolRecord) -> Result<Arc<Protocol>, StoreError> {
    if let Some(known) = CHECKED.read().unwrap_or_else(PoisonError::into_inner).get(&record.id) {
        return Ok(Arc::clone(known));
    }
    let protocol = Protocol::parse(&record.document.to_string()).map_err(|faults| {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        StoreError::Corrupt(format!("protocol {}: {first}", record.id))
    })?;
    let protocol = Arc::new(protocol);
    let mut checked = CHECKED.write().unwrap_or_else(PoisonError::into_inner);
    Ok(Arc::clone(checked.entry(record.id).or_insert(protocol)))
}

/// One version of a protocol.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: ProtocolId,
    pub(super) protocol: Arc<Protocol>,
}

/// The clinic's protocol that goes by one of these names, the first that is known: its newest version.
pub(super) fn named(
    tx: &mut Tx<'_>,
    clinic: ClinicId,
    names: &[String],
) -> Result<Option<Version>, StoreError> {
    for name in names {
        if let Some(id) = tx.protocol_by_code(clinic, name)? {
            let found = by_id(tx, &[id])?.remove(&id);
            let protocol =
                found.ok_or_else(|| StoreError::Corrupt("a version is gone".to_owned()))?;
            return Ok(Some(Version { id, protocol }));
        }
    }
    Ok(None)
}

/// The protocols of those ids; read from the database only the first time.
pub(super) fn by_id(
    tx: &mut Tx<'_>,
    ids: &[ProtocolId],
) -> Result<HashMap<ProtocolId, Arc<Protocol>>, StoreError> {
    let mut found = HashMap::new();
    {
        let checked = CHECKED.read().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(protocol) = checked.get(id) {
                found.insert(*id, Arc::clone(protocol));
            }
        }
    }
    let mut missing: Vec<_> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        for record in tx.protocols_by_id(&missing)? {
            found.insert(record.id, protocol_of(&record)?);
        }
    }
    Ok(found)
}
