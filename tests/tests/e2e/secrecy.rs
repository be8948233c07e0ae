//! Secrets are in nothing that the binary says: driven through its failures, and serving with everything
//! traced, its whole output is searched for each secret in each form that it might be printed in.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use aftercare::clock::Env;
use aftercare::seal::MasterKey;
use aftercare::store::{Store, StoreOptions};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fcm_emulator::{Emulator, EmulatorConfig};
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::http::{Body, wait_for};
use crate::process::{Clinic, Server, aftercare, everybody_at, make_clinic, now, run};
use crate::stage::{device, done};

const PASSWORD: &str = "Zq7/recognisable+Pa55w0rd=";
const MASTER: [u8; 32] = *b"0123456789-this-is-a-master-key!";

/// The secret as it is, and as base64, hexadecimal, URL-encoded text and a list of bytes.
fn forms(secret: &[u8]) -> Vec<String> {
    let mut forms = vec![
        STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        URL_SAFE_NO_PAD.encode(secret),
        hex::encode(secret),
        hex::encode_upper(secret),
        secret.iter().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat(),
        secret.iter().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat(),
        secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", "),
    ];
    if let Ok(text) = std::str::from_utf8(secret) {
        let encoded = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        };
        forms.push(text.to_owned());
        forms.push(text.escape_default().to_string());
        forms.push(text.bytes().map(encoded).collect());
    }
    forms
}

/// Secrets by name, and what of the binary's output was searched for them.
#[derive(Default)]
struct Search {
    secrets: Vec<(String, Vec<u8>)>,
    bytes: usize,
    outputs: usize,
}

impl Search {
    fn secret(&mut self, name: &str, secret: impl AsRef<[u8]>) {
        self.secrets.push((name.to_owned(), secret.as_ref().to_vec()));
    }

    #[track_caller]
    fn search(&mut self, what: &str, output: &str) {
        assert!(!output.trim().is_empty(), "{what} says nothing");
        self.bytes += output.len();
        self.outputs += 1;
        for (name, secret) in &self.secrets {
            for form in forms(secret) {
                let place = output.find(&form);
                let line = place.map(|at| &output[..at]).and_then(|before| before.lines().last());
                assert!(place.is_none(), "{what} tells {name}, after: {line:?}");
            }
        }
    }

    /// A run that is to fail, and what it says.
    #[track_caller]
    fn fails(&mut self, what: &str, command: &mut Command) -> String {
        let output = run(command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full"));
        assert!(!output.status.success(), "{what} succeeds");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains("panicked"), "{what}: {text}");
        self.search(what, &text);
        text
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(folder.join(name));
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

fn key_file(key: &[u8; 32]) -> String {
    format!("aftercare-master-key-v1\n{}\n", STANDARD.encode(key))
}

/// A PostgreSQL that asks for the password and then refuses it, with it in its words.
fn refusing_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"R\0\0\0\x08\0\0\0\x03");
            let _ = stream.read(&mut buffer);
            let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0";
            let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            let _ = stream.write_all(&[b"E", length.as_slice(), fields].concat());
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_tell_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let fcm = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let account: Value = serde_json::from_str(&fcm.credentials_json()).unwrap();
    let pem = account["private_key"].as_str().unwrap().to_owned();
    let line = pem.lines().nth(2).unwrap().to_owned();
    let mut search = Search::default();
    search.secret("the database's password", PASSWORD);
    search.secret("the master key", MASTER);
    search.secret("FCM's private key", line.as_bytes());
    write(folder, "master.key", &key_file(&MASTER));
    write(folder, "other.key", &key_file(&[7; 32]));
    write(folder, "broken.key", &format!("{}\n{}", STANDARD.encode(MASTER), hex::encode(MASTER)));

    let password = PASSWORD.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let serve = |url: &str| {
        let mut command = aftercare(folder);
        command.arg("api").env("DATABASE_URL", url).env("AFTERCARE_LOG", everybody_at("trace"));
        command.env("AFTERCARE_KEY_FILE", "master.key");
        command
    };
    let port = refusing_server();
    for (what, rest) in [
        ("a refused password", format!("127.0.0.1:{port}/x?sslmode=disable")),
        ("refused TLS", format!("127.0.0.1:{port}/x?sslmode=verify-full")),
        ("nobody there", "127.0.0.1:1/x?sslmode=disable".to_owned()),
        ("a port that is none", "localhost:port/x".to_owned()),
        ("an sslmode that is none", "localhost/x?sslmode=maybe".to_owned()),
        ("a parameter that is none", "localhost/x?nonsense=1".to_owned()),
    ] {
        search.fails(what, &mut serve(&format!("postgres://aftercare:{password}@{rest}")));
    }
    let scheme =
        search.fails("a scheme that is none", &mut serve(&format!("mysql://a:{password}@b/c")));
    assert!(scheme.contains("unknown kind of database"), "{scheme}");
    search.fails("an unescaped password", &mut serve(&format!("postgres://a:{PASSWORD}@b/c")));

    let on_file = |key: &str| {
        let mut command = serve("sqlite:aftercare.db");
        command.env("AFTERCARE_KEY_FILE", key);
        command
    };
    let made = make_clinic(folder, &[("AFTERCARE_KEY_FILE", "master.key")]);
    search.secret("a client's secret", made["client_secret"].as_str().unwrap());
    search.fails("another master key", &mut on_file("other.key"));
    search.fails("a broken key file", &mut on_file("broken.key"));
    search.fails("a key file that is missing", &mut on_file("missing.key"));
    write(folder, "twice.key", &format!("{}{}", key_file(&MASTER), STANDARD.encode([7; 32])));
    search.fails("a key file with one number twice", &mut on_file("twice.key"));

