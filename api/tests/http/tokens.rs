//! Tokens that nobody may come in with, each over a real socket to an operation that needs one. The corpus
//! is data, `hostile_tokens.json`; what it says is changed in a token that is good, which the same
//! code builds.

use aftercare::care;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use crate::support::{Answer, Api, Phone, api, clinic};

const CORPUS: &str = include_str!("../hostile_tokens.json");

/// The order of Ed25519's group, least byte first.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// What good and hostile tokens are made of.
struct Forge {
    ours: Ed25519KeyPair,
    destroyed: Ed25519KeyPair,
    thief: Ed25519KeyPair,
    now: i64,
    /// What `$NAME` stands for in the corpus.
    names: Vec<(&'static str, String)>,
    patient: Value,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn claims_of(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap())
        .unwrap()
}

fn claim(token: &str, name: &str) -> String {
    claims_of(token)[name].as_str().unwrap().to_owned()
}

impl Forge {
    async fn new(api: &Api) -> Self {
        let key = async || {
            let keys = api.store.read(|tx| tx.signing_keys()).await.unwrap();
            let key = care::signing_key(&keys, api.store.env().now()).unwrap();
            let private = key.private.as_ref().unwrap();
            let pair = Ed25519KeyPair::from_pkcs8(private.expose_secret()).unwrap();
            (key.kid.clone(), pair)
        };
        let (destroyed_kid, destroyed) = key().await;
        api.store.write(care::replace_signing_keys).await.unwrap();
        let next_kid = api.store.write(care::rotate_signing_keys).await.unwrap().next;
        let (kid, ours) = key().await;
        api.clock.advance(jiff::SignedDuration::from_mins(1));
        let ended = api.clinic_token().await;
        api.clock.advance(jiff::SignedDuration::from_mins(16));
        let (good, revoked) = (api.clinic_token().await, api.clinic_token().await);
        let revoke = api.post("/v1/oauth/revoke").form(&format!("token={revoked}"));
        revoke.send().await.expect(200);
        let other = api.token_of(&clinic(&api.store, "Clínica Boreal").await).await;
        let phone: Phone = api.enrolled(&good, "p-1", "inst-1").await;
        let thief = Ed25519KeyPair::generate().unwrap();
        let names = vec![
            ("$KID_UPPER", kid.to_uppercase()),
            ("$KID", kid),
            ("$NEXT_KID", next_kid),
            ("$DESTROYED_KID", destroyed_kid),
            ("$THIEF_X", encode(thief.public_key())),
            ("$ISSUER", claim(&good, "iss")),
            ("$SUB", claim(&good, "sub")),
            ("$SID", claim(&good, "sid")),
            ("$OTHER_SUB", claim(&other, "sub")),
            ("$OTHER_SID", claim(&other, "sid")),
            ("$REVOKED_SID", claim(&revoked, "sid")),
            ("$ENDED_SID", claim(&ended, "sid")),
            ("$PATIENT_SID", claim(&phone.access, "sid")),
            ("$UNKNOWN_SID", api.store.env().uuid().to_string()),
        ];
        let now = api.store.env().now().as_second();
        Self { ours, destroyed, thief, now, names, patient: claims_of(&phone.access) }
    }

    fn fill(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// The members of a good object, changed as the case says; a time is `$NOW+1` or `$NOW-1`.
    fn changed(&self, mut good: Map<String, Value>, change: &Value) -> Map<String, Value> {
        for (name, value) in change.as_object().into_iter().flatten() {
            match value.as_str() {
                Some("$REMOVE") => drop(good.remove(name)),
                Some(time) if time.starts_with("$NOW") => {
                    let offset: i64 = time["$NOW".len()..].parse().unwrap();
                    good.insert(name.clone(), json!(self.now + offset));
                }
                _ => drop(good.insert(name.clone(), value.clone())),
            }
        }
        good
    }

    fn parts(&self, case: &Value) -> (String, String) {
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "$KID"});
        let mut claims = json!({
            "iss": "$ISSUER", "aud": "$ISSUER", "sub": "$SUB", "sid": "$SID", "role": "clinic",
            "exp": self.now + 900, "nbf": self.now - 5, "iat": self.now,
            "jti": "01912d4a-7b00-7000-8000-000000000001",
        });
        if case["patient"] == true {
            claims = self.patient.clone();
        }
        let text = |good: Value, changes: &Value| {
            let good = self.changed(good.as_object().unwrap().clone(), changes);
            self.fill(&Value::Object(good).to_string())
        };
        let raw = |name: &str| case[name].as_str().map(|text| self.fill(text));
        let header = raw("header_text").unwrap_or_else(|| text(header, &case["header"]));
        let mut claims = raw("claims_text").unwrap_or_else(|| text(claims, &case["claims"]));
        for (name, value) in case["claims_twice"].as_object().into_iter().flatten() {
            let twice = self.fill(&format!("{{\"{name}\":{},", value.as_str().unwrap()));
            claims.replace_range(..1, &twice);
        }
        claims.push_str(case["claims_after"].as_str().unwrap_or_default());
        (header, claims)
    }

