//! What the integrations' guide shows is what happens.

use crate::clients::{folder, has_node, python};
use crate::readme::{blocks, document, play_session};

const GUIDE: &str = "docs/integrations.md";

/// The guide's program behind this fence, in a file to be run.
fn program(into: &std::path::Path, fence: &str) -> String {
    let programs = blocks(&document(GUIDE), fence);
    assert_eq!(programs.len(), 1, "{fence}");
    let file = into.join(fence.replace(' ', "-"));
    std::fs::write(&file, &programs[0]).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A script that has a receiver hear of a session; it begins its lines with `name`.
fn heard(name: &str, receiver: &str) -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    format!(
        r#"
        post() {{ curl -fsS "$API$1" -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' -d "$2"; }}
        SECRET=$(post /v1/webhooks '{{"url": "http://127.0.0.1:{port}/", "types": ["treatment.planned"]}}' | jq -r .secret)
        (WEBHOOK_SECRET=$SECRET PORT={port} exec {receiver}) >{name}.log 2>&1 &
        trap 'kill $(jobs -p)' EXIT
        post /v1/treatments '{{"event_id": "{name}", "patient": {{"ref": "{name}"}},
            "protocol": "microneedling", "completed_at": "'$NOW'"}}' >{name}.json
        timeout 60 bash -c 'until grep -q "{name}" {name}.log; do sleep 0.1; done' || true
        sed 's/^/{name} heard /' {name}.log
        "#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_and_the_programs_work_as_they_are_written() {
    let files = tempfile::tempdir().unwrap();
    let mut and_then = Vec::new();
    let mut shows = vec!["\"pushes\"", "\"recorded\"", "\"amended\"", "\"event_id\": \"4714\""];
    if has_node() {
        let (file, clients) = (program(files.path(), "js"), folder());
        let node = format!("cd {} && node --input-type=module <{file}", clients.display());
        and_then.push(format!("({node}) | sed 's/^/js /'"));
        shows.push("js 201");
        let file = program(files.path(), "js receiver");
        let node = format!("cd {} && exec node --input-type=module <{file}", clients.display());
        and_then.push(heard("nora", &format!("bash -c '{node}'")));
        shows.push("nora heard treatment.planned 0");
    }
    if let Some(python) = python() {
        let file = program(files.path(), "python");
        and_then.push(format!("{} {file} | sed 's/^/python /'", python.display()));
        shows.push("python 201");
        let file = program(files.path(), "python receiver");
        and_then.push(heard("pia", &format!("{} {file}", python.display())));
        shows.push("pia heard treatment.planned 0");
    }
    play_session(GUIDE, &and_then.join("\n"), &shows).await;
}
