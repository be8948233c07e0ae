//! What the integrations' guide shows is what happens.

use crate::clients::{folder, has_node, python};
use crate::readme::{blocks, document, play_session};

const GUIDE: &str = "docs/integrations.md";

/// The guide's program in one language, in a file to be run.
fn program(into: &std::path::Path, language: &str) -> String {
    let programs = blocks(&document(GUIDE), language);
    assert_eq!(programs.len(), 1, "{language}");
    let file = into.join(language);
    std::fs::write(&file, &programs[0]).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_and_the_programs_work_as_they_are_written() {
    let files = tempfile::tempdir().unwrap();
    let mut and_then = vec![
        "export AFTERCARE_URL=$API SIGNING_SECRET=$SECRET".to_owned(),
        "export CLINIC_ID=$(jq -r .clinic_id <<<\"$CLINIC\")".to_owned(),
    ];
    let mut shows = vec!["\"pushes\"", "\"recorded\"", "\"amended\"", "\"event_id\": \"4714\""];
    if has_node() {
        let (file, clients) = (program(files.path(), "js"), folder());
        let node = format!("cd {} && node --input-type=module <{file}", clients.display());
        and_then.push(format!("({node}) | sed 's/^/js /'"));
        shows.push("js 201");
    }
    if let Some(python) = python() {
        let file = program(files.path(), "python");
        and_then.push(format!("{} {file} | sed 's/^/python /'", python.display()));
        shows.push("python 201");
    }
    play_session(GUIDE, &and_then.join("\n"), &shows).await;
}
