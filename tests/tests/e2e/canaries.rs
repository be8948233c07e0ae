//! Words that must not get out: each field that a patient or a clinic fills is filled with a word that
//! occurs nowhere else, and then everything that leaves the server or stays on its disk is searched for it.

mod disk;
mod envelope;

use std::path::PathBuf;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fcm_emulator::{Emulator, EmulatorConfig, EmulatorHandle};
use jiff::SignedDuration;
use serde_json::{Value, json};

use disk::Disk;
use envelope::{Key, Sealed};

use crate::http::{Body, Http, wait_for};
use crate::process::{Clinic, Server, aftercare, everybody_at, now, run};
use crate::stage::device;

/// In every word about a patient: never in clear, anywhere.
const PATIENTS: &str = "Kanarie7Zq";
/// In every word that is the clinic's own.
const CLINICS: &str = "Klinik5Xv";
/// The clinic's own words stand in clear in its row, so that its patients can be shown them.
const IN_CLEAR: [&str; 2] = ["Klinik5Xv Praxis", "+351 Klinik5Xv"];
/// Which notice a patient agreed to: in clear, until the patient is erased.
const NOTICE: &str = "Klinik5Xv-notice";
/// The file of erasures, and that of the master key.
const ERASURES: &str = "erasures";
const KEY_FILE: &str = "master.key";

/// Words as they may be written, each with the name of the writing, by their first byte.
struct Needles(Vec<Vec<(String, Vec<u8>)>>);

impl Needles {
    fn of(words: &[&str]) -> Self {
        let mut by_first = vec![Vec::new(); 256];
        for (name, bytes) in words.iter().flat_map(|word| writings(word)) {
            by_first[usize::from(bytes[0])].push((name, bytes));
        }
        Self(by_first)
    }

    /// Where one of the words is found, with what stands around it.
    fn find(&self, bytes: &[u8]) -> Option<String> {
        bytes.iter().enumerate().find_map(|(at, byte)| {
            let candidates = &self.0[usize::from(*byte)];
            let (name, _) = candidates.iter().find(|(_, word)| bytes[at..].starts_with(word))?;
            let around = &bytes[at.saturating_sub(60)..bytes.len().min(at + 60)];
            Some(format!("{name} at {at}: {}", around.escape_ascii()))
        })
    }

    #[track_caller]
    fn absent(&self, place: &str, bytes: &[u8]) {
        if let Some(found) = self.find(bytes) {
            panic!("{place} holds {found}");
        }
    }
}

/// The word itself, in UTF-16, in hexadecimal, and in base64 wherever it may begin.
fn writings(word: &str) -> Vec<(String, Vec<u8>)> {
    let utf16 = |to: fn(u16) -> [u8; 2]| word.encode_utf16().flat_map(to).collect::<Vec<u8>>();
    let mut forms = vec![
        ("raw", word.as_bytes().to_vec()),
        ("lower case", word.to_lowercase().into_bytes()),
        ("UTF-16LE", utf16(u16::to_le_bytes)),
        ("UTF-16BE", utf16(u16::to_be_bytes)),
        ("hex", hex::encode(word).into_bytes()),
        ("HEX", hex::encode_upper(word).into_bytes()),
    ];
    for before in 0..3 {
        let encoded = STANDARD.encode([&[0; 3][..before], word.as_bytes()].concat());
        // Only the digits that hold nothing but the word's own bits.
        let whole = (before * 8).div_ceil(6)..(before + word.len()) * 8 / 6;
        forms.push(("base64", encoded.as_bytes()[whole].to_vec()));
    }
    forms.into_iter().map(|(name, bytes)| (format!("{word} ({name})"), bytes)).collect()
}

/// A server with one clinic of which everything is a canary, and its patient's app.
struct Cage {
    disk: Disk,
    fcm: EmulatorHandle,
    server: Server,
    clinic: Clinic,
    app: String,
    /// Nobody but their holders may ever see these.
    secrets: Vec<String>,
    folder: tempfile::TempDir,
}