    fn signature(&self, how: &str, message: &str) -> Vec<u8> {
        let good = || self.ours.sign(message.as_bytes()).as_ref().to_vec();
        let hmac = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
        };
        let public = self.ours.public_key().as_ref();
        match how {
            "ours" => good(),
            "thief" => self.thief.sign(message.as_bytes()).as_ref().to_vec(),
            "destroyed" => self.destroyed.sign(message.as_bytes()).as_ref().to_vec(),
            "none" => Vec::new(),
            "hmac public" => hmac(public),
            "hmac jwk" => hmac(encode(public).as_bytes()),
            "hmac empty" => hmac(b""),
            "zeros" => vec![0; 64],
            "ones" => vec![0xff; 64],
            // R is the neutral element and S is zero.
            "identity" => [[1].as_slice(), &[0; 63]].concat(),
            // R is a point of order 8, S is zero.
            "small order" => {
                let point = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
                [hex::decode(point).unwrap().as_slice(), &[0; 32]].concat()
            }
            "swapped halves" => {
                let good = good();
                [&good[32..], &good[..32]].concat()
            }
            "plus l" => {
                let mut signature = good();
                let mut carry = 0;
                for (byte, l) in signature[32..].iter_mut().zip(L) {
                    let sum = u16::from(*byte) + u16::from(l) + carry;
                    (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
                }
                assert_eq!(carry, 0);
                signature
            }
            "truncated" => good()[..63].to_vec(),
            "doubled" => [good(), good()].concat(),
            "over another message" => self.ours.sign(b"{}.{}").as_ref().to_vec(),
            other => panic!("no such signature: {other}"),
        }
    }

    /// The token of a case; `null` changes nothing.
    fn token(&self, case: &Value) -> String {
        let (header, claims) = self.parts(case);
        let message = format!("{}.{}", encode(header), encode(claims));
        let how = case["sign"].as_str().unwrap_or("ours");
        let token = format!("{message}.{}", encode(self.signature(how, &message)));
        match case["edit"].as_str() {
            Some(edit) => self.edited(edit, &token),
            None => token,
        }
    }

    fn edited(&self, edit: &str, token: &str) -> String {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { panic!("three parts") };
        let padded = |part: &str| format!("{part}{}", "=".repeat((4 - part.len() % 4) % 4));
        let flipped = |part: &str| {
            let mut bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
            bytes[10] ^= 1;
            encode(bytes)
        };
        match edit {
            "claims ff" => {
                let message = format!("{header}.{}", encode(b"{\"iss\":\"\xff\"}"));
                format!("{message}.{}", encode(self.signature("ours", &message)))
            }
            "flip a bit of the claims" => format!("{header}.{}.{signature}", flipped(claims)),
            "flip a bit of the signature" => format!("{header}.{claims}.{}", flipped(signature)),
            "pad every part" => parts.iter().map(|part| padded(part)).collect::<Vec<_>>().join("."),
            "pad the signature" => format!("{header}.{claims}.{}", padded(signature)),
            "standard alphabet" => {
                // Until the two alphabets differ.
                let signed = (0..).map(|n| {
                    let claims = encode(format!("{{\"n\":{n}}}"));
                    let message = format!("{header}.{claims}");
                    let signature = STANDARD.encode(self.signature("ours", &message));
                    format!("{message}.{}", signature.trim_end_matches('='))
                });
                signed.into_iter().find(|token| token.contains(['+', '/'])).unwrap()
            }
            "signature with loose bits" => {
                let (rest, last) = signature.split_at(signature.len() - 1);
                let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                let place = alphabet.find(last).unwrap();
                assert_eq!(place % 16, 0);
                format!("{header}.{claims}.{rest}{}", &alphabet[place + 1..place + 2])
            }
            "space in the middle" => format!("{header}. {claims}.{signature}"),
            "newline at the end of the header" => {
                let header = encode([&URL_SAFE_NO_PAD.decode(header).unwrap()[..], b"\0"].concat());
                let message = format!("{header}.{claims}");
                format!("{message}.{}", encode(self.signature("ours", &message)))
            }
            "dot at the end" => format!("{token}."),
            "dot at the start" => format!(".{token}"),
            "two dots in the middle" => format!("{header}..{claims}.{signature}"),
            "fourth part" => format!("{token}.{signature}"),
            "five parts of an encrypted token" => {
                format!("{header}..{claims}.{signature}.{signature}")
            }
            "two parts" => format!("{header}.{claims}"),
            "one part" => (*header).to_owned(),
            "empty parts" => "..".to_owned(),
            "cut in half" => token[..token.len() / 2].to_owned(),
            "last character gone" => token[..token.len() - 1].to_owned(),
            "first character gone" => token[1..].to_owned(),
            "parts swapped" => format!("{claims}.{header}.{signature}"),
            "huge" => format!("{token}{}", "A".repeat(90_000)),
            "huge with dots" => ".".repeat(90_000),
            "in quotes" => format!("\"{token}\""),
            "percent-encoded" => token.replace('.', "%2E"),
            "JSON serialization" => json!({
                "protected": header, "payload": claims, "signature": signature,
            })
            .to_string(),
            "in base64 again" => encode(token),
            other => panic!("no such edit: {other}"),
        }
    }
}

