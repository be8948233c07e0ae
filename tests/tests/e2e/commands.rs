//! `aftercare keys`, `aftercare clinic secret` and `aftercare staff`, as operators and their scripts call them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::http::{Body, Http};
use crate::process::{Clinic, Server, aftercare, make_clinic, run};

/// What a run said, and how it ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.out.lines().count(), 1, "one document, on one line: {}", self.out);
        serde_json::from_str(&self.out).unwrap()
    }

    /// What a run that did nothing but refuse says.
    #[track_caller]
    fn refused(&self, code: i32, words: &str) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.err.starts_with("error: "), "{}", self.err);
        assert!(self.err.contains(words), "{words:?} is not in {}", self.err);
    }
}

fn call(folder: &Path, words: &str) -> Ran {
    let output = run(aftercare(folder).args(words.split(' ')));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn signs_in(http: Http, client: &Value, secret: &Value) -> bool {
    let (client, secret) = (text(client), text(secret));
    let form = format!("grant_type=client_credentials&client_id={client}&client_secret={secret}");
    let answer = http.call("POST", "/v1/oauth/token", None, Body::Form(&form)).await;
    assert!(matches!(answer.status, 200 | 401), "{answer:?}");
    answer.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_and_rotated_beside_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = make_clinic(folder, &[]);
    let mut server = Server::start(aftercare(folder).arg("api")).await;
    let clinic = Clinic::sign_in(server.http, &made).await;

    let listed = call(folder, "keys list --json").json();
    let [first] = listed["keys"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(first["state"], "signing");
    let names = ["kid", "state", "created_at", "signs_from", "signs_until", "accepted_until"];
    assert_eq!(fields(first), BTreeSet::from(names));
    assert_eq!(fields(&listed), BTreeSet::from(["keys"]));
    let lines = call(folder, "keys list");
    assert_eq!(lines.out, format!("{}  signs\n", text(&first["kid"])));

    let rotated = call(folder, "keys rotate --json").json();
    assert_eq!(rotated["rotated"], true);
    let keys = rotated["keys"].as_array().unwrap();
    let next = keys.iter().find(|key| key["state"] == "next").unwrap();
    let old = keys.iter().find(|key| key["kid"] == first["kid"]).unwrap();
    assert_eq!((keys.len(), &old["state"]), (2, &Value::from("signing")));
    assert_eq!(old["signs_until"], next["signs_from"], "one takes over from the other");

    let again = call(folder, "keys rotate --json");
    assert_eq!(again.json()["rotated"], false);
    assert_eq!(again.json()["keys"], rotated["keys"]);
    let under_way =
        format!("a rotation to {} is under way: nothing was changed\n", text(&next["kid"]));
    assert_eq!(again.err, under_way);
    let lines = call(folder, "keys rotate");
    assert_eq!((lines.code, lines.out.lines().count(), lines.err), (Some(0), 2, under_way));
    clinic.call("GET", "/v1/protocols", Body::None).await;

    let replaced = call(folder, "keys rotate --now --json");
    let document = replaced.json();
    let [only] = document["keys"].as_array().unwrap().as_slice() else { panic!("{document}") };
    assert_eq!((&document["rotated"], &only["state"]), (&true.into(), &"signing".into()));
    assert!(only["kid"] != first["kid"] && only["kid"] != next["kid"]);
    let stolen = clinic.attempt("GET", "/v1/protocols", Body::None).await;
    stolen.problem(401, "invalid-token");
    call(folder, "keys rotate --never").refused(2, "--never");
    assert!(server.process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_added_listed_and_revoked_beside_a_running_server() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = make_clinic(folder, &[]);
    let mut server = Server::start(aftercare(folder).arg("api")).await;
    let clinic = text(&made["clinic_id"]);
    let first = made["client_secret"].clone();
    let client = &made["client_id"];
    let old = Clinic::sign_in(server.http, &made).await;
    let secret = |words: &str| call(folder, &format!("clinic secret {words} --clinic {clinic}"));

    let listed = secret("list --json").json();
    let [only] = listed["secrets"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!(fields(only), BTreeSet::from(["secret_id", "created_at", "used_at"]));
    assert!(only["used_at"].is_string());
    let id = text(&only["secret_id"]);
    secret(&format!("revoke --secret {id}")).refused(1, "add another first, or say --force");

    let added = secret("add --json").json();
    assert_eq!(fields(&added), BTreeSet::from(["secret_id", "client_id", "client_secret"]));
    assert_eq!(&added["client_id"], client);
    assert!(signs_in(server.http, client, &first).await);
    assert!(signs_in(server.http, client, &added["client_secret"]).await);
    secret("add").refused(1, "the clinic has 2 secrets already; revoke the one");
    let lines = secret("list");
    assert_eq!(lines.out.lines().count(), 2);
    assert!(lines.out.lines().all(|line| line.contains("  last used ")), "{}", lines.out);

    // The clinic's token and the one of the line above.
    let revoked = secret(&format!("revoke --json --secret {id}")).json();
    assert_eq!(revoked, serde_json::json!({"secret_id": id, "sessions_ended": 2}));
    old.attempt("GET", "/v1/protocols", Body::None).await.problem(401, "invalid-token");
    assert!(!signs_in(server.http, client, &first).await);
    secret(&format!("revoke --secret {id}")).refused(1, "has no secret");

    let second = text(&added["secret_id"]);
    let forced = secret(&format!("revoke --force --secret {second}"));
    assert_eq!(forced.out, format!("revoked {second} and ended 1 session(s)\n"));
    assert!(!signs_in(server.http, client, &added["client_secret"]).await);
    let lines = secret("add");
    assert_eq!(lines.code, Some(0));
    let shown = lines.out.lines().map(|line| line.split_once("  ").unwrap());
    let shown: Vec<(&str, &str)> = shown.map(|(name, value)| (name, value.trim())).collect();
    let [("secret_id", _), ("client_id", _), ("client_secret", third)] = shown.as_slice() else {
        panic!("{}", lines.out)
    };
    assert!(lines.err.contains("only its hash is stored"), "{}", lines.err);
    assert!(signs_in(server.http, client, &Value::from(*third)).await);

    let nobody = format!("clinic secret list --clinic {second}");
    call(folder, &nobody).refused(1, &format!("there is no clinic {second}"));
    call(folder, &nobody.replace("list", "add")).refused(1, "there is no clinic");
    secret("revoke --secret nonsense").refused(2, "--secret");
    call(folder, "clinic secret list").refused(2, "--clinic");
    assert!(server.process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_let_to_the_desk_and_taken_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = make_clinic(folder, &[]);
    let mut server = Server::start(aftercare(folder).arg("api")).await;
    let clinic = text(&made["clinic_id"]);
    let staff = |words: &str| call(folder, &format!("staff {words} --clinic {clinic}"));

    let url = format!("http://{}", server.http.0);
    let added = staff(&format!("add --name Maria --json --public-url {url}/")).json();
    assert_eq!(fields(&added), BTreeSet::from(["staff_id", "url", "expires_at"]));
    let path = text(&added["url"]).strip_prefix(&url).unwrap();
    let page = server.http.call("GET", path, None, Body::None).await;
    assert!(page.status == 200 && page.text().contains("Welcome, Maria"), "{}", page.text());
    staff("add --name MARIA").refused(1, "signs in with that name already");
    let lines = staff("add --name Rui");
    assert!(lines.out.contains("url       http://127.0.0.1:8080/desk/join/acj_"), "{}", lines.out);
    assert!(lines.err.contains("The link works once, until "), "{}", lines.err);

    let listed = staff("list --json").json();
    let names: Vec<&str> =
        listed["staff"].as_array().unwrap().iter().map(|one| text(&one["name"])).collect();
    assert_eq!(names, ["Maria", "Rui"]);
    assert!(staff("list").out.lines().all(|line| line.contains("  invited until ")));
    let id = text(&added["staff_id"]);
    let removed = staff(&format!("remove --staff {id}"));
    assert_eq!(removed.out, format!("removed {id} and ended their sign-ins\n"));
    assert_eq!(server.http.call("GET", path, None, Body::None).await.status, 404);
    staff(&format!("remove --staff {id}")).refused(1, "has nobody");
    call(folder, &format!("staff add --name Eva --clinic {id}")).refused(1, "there is no clinic");
    assert!(server.process.terminate().await.success());
}
