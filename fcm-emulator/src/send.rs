//! `POST /v1/projects/{project}/messages:send`, in the order Google works through a request.

use aftercare::clock::Env;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::answer::{self, Answer, Refusal};
use crate::bearer::authorize;
use crate::emulator::Shared;
use crate::fault_answers::unregistered;
use crate::faults::{Endpoint, Fault, FaultKind};
use crate::history::AcceptedPush;
use crate::message::{self, Target};
use crate::schema;
use crate::server::Cut;

/// Answers a send. Does not return when a fault cuts the connection.
pub(crate) async fn send(
    shared: &Shared,
    cut: &Cut,
    project: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    shared.history.count(|stats| stats.sends += 1);
    let request = match read(shared, project, headers, body) {
        Ok(request) => request,
        Err(refused) => return refused.count(shared),
    };
    let address = request.target.label();
    let fault = shared.faults.strike(Endpoint::Send, Some(&address), &*shared.env.rng);
    if let Some(faulty) = before(shared, cut, fault.as_ref()).await {
        return faulty;
    }
    if let Target::Address(address) = &request.target
        && shared.phones.is_uninstalled(address)
    {
        let gone = Refused::new("UNREGISTERED", unregistered().into_answer());
        return gone.count(shared);
    }
    let lost = fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::DropAfter);
    let name = if request.validate_only {
        format!("projects/{}/messages/fake_message_id", shared.project_id)
    } else {
        accept(shared, request, address, !lost)
    };
    if lost {
        return drop_connection(shared, cut).await;
    }
    if let Some(fault) = fault.filter(|fault| fault.kind == FaultKind::DelayAnswer) {
        tokio::time::sleep(fault.delay_time()).await;
    }
    answer::ok(json!({ "name": name }))
}

/// A send that was read and found right.
struct SendRequest {
    message: Value,
    target: Target,
    validate_only: bool,
}

/// A refused send: the answer, and what it is counted under.
struct Refused {
    code: &'static str,
    answer: Box<Answer>,
}

impl Refused {
    fn new(code: &'static str, answer: Answer) -> Self {
        Self { code, answer: Box::new(answer) }
    }

    fn count(self, shared: &Shared) -> Answer {
        shared.history.count_refused(self.code);
        *self.answer
    }
}

fn read(
    shared: &Shared,
    project: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<SendRequest, Refused> {
    authorize(&shared.oauth, headers).map_err(|refused| match refused.status() {
        StatusCode::UNAUTHORIZED => Refused::new("UNAUTHENTICATED", *refused),
        _ => Refused::new("PERMISSION_DENIED", *refused),
    })?;
    if project != shared.project_id {
        return Err(Refused::new("PERMISSION_DENIED", other_project(project).into_answer()));
    }
    let bad = |refusal: Refusal| Refused::new("INVALID_ARGUMENT", refusal.into_answer());
    let body = parse(body).map_err(bad)?;
    let mut body = schema::read(&schema::REQUEST, &body)
        .map_err(|violations| bad(Refusal::unreadable(&violations)))?;
    let validate_only = body.get("validate_only").is_some_and(|flag| flag == true);
    let message = body.get_mut("message").map(Value::take).unwrap_or_default();
    let target = message::check(&message)
        .map_err(|violations| bad(Refusal::invalid_argument(&violations)))?;
    Ok(SendRequest { message, target, validate_only })
}

fn parse(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal {
        status: StatusCode::BAD_REQUEST,
        name: "INVALID_ARGUMENT",
        message: format!("Invalid JSON payload received. {error}"),
        details: vec![],
    })
}

fn other_project(project: &str) -> Refusal {
    Refusal {
        status: StatusCode::FORBIDDEN,
        name: "PERMISSION_DENIED",
        message: format!(
            "Permission 'cloudmessaging.messages.create' denied on resource \
             '//cloudresourcemanager.googleapis.com/projects/{project}' (or it may not exist)."
        ),
        details: vec![json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "IAM_PERMISSION_DENIED",
            "domain": "cloudresourcemanager.googleapis.com",
            "metadata": {
                "resource": format!("projects/{project}"),
                "permission": "cloudmessaging.messages.create",
            },
        })],
    }
}

/// Lets a fault do what it does before acceptance; the answer, if that was all.
async fn before(shared: &Shared, cut: &Cut, fault: Option<&Fault>) -> Option<Answer> {
    let fault = fault?;
    if fault.kind != FaultKind::DelayAnswer && fault.delay_ms > 0 {
        tokio::time::sleep(fault.delay_time()).await;
    }
    if fault.kind == FaultKind::DropBefore {
        return Some(drop_connection(shared, cut).await);
    }
    let answer = fault.answer(&shared.env)?;
    Some(Refused::new(fault.kind.name(), answer).count(shared))
}

async fn drop_connection(shared: &Shared, cut: &Cut) -> Answer {
    shared.history.count(|stats| stats.dropped += 1);
    cut.now().await
}

/// Takes responsibility for a message: gives it a name, to the phones and to the log.
fn accept(shared: &Shared, request: SendRequest, address: String, answered: bool) -> String {
    let accepted_at = shared.env.now();
    let id = message_id(&shared.env);
    let (message, phones) = (&request.message, &shared.phones);
    match &request.target {
        Target::Address(address) => phones.deliver(address, message, &id, accepted_at),
        Target::Topic(name) => {
            phones.broadcast(|topics| topics.contains(name), message, &id, accepted_at);
        }
        Target::Condition(condition, _) => {
            phones.broadcast(|topics| condition.holds(topics), message, &id, accepted_at);
        }
    }
    let name = format!("projects/{}/messages/{id}", shared.project_id);
    shared.history.add(AcceptedPush {
        name: name.clone(),
        address,
        accepted_at,
        answered,
        message: request.message,
    });
    name
}

/// An id as Google makes them for Android: `0:` microseconds `%` sixteen hex digits.
fn message_id(env: &Env) -> String {
    let random = u64::from_le_bytes(env.random());
    format!("0:{}%{random:016x}", env.now().as_microsecond())
}