/// Shows a token to an operation of its role, in the way the case says.
async fn show(api: &Api, case: &Value, token: &str) -> Answer {
    let path = if case["patient"] == true { "/v1/me/timeline" } else { "/v1/treatments" };
    let get = api.get(path);
    let Some(how) = case["send"].as_str() else { return get.bearer(token).send().await };
    let with = |value: String| ("authorization", value);
    let headers = match how {
        "in the query" => {
            let path = format!("{path}?access_token={token}");
            return api.get(&path).send().await;
        }
        "in the form" => return get.form(&format!("access_token={token}")).send().await,
        "two headers" => vec![with(format!("Bearer {token}")), with(format!("Bearer {token}"))],
        "two headers, a bad one first" => {
            vec![with("Bearer x".to_owned()), with(format!("Bearer {token}"))]
        }
        "two tokens in one header" => vec![with(format!("Bearer {token}, Bearer {token}"))],
        "scheme Basic" => vec![with(format!("Basic {token}"))],
        "scheme Token" => vec![with(format!("Token {token}"))],
        "no scheme" => vec![with(token.to_owned())],
        "scheme alone" => vec![with("Bearer".to_owned())],
        "tab after the scheme" => vec![with(format!("Bearer\t{token}"))],
        "tab and space after the scheme" => vec![with(format!("Bearer \t{token}"))],
        "no-break space after the scheme" => vec![with(format!("Bearer\u{a0}{token}"))],
        "comma after the scheme" => vec![with(format!("Bearer, {token}"))],
        "colon after the scheme" => vec![with(format!("Bearer: {token}"))],
        "equals sign" => vec![with(format!("Bearer={token}"))],
        "in a cookie" => vec![("cookie", format!("access_token={token}"))],
        "in x-access-token" => vec![("x-access-token", token.to_owned())],
        "in proxy-authorization" => vec![("proxy-authorization", format!("Bearer {token}"))],
        other => panic!("no such way: {other}"),
    };
    let get = headers.iter().fold(get, |get, (name, value)| get.header(name, value));
    get.send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_the_hostile_tokens_is_accepted() {
    let api = api().await;
    let forge = Forge::new(&api).await;
    let corpus: Vec<Value> = serde_json::from_str(CORPUS).unwrap();
    for control in [Value::Null, json!({"patient": true})] {
        show(&api, &control, &forge.token(&control)).await.expect(200);
    }
    let mut answers = std::collections::BTreeSet::new();
    let mut accepted = Vec::new();
    for case in &corpus {
        let answer = show(&api, case, &forge.token(case)).await;
        if answer.status != 401 {
            accepted.push(format!("{}: {}", case["name"], answer.status));
            continue;
        }
        let problem = answer.expect(401);
        assert!(problem["errors"].is_null() && problem["id"].is_null(), "{problem}");
        answers.insert(problem.to_string());
    }
    println!("{} hostile tokens, {} accepted", corpus.len(), accepted.len());
    assert!(accepted.is_empty(), "{accepted:#?}");
    // One answer to what is no bearer, one to whatever is wrong with one that is.
    assert_eq!(answers.len(), 2, "{answers:#?}");
    let control = forge.token(&Value::Null);
    show(&api, &Value::Null, &control).await.expect(200);
}
