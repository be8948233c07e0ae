//! CloudEvents: what a clinic's software says of sessions, one by one or in batches.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, Data};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, post};
use aftercare::care;
use aftercare::ids::ClinicId;
use aftercare::store::{StoreError, WebhookAnswer};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::treatments::{pointer, refused};
use crate::auth::{ClinicAuth, SignedMessage};
use crate::dto::{CloudEvent, EventReceipt, EventReceipts, Incoming, SignedQuery};
use crate::fields::{Query, body_bytes, media_type, read_json, read_object};
use crate::problem::{Code, Problem};
use crate::state::Api;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";

/// Events of a batch at most.
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
///
/// Instead of a bearer, a message may be signed as Standard Webhooks has it, with a secret of
/// `POST /v1/signing-secrets` and `?clinic=`; not in binary mode, because a signature does not cover
/// `ce-*` headers. Its timestamp may be 5 minutes off. A repeated `webhook-id` gets the first answer
/// again, for 7 days.
#[utoipa::path(
    operation_id = "receiveEvents",
    tag = "clinic",
    security(("clinic" = []), ("signature" = [])),
    params(
        SignedQuery,
        ("webhook-id" = Option<String>, Header, description = "Signed messages: the message's id"),
        ("webhook-timestamp" = Option<String>, Header, description = "Signed messages: when it was sent, in seconds since 1970"),
        ("webhook-signature" = Option<String>, Header, description = "Signed messages: `v1,` and the signature in base64; several with spaces between"),
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
        (status = 401, description = "`invalid-signature`: the message is not signed with a secret of this clinic, or it is too old"),
        (status = 409, description = "`event-conflict`: the source used this id for other content"),
        (status = 422, description = "`unknown-patient`, `unknown-protocol`: see `detail`")
    )
)]
#[post("/v1/events")]
async fn receive_events(
    api: Data<Api>,
    request: HttpRequest,
    query: Query<SignedQuery>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let payload = payload.into_inner();
    match SignedMessage::of(&request) {
        Some(message) => receive_signed(&api, &request, &query, &message, payload).await,
        None => receive_with_bearer(&api, &request, &query, payload).await,
    }
}

async fn receive_with_bearer(
    api: &Api,
    request: &HttpRequest,
    query: &Query<SignedQuery>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let auth = ClinicAuth::extract(request).await?;
    if query.read()?.clinic.is_some() {
        let detail = "is for signed messages; a bearer names its clinic";
        return Err(Problem::field(Code::InvalidFields, "?clinic", detail));
    }
    let mode = Mode::of(request)?;
    let bytes = body_bytes(request, payload).await?;
    let (status, answer) = take_in(api, auth.clinic, mode, &bytes).await?;
    Ok(HttpResponse::build(status).json(answer))
}

/// Whoever sends a message again, because the answer was lost, is to get that answer. What was refused is
/// judged anew: the sender's next try may come after somebody mended the cause.
async fn receive_signed(
    api: &Api,
    request: &HttpRequest,
    query: &Query<SignedQuery>,
    message: &SignedMessage,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let clinic = query.read()?.clinic;
    let bytes = body_bytes(request, payload).await?;
    let clinic = message.verify(api, request, clinic, &bytes).await?;
    let mode = Mode::of(request)?;
    if matches!(mode, Mode::Binary(_)) {
        let detail = "A signature does not cover ce-* headers; send a structured event or a batch";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let id = message.id().to_owned();
    let known = api.store.read(move |tx| tx.webhook_answer(clinic, &id)).await;
    if let Some(known) = known.map_err(Problem::from)? {
        return Ok(answer(known));
    }
    let (status, taken) = take_in(api, clinic, mode, &bytes).await?;
    let given = WebhookAnswer { status: status.as_u16().into(), body: json(&taken) };
    let id = message.id().to_owned();
    let kept = api.store.write(move |tx| {
        tx.keep_webhook_answer(clinic, &id, &given)?;
        // Of two that came at once, the first one's answer counts.
        Ok::<_, StoreError>(tx.webhook_answer(clinic, &id)?.unwrap_or(given))
    });
    Ok(answer(kept.await.map_err(Problem::from)?))
}

fn answer(given: WebhookAnswer) -> HttpResponse {
    let status = u16::try_from(given.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
    HttpResponse::build(status.unwrap_or(StatusCode::OK))
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(given.body)
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
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
        let Some(text) = header_text(value.as_bytes()) else {
            let detail = format!("The header {header} is not UTF-8 in %-escapes");
            return Err(Problem::new(Code::MalformedRequest, detail));
        };
        let text = Value::String(text);
        if attributes.insert(name.to_owned(), text).is_some() {
            let detail = format!("The header {header} must come once");
            return Err(Problem::new(Code::MalformedRequest, detail));
        }
    }
    Ok(attributes)
}

/// What a header carries, which may be quoted, and has what is not printable ASCII in `%`-escapes of its
/// UTF-8. `None` for what is not UTF-8: to guess would take different ids for one.
fn header_text(value: &[u8]) -> Option<String> {
    let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let value = quoted.map_or_else(|| value.to_vec(), unescaped);
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped.and_then(|digits| hex::decode(digits).ok()?.first().copied());
        bytes.push(byte.unwrap_or(*first));
        rest = byte.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    String::from_utf8(bytes).ok()
}

/// A quoted string without its backslashes.
fn unescaped(quoted: &[u8]) -> Vec<u8> {
    let mut bytes = quoted.iter();
    let mut text = Vec::with_capacity(quoted.len());
    while let Some(byte) = bytes.next() {
        let escaped = (*byte == b'\\').then(|| bytes.next()).flatten();
        text.push(*escaped.unwrap_or(byte));
    }
    text
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
        for (escaped, text) in [
            ("room%202", "room 2"),
            ("%E2%82%AC", "€"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("\"room 2\"", "room 2"),
            (r#""a \"b\" \\ %22""#, r#"a "b" \ ""#),
            ("\"", "\""),
        ] {
            assert_eq!(header_text(escaped.as_bytes()).as_deref(), Some(text));
        }
        for not_text in [&b"visit-\xE9"[..], b"visit-%FF", b"\"visit-%E2\""] {
            assert_eq!(header_text(not_text), None);
        }
    }
}