impl Cage {
    async fn set(folder: tempfile::TempDir, disk: Disk) -> Self {
        let fcm = Emulator::start(EmulatorConfig::default()).await.unwrap();
        std::fs::write(folder.path().join("fcm.json"), fcm.credentials_json()).unwrap();
        let command = || {
            let mut command = aftercare(folder.path());
            command.envs(disk.settings.iter().map(|(name, value)| (*name, value)));
            command.env("AFTERCARE_KEY_FILE", KEY_FILE).env("AFTERCARE_ERASURES", ERASURES);
            command
        };
        assert!(run(command().arg("migrate")).status.success());
        let mut create = command();
        create.args(["clinic", "create", "--json", "--time-zone", "Europe/Lisbon"]);
        let made = run(create.args(["--name", IN_CLEAR[0]]));
        let account: Value = serde_json::from_slice(&made.stdout).unwrap();
        (disk.run_sql)(&format!("UPDATE clinics SET contact_phone = '{}'", IN_CLEAR[1]));
        let mut serve = command();
        serve.env("FCM_CREDENTIALS", "fcm.json").env("AFTERCARE_FCM_URL", fcm.base_url());
        let server =
            Server::start(serve.env("AFTERCARE_LOG", everybody_at("debug")).arg("serve")).await;
        let clinic = Clinic::sign_in(server.http, &account).await;
        let secret = account["client_secret"].as_str().unwrap().to_owned();
        let secrets = vec![secret, clinic.token().to_owned()];
        let app = String::new();
        Self { disk, fcm, server, clinic, app, secrets, folder }
    }

    fn http(&self) -> Http {
        self.server.http
    }

    /// Fills every field of a patient's life, up to the push on the phone.
    async fn live(&mut self) {
        let word = |field: &str| format!("{PATIENTS}-{field}");
        self.listen().await;
        let (installation, address) = (word("installation"), word("address"));
        let event = json!({
            "event_id": word("event"),
            "patient": {"ref": word("ref"), "time_zone": "Europe/Lisbon", "locale": "en"},
            "protocol": "microneedling",
            "completed_at": (now() - SignedDuration::from_mins(20)).to_string(),
            "metadata": {word("name"): word("value")},
        });
        let treated = self.clinic.call("POST", "/v1/treatments", Body::Json(&event)).await;
        let code = treated["enrolment"]["code"].as_str().unwrap().to_owned();
        let redeem = json!({"code": code, "installation_id": installation});
        let path = "/v1/enrolments/redeem";
        let tokens = self.http().call("POST", path, None, Body::Json(&redeem)).await.expect(200);
        let token = |name: &str| tokens[name].as_str().unwrap().to_owned();
        self.app = token("access_token");
        self.secrets.extend([code, token("access_token"), token("refresh_token")]);
        let path = format!("/v1/me/devices/{installation}");
        let device = device(&address);
        self.http().call("PUT", &path, Some(&self.app), Body::Json(&device)).await.expect(204);
        for path in [
            format!("/v1/patients/{}/timeline", word("ref")),
            format!("/v1/treatments?patient_ref={}&event_id={}", word("ref"), word("event")),
        ] {
            self.clinic.call("GET", &path, Body::None).await;
        }
        wait_for("the push", async || (!self.fcm.accepted().is_empty()).then_some(())).await;
        let push = self.fcm.accepted()[0].message.clone();
        let amended = json!({"metadata": {word("name"): word("amended")}, "areas": ["face"]});
        let treatment = treated["treatment"]["id"].as_str().unwrap();
        let path = format!("/v1/treatments/{treatment}");
        self.clinic.call("PATCH", &path, Body::Json(&amended)).await;
        self.use_the_app(&push["data"]["reminder_id"]).await;
        self.tell(&word).await;
        let neighbour = json!({"time_zone": "Europe/Lisbon", "locale": "en"});
        let path = format!("/v1/patients/{}", word("neighbour"));
        self.clinic.call("PUT", &path, Body::Json(&neighbour)).await;
    }

