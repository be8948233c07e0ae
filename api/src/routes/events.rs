//! CloudEvents: what a clinic's software says of sessions, one by one or in batches.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, post};
use aftercare::care;
use aftercare::ids::ClinicId;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::treatments::{pointer, refused};
use crate::auth::ClinicAuth;
use crate::dto::{CloudEvent, EventReceipt, EventReceipts, Incoming};
use crate::fields::{body_bytes, media_type, read_json, read_object};
use crate::problem::{Code, Problem};
use crate::state::Api;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// Events of a batch at most: an answer is never much larger than its request.
const BATCH: usize = 200;

pub(super) fn routes(config: &mut ServiceConfig<'_>) {
    config.service(receive_events);
}

/// What became of one event, or of each event of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum EventAnswer {
    One(EventReceipt),
    Each(EventReceipts),
}

/// Take CloudEvents in: structured, batch, or binary (attributes in `ce-*` headers, the data as the body).
/// Plain JSON without such headers is read as a structured event.
///
/// `care.aftercare.session.completed.v1` records a session as `POST /v1/treatments` does, `.amended.v1`
/// and `.voided.v1` correct it; an event is known by its `source` and `id`. They may arrive in any
/// order: one that is about a session that is not known yet is kept for 30 days. Of a batch each event is
/// taken or refused by itself.
#[utoipa::path(
    operation_id = "receiveEvents",
    tag = "clinic",
    security(("clinic" = [])),
    params(
        ("ce-specversion" = Option<String>, Header, description = "Binary mode: `1.0`"),
        ("ce-type" = Option<String>, Header, description = "Binary mode: the event's type"),
        ("ce-source" = Option<String>, Header, description = "Binary mode: who says it"),
        ("ce-id" = Option<String>, Header, description = "Binary mode: the event's id"),
        ("ce-time" = Option<String>, Header, description = "Binary mode: when it was said")
    ),
    request_body(content(
        (CloudEvent = "application/cloudevents+json"),
        (Vec<Value> = "application/cloudevents-batch+json", example = json!([{
            "specversion": "1.0", "type": "care.aftercare.session.voided.v1",
            "source": "https://practice.example/rooms/2", "id": "4712",
            "data": {"supersedes": "4711"}
        }])),
        (BTreeMap<String, Value> = "application/json", example = json!({
            "patient_ref": "p-1001", "protocol": "microneedling",
            "completed_at": "2026-11-22T15:40:00Z"
        }))
    )),
    responses(
        (status = 200, description = "The event came before, or it amended or voided a session; of a batch, what became of each of its events", body = EventAnswer),
        (status = 201, description = "The event recorded a session", body = EventReceipt),
        (status = 202, description = "The session that the event is about is not known yet; the event is kept for it", body = EventReceipt),
        (status = 409, description = "`event-conflict`: the source used this id for other content"),
        (status = 422, description = "`unknown-patient`, `unknown-protocol`: see `detail`")
    )
)]
#[post("/v1/events")]
async fn receive_events(
    api: Data<Api>,
    auth: ClinicAuth,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let mode = Mode::of(&request)?;
    let bytes = body_bytes(&request, payload.into_inner()).await?;
    let (status, answer) = take_in(&api, auth.clinic, mode, &bytes).await?;
    Ok(HttpResponse::build(status).json(answer))
}

/// How the events are packed.
enum Mode {
    Structured,
    Batch,
    /// The attributes, which came as headers.
    Binary(Map<String, Value>),
}

impl Mode {
    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        match media_type(request)?.as_str() {
            STRUCTURED => Ok(Self::Structured),
            BATCHED => Ok(Self::Batch),
            "application/json" if request.headers().contains_key("ce-specversion") => {
                attributes(request).map(Self::Binary)
            }
            // Senders of webhooks know no other type.
            "application/json" => Ok(Self::Structured),
            _ => Err(Problem::new(
                Code::UnsupportedMediaType,
                "The Content-Type must be application/cloudevents+json or \
                 application/cloudevents-batch+json; or application/json",
            )),
        }
    }
}

