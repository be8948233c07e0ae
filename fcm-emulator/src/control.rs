//! The phone side and the remote control, over HTTP.

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::answer::{self, Answer};
use crate::emulator::Shared;
use crate::faults::Fault;
use crate::routes::{Call, only};
use crate::stream;

/// Answers everything but Google's own endpoints.
pub(crate) fn answer(shared: &Shared, call: &Call, path: &[&str]) -> Answer {
    match path {
        [""] => get(call, || answer::text(index(shared))),
        ["inbox"] => match call.method {
            Method::GET => answer::ok(shared.phones.inboxes()),
            Method::DELETE => done(|| shared.phones.dismiss_all()),
            _ => only(&[Method::GET, Method::DELETE]),
        },
        ["inbox", "stream"] => get(call, || stream::answer(&shared.phones, None, &call.headers)),
        ["inbox", address] => match call.method {
            Method::GET => answer::ok(shared.phones.inbox(address)),
            Method::DELETE => done(|| shared.phones.dismiss(address)),
            _ => only(&[Method::GET, Method::DELETE]),
        },
        ["inbox", address, "stream"] => {
            get(call, || stream::answer(&shared.phones, Some(address), &call.headers))
        }
        ["phones"] => get(call, || answer::ok(shared.phones.views())),
        ["phones", address] => phone(shared, call, address),
        ["emulator", "v1", rest @ ..] => remote(shared, call, rest),
        _ => answer::refuse(StatusCode::NOT_FOUND, "No such endpoint; GET / lists them."),
    }
}

fn phone(shared: &Shared, call: &Call, address: &str) -> Answer {
    let unknown = || answer::refuse(StatusCode::NOT_FOUND, "Nothing ever named this phone.");
    match call.method {
        Method::GET => shared.phones.view(address).map_or_else(unknown, answer::ok),
        Method::PUT => match read(call) {
            Ok(settings) => answer::ok(shared.phones.set(address, settings)),
            Err(fault) => bad(&fault),
        },
        Method::DELETE if shared.phones.forget(address) => answer::empty(),
        Method::DELETE => unknown(),
        _ => only(&[Method::GET, Method::PUT, Method::DELETE]),
    }
}

fn remote(shared: &Shared, call: &Call, path: &[&str]) -> Answer {
    match path {
        ["faults"] => match call.method {
            Method::GET => answer::ok(shared.faults.list()),
            Method::POST => match read(call).and_then(checked) {
                Ok(fault) => answer::ok(json!({ "id": shared.faults.set(fault) })),
                Err(fault) => bad(&fault),
            },
            Method::DELETE => done(|| shared.faults.clear()),
            _ => only(&[Method::GET, Method::POST, Method::DELETE]),
        },
        ["faults", id] if call.method == Method::DELETE => {
            if id.parse().is_ok_and(|id| shared.faults.remove(id)) {
                return answer::empty();
            }
            answer::refuse(StatusCode::NOT_FOUND, "No fault of that number (any more).")
        }
        ["accepted"] => get(call, || answer::ok(shared.history.accepted())),
        ["stats"] => get(call, || answer::ok(shared.history.stats())),
        ["tokens"] if call.method == Method::DELETE => done(|| shared.oauth.revoke_all()),
        ["faults", _] | ["tokens"] => only(&[Method::DELETE]),
        ["reset"] if call.method == Method::POST => done(|| shared.reset()),
        ["reset"] => only(&[Method::POST]),
        ["credentials"] => get(call, || answer::ok(shared.oauth.credentials())),
        ["ca.pem"] => get(call, || match &shared.ca_pem {
            Some(pem) => answer::text(pem.clone()),
            None => answer::refuse(StatusCode::NOT_FOUND, "This emulator speaks clear text."),
        }),
        _ => answer::refuse(StatusCode::NOT_FOUND, "No such endpoint; GET / lists them."),
    }
}

fn get(call: &Call, work: impl FnOnce() -> Answer) -> Answer {
    if call.method == Method::GET { work() } else { only(&[Method::GET]) }
}

fn done(work: impl FnOnce()) -> Answer {
    work();
    answer::empty()
}

fn bad(fault: &str) -> Answer {
    answer::refuse(StatusCode::BAD_REQUEST, fault)
}

/// Reads a JSON object. (serde alone would take a list of a struct's fields as well.)
fn read<T: DeserializeOwned>(call: &Call) -> Result<T, String> {
    serde_json::from_slice::<Map<String, Value>>(&call.body)
        .and_then(|object| serde_json::from_value(Value::Object(object)))
        .map_err(|error| error.to_string())
}

fn checked(fault: Fault) -> Result<Fault, String> {
    if !(0.0..=1.0).contains(&fault.probability) {
        return Err("probability goes from 0 to 1".to_owned());
    }
    if fault.times == Some(0) {
        return Err("times is at least 1; leave it out for \"for ever\"".to_owned());
    }
    Ok(fault)
}

/// What `GET /` says.
fn index(shared: &Shared) -> String {
    let (base, project) = (&shared.base_url, &shared.project_id);
    format!(
        "Aftercare's FCM emulator, at {base}, project {project}.

It takes messages as Firebase Cloud Messaging's HTTP v1 API does, strictly by Google's schema, and
shows what phones would show. Nothing leaves this machine.

Google's endpoints
  POST   /token                                  access token for a signed assertion (RS256)
  POST   /v1/projects/{project}/messages:send
  POST   /iid/v1:batchAdd, /iid/v1:batchRemove   topic subscriptions

The phones
  GET    /inbox                                  what all phones show
  GET    /inbox/ADDRESS                          what one phone shows
  GET    /inbox/stream, /inbox/ADDRESS/stream    the same and what follows, live (SSE)
  DELETE /inbox, /inbox/ADDRESS                  swipe everything away
  GET    /phones, /phones/ADDRESS                how they stand
  PUT    /phones/ADDRESS                         {{\"online\": false, \"platform\": \"android|ios|web\",
                                                  \"installed\": true, \"topics\": [\"news\"]}}
  DELETE /phones/ADDRESS                         forget it

Remote control
  POST   /emulator/v1/faults                     {{\"kind\": \"UNAVAILABLE\", \"address\": \"ADDRESS\", \"times\": 2,
                                                  \"retry_after\": {{\"seconds\": 30}}}}
         more fields: endpoint (send, token), probability, delay_ms, field
         retry_after: {{\"seconds\": N}} or {{\"http_date_in\": N}}
         kinds: INVALID_ARGUMENT UNAUTHENTICATED THIRD_PARTY_AUTH_ERROR SENDER_ID_MISMATCH
                UNREGISTERED QUOTA_EXCEEDED INTERNAL UNAVAILABLE HTML_503
                DROP_BEFORE DROP_AFTER DELAY DELAY_ANSWER
  GET    /emulator/v1/faults                     DELETE them all, or /emulator/v1/faults/ID
  GET    /emulator/v1/accepted                   the messages that were accepted
  GET    /emulator/v1/stats                      counts
  GET    /emulator/v1/credentials                the service-account file to use
  GET    /emulator/v1/ca.pem                     the authority to trust (TLS only)
  DELETE /emulator/v1/tokens                     let every access token expire
  POST   /emulator/v1/reset                      forget phones, faults, messages and counts
"
    )
}