    /// The clinic's software wants to hear of everything, at an address that is nobody's business.
    async fn listen(&mut self) {
        let url = format!("https://hooks.invalid/{CLINICS}");
        let types = ["treatment.planned", "reminder.sent", "patient.erased"];
        let webhook = json!({"url": url, "types": types});
        let made = self.clinic.call("POST", "/v1/webhooks", Body::Json(&webhook)).await;
        let secret = made["secret"].as_str().unwrap();
        self.secrets.push(secret.strip_prefix("whsec_").unwrap().to_owned());
    }

    /// What the clinic's software says in events: of a session before it is there, then the session.
    async fn tell(&mut self, word: &impl Fn(&str) -> String) {
        let event = |id: &str, what: &str, data: &Value| {
            json!({
                "specversion": "1.0", "type": format!("care.aftercare.session.{what}.v1"),
                "source": format!("https://{}", word("source")), "id": word(id),
                "time": now().to_string(), "subject": word("subject"), "data": data,
            })
        };
        let session = word("session");
        let amended = json!({"supersedes": session, "metadata": {word("name"): word("waiting")}});
        let completed = json!({
            "patient_ref": word("ref"), "protocol": "microneedling",
            "completed_at": (now() - SignedDuration::from_hours(2)).to_string(),
            "metadata": {word("name"): word("told")},
        });
        let made = self.clinic.call("POST", "/v1/signing-secrets", Body::None).await;
        self.secrets.push(made["secret"].as_str().unwrap().replace("whsec_", ""));
        self.sign(&made, &event("signed", "completed", &json!({"patient_ref": [word("wrong")]})))
            .await;
        for (id, what, data, status) in
            [("early", "amended", amended, 202), ("session", "completed", completed, 201)]
        {
            let headers = [("content-type".to_owned(), "application/cloudevents+json".to_owned())];
            let text = event(id, what, &data).to_string();
            let body = Body::Raw { headers: &headers, text: &text };
            self.clinic.attempt("POST", "/v1/events", body).await.expect(status);
        }
    }

