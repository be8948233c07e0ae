//! Answers that take a while to make: a timeline or an export of somebody with hundreds of treatments.
//!
//! One caller has few of them in the making, so that connections and cores are left for everybody else;
//! more wait in that caller's own line, and a line that is too long is refused. What needs no connection
//! is done after it was given back, and away from the threads that serve requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::problem::Problem;

/// Answers of one caller in the making.
const AT_ONCE: usize = 2;

/// Requests of one caller that wait for their turn; with the default rates, more than a second's worth.
const WAITING: usize = 128;

/// Lines kept before those that nobody stands in are forgotten.
const KEPT: usize = 4096;

/// A line for each caller.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<HashMap<Uuid, Line>>);

#[derive(Debug, Clone)]
struct Line {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// The right to make one heavy answer, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _place: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
}

impl Lines {
    /// Waits for the caller's turn, first come first served.
    ///
    /// # Errors
    /// 429 when too many of the caller's requests wait already.
    pub(crate) async fn turn(&self, caller: Uuid) -> Result<Turn, Problem> {
        let Line { places, turns } = self.line(caller);
        let place = places.try_acquire_owned().map_err(|_| Problem::rate_limited(1))?;
        // Nobody closes a line.
        let turn = turns.acquire_owned().await.map_err(|error| Problem::internal(&error))?;
        Ok(Turn { _place: place, _turn: turn })
    }

    fn line(&self, caller: Uuid) -> Line {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= KEPT {
            lines.retain(|_, line| Arc::strong_count(&line.places) > 1);
        }
        let line = lines.entry(caller).or_insert_with(|| Line {
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        });
        line.clone()
    }
}

/// Makes an answer, and writes it down, away from the threads that serve requests.
pub(crate) async fn make<T, F>(answer: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> serde_json::Result<T> + Send + 'static,
{
    let made = web::block(answer).await.map_err(|stopped| Problem::internal(&stopped))?;
    made.map_err(|error| Problem::internal(&error))
}

/// The answer that was written down.
pub(crate) fn json(written: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(written)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::problem::Code;

    #[tokio::test]
    async fn a_caller_waits_in_a_line_of_its_own() {
        let lines = Lines::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut made = vec![lines.turn(one).await.unwrap(), lines.turn(one).await.unwrap()];
        let mut next = Box::pin(lines.turn(one));
        assert!((&mut next).now_or_never().is_none(), "two are in the making");
        lines.turn(other).await.unwrap();
        let mut waiting: Vec<_> = (1..WAITING).map(|_| Box::pin(lines.turn(one))).collect();
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        assert_eq!(lines.turn(one).await.unwrap_err().code(), Code::RateLimited);
        lines.turn(other).await.unwrap();
        made.pop();
        next.await.unwrap();
    }

    #[tokio::test]
    async fn lines_that_nobody_stands_in_are_forgotten() {
        let lines = Lines::default();
        let _turn = lines.turn(Uuid::from_u128(1)).await.unwrap();
        for caller in 2..=KEPT as u128 + 1 {
            lines.turn(Uuid::from_u128(caller)).await.unwrap();
        }
        assert_eq!(lines.0.lock().unwrap().len(), 2, "the first and the last");
    }
}
