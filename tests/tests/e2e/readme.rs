//! What the README shows is what happens.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::process::{Process, Server, aftercare, binary, configure, run};

/// What the README has `serve` listen on.
const README_ADDRESS: &str = "127.0.0.1:8080";

pub(crate) fn document(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    std::fs::read_to_string(root.join(name)).unwrap()
}

/// The contents of a document's code blocks that begin with this line.
pub(crate) fn blocks(document: &str, fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{fence}") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

#[test]
fn the_first_transcript_is_what_plan_prints() {
    let readme = document("README.md");
    let block = blocks(&readme, "console").remove(0);
    let (call, printed) = block.split_once('\n').unwrap();
    let args = call.strip_prefix("$ aftercare ").unwrap().split(' ');
    let folder = tempfile::tempdir().unwrap();
    let output = run(aftercare(folder.path()).args(args));
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), printed);
}

/// Whether the sessions' tools are there; where they are not, one line says so.
fn has_tools() -> bool {
    let there = |(tool, asks): &(&str, &str)| {
        Command::new(tool).arg(asks).output().is_ok_and(|output| output.status.success())
    };
    let tools =
        [("bash", "--version"), ("curl", "--version"), ("jq", "--version"), ("openssl", "version")];
    let missing = tools.into_iter().filter(|tool| !there(tool)).map(|(tool, _)| tool);
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return true;
    }
    let line = format!("{} missing: the documents' sessions were NOT run\n", missing.join(" and "));
    let required =
        std::env::var_os("AFTERCARE_TEST_TOOLS").is_some_and(|value| value == "required");
    assert!(!required, "{line}");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_works_as_it_is_written() {
    let shows = ["\"session\": 1", "\"due_local\"", "\"verdict\": \"avoid\""];
    play_session("README.md", "", &shows).await;
}

/// Plays a document's session, and then what a test adds to it, against a server of its own.
pub(crate) async fn play_session(name: &str, and_then: &str, shows: &[&str]) {
    if !has_tools() {
        return;
    }
    let script = blocks(&document(name), "sh session").join("\n") + "\n" + and_then;
    assert!(script.contains(README_ADDRESS), "{script}");
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(aftercare(folder.path()).arg("serve")).await;
    let script = script.replace(README_ADDRESS, &server.http.0.to_string());
    let folders = [binary().parent().unwrap().to_owned()];
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path)));
    let mut bash = Command::new("bash");
    configure(&mut bash, folder.path());
    bash.env("PATH", path.unwrap()).args(["-euo", "pipefail", "-c", &script]);
    let output = tokio::task::spawn_blocking(move || run(&mut bash)).await.unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    for shown in shows {
        assert!(out.contains(shown), "no {shown}: {out}\n{err}");
    }
    assert!(server.process.terminate().await.success());
}

#[test]
fn the_demo_plays_a_course_of_seventeen_pushes_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(aftercare(folder.path()).arg("demo"));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    for line in ["  17 sent: accepted", "   2 superseded: newer-session"] {
        assert!(told.lines().any(|told| told == line), "no \"{line}\": {told}");
    }
    assert!(told.contains("Mon 23 Nov 07:50  Good morning"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_stopped_leaves_nothing_behind() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let left = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut command = aftercare(folder.path());
        let mut demo = Process::start(command.arg("demo").env("TMPDIR", folder.path()));
        demo.line("the first session", |line| line.contains("Session 1 done").then_some(())).await;
        assert_eq!(left(), 1);
        demo.signal(signal);
        assert!(demo.end().await.success(), "{}", demo.log());
        assert_eq!(left(), 0, "SIG{signal}");
        assert!(!demo.log().contains("Session 3 done"), "it was over before it was stopped");
    }
}

/// What the protocols' guide shows is part of what ships.
#[test]
fn the_protocol_guide_shows_rules_and_steps_as_they_ship() {
    let guide = blocks(&document("docs/protocols.md"), "json");
    let shipped = document("aftercare/src/protocol/shipped/microneedling.json");
    let shipped: Value = serde_json::from_str(&shipped).unwrap();
    assert!(!guide.is_empty());
    for snippet in guide {
        let shown: Value = serde_json::from_str(&snippet).unwrap();
        let lists = ["rules", "steps"].into_iter();
        let mut parts = lists.flat_map(|list| shipped[list].as_array().unwrap());
        assert!(parts.any(|part| is_part(&shown, part)), "nothing like it ships: {snippet}");
    }
}

/// Whether all that is shown is so in the whole, which may have more members.
fn is_part(shown: &Value, whole: &Value) -> bool {
    match (shown, whole) {
        (Value::Object(shown), Value::Object(whole)) => shown
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|whole| is_part(value, whole))),
        (Value::Array(shown), Value::Array(whole)) => {
            shown.len() == whole.len()
                && shown.iter().zip(whole).all(|(shown, whole)| is_part(shown, whole))
        }
        _ => shown == whole,
    }
}