    /// A signed message, which is refused: the answer is kept.
    async fn sign(&self, made: &Value, event: &Value) {
        let secret = made["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(secret).unwrap());
        let (id, at) = (format!("{PATIENTS}-message"), now().as_second());
        let text = event.to_string();
        let tag = hmac::sign(&key, format!("{id}.{at}.{text}").as_bytes());
        let headers = [
            ("content-type".to_owned(), "application/cloudevents+json".to_owned()),
            ("webhook-id".to_owned(), id),
            ("webhook-timestamp".to_owned(), at.to_string()),
            ("webhook-signature".to_owned(), format!("v1,{}", STANDARD.encode(tag))),
        ];
        let path = format!("/v1/events?clinic={}", made["clinic_id"].as_str().unwrap());
        let body = Body::Raw { headers: &headers, text: &text };
        let answer = self.http().call("POST", &path, None, body).await;
        answer.problem(422, "invalid-fields");
        Needles::of(&[PATIENTS]).absent("a signed message", answer.text().as_bytes());
    }

    /// What the app does for a patient who was reminded.
    async fn use_the_app(&mut self, reminder: &Value) {
        let receipts =
            json!([{"reminder_id": reminder, "kind": "displayed", "at": now().to_string()}]);
        let wishes = json!({"muted_rules": ["hydrate"], "exercise_hour": "19:00"});
        let at = now().to_string();
        let consent = json!({"granted": true, "notice_version": NOTICE, "at": at});
        for (method, path, body) in [
            ("POST", "/v1/me/receipts", Body::Json(&receipts)),
            ("PATCH", "/v1/me/preferences", Body::Json(&wishes)),
            ("PUT", "/v1/me/consents/recall", Body::Json(&consent)),
            ("GET", "/v1/me/export", Body::None),
        ] {
            self.http().call(method, path, Some(&self.app), body).await.expect(200);
        }
        let path = "/v1/me/calendar";
        let calendar = self.http().call("GET", path, Some(&self.app), Body::None).await.expect(200);
        let (_, feed) = calendar["url"].as_str().unwrap().split_once("/calendar/").unwrap();
        let answer = self.http().call("GET", &format!("/calendar/{feed}"), None, Body::None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Needles::of(&[PATIENTS, CLINICS]).absent("the calendar feed", answer.text().as_bytes());
        self.secrets.push(feed.strip_suffix(".ics").unwrap().to_owned());
    }

    /// Requests that are wrong, a canary in each value of theirs: what the caller is told repeats none. Names
    /// of members that are not known are told, as pointers, to whoever sent them.
    async fn err(&self) {
        let word = format!("{PATIENTS}-wrong");
        let event = json!({
            "event_id": format!("{word} {word}"),
            "patient": {"ref": format!("{word}@example.org"), "time_zone": word, "locale": format!("{word}!")},
            "protocol": word, "completed_at": word, "time_zone": word, "areas": [word],
            "next_session_at": word, "metadata": {"n": [word]},
        });
        let phone = json!({
            "address_kind": word, "address": "", "platform": word, "time_zone": word,
            "locale": format!("{word}!"), "notifications_enabled": word, "delivery": word,
        });
        let unknown = json!({
            "event_id": "e", "patient_ref": word, "protocol": word, "completed_at": "2026-11-22T15:40:00Z",
        });
        let cloudevent = json!({
            "specversion": word, "type": word, "source": "", "id": [word], "time": word,
            "datacontenttype": word, "data": event,
        });
        let batch =
            json!([cloudevent, {"specversion": "1.0", "data": {"supersedes": [word]}}, word]);
        let (clinic, app) = (Some(self.clinic.token()), Some(self.app.as_str()));
        let form = format!("grant_type={word}&client_id={word}&client_secret={word}");
        let guess = format!("grant_type=client_credentials&client_id={word}&client_secret={word}");
        let redeem = json!({"code": word, "installation_id": word});
        let text = Value::String(word.clone());
        let receipts = json!([{"reminder_id": word, "kind": word, "at": word}]);
        let wishes = json!({
            "time_zone": word, "locale": format!("{word}!"), "quiet_hours": {"from": word, "until": word},
            "exercise_hour": word, "push_content": word, "muted_rules": word,
        });
        let consent = json!({"granted": word, "notice_version": [word], "at": word});
        let snooze = json!({"minutes": word});
        for (method, path, token, body) in [
            ("POST", "/v1/treatments".to_owned(), clinic, Body::Json(&event)),
            ("POST", "/v1/treatments".to_owned(), clinic, Body::Json(&unknown)),
            ("POST", "/v1/treatments".to_owned(), clinic, Body::Json(&text)),
            ("POST", format!("/v1/treatments?dry_run={word}"), clinic, Body::Json(&event)),
            (
                "GET",
                format!("/v1/treatments?since={word}&limit={word}&cursor={word}"),
                clinic,
                Body::None,
            ),
            ("GET", format!("/v1/treatments/{word}"), clinic, Body::None),
            ("PATCH", format!("/v1/treatments/{word}"), clinic, Body::Json(&event)),
            ("GET", format!("/v1/patients/{word}/timeline"), clinic, Body::None),
            ("GET", format!("/v1/patients/{word}/export"), clinic, Body::None),
            ("DELETE", format!("/v1/patients/{word}"), clinic, Body::None),
            ("PUT", format!("/v1/patients/{word}%40example.org"), clinic, Body::Json(&json!({}))),
            ("GET", format!("/v1/protocols/{word}"), clinic, Body::None),
            ("PUT", format!("/v1/me/devices/{word}"), app, Body::Json(&phone)),
            ("DELETE", format!("/v1/me/devices/{word}"), app, Body::None),
            ("GET", format!("/v1/me/can?activity={word}&at={word}"), app, Body::None),
            ("POST", "/v1/me/receipts".to_owned(), app, Body::Json(&receipts)),
            ("POST", format!("/v1/me/reminders/{word}/snooze"), app, Body::Json(&snooze)),
            ("PATCH", "/v1/me/preferences".to_owned(), app, Body::Json(&wishes)),
            ("PUT", "/v1/me/consents/recall".to_owned(), app, Body::Json(&consent)),
            ("GET", format!("/v1/me/consents/{word}"), app, Body::None),
            ("GET", format!("/calendar/{word}.ics"), None, Body::None),
            ("GET", format!("/v1/{word}"), app, Body::None),
            ("GET", "/v1/treatments".to_owned(), Some(word.as_str()), Body::None),
            ("POST", "/v1/oauth/token".to_owned(), None, Body::Form(&form)),
            ("POST", "/v1/oauth/token".to_owned(), None, Body::Form(&guess)),
            ("POST", "/v1/enrolments/redeem".to_owned(), None, Body::Json(&redeem)),
        ] {
            let answer = self.http().call(method, &path, token, body).await;
            assert!((400..500).contains(&answer.status), "{method} {path}: {answer:?}");
            Needles::of(&[PATIENTS]).absent(&format!("{method} {path}"), answer.text().as_bytes());
        }
        for (kind, said) in [("cloudevents", &cloudevent), ("cloudevents-batch", &batch)] {
            let headers = [("content-type".to_owned(), format!("application/{kind}+json"))];
            let body = Body::Raw { headers: &headers, text: &said.to_string() };
            let answer = self.http().call("POST", "/v1/events", clinic, body).await;
            assert!([200, 422].contains(&answer.status), "{answer:?}");
            Needles::of(&[PATIENTS]).absent(kind, answer.text().as_bytes());
        }
        let misspelt = json!({word.as_str(): 1});
        let answer = self.clinic.attempt("POST", "/v1/patients", Body::Json(&misspelt)).await;
        let problem = answer.problem(422, "invalid-fields");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{word}"));
        assert!(!problem["errors"][0]["detail"].to_string().contains(PATIENTS));
    }

    /// Searches all that has left the server, and all that it has kept.
    async fn search(&self) {
        let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
        let both = Needles::of(&[&secrets[..], &[PATIENTS, CLINICS]].concat());
        for push in self.fcm.accepted() {
            let mut message = push.message.clone();
            // Whom the push is for: FCM must know.
            assert!(message.as_object_mut().unwrap().remove("token").is_some());
            both.absent("a push", message.to_string().as_bytes());
        }
        let log = self.server.process.log();
        assert!(
            log.contains("/v1/patients/{ref}/timeline") && log.contains("DEBUG"),
            "it is logged"
        );
        both.absent("the log", log.as_bytes());
        let metrics = self.http().call("GET", "/metrics", None, Body::None).await.text();
        assert!(metrics.contains("/v1/patients/{ref}/timeline"), "it is counted");
        both.absent("the metrics", metrics.as_bytes());

        let (files, mut seen) = (self.disk.read(), 0);
        let (kept, clear) =
            (Needles::of(&[&secrets[..], &[PATIENTS]].concat()), Needles::of(&IN_CLEAR));
        for (path, bytes) in &files {
            kept.absent(&path.display().to_string(), bytes);
            seen += usize::from(clear.find(bytes).is_some());
        }
        let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(seen > 0, "the clinic's own words are there, so the search sees what is in clear");
        println!("canaries: {} files, {bytes} bytes, {} log bytes", files.len(), log.len());
    }

    /// Erases the patient, and tries whatever is left on whatever was sealed for them.
    async fn forget(&self) {
        let mut known = [envelope::NOT_PATIENTS.map(str::to_owned).as_slice(), &[]].concat();
        let patients = envelope::COLUMNS.map(|(table, _, column)| format!("{table}.{column}"));
        known.extend(patients.clone());
        known.sort();
        let mut columns = (self.disk.query)(self.disk.columns);
        columns.sort();
        assert_eq!(columns, known, "whose is a new column?");

        let path = format!("/v1/patients/{PATIENTS}-ref");
        let before = self.disk.sealed();
        let keys = self.keys(&before);
        let opens =
            |keys: &[Key], sealed: &Sealed| keys.iter().any(|key| sealed.open(key).is_some());
        for sealed in &before {
            assert!(opens(&keys, sealed), "{} opens before", sealed.column);
        }
        for column in &patients {
            assert!(before.iter().any(|sealed| sealed.column == *column), "no {column} to forget");
        }
        self.clinic.attempt("DELETE", &path, Body::None).await.expect(204);

        let after = self.disk.sealed();
        let (keys, wrapping) = (self.keys(&after), self.wrapping()[0]);
        assert!(after.iter().all(|sealed| opens(&keys, sealed)), "the neighbour's opens still");
        let gone: Vec<&Sealed> = before.iter().filter(|sealed| !after.contains(sealed)).collect();
        let (wrapped, gone): (Vec<&Sealed>, Vec<&Sealed>) =
            gone.into_iter().partition(|sealed| sealed.is_key());
        assert_eq!((wrapped.len(), after.len()), (1, 2), "the neighbour's name and key are left");
        for sealed in &gone {
            assert!(!opens(&keys, sealed), "{} opens after the erasure", sealed.column);
        }
        let mut files = self.disk.read();
        let copies = |files: &[(PathBuf, Vec<u8>)]| -> usize {
            files.iter().map(|(_, bytes)| wrapped[0].copies(&wrapping, bytes)).sum()
        };
        let (sealed, tried, left) = (gone.len(), keys.len(), copies(&files));
        println!("erased: {sealed} values, {tried} keys tried, {left} wrapped keys on the disk");
        if let Some(overwrite) = self.disk.overwrite {
            (self.disk.run_sql)(overwrite);
            files = self.disk.read();
            files.retain(|(path, _)| !path.to_string_lossy().contains("pg_wal"));
        }
        assert_eq!(copies(&files), 0, "the patient's key is still on the disk");
        for (path, bytes) in &files {
            Needles::of(&[NOTICE]).absent(&path.display().to_string(), bytes);
        }
        let noted = std::fs::read_to_string(self.folder.path().join(ERASURES)).unwrap();
        assert_eq!(noted.lines().count(), 1, "{noted}");
    }

    fn wrapping(&self) -> Vec<Key> {
        envelope::keys_of(&self.folder.path().join(KEY_FILE))
    }

    /// Every key that the key file and these values give.
    fn keys(&self, sealed: &[Sealed]) -> Vec<Key> {
        let mut keys = self.wrapping();
        let kept = self.disk.kept().into_iter().map(|kept| kept.open(&keys[1]).unwrap());
        let kept: Vec<Key> = kept.map(|key| key.try_into().unwrap()).collect();
        keys.extend(kept);
        let wrapped = sealed.iter().filter(|sealed| sealed.is_key());
        let data: Vec<Key> =
            wrapped.map(|key| key.open(&keys[0]).unwrap().try_into().unwrap()).collect();
        keys.extend(data);
        keys
    }
}

async fn nothing_gets_out(folder: tempfile::TempDir, disk: Disk) {
    let mut cage = Cage::set(folder, disk).await;
    cage.live().await;
    cage.err().await;
    cage.search().await;
    cage.forget().await;
    cage.search().await;
    assert!(cage.server.process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_patient_gets_out_of_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk::sqlite(folder.path());
    nothing_gets_out(folder, disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_patient_gets_out_of_postgres() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(disk) = disk::postgres(folder.path()) {
        nothing_gets_out(folder, disk).await;
    }
}