    let mut cut = account.clone();
    cut["private_key"] = json!(pem.replace("-----END PRIVATE KEY-----", ""));
    for (what, text) in [
        ("a key without its end", cut.to_string()),
        ("an account cut short", account.to_string().replace("client_email", "x").replace('}', "")),
        ("an account with a field missing", json!({"private_key": pem}).to_string()),
        ("a key where a word belongs", json!({"type": pem, "private_key": [pem]}).to_string()),
        ("a bare key", pem.clone()),
    ] {
        write(folder, "fcm.json", &text);
        let mut command = on_file("master.key");
        let mut whole = aftercare(folder);
        whole.arg("serve").envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command = whole;
        search.fails(what, command.env("FCM_CREDENTIALS", "fcm.json"));
    }

    let settings = [
        "DATABASE_URL",
        "AFTERCARE_KEY_FILE",
        "FCM_CREDENTIALS",
        "AFTERCARE_FCM_URL",
        "AFTERCARE_PUBLIC_URL",
        "AFTERCARE_LISTEN",
        "AFTERCARE_LOG",
        "AFTERCARE_TRUSTED_PROXIES",
        "AFTERCARE_CORS_ORIGINS",
        "AFTERCARE_LIMIT_CREDENTIAL",
    ];
    for words in [
        "serve",
        "api",
        "scheduler",
        "migrate",
        "keys rotate",
        "keys rotate-master",
        "keys list",
        "clinic create",
        "clinic secret add",
        "clinic secret revoke",
        "pause",
        "demo",
        "fcm-emulator",
    ] {
        let mut command = aftercare(folder);
        command.args(words.split(' ')).arg("--help").envs(settings.map(|name| (name, PASSWORD)));
        let output = run(&mut command);
        search.search(words, &String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    }
    println!("{} outputs, {} bytes, 0 secrets", search.outputs, search.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn serving_with_everything_traced_tells_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let fcm = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let account: Value = serde_json::from_str(&fcm.credentials_json()).unwrap();
    write(folder, "fcm.json", &fcm.credentials_json());
    write(folder, "master.key", &key_file(&MASTER));
    let key = ("AFTERCARE_KEY_FILE", "master.key");
    let made = make_clinic(folder, &[key]);
    let mut command = aftercare(folder);
    command.arg("serve").env(key.0, key.1).env("FCM_CREDENTIALS", "fcm.json");
    command.env("AFTERCARE_FCM_URL", fcm.base_url());
    command.env("AFTERCARE_LOG", everybody_at("trace")).env("RUST_LOG", "trace");
    let mut server = Server::start(&mut command).await;

    let mut search = Search::default();
    search.secret("the master key", MASTER);
    let pem = account["private_key"].as_str().unwrap();
    search.secret("FCM's private key", pem.lines().nth(2).unwrap());
    search.secret("the client's secret", made["client_secret"].as_str().unwrap());
    let clinic = Clinic::sign_in(server.http, &made).await;
    clinic.call("PUT", "/v1/patients/ana", Body::Json(&json!({}))).await;
    let enrolment = clinic.call("POST", "/v1/patients/ana/enrolments", Body::None).await;
    search.secret("the enrolment code", enrolment["code"].as_str().unwrap());
    let redeem = json!({"code": enrolment["code"], "installation_id": "phone-of-ana"});
    let path = "/v1/enrolments/redeem";
    let tokens = server.http.call("POST", path, None, Body::Json(&redeem)).await.expect(200);
    let access = tokens["access_token"].as_str().unwrap();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    search.secret("an access token's signature", access.rsplit('.').next().unwrap());
    search.secret("the refresh token", refresh);
    let address = "push-address-of-anas-phone";
    search.secret("the push address", address);
    let path = "/v1/me/devices/phone-of-ana";
    let put = server.http.call("PUT", path, Some(access), Body::Json(&device(address))).await;
    put.expect(204);
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let next =
        server.http.call("POST", "/v1/oauth/token", None, Body::Form(&form)).await.expect(200);
    search.secret("the next refresh token", next["refresh_token"].as_str().unwrap());
    let wrong = "grant_type=client_credentials&client_id=x&client_secret=a-guess-at-a-secret";
    search.secret("a wrong secret", "a-guess-at-a-secret");
    server.http.call("POST", "/v1/oauth/token", None, Body::Form(wrong)).await.expect(401);
    server.http.call("GET", "/v1/me/timeline", Some("a-bearer-that-is-none"), Body::None).await;
    search.secret("a bad bearer", "a-bearer-that-is-none");
    let event = done("visit", "ana", now() - SignedDuration::from_mins(20));
    clinic.call("POST", "/v1/treatments", Body::Json(&event)).await;
    wait_for("the push", async || (fcm.accepted().len() == 1).then_some(())).await;
    wait_for("its end", async || (clinic.first_state("ana").await == "sent").then_some(())).await;
    assert!(server.process.terminate().await.success());

    let url = format!("sqlite:{}", folder.join("aftercare.db").display());
    let master = MasterKey::from_bytes(&MASTER);
    let store = Store::open(&url, master, Env::system(), StoreOptions::default()).await.unwrap();
    for key in store.read(|tx| tx.signing_keys()).await.unwrap() {
        let private = key.private.unwrap();
        // The seed within PKCS #8.
        search.secret("the signing key", &private.expose_secret()[16..48]);
    }
    let log = server.process.log();
    assert!(log.contains("TRACE"), "nothing is traced");
    search.search("the log of a server", &log);
    println!("{} bytes of log, {} secrets, none found", search.bytes, search.secrets.len());
}
