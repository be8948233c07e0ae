//! The same work for many patients.

use crate::ids::PatientId;
use crate::store::{Store, StoreError, Tx};

/// What came of it.
#[derive(Debug)]
pub struct Each<T> {
    /// What the work gave, in the order of the patients.
    pub done: Vec<T>,
    /// Patients who were left out; the log names them.
    pub failed: u64,
}

/// Does the work for one patient after another, each in a unit of work of its own: whose records cannot be
/// understood is left out, with a line in the log that it was impossible to do `what`.
///
/// # Errors
/// When the database refuses; who came before is done.
pub async fn each_patient<T, W>(
    store: &Store,
    what: &'static str,
    patients: Vec<PatientId>,
    work: W,
) -> Result<Each<T>, StoreError>
where
    T: Send + 'static,
    W: Fn(&mut Tx<'_>, PatientId) -> Result<T, StoreError> + Clone + Send + 'static,
{
    let mut each = Each { done: Vec::with_capacity(patients.len()), failed: 0 };
    for patient in patients {
        let work = work.clone();
        match store.write(move |tx| work(tx, patient)).await {
            Ok(done) => each.done.push(done),
            Err(error) if error.is_of_one_row() => {
                tracing::error!(%patient, %error, "could not {what} for a patient");
                each.failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(each)
}
