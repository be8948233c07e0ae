//! One fail point that is set, and everything that passes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use aftercare::store::{FailPoints, Side, StoreError, StoreOptions};
use tokio::sync::Notify;

/// What happens to a unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Harm {
    /// It ends there, as it does when the process dies; no error is handled and nothing is answered.
    Abort,
    Error,
    /// It stands still until it is let go.
    Delay,
}

/// See the module's words.
#[derive(Debug, Default)]
pub(super) struct Trap {
    state: Mutex<State>,
    goes_on: Condvar,
    sprung: Notify,
}

#[derive(Debug, Default)]
struct State {
    passed: Vec<String>,
    times: BTreeMap<(String, Side), usize>,
    set: Option<(String, Side, Harm)>,
    holds: bool,
    did: bool,
}

impl Trap {
    pub(super) fn options(self: &Arc<Self>) -> StoreOptions {
        StoreOptions {
            fail_points: Some(Arc::clone(self) as Arc<dyn FailPoints>),
            ..StoreOptions::default()
        }
    }

    /// `#2` behind the unit's name is the second that passes.
    pub(super) fn set(&self, unit: &str, side: Side, harm: Harm) {
        let set = Some((unit.to_owned(), side, harm));
        *self.state.lock().unwrap() = State { set, ..State::default() };
    }

    /// The units of work that came by since the last call, or since it was set.
    pub(super) fn passed(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().passed)
    }

    /// Waits until somebody is held.
    pub(super) async fn holds(&self) {
        self.sprung.notified().await;
    }

    /// Lets go whoever is held.
    pub(super) fn release(&self) {
        self.state.lock().unwrap().holds = false;
        self.goes_on.notify_all();
    }

    /// Whether what was set has happened.
    pub(super) fn did(&self) -> bool {
        self.state.lock().unwrap().did
    }
}

/// The path of the function that the work was written in; actix keeps handlers in a method of their own.
fn short(unit: &str) -> String {
    let unit = unit.replace("::{{closure}}", "");
    let handler = unit.strip_prefix('<').and_then(|unit| unit.split_once(" as "));
    handler.map_or_else(|| unit.clone(), |(handler, _)| handler.to_owned())
}

impl FailPoints for Trap {
    fn pass(&self, unit: &'static str, side: Side) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap();
        let unit = short(unit);
        if !state.passed.contains(&unit) {
            state.passed.push(unit.clone());
        }
        let times = state.times.entry((unit.clone(), side)).or_default();
        *times += 1;
        let nth = format!("{unit}#{times}");
        let is_it = |set: &str| set == nth || (nth.ends_with("#1") && set == unit);
        let caught = state.set.take_if(|(set, at, _)| *at == side && is_it(set));
        let Some((_, _, harm)) = caught else { return Ok(()) };
        state.did = true;
        match (harm, side) {
            (Harm::Abort, _) => {
                drop(state);
                // Without the words of a panic.
                std::panic::resume_unwind(Box::new("the process dies"))
            }
            (Harm::Error, Side::BeforeCommit) => Err(StoreError::Unavailable("a trap".to_owned())),
            (Harm::Error, Side::AfterCommit) => Err(StoreError::InDoubt("a trap".to_owned())),
            (Harm::Delay, _) => {
                state.holds = true;
                self.sprung.notify_one();
                drop(self.goes_on.wait_while(state, |state| state.holds).unwrap());
                Ok(())
            }
        }
    }
}