/// The attributes of an event in binary mode.
fn attributes(request: &HttpRequest) -> Result<Map<String, Value>, Problem> {
    let mut attributes = Map::new();
    for (header, value) in request.headers() {
        let Some(name) = header.as_str().strip_prefix("ce-") else { continue };
        let text = Value::String(percent_decoded(value.as_bytes()));
        if attributes.insert(name.to_owned(), text).is_some() {
            let detail = format!("The header {header} must come once");
            return Err(Problem::new(Code::MalformedRequest, detail));
        }
    }
    Ok(attributes)
}

/// Headers carry what is not printable ASCII in `%`-escapes of its UTF-8.
fn percent_decoded(value: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped.and_then(|digits| hex::decode(digits).ok()?.first().copied());
        bytes.push(byte.unwrap_or(*first));
        rest = byte.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn take_in(
    api: &Api,
    clinic: ClinicId,
    mode: Mode,
    bytes: &[u8],
) -> Result<(StatusCode, EventAnswer), Problem> {
    let event = match (mode, read_json(bytes)?) {
        (Mode::Structured, Value::Object(event)) => event,
        (Mode::Binary(mut event), data @ Value::Object(_)) => {
            event.insert("data".to_owned(), data);
            event
        }
        (Mode::Batch, Value::Array(events)) => {
            let receipts = batch(api, clinic, events).await?;
            return Ok((StatusCode::OK, EventAnswer::Each(receipts)));
        }
        (Mode::Batch, _) => return Err(wrong("must be an array of events")),
        _ => return Err(wrong("must be an object")),
    };
    let receipt = receive(api, clinic, &event).await?;
    let status = StatusCode::from_u16(receipt.status).unwrap_or(StatusCode::OK);
    Ok((status, EventAnswer::One(receipt)))
}

/// An event that is refused does not keep the others from being taken. When the server fails, the
/// whole batch is to be sent again: what was taken of it is known then.
async fn batch(api: &Api, clinic: ClinicId, events: Vec<Value>) -> Result<EventReceipts, Problem> {
    if events.len() > BATCH {
        return Err(wrong(format!("must have at most {BATCH} events")));
    }
    let mut items = Vec::with_capacity(events.len());
    for event in events {
        let received = match &event {
            Value::Object(event) => receive(api, clinic, event).await,
            _ => Err(wrong("must be an object")),
        };
        items.push(match received {
            Err(problem) if problem.code().status().is_server_error() => return Err(problem),
            Err(problem) => EventReceipt::from(&problem),
            Ok(receipt) => receipt,
        });
    }
    Ok(EventReceipts { items })
}

/// Takes one event in, in a transaction of its own.
async fn receive(
    api: &Api,
    clinic: ClinicId,
    event: &Map<String, Value>,
) -> Result<EventReceipt, Problem> {
    let Incoming(event) = read_object(event)?;
    let received = api.store.write(move |tx| care::receive_event(tx, clinic, event)).await;
    let received = received.map_err(refused_event)?;
    api.wake();
    Ok(received.into())
}

/// Why an event is not taken: what it says of a session stands under `data`.
fn refused_event(error: care::RecordError) -> Problem {
    let below = |refusal: &care::Refusal| match refusal {
        care::Refusal::SaidInFuture => pointer(refusal),
        refusal => format!("/data{}", pointer(refusal)),
    };
    match error {
        care::RecordError::Refused(refusals) => refused(&refusals, below),
        error => error.into(),
    }
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::field(Code::InvalidFields, "", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_carry_utf8_in_escapes() {
        for (escaped, text) in
            [("room%202", "room 2"), ("%E2%82%AC", "€"), ("100%", "100%"), ("%zz%4", "%zz%4")]
        {
            assert_eq!(percent_decoded(escaped.as_bytes()), text);
        }
    }
}
